"""Transcripts in other languages."""

from __future__ import annotations

import json

import pytest

from core.errors import HarkError
from pipeline.recordings.transcripts.transcript import Segment, Transcript, Word
from pipeline.recordings.translation import translate
from tests.support.llm_double import MODEL, Double, data_of, unset

TALK = Transcript(
    30.0, "en", "test",
    (
        Segment(0.0, 2.0, "Hello Ben.", 0.9, (Word("Hello", 0.0, 1.0, 0.9),), speaker="S1"),
        Segment(3.0, 9.0, "a " * 40, 0.9),
    ),
)  # fmt: skip


def answer(*texts: str) -> str:
    return json.dumps({"segments": [{"segment": number, "text": text} for number, text in enumerate(texts)]})


def test_translation_preserves_times_and_speakers(double: Double) -> None:
    double.says(answer("Hallo Ben.", "ein " * 40))
    translated = translate(TALK, "de", "German")
    assert [segment.text for segment in translated.segments] == ["Hallo Ben.", ("ein " * 40).strip()]
    assert [(one.start_s, one.end_s, one.speaker) for one in translated.segments] == [
        (one.start_s, one.end_s, one.speaker) for one in TALK.segments
    ]
    assert translated.language == "de" and all(not one.words for one in translated.segments)
    assert translated.versions["translation"] == MODEL
    assert "into German" in double.requests[0]["messages"][1]["content"]


def test_a_too_long_segment_is_translated_in_parts(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_LLM_PART_CHARACTERS", "40")

    def capitals(messages: list[dict[str, str]]) -> str:
        return answer(*(row["text"].upper() for row in data_of(messages)))

    double.says(capitals)
    translated = translate(TALK, "de", "German")
    assert translated.segments[1].text.split() == ["A"] * 40 and len(double.requests) > 1


@pytest.mark.parametrize(
    "said", [answer("Hallo."), answer("Hallo.", ""), answer("x" * 1000, "b"), json.dumps({}), "no JSON"]
)
def test_invalid_translations_are_rejected(double: Double, said: str) -> None:
    double.says(said)
    with pytest.raises(HarkError, match="no usable answer"):
        translate(TALK, "de", "German")


def test_a_translation_needs_a_language_model(monkeypatch: pytest.MonkeyPatch) -> None:
    unset(monkeypatch)
    with pytest.raises(HarkError, match="cannot be translated"):
        translate(TALK, "de", "German")
