"""The fixtures of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.choir import choirs, tiny_effort

__all__ = ["choirs", "tiny_effort"]


@pytest.fixture
def few_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use no noise and simulate four rooms, as simulating them takes longer than the rest of a small run."""
    from tests.support.tiny_run import FEW_ROOMS

    monkeypatch.setattr("model.examples.SoundSources.__init__.__defaults__", FEW_ROOMS)


@pytest.fixture
def ship_speech(tmp_path: Path, few_rooms: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, float]]:
    """Let utterances, with the licence of each corpus, be the real speech that ships; return their hours by split."""
    from lab.weights.negative_speech import write_negative_speech
    from pipeline.training.negatives import negative_speech

    def ship(utterances: Sequence[Any], **licences: str) -> dict[str, float]:
        shipped = tmp_path / "negative-speech.zip"
        monkeypatch.setattr(negative_speech, "NEGATIVE_SPEECH", shipped)
        return write_negative_speech(utterances, shipped, {"licences": licences})

    return ship
