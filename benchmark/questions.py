"""Answers to thirty questions that were written from transcripts of real speech, and what is said to twelve others.

A chapter of LibriSpeech, or a conversation, is a recording and its utterances are segments; all recordings are searched
together. A question counts as answered where what is cited holds the words of the answer (``questions.json``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmark import BenchOptions, Figures, manifest_rows, shared_folder
from core.errors import HarkError
from core.events import Progress, Reporter
from phrase_augmentation.normalize import normalize
from pipeline.recordings.question_answering import (
    READER,
    Answer,
    Passage,
    Read,
    answer,
    passages,
    read_operation,
)
from pipeline.recordings.text_similarity import operation as compare
from pipeline.recordings.transcript import Segment, Transcript

QUESTIONS = Path(__file__).with_name("questions.json")
SPEECH = ("librispeech-dev-clean", "librispeech-test-clean-a")
CONVERSATION = "conversation/pyannote/sample.stm"


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Ask them all, by retrieval alone and, where its weights are here, with the model that reads."""
    reporter.stage("questions", "Reading the transcripts")
    recordings = read_transcripts(shared_folder())
    found = [passage for name, transcript in recordings.items() for passage in passages(name, transcript)]
    utterances = sum(len(transcript.segments) for transcript in recordings.values())
    figures: Figures = {"recordings": len(recordings), "segments": utterances, "passages": len(found)}
    figures["best_sentence"] = ask_all(found, None, reporter)
    folder = READER.folder()
    figures["reader"] = {"model": folder.name, **ask_all(found, read_operation, reporter)} if folder else None
    return figures


def read_transcripts(shared: Path) -> dict[str, Transcript]:
    """All transcripts that the questions were written from, by the recording's name.

    Raises HarkError where they are not there.
    """
    segments: dict[str, dict[str, Segment]] = {}
    names: dict[str, str] = {}
    try:
        for corpus in SPEECH:
            for utterance in manifest_rows(shared / "speech" / corpus):
                identifier = Path(utterance["audio_filepath"]).stem
                chapter, number = identifier.rsplit("-", 1)
                start_s = 30.0 * int(number)  # an utterance is shorter; the real times are not known
                segments.setdefault(chapter, {})[number] = Segment(
                    start_s, start_s + utterance["duration"], utterance["text"], 1.0
                )
        for row, line in enumerate((shared / CONVERSATION).read_text().splitlines()):
            _, _, speaker, start, end, text = line.split(maxsplit=5)
            names[speaker] = speaker
            segments.setdefault("sample", {})[f"{row:04}"] = Segment(
                float(start), float(end), text, 1.0, speaker=speaker
            )
    except OSError as error:
        raise HarkError(
            "The transcripts that the questions are about are not there.",
            f"{error.filename} cannot be read.",
            "Point HARK_SHARED at a folder laid out like it (speech/, conversation/).",
        ) from error
    return {
        name: Transcript(0.0, "en", "people", tuple(rows[number] for number in sorted(rows)), names)
        for name, rows in segments.items()
    }


def ask_all(found: list[Passage], read: Read | None, reporter: Reporter) -> dict[str, Any]:
    """How many of the questions are answered, and how many of those that have no answer are not."""
    asked = json.loads(QUESTIONS.read_text())
    progress = Progress(reporter, len(asked["answered"]) + len(asked["not_in_the_recordings"]))
    missed, taken = [], []
    for row in asked["answered"]:
        started = time.monotonic()
        given = answer(row["question"], found, read, compare)
        taken.append(time.monotonic() - started)
        if not holds(given, row["answer"]):
            missed.append({"question": row["question"], "answer": given.text})
        progress.advance()
    invented = []
    for question in asked["not_in_the_recordings"]:
        given = answer(question, found, read, compare)
        if given.found:
            invented.append({"question": question, "answer": given.text})
        progress.advance()
    return {
        "questions": len(asked["answered"]),
        "answered": len(asked["answered"]) - len(missed),
        "without_an_answer": len(asked["not_in_the_recordings"]),
        "said_not_in_the_recording": len(asked["not_in_the_recordings"]) - len(invented),
        "seconds_a_question": round(sum(taken) / len(taken), 3),
        "missed": missed,
        "invented": invented,
    }


def holds(given: Answer, words: Iterable[str]) -> bool:
    """Whether what is cited holds all words of the answer."""
    said = set(normalize(" ".join(citation.text for citation in given.citations), "en").split())
    return given.found and set(normalize(" ".join(words), "en").split()) <= said
