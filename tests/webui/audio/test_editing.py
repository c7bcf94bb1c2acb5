"""``webui.audio.editing``: words of a corrected segment, citations of a summary."""

from __future__ import annotations

import pytest

from pipeline.recordings.transcript import Segment, Word
from webui.audio.editing import corrected, without_segment


def test_unchanged_words_keep_their_times() -> None:
    words = tuple(Word(text, i * 1.0, i + 0.8, 0.4) for i, text in enumerate(["the", "hole", "ship", "sank"]))
    new = corrected(Segment(0.0, 4.0, "the hole ship sank", 0.4, words), "The whole old ship sank today.")
    assert new.edited and new.text == "The whole old ship sank today."
    assert [word.text for word in new.words] == ["The", "whole", "old", "ship", "sank", "today."]
    assert (new.words[0].start_s, new.words[0].confidence) == (0.0, 0.4)
    assert (new.words[1].start_s, new.words[2].end_s, new.words[1].confidence) == (1.0, 1.8, 1.0)
    assert new.words[3] == words[2] and (new.words[5].start_s, new.words[5].end_s) == (3.8, 4.0)
    starts = [word.start_s for word in new.words]
    assert starts == sorted(starts) and all(word.start_s <= word.end_s for word in new.words)


@pytest.mark.parametrize("text", ["entirely different words here", "hole", "ship the hole", "a the hole ship sank"])
def test_times_of_words_ascend(text: str) -> None:
    words = tuple(Word(part, i * 1.0, i + 0.8, 0.4) for i, part in enumerate(["the", "hole", "ship", "sank"]))
    new = corrected(Segment(0.0, 4.0, "the hole ship sank", 0.4, words), text)
    edges = [edge for word in new.words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges) and edges[0] >= 0.0 and edges[-1] <= 4.0
    assert " ".join(word.text for word in new.words) == text


def test_without_segment_renumbers_citations() -> None:
    summary = {"text": "t", "segments": [3], "key_points": [], "action_items": [], "engine": "e"}
    assert without_segment(summary, 1) == {**summary, "segments": [2]}
