"""The options of a recording's transcription."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RecordingOptions:
    """A user's choices for a recording, whose fields the portal stores and the job "transcribe" gets as JSON.

    Attributes:
        language: code; None to detect it.
        speakers: number; None to estimate it.
        translate: whether into English.
        session: an earlier system's name of the session that the recording belongs to.
    """

    engine: str = "auto"
    language: str | None = None
    speakers: int | None = None
    diarize: bool = True
    summarize: bool = True
    translate: bool = False
    session: str | None = None
