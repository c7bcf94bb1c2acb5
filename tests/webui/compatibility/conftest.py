"""Programs of the earlier systems, and doubles of recognizers and summarizers."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.audio_file import SAMPLE_RATE
from pipeline.recordings.summarization import Summary, summarize
from pipeline.recordings.transcript import Segment, Transcript, Word, save_transcript
from pipeline.recordings.transcription.transcribe import transcribe
from webui.accounts.models import User
from webui.accounts.services import create_token
from webui.audio import intake, job_results, search
from webui.audio.models import Recording
from webui.jobs.models import Job

SAID = ("We ship the compass on Friday.", "Then the budget is fine.")
SUMMARY: dict[str, Any] = {
    "text": SAID[0],
    "key_points": [{"text": SAID[0], "segments": [0]}],
    "action_items": [],
    "sentiment": {"label": "positive", "score": 0.4},
    "engine": "double",
    "segments": [0],
    "note": "",
}


def transcript_of(seconds: float = 4.0, diarization: str = "") -> Transcript:
    """Make a transcript of two people who say a sentence each."""
    speakers = ("L", "R") if diarization == "channels" else ("S1", "S2")
    segments = []
    for number, (text, speaker) in enumerate(zip(SAID, speakers)):
        words = text.split()
        start, step = 0.5 + 2 * number, 1.5 / len(words)
        heard = tuple(Word(word, start + i * step, start + (i + 1) * step, 0.9) for i, word in enumerate(words))
        segments.append(Segment(start, start + 1.5, text, 0.9, heard, speaker=speaker if diarization else ""))
    named = {name: name for name in speakers} if diarization else {}
    return Transcript(seconds, "en", "double 1", tuple(segments), named, diarization, {"double": "1"})


@pytest.fixture
def token(owner: User) -> dict[str, str]:
    """The header of a program whose token has all scopes but admin."""
    return {"Authorization": f"Bearer {token_text(owner)}"}


def token_text(user: User, *scopes: str) -> str:
    """A new API token."""
    return create_token(user=user, name="test", scopes=scopes or ("read", "train", "audio"))[1]


@pytest.fixture
def recording_file(tmp_path: Path) -> Path:
    """Two seconds of noise in two channels, at 44.1 kHz."""
    noise = 0.05 * np.random.default_rng(0).standard_normal((88200, 2))
    path = tmp_path / "call.wav"
    soundfile.write(path, noise, 44100)
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The calls of the speech service, in whose place a double answers after a look at the file."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def call(timeout_s: float, function: Any, given: Any, *more: Any) -> Transcript | Summary:
        if function is transcribe:
            calls.append(("transcribe", {**vars(more[0]), "audio_file": given}))
            facts = soundfile.info(given)
            assert facts.samplerate == SAMPLE_RATE and facts.format == "FLAC"
            return transcript_of(facts.duration)
        assert function is summarize
        calls.append(("summarize", {"transcript": given}))
        return Summary(given.segments[0].text, (), (), None, "double")

    monkeypatch.setattr("pipeline.recordings.speech_client.call", call)
    return calls


def ready_recording(user: User, name: str = "meeting.mp3") -> Recording:
    """Make a recording with a transcript and a summary, but without a job."""
    identifier = uuid.uuid4()
    made = Recording.objects.create(
        id=identifier, user=user, name=name, folder=f"audio/{identifier}", options=intake.checked_options({}),
        state=Recording.State.READY, version=1, language="en", engine="double 1", speakers=2, words=11, duration_s=4.0,
        channels=2,
    )  # fmt: skip
    made.path.mkdir(parents=True)
    write_results(made, transcript_of(diarization="acoustic"), SUMMARY)
    search.index(made, transcript_of(diarization="acoustic"))
    return made


def write_results(recording: Recording, transcript: Transcript, summary: dict[str, Any] | None) -> None:
    """Write the files that the job of a recording leaves."""
    save_transcript(transcript, recording.path / "transcript.json")
    (recording.path / "transcript.txt").write_text(transcript.text)
    if summary is not None:
        (recording.path / "summary.json").write_text(json.dumps(summary))
    soundfile.write(recording.path / "audio.flac", np.zeros((4 * SAMPLE_RATE, 2)), SAMPLE_RATE)


Finish = Callable[..., Recording]


@pytest.fixture
def finish() -> Finish:
    """Do the job of a recording at once: ``finish(recording, diarization="channels")``."""

    def do(recording: Recording, diarization: str = "acoustic", summary: dict[str, Any] | None = SUMMARY) -> Recording:
        write_results(recording, transcript_of(diarization=diarization), summary)
        job = recording.job
        assert job is not None
        result = {"channels": 2, "words": 11, "duration_s": 4.0}
        Job.objects.filter(pk=job.pk).update(state=Job.State.DONE, result=result)
        job.refresh_from_db()
        job_results.transcribed(job)
        recording.refresh_from_db()
        assert recording.state == Recording.State.READY
        return recording

    return do
