"""Summaries of transcripts: ``summarize(transcript)``. Every point cites its segments."""

from __future__ import annotations

from dataclasses import replace

from core.errors import HarkError, no_such
from core.worded import worded
from pipeline.recordings.summarization.extractive import Extractive
from pipeline.recordings.summarization.language_model import LanguageModel
from pipeline.recordings.summarization.summary import Point, Sentiment, Summary, as_json, save_summary, words_of
from pipeline.recordings.summarization.transformer import Character, LocalTransformer
from pipeline.recordings.transcripts.transcript import Transcript

__all__ = [
    "Point",
    "Sentiment",
    "Summary",
    "as_json",
    "check_engine",
    "engines",
    "save_summary",
    "summarize",
    "words_of",
]

NOTHING_SPOKEN = "Nothing was said in this recording."
AUTO = "auto"


def engines() -> list[LanguageModel | LocalTransformer | Extractive | Character]:
    """Return all engines, in the order in which ``auto`` prefers them."""
    return [LanguageModel(), LocalTransformer(), Extractive(), Character()]


def check_engine(name: str) -> None:
    """Raise HarkError if no engine of that name works here; "auto" always does."""
    known = {candidate.name: candidate for candidate in engines()}
    if name != AUTO and name not in known:
        raise no_such(worded("summary engine"), name, [AUTO, *known])
    if name != AUTO:
        known[name].available().require(worded("The engine %(engine)s cannot write summaries here.", engine=name))


def summarize(transcript: Transcript, engine: str = AUTO) -> Summary:
    """Summarize a recording.

    Args:
        engine: "auto" or the name of an engine. ``auto`` is the first of these that is ready: the owner's language
            model, a local transformers model, extractive. If one fails, the next one is used, and the summary's
            ``note`` states this.

    Raises HarkError if the engine does not exist, is not ready or, except with ``auto``, fails.
    """
    if not any(segment.text.strip() for segment in transcript.segments):
        return Summary(NOTHING_SPOKEN, (), (), None, engine)
    check_engine(engine)
    known = {candidate.name: candidate for candidate in engines()}
    if engine != AUTO:
        return known[engine].summarize(transcript)
    notes: list[str] = []
    for candidate in known.values():
        if candidate.name == "extractive" or not candidate.available().ok:
            continue
        if candidate.name == "character":  # used only on request, because it writes headlines
            break
        try:
            return replace(candidate.summarize(transcript), note=" ".join(notes))
        except HarkError as error:
            notes.append(f"{candidate.name}: {error.what} {error.why}")
    return replace(known["extractive"].summarize(transcript), note=" ".join(notes))
