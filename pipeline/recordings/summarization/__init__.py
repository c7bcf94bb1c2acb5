"""Summaries of transcripts: ``summarize(transcript)``. Every point cites the segments it rests on."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from core.errors import HarkError
from core.readiness import Readiness
from core.worded import listed, worded
from pipeline.recordings.summarization.summary import (
    Point,
    Sentiment,
    Summary,
    as_json,
    save_summary,
    words_of,
)
from pipeline.recordings.transcript import Transcript

__all__ = [
    "Point", "Sentiment", "Summary", "SummaryEngine", "as_json", "engines", "save_summary", "summarize", "words_of",
]  # fmt: skip

NOTHING_SAID = "Nothing was said in this recording."
AUTO = "auto"


class SummaryEngine(Protocol):
    """Who can write a summary."""

    name: str
    licence: str

    def available(self) -> Readiness:
        """Whether it can be used here; fast, loads nothing, never raises."""
        ...

    def summarize(self, transcript: Transcript) -> Summary:
        """The summary of a transcript in which something is said. Raises HarkError."""
        ...


def engines() -> list[SummaryEngine]:
    """All engines, those that ``auto`` prefers first."""
    from pipeline.recordings.summarization.extractive import Extractive
    from pipeline.recordings.summarization.language_model import LanguageModel
    from pipeline.recordings.summarization.transformer import Character, LocalTransformer

    return [LanguageModel(), LocalTransformer(), Extractive(), Character()]


def summarize(transcript: Transcript, engine: str = AUTO) -> Summary:
    """What a recording comes down to.

    Args:
        engine: "auto" or the name of an engine. ``auto`` is the language model that the owner has set up, else a
            local transformers model that is here, else extractive; where the first of them fails, the next one writes,
            and the summary's ``note`` says so.

    Raises:
        HarkError: there is no such engine, it is not ready, or it failed (not with ``auto``).
    """
    known = {found.name: found for found in engines()}
    if engine != AUTO and engine not in known:
        raise HarkError(
            worded("The summary cannot be written."),
            worded("There is no engine %(engine)s for summaries.", engine=repr(engine[:40])),
            worded("Choose one of %(engines)s.", engines=listed([AUTO, *known])),
        )
    if not any(segment.text.strip() for segment in transcript.segments):
        return Summary(NOTHING_SAID, (), (), None, engine)
    if engine != AUTO:
        ready = known[engine].available()
        if not ready.ok:
            raise HarkError(
                worded("The engine %(engine)s cannot write summaries here.", engine=engine),
                ready.why,
                ready.how_to_enable,
            )
        return known[engine].summarize(transcript)
    notes: list[str] = []
    for found in known.values():
        if found.name == "extractive" or not found.available().ok:
            continue
        if found.name == "character":  # only where somebody asks for it: it writes headlines
            break
        try:
            return replace(found.summarize(transcript), note=" ".join(notes))
        except HarkError as error:
            notes.append(f"{found.name}: {error.what} {error.why}")
    return replace(known["extractive"].summarize(transcript), note=" ".join(notes))
