"""Programs of the earlier systems, and stand-ins for recognizers and summarizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from django.test import Client

from core.audio_file import SAMPLE_RATE
from pipeline.recordings.summarization import Summary, summarize
from pipeline.recordings.transcribing import transcribed
from pipeline.recordings.transcripts.transcript import Transcript
from tests.support.earlier_recordings import SUMMARY, Finish, program_of, transcript_of, write_results
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.recordings import job_results
from webui.recordings.models import Recording


@pytest.fixture
def program(owner: User) -> Client:
    """A program of the owner's, whose token has all scopes but admin."""
    return program_of(owner)


@pytest.fixture
def recording_file(tmp_path: Path) -> Path:
    """Two seconds of noise in two channels, at 44.1 kHz."""
    noise = 0.05 * np.random.default_rng(0).standard_normal((88200, 2))
    path = tmp_path / "call.wav"
    soundfile.write(path, noise, 44100)
    return path


@pytest.fixture
def by_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a job of each recording, although it is short."""
    monkeypatch.setattr("webui.compatibility.transcribing.AT_ONCE_S", 0.5)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The calls of the speech service, in whose place a double answers after a look at the file."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def call(timeout_s: float, function: Any, given: Any, *options: Any, **more: Any) -> Transcript | Summary:
        if function is transcribed:
            calls.append(("transcribe", {**vars(options[0]), **more, "audio_file": given}))
            facts = soundfile.info(given)
            assert facts.samplerate == SAMPLE_RATE and facts.format == "FLAC"
            return transcript_of(facts.duration)
        assert function is summarize
        calls.append(("summarize", {"transcript": given}))
        return Summary(given.segments[0].text, (), (), None, "double")

    monkeypatch.setattr("pipeline.speech_service.client.call", call)
    return calls


@pytest.fixture
def finish() -> Finish:
    """Do the job of a recording immediately: ``finish(recording, diarization="channels")``."""

    def do(recording: Recording, diarization: str = "acoustic", summary: dict[str, Any] | None = SUMMARY) -> Recording:
        write_results(recording, transcript_of(diarization=diarization), summary)
        job = recording.job
        result = {"channels": 2, "words": 11, "duration_s": 4.0, "language": "en", "engine": "double 1", "speakers": 2}
        Job.objects.filter(pk=job.pk).update(state=Job.State.DONE, result=result)
        job.refresh_from_db()
        job_results.transcribed(job)
        recording.refresh_from_db()
        assert recording.state == Recording.State.READY
        return recording

    return do
