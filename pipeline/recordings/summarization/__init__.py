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
    """Return all engines. ``auto`` never uses the last one, because it writes headlines."""
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
    if engine != AUTO:
        return next(known for known in engines() if known.name == engine).summarize(transcript)
    notes: list[str] = []
    for model in (LanguageModel(), LocalTransformer()):
        if model.available().ok:
            try:
                return replace(model.summarize(transcript), note=" ".join(notes))
            except HarkError as error:
                notes.append(f"{model.name}: {error.what} {error.why}")
    return replace(Extractive().summarize(transcript), note=" ".join(notes))
