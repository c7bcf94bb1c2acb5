"""A transcribed recording: a few seconds of tones, and a transcript that a person wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.audio_file import write_audio
from tests.support.ready_recordings import ready_recording
from tests.support.sounds import tone
from webui.accounts.models import User
from webui.recordings.models import Recording
from webui.recordings.transcribing import intake


@pytest.fixture
def recording(owner: User) -> Recording:
    """The owner's recording."""
    return ready_recording(owner)


@pytest.fixture
def at(recording: Recording) -> str:
    """The URL of the recording's page, which is the prefix of its other URLs."""
    return f"/recordings/{recording.pk}"


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """A file for upload: a second of a tone."""
    path = tmp_path / "upload.wav"
    write_audio(path, tone(level=0.1))
    return path


@pytest.fixture
def waiting(owner: User, wav: Path) -> Recording:
    """The owner's recording whose transcription has not begun."""
    return intake.create_recording(user=owner, name="a.wav", source=wav)


@pytest.fixture
def speaking() -> None:
    """Let the test use the engines' real voices, which are slow to find."""


@pytest.fixture(autouse=True)
def nobody_speaks(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Hide all voices unless the test uses ``speaking``."""
    if "speaking" not in request.fixturenames:
        monkeypatch.setattr("webui.speech.voice_for", lambda user, language: None)
