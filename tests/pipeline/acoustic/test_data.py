"""What the acoustic model learns from, of the speech engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audio_generation.engine import Setting, Voice
from core.events import Event, Reporter
from pipeline.acoustic.data import synthetic_utterances
from tests.support.fake_engine import Fake


def test_clips_that_an_engine_could_not_say_are_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def settings(voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        asked.append(len(asked))
        return {"behave": "refuse"} if len(asked) % 3 == 0 else {}

    fake = Fake()
    monkeypatch.setattr(fake, "draw_settings", settings)
    events: list[Event] = []
    try:
        made = list(
            synthetic_utterances({"fake": fake}, {"fake": 9}, ["hey compass"], tmp_path, 0, Reporter(events.append))
        )
    finally:
        fake.close()
    assert len(made) == 6 and all((tmp_path / one.path).is_file() for one in made)
    (told,) = [event for event in events if event["event"] == "log"]
    assert told["level"] == "warning" and "fake: 3 clips failed" in told["message"] and "refuse" in told["message"]
