"""Summaries by the owner's language model. It summarizes long recordings in parts, and merges the summaries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from core.readiness import Readiness
from core.worded import worded
from pipeline.recordings.language_models import llm
from pipeline.recordings.language_models.llm import LlmSettings
from pipeline.recordings.summarization.summary import SENTIMENTS, Point, Sentiment, Summary
from pipeline.recordings.transcripts.transcript import Transcript

MAX_TEXT_LENGTH = 4_000  # maximum characters of the summary's text
MAX_POINT_LENGTH = 600
MAX_POINTS = 20
MERGED_AT_ONCE = 8  # summaries of parts per request

_FORM = (
    "Answer with this JSON object, in the language of the data: "
    '{"summary": "two to five sentences", "segments": [numbers of the segments that the summary rests on], '
    '"key_points": [{"text": "one sentence", "segments": [numbers of the segments that say it]}], '
    '"action_items": [{"text": "who does what by when", "segments": [numbers]}], '
    '"sentiment": {"label": "negative, neutral or positive", "score": a number from -1 to 1}}. '
    'At most 8 key points. "action_items" may be empty: only what somebody said they or others shall do. Every point '
    "cites at least one segment; cite only numbers that are in the data."
)
SUMMARIZE = f"Summarize this part of a recording; the data are its segments. {_FORM}"
MERGE = (
    "These are summaries of the consecutive parts of one recording. Make one summary of the whole out of them, keeping "
    f"the numbers of segments that they cite. {_FORM}"
)


class LanguageModel:
    name = "llm"
    licence = "that of the model"

    def available(self) -> Readiness:
        return llm.available()

    def summarize(self, transcript: Transcript) -> Summary:
        """Summarize a transcript. Raises HarkError if the model cannot be reached, or gives two invalid answers."""
        chosen = llm.needed(worded("The summary cannot be written."))
        partial = [
            llm.ask(SUMMARIZE, rows, _checked(rows, transcript.text, chosen), chosen)
            for rows in segment_rows(transcript, chosen.part_characters)
        ]
        while len(partial) > 1:
            partial = [
                merged
                for start in range(0, len(partial), MERGED_AT_ONCE)
                for merged in [_merged(partial[start : start + MERGED_AT_ONCE], transcript.text, chosen)]
            ]
        return partial[0]


def segment_rows(transcript: Transcript, characters: int) -> Iterator[list[dict[str, Any]]]:
    """Yield parts of the transcript of about ``characters`` characters, as rows of data; cut longer segments."""
    rows: list[dict[str, Any]] = []
    length = 0
    for number, segment in enumerate(transcript.segments):
        text = " ".join(segment.text.split())
        for start in range(0, len(text), characters):
            piece = text[start : start + characters]
            if rows and length + len(piece) > characters:
                yield rows
                rows, length = [], 0
            speaker = transcript.speaker_name(segment.speaker)
            rows.append({"segment": number, **({"speaker": speaker} if speaker else {}), "text": piece})
            length += len(piece)
    if rows:
        yield rows


def texts_by_segment(numbers: Collection[int]) -> Callable[[Any], dict[int, str]]:
    """Return a check that turns an answer into texts by segment, or raises ValueError for missing or other segments."""

    def check(answer: Any) -> dict[int, str]:
        rows = answer["segments"]
        texts = {row["segment"]: row["text"] for row in rows}
        if len(rows) != len(numbers) or set(texts) != set(numbers):
            raise ValueError(f"it must have the {len(numbers)} segments of the data, each once")
        if not all(isinstance(text, str) for text in texts.values()):
            raise ValueError("a text is missing")
        return {number: " ".join(text.split()) for number, text in texts.items()}

    return check


def _merged(partial: Sequence[Summary], source: str, chosen: LlmSettings) -> Summary:
    if len(partial) == 1:
        return partial[0]
    rows = [
        {
            "part": number,
            "summary": summary.text,
            "segments": summary.segments,
            "key_points": [{"text": p.text, "segments": p.segments} for p in summary.key_points],
            "action_items": [{"text": p.text, "segments": p.segments} for p in summary.action_items],
            "sentiment": summary.sentiment.score if summary.sentiment else 0.0,
        }
        for number, summary in enumerate(partial, 1)
    ]
    return llm.ask(MERGE, rows, _checked(rows, source, chosen), chosen)


def _checked(rows: Sequence[Mapping[str, Any]], source: str, chosen: LlmSettings) -> Callable[[Any], Summary]:
    """Return a check that turns an answer on these rows into a Summary, or raises ValueError for unknown sources."""
    allowed = set(_numbers(rows))

    def points(value: Any) -> tuple[Point, ...]:
        if not isinstance(value, list) or len(value) > MAX_POINTS:
            raise ValueError(f"points must be a list of at most {MAX_POINTS}")
        return tuple(
            Point(
                llm.checked_text(row["text"], MAX_POINT_LENGTH, source), llm.checked_numbers(row["segments"], allowed)
            )
            for row in value
        )

    def check(answer: Any) -> Summary:
        if not isinstance(answer, dict):
            raise ValueError("the answer is not a JSON object")
        feeling = answer["sentiment"]
        if feeling["label"] not in SENTIMENTS or not -1 <= float(feeling["score"]) <= 1:
            raise ValueError(f"a sentiment must be one of {', '.join(SENTIMENTS)}, with a score from -1 to 1")
        return Summary(
            text=llm.checked_text(answer["summary"], MAX_TEXT_LENGTH, source),
            key_points=points(answer["key_points"]),
            action_items=points(answer["action_items"]),
            sentiment=Sentiment(feeling["label"], round(float(feeling["score"]), 3)),
            engine=f"llm {chosen.model}",
            segments=llm.checked_numbers(answer["segments"], allowed),
        )

    return check


def _numbers(rows: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    for row in rows:
        if "segment" in row:
            yield row["segment"]
        yield from row.get("segments", ())
        for kind in ("key_points", "action_items"):
            for point in row.get(kind, ()):
                yield from point["segments"]
