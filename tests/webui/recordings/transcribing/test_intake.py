"""``create_recording``: files are moved, named, limited and queued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from core.errors import HarkError
from webui.accounts.models import User
from webui.jobs import services as jobs
from webui.recordings.models import Recording
from webui.recordings.transcribing import intake


def test_a_file_is_moved_and_transcription_is_queued(owner: User, wav: Path, portal: Path) -> None:
    content = wav.read_bytes()
    recording = intake.create_recording(user=owner, name="C:\\calls\\../Mon\x00day\u202e.WAV", source=wav)
    assert not wav.exists()
    assert recording.name == "Monday.WAV" and recording.path == portal / "audio" / str(recording.pk)
    assert (recording.path / "original.wav").read_bytes() == content
    assert recording.job is not None and recording.bytes == len(content)
    assert (recording.job.kind, recording.job.queue, recording.state) == ("transcribe", "general", "working")
    assert recording.job.spec["originals"] == ["original.wav"] and recording.job.spec["folder"] == recording.folder


def test_several_files_keep_their_order(owner: User, wav: Path, tmp_path: Path) -> None:
    second = tmp_path / "b.mp3"
    second.write_bytes(b"not looked into here")
    recording = intake.create_recording(user=owner, name="session", source=wav, more=[second])
    assert recording.name == "session and 1 more"
    assert recording.originals == ["original-1.wav", "original-2.mp3"]
    assert (recording.path / "original-2.mp3").read_bytes() == b"not looked into here"


def test_a_full_queue_leaves_the_file_in_place(owner: User, wav: Path, portal: Path, settings: Any) -> None:
    settings.JOBS_WAITING = 0
    with pytest.raises(jobs.TooManyJobs):
        intake.create_recording(user=owner, name="a.wav", source=wav)
    assert wav.is_file() and not Recording.objects.exists() and not list((portal / "audio").iterdir())


@pytest.mark.parametrize(
    "options",
    [{"engine": "sox"}, {"language": "no language"}, {"speakers": 99}, {"speakers": True}, {"speakers": "2"}, {"x": 1},
     {"speakers": 2, "diarize": False}],
)  # fmt: skip
def test_invalid_options_are_rejected(owner: User, wav: Path, options: dict[str, object]) -> None:
    with pytest.raises(HarkError, match="cannot be transcribed with these options"):
        intake.create_recording(user=owner, name="a.wav", source=wav, options=options)
    assert wav.is_file()


def test_a_file_above_the_limit_gets_413(owner: User, wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_UPLOAD_MAX_BYTES", "1000")
    with pytest.raises(HarkError, match="too large") as refused:
        intake.create_recording(user=owner, name="a.wav", source=wav)
    assert getattr(refused.value, "status", None) == 413 and wav.is_file()


def test_limits_are_shown_on_the_form_and_in_errors(
    owners: Client, owner: User, other: User, wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = owners.get("/recordings/").text
    assert "up to 4 hours and 1000 MB each" in page and 'data-most-seconds="14400"' in page
    monkeypatch.setenv("HARK_UPLOAD_MAX_SECONDS", "2700")
    assert "up to 45 minutes" in owners.get("/recordings/").text
    monkeypatch.setenv("HARK_UPLOAD_MAX_BYTES", "100")
    for user, remedy in ((owner, "set HARK_UPLOAD_MAX_BYTES"), (other, "ask the owner")):
        with pytest.raises(HarkError, match="too large") as error:
            intake.create_recording(user=user, name="a.wav", source=wav)
        assert remedy in error.value.what_to_do
    monkeypatch.delenv("HARK_UPLOAD_MAX_BYTES")
    made = intake.create_recording(user=other, name="a.wav", source=wav)
    assert made.job.spec["owner"] is False
