"""Schemas of the API's operations on recordings. Their examples appear in its documentation."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field, Schema
from pydantic import AliasChoices

from pipeline.recordings.transcripts.captions import FORMATS
from webui.api.schemas import JOB_ID, OWNER, SHARED_WITH, WHEN, Explained, RequestBody, name_of_user

RECORDING_ID = "0c1f6a52-4f0e-4b7e-9a53-1a2b3c4d5e6f"
SAID = "We ship the compass on Friday."

ExportFormat = Literal[*FORMATS]  # type: ignore[valid-type]


class RecordingOut(Schema):
    """A recording and the state of its transcription."""

    id: UUID = Field(examples=[RECORDING_ID])
    name: str = Field(examples=["meeting.mp3"])
    state: str = Field(
        validation_alias=AliasChoices("now", "state"),
        description="uploaded, working, ready or failed.",
        examples=["ready"],
    )
    seconds: float | None = Field(
        validation_alias=AliasChoices("duration_s", "seconds"),
        description="null until it has been decoded.",
        examples=[62.5],
    )
    channels: int | None = Field(examples=[2])
    language: str = Field(examples=["en"])
    engine: str = Field(
        description="The engine that wrote the transcript, with its model.", examples=["faster-whisper small"]
    )
    speakers: int = Field(examples=[2])
    words: int = Field(examples=[143])
    version: int = Field(
        description="Version of the transcript, increased by each change; 0: no transcript yet.", examples=[1]
    )
    bytes: int = Field(examples=[998_400])
    options: dict[str, Any] = Field(examples=[{"engine": "auto", "language": None, "diarize": True}])
    job: UUID | None = Field(validation_alias=AliasChoices("job_id", "job"), examples=[JOB_ID])
    error: Explained | None = Field(description="Why the transcript is missing.", examples=[None])
    user: str = OWNER
    organization: int | None = SHARED_WITH
    created_at: datetime = Field(examples=[WHEN])

    resolve_user = staticmethod(name_of_user)


class TranscriptOut(Schema):
    """A transcript: segments with words, times [s], speakers and confidences (0 to 1)."""

    duration_s: float = Field(examples=[62.5])
    language: str = Field(examples=["en"])
    engine: str = Field(examples=["faster-whisper small"])
    diarization: str = Field(description="channels, acoustic, pyannote, or nothing.", examples=["acoustic"])
    speakers: dict[str, str] = Field(description="The name of each speaker.", examples=[{"S1": "Paula"}])
    sounds_like: dict[str, str] = Field(
        {}, description="The remembered voice that an unnamed speaker sounds like.", examples=[{"S2": "Anna"}]
    )
    versions: dict[str, str] = Field(examples=[{"faster-whisper": "1.2.1"}])
    segments: list[dict[str, Any]] = Field(
        examples=[
            [
                {
                    "start_s": 0.5, "end_s": 2.0, "text": SAID, "confidence": 0.9, "language": "", "speaker": "S1",
                    "overlap": False, "edited": False,
                    "words": [{"text": "We", "start_s": 0.5, "end_s": 0.7, "confidence": 0.9}],
                }
            ]
        ]
    )  # fmt: skip


class SpeakersIn(RequestBody):
    """The number of speakers."""

    speakers: int | None = Field(None, ge=1, le=20, description="None: estimated.", examples=[2])


class SpeakerIn(RequestBody):
    """The name of a speaker."""

    name: str = Field(max_length=100, description='"" restores the id.', examples=["Paula"])


class VoiceIn(RequestBody):
    """A voice to remember."""

    name: str = Field("", max_length=100, description='"": the name of the speaker.', examples=["Paula"])
    consent: bool = Field(description="The person has consented.", examples=[True])


class VoicesOut(Schema):
    """The names of remembered voices."""

    voices: list[str] = Field(examples=[["Paula"]])


class PassageSpeakerIn(RequestBody):
    """The speaker of a passage."""

    speaker: str | None = Field(
        description='A speaker id of the transcript; "": unknown; null: a new speaker.', examples=["S1"]
    )
    from_word: int = Field(
        0, ge=0, description="The first word of the second part; the passage is split there.", examples=[0]
    )
    all_of_theirs: bool = Field(False, description="Also all other passages of its current speaker.", examples=[False])


class PointOut(Schema):
    """A sentence and the numbers (from 0) of its segments."""

    text: str = Field(examples=[SAID])
    segments: list[int] = Field(examples=[[0]])


class SentimentOut(Schema):
    """The sentiment, and a score from -1 to 1."""

    label: str = Field(examples=["positive"])
    score: float = Field(examples=[0.4])


class RecordingSummaryOut(Schema):
    """The summary of a recording."""

    text: str = Field(examples=[SAID])
    segments: list[int] = Field(description="The segments that the text is based on.", examples=[[0]])
    key_points: list[PointOut]
    action_items: list[PointOut]
    sentiment: SentimentOut | None = Field(description="null if unknown.")
    engine: str = Field(examples=["extractive LexRank"])
    note: str = Field(description="How the answer was written, if that matters.", examples=[""])


class HitOut(Schema):
    """A segment that contains the words."""

    recording: UUID = Field(examples=[RECORDING_ID])
    name: str = Field(examples=["meeting.mp3"])
    segment: int = Field(examples=[0])
    start_s: float = Field(examples=[0.5])
    end_s: float = Field(examples=[2.0])
    speaker: str = Field(examples=["Paula"])
    text: str = Field(examples=[SAID])


class HitsOut(Schema):
    """Segments, best first."""

    items: list[HitOut]


class QuestionIn(RequestBody):
    """A question about one recording or all."""

    question: str = Field(max_length=4000, examples=["When do we ship the compass?"])
    recording: UUID | None = Field(None, description="null: all of your recordings.", examples=[None])


class AnswerOut(Schema):
    """An answer with its citations; without an answer, the passages nearest to the question."""

    question: str = Field(examples=["When do we ship the compass?"])
    text: str = Field(examples=[SAID])
    found: bool = Field(examples=[True])
    how: str = Field(
        description="language model (it wrote the text), reader (a model marked it), best sentence, nearest (no model "
        "has checked the passages), or nothing.",
        examples=["best sentence"],
    )
    score: float = Field(examples=[0.8])
    citations: list[HitOut]
    nearest: list[HitOut] = Field(description="If nothing was found: the closest passages, best first.", examples=[[]])
    note: str = Field(
        description="Why the configured language model was not used, or which model might find more.", examples=[""]
    )
