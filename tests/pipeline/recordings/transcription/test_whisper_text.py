"""``pipeline.recordings.retiming``: words of a text that has replaced what was recognized."""

from __future__ import annotations

from dataclasses import replace

from pipeline.recordings.transcript import Word
from pipeline.recordings.transcription.whisper_text import retimed


def test_words_get_times_by_those_they_replace() -> None:
    words = tuple(Word(text, float(n), n + 0.5, 0.9) for n, text in enumerate("abcd"))
    same = retimed(words, "A, B c. D", 0.0, 4.0)
    assert same == tuple(replace(w, text=t) for w, t in zip(words, ["A,", "B", "c.", "D"]))
    split = retimed(words, "a x y c d", 0.0, 4.0)
    assert [word.text for word in split] == ["a", "x", "y", "c", "d"]
    assert [(word.start_s, word.end_s) for word in split[1:3]] == [(1.0, 1.25), (1.25, 1.5)]
    added = retimed(words, "a new b c d", 0.0, 4.0)
    assert (added[1].start_s, added[1].end_s, added[1].confidence) == (0.5, 1.0, 0.0)
    assert retimed(words, "a new b c d", 0.0, 4.0, confidence=1.0)[1].confidence == 1.0
    assert [word.text for word in retimed(words, "a d", 0.0, 4.0)] == ["a", "d"]
    for text in ("z a b c d e", "", "q r s", "d c b a"):
        starts = [word.start_s for word in retimed(words, text, 0.0, 4.0)]
        assert starts == sorted(starts) and len(starts) == len(text.split())
