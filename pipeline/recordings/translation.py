"""Translation of transcripts by the owner's language model. Times and speakers remain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.worded import worded
from pipeline.recordings.files.recording_folder import TRANSLATIONS
from pipeline.recordings.language_models import llm
from pipeline.recordings.summarization.language_model import segment_rows, texts_by_segment
from pipeline.recordings.transcripts.transcript import Transcript

TIMES, MORE = 4, 100  # maximum characters of a translation: this many times the original, plus this many
TASK = (
    "Translate the text of each segment into {language}. Translate what was said, all of it and nothing else; names of "
    "people and things stay. Answer with this JSON object, with every segment of the data once: "
    '{{"segments": [{{"segment": its number, "text": "the translated text"}}]}}.'
)


def translation_file(folder: Path, language: str) -> Path:
    return folder / TRANSLATIONS / f"{language}.json"


def translate(transcript: Transcript, language: str, name: str) -> Transcript:
    """Translate a transcript into a language (its code, and its English name for the model).

    Segments keep their times and speakers, but lose the times of words. Raises HarkError if no language model is set
    up, or its answers are invalid.
    """
    chosen = llm.needed(worded("The transcript cannot be translated."))
    translated = ["" for _ in transcript.segments]
    for rows in segment_rows(transcript, chosen.part_characters):
        pieces = [{**row, "segment": number} for number, row in enumerate(rows)]  # a long segment has several rows
        translations = llm.ask(TASK.format(language=name), pieces, _checked([row["text"] for row in rows]), chosen)
        for number, row in enumerate(rows):
            translated[row["segment"]] = f"{translated[row['segment']]} {translations[number]}".strip()
    segments = tuple(
        replace(segment, text=text, words=(), language=language)
        for segment, text in zip(transcript.segments, translated, strict=True)
    )
    versions = {**transcript.versions, "translation": chosen.model}
    return replace(transcript, segments=segments, language=language, versions=versions)


def _checked(texts: list[str]) -> Callable[[Any], dict[int, str]]:
    in_order = texts_by_segment(range(len(texts)))

    def check(answer: Any) -> dict[int, str]:
        translations = in_order(answer)
        for number, text in enumerate(texts):
            if not translations[number] or len(translations[number]) > TIMES * len(text) + MORE:
                raise ValueError(f"segment {number} is empty, or much longer than the original")
        return translations

    return check
