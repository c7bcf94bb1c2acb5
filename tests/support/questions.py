"""Thirty questions written from transcripts of real speech, and twelve that these do not answer.

A chapter of LibriSpeech, or a conversation, is a recording, and its utterances are segments. All recordings are
searched together. A question counts as answered if the citations contain the words of the answer (``questions.json``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from benchmark import manifest_rows
from phrase_augmentation.normalize import normalize
from pipeline.recordings.answers.question_answering import Answer, Passage, answer
from pipeline.recordings.language_models.text_similarity import similarities as compare
from pipeline.recordings.transcripts.transcript import Segment, Transcript

QUESTIONS = Path(__file__).with_name("questions.json")
SPEECH = ("librispeech-dev-clean", "librispeech-test-clean-a")
CONVERSATION = "conversation/pyannote/sample.stm"


def read_transcripts(shared: Path) -> dict[str, Transcript]:
    """Return the transcripts behind the questions, by the recording's name."""
    segments: dict[str, dict[str, Segment]] = {}
    names: dict[str, str] = {}
    for corpus in SPEECH:
        for utterance in manifest_rows(shared / "speech" / corpus):
            chapter, number = Path(utterance["audio_filepath"]).stem.rsplit("-", 1)
            start_s = 30.0 * int(number)  # an utterance is shorter; the real times are not known
            segments.setdefault(chapter, {})[number] = Segment(
                start_s, start_s + utterance["duration"], utterance["text"], 1.0
            )
    for row, line in enumerate((shared / CONVERSATION).read_text().splitlines()):
        _, _, speaker, start, end, text = line.split(maxsplit=5)
        names[speaker] = speaker
        segments.setdefault("sample", {})[f"{row:04}"] = Segment(float(start), float(end), text, 1.0, speaker=speaker)
    return {
        name: Transcript(0.0, "en", "people", tuple(rows[number] for number in sorted(rows)), names)
        for name, rows in segments.items()
    }


def ask_all(found: list[Passage]) -> tuple[int, int]:
    """Count the answered questions, and the unanswerable ones that get no answer."""
    asked = json.loads(QUESTIONS.read_text())
    answered = sum(_holds(answer(row["question"], found, None, compare), row["answer"]) for row in asked["answered"])
    without = asked["not_in_the_recordings"]
    return answered, sum(not answer(question, found, None, compare).found for question in without)


def _holds(given: Answer, words: Iterable[str]) -> bool:
    """Return whether the citations contain all words of the answer."""
    said = set(normalize(" ".join(citation.text for citation in given.citations), "en").split())
    return given.found and set(normalize(" ".join(words), "en").split()) <= said
