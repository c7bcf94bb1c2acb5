"""Doubles shared by tests of recordings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.llm_double import Double, running_double, set_up
from tests.support.programs import needs_ffmpeg


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """A language model with scripted answers."""
    with running_double() as model:
        set_up(model, monkeypatch)
        yield model


@pytest.fixture
def no_recognizers(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this machine's models, caches and endpoints, and the speech service."""
    for name in ("HARK_WHISPER_MODEL", "HARK_ASR_URL", "HARK_ASR_KEY", "HARK_ASR_MODEL", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_HOME", "XDG_CACHE_HOME", "MODELSCOPE_CACHE"):
        monkeypatch.setenv(name, str(data_dir / "cache"))
    monkeypatch.setenv("HARK_SPEECH_SERVICE", "0")


@pytest.fixture(params=[pytest.param("ffmpeg", marks=needs_ffmpeg), "libsndfile"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    if request.param == "libsndfile":
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    return str(request.param)
