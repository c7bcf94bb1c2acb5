"""The sentences of a transcript, each with its segments."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.recordings.transcripts.transcript import Transcript

MAX_WORDS = 60  # words of a sentence over several segments; a longer one ends with its segment
PAUSE_S = 2.0  # seconds; a longer pause ends a sentence
PUNCTUATED = 0.3  # minimum fraction of segments that end a sentence, if the recognizer writes punctuation

# A dot after a single letter or a title does not end a sentence ("J. Smith", "Dr. Who").
_BOUNDARY = re.compile(r"(?<=[.!?…])(?<!\b[A-Za-z]\.)(?<!\b(?:Mr|Dr|Ms|St|Nr)\.)(?<!\b(?:Mrs)\.)\s+|(?<=[。！？])\s*")
_ENDED = re.compile(r"[.!?…。！？][\"'”’)]*$")
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True)
class Sentence:
    """A sentence of one speaker: the smallest unit that a summary quotes."""

    text: str
    segments: tuple[int, ...]

    @property
    def words(self) -> list[str]:
        """The sentence's words in lower case, without punctuation; in Chinese and Japanese, the characters."""
        return words_of(self.text)


def words_of(text: str) -> list[str]:
    return _TOKEN.findall(text.lower())


def sentences(transcript: Transcript) -> list[Sentence]:
    """Return all sentences in order; without punctuation, each segment is one."""
    texts = [" ".join(segment.text.split()) for segment in transcript.segments]
    numbers = [number for number, text in enumerate(texts) if text]
    punctuated = sum(bool(_ENDED.search(texts[number])) for number in numbers) >= PUNCTUATED * len(numbers)
    result: list[Sentence] = []
    open_text, open_segments = "", list[int]()
    for number in numbers:
        segment = transcript.segments[number]
        before = transcript.segments[open_segments[-1]] if open_segments else None
        if before is not None and (
            segment.speaker != before.speaker
            or segment.start_s - before.end_s > PAUSE_S
            or len(open_text.split()) > MAX_WORDS
        ):
            result.append(Sentence(open_text, tuple(open_segments)))
            open_text, open_segments = "", []
        parts = [part for part in _BOUNDARY.split(texts[number]) if part]
        for part in parts:
            open_text = f"{open_text} {part}".strip()
            open_segments.append(number)
            if _ENDED.search(part) or not punctuated:
                result.append(Sentence(open_text, tuple(dict.fromkeys(open_segments))))
                open_text, open_segments = "", []
    if open_text:
        result.append(Sentence(open_text, tuple(dict.fromkeys(open_segments))))
    return result
