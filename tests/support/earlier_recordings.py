"""Recordings and tokens for programs of the earlier systems."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import soundfile
from django.test import Client

from core.audio_file import SAMPLE_RATE
from pipeline.recordings.summarization import words_of
from pipeline.recordings.transcripts.transcript import Segment, Transcript, Word, save_transcript
from webui.accounts.models import User
from webui.accounts.services import create_token
from webui.recordings.models import Recording
from webui.recordings.reading import search
from webui.recordings.transcribing import intake

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
    """Make a transcript in which two people say one sentence each."""
    speakers = ("L", "R") if diarization == "channels" else ("S1", "S2")
    segments = []
    for number, (text, speaker) in enumerate(zip(SAID, speakers)):
        words = text.split()
        start, step = 0.5 + 2 * number, 1.5 / len(words)
        heard = tuple(Word(word, start + i * step, start + (i + 1) * step, 0.9) for i, word in enumerate(words))
        segments.append(Segment(start, start + 1.5, text, 0.9, heard, speaker=speaker if diarization else ""))
    named = {name: name for name in speakers} if diarization else {}
    return Transcript(seconds, "en", "double 1", tuple(segments), named, diarization, {"double": "1"})


def token_text(user: User, *scopes: str) -> str:
    """A new API token."""
    return create_token(user=user, name="test", scopes=scopes or ("read", "train", "audio"))[1]


def program_of(user: User, *scopes: str) -> Client:
    """Return a program with a new token."""
    return Client(headers={"Authorization": f"Bearer {token_text(user, *scopes)}"})


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
        (recording.path / "summary.json").write_text(json.dumps({**summary, "made_of": words_of(transcript)}))
    soundfile.write(recording.path / "audio.flac", np.zeros((4 * SAMPLE_RATE, 2)), SAMPLE_RATE)


Finish = Callable[..., Recording]
