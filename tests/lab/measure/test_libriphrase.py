"""LibriPhrase's rules: word sequences, letter distances, pairs, error rates; on a corpus spoken by espeak."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE, write_audio
from core.errors import HarkError
from core.events import silent_reporter
from db.records import AlignedUnit
from lab.measure import libriphrase
from lab.measure.libriphrase import (
    Clip,
    LargeDetector,
    Pair,
    area_under_curve,
    arpabet,
    bench_libriphrase,
    draw_pairs,
    letter_distances,
    runs,
    score_pairs,
    summary,
)
from lab.metrics import equal_error_rate
from tests.support.untrained_bundle import spoken


def words_at(*rows: tuple[str, float, float], confidence: float = 0.8) -> list[AlignedUnit]:
    return [AlignedUnit("word", word, start, end, confidence) for word, start, end in rows]


def test_phrases_have_no_pause_and_last_half_a_second_to_two() -> None:
    words = words_at(("the", 0.0, 0.2), ("river", 0.2, 0.75), ("was", 1.0, 1.3), ("extraordinarily", 1.3, 3.1))
    found = {clip.text: clip for clip in runs(words, "anna", "a.wav")}
    assert set(found) == {"river", "the river", "extraordinarily"}
    assert found["the river"] == Clip("the river", "anna", "a.wav", 0.0, 0.75)
    assert not list(runs(words_at(("river", 0.2, 0.8), confidence=0.1), "anna", "a.wav"))


def counted(one: str, other: str) -> int:
    """Return the distance of the original code, computed cell by cell."""
    table = {(0, k): k for k in range(len(other) + 1)} | {(k, 0): k for k in range(len(one) + 1)}
    for i, a in enumerate(one, 1):
        for k, b in enumerate(other, 1):
            edits = [step for step in (table[i - 1, k] + 1, table[i, k - 1] + 1) if step > 1]
            table[i, k] = min([*edits, table[i - 1, k - 1] + (a != b)])
    return table[len(one), len(other)]


def test_letter_distances_match_the_original_code() -> None:
    assert letter_distances("ab", ["ab", "a", "b", ""]).tolist() == [0, 2, 1, 2]
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abc"), rng.integers(1, 9))) for _ in range(40)]
    for text in texts[:8]:
        assert letter_distances(text, texts).tolist() == [counted(text, other) for other in texts]
        assert letter_distances(text, texts).tolist() == [counted(other, text) for other in texts]


def test_phones_are_written_in_arpabet() -> None:
    assert arpabet(["the river", "bird", "around", "river"]) == ["DHAH RIHVER", "BERD", "AHRAWND", "RIHVER"]


def made_clips() -> list[Clip]:
    """Eight words and pairs of words by four people each, some by one person only."""
    texts = ("river", "liver", "giver", "mountain", "fountain", "window", "elephant", "shadow")
    several = [(text, speaker) for text in texts for speaker in "abcd"]
    several += [(f"the {text}", speaker) for text in texts[:5] for speaker in "ab"]
    return [Clip(*row, f"{number}.wav", 0.0, 0.6) for number, row in enumerate([*several, ("alone", "a")])]


def test_pairs_follow_the_published_rules() -> None:
    pairs = draw_pairs(made_clips(), 10, seed=1)
    assert pairs == draw_pairs(made_clips(), 10, seed=1) != draw_pairs(made_clips(), 10, seed=2)
    phrases = {pair.phrase for pair in pairs}
    assert Counter(phrase.count(" ") for phrase in phrases) == {0: 6, 1: 3} and "alone" not in phrases
    for phrase in phrases:
        its = [pair for pair in pairs if pair.phrase == phrase]
        positives = [pair.clip for pair in its if pair.kind == "positive"]
        assert {clip.text for clip in positives} == {phrase}
        assert len({clip.speaker for clip in positives}) == len(positives) == (2 if " " in phrase else 3)
        for kind in ("easy", "hard"):
            others = [pair.clip.text for pair in its if pair.kind == kind]
            assert len(set(others)) == 3 and phrase not in others
            assert all(other.count(" ") == phrase.count(" ") for other in others)
        if phrase == "river":
            nearest = {pair.clip.text: pair.letters for pair in its if pair.kind == "hard"}
            assert nearest.items() >= {("liver", 1), ("giver", 1)}


def test_error_rates_match_known_scores() -> None:
    positives, negatives = np.array([1.0, 2, 3, 4]), np.array([-1.0, 0, 0.5, 2.5])
    assert equal_error_rate(positives, negatives) == 0.25 and area_under_curve(positives, negatives) == 14 / 16
    assert equal_error_rate(positives, positives - 10) == 0 and area_under_curve(positives, positives) == 0.5
    clip = Clip("x", "a", "x.wav", 0, 1)
    pairs = [Pair(f"phrase {n}", kind, 3, clip) for n in range(20) for kind in ("positive", "easy", "hard")]
    scores = np.array([{"positive": n, "easy": -1, "hard": 9.5}[p.kind] for n, p in enumerate(pairs)])
    figures = summary(pairs, scores, 0)
    assert figures["easy"]["all"]["eer"] == {"value": 0, "low": 0, "high": 0} and figures["easy"]["all"]["auc"] == 1
    hard = figures["hard"]["3 to 4 letters"]
    assert hard["eer"]["low"] <= hard["eer"]["value"] <= hard["eer"]["high"] and 0.5 < hard["auc"] < 1
    assert set(figures["hard"]) == {"all", "2 words", "3 to 4 letters"}


def test_any_scorer_can_be_measured(tmp_path: Path) -> None:
    audio = np.concatenate([np.full(SAMPLE_RATE, level, np.float32) for level in (0.1, 0.5)])
    write_audio(tmp_path / "a.wav", audio)
    clips = [Clip("x", "a", "a.wav", second + 0.25, second + 0.75) for second in (0, 1)]
    pairs = [Pair(phrase, "easy", 1, clip) for phrase in ("two words", "one") for clip in clips]
    given = score_pairs(pairs, tmp_path, {"level": lambda audio, phrase: len(phrase) * audio.max()}, silent_reporter())
    np.testing.assert_allclose(given["level"], [0.9, 4.5, 0.3, 1.5], rtol=1e-3)


def test_a_synthesized_corpus_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"the {word} stood beside the old house" for word in ("elephant", "mountain", "fountain", "window")]
    (tmp_path / "audio").mkdir()
    rows = []
    for number, text in enumerate(texts * 2):
        write_audio(tmp_path / "audio" / f"{number}.wav", spoken(text))
        rows.append({"audio_filepath": f"audio/{number}.wav", "text": text, "speaker": f"person {number // 4}"})
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr(libriphrase, "RESAMPLES", 20)
    detector = LargeDetector()
    scorers = {"phones": detector.keyword_hmm, "words": detector.second_pass}
    figures = bench_libriphrase(tmp_path, 20, scorers, tmp_path / "lists" / "pairs.tsv", 0, silent_reporter())
    assert figures["phrases"] > 8 and figures["pairs"] > 40
    for kinds in figures["scorers"].values():
        assert kinds["easy"]["all"]["auc"] > 0.9 and kinds["easy"]["all"]["eer"]["value"] < 0.15
    with (tmp_path / "lists" / "pairs.tsv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file, dialect="excel-tab"))
    assert len(written) == figures["pairs"] and {"phrase", "kind", "file", "start_s", "phones"} <= set(written[0])
    gains = [float(row["words"]) - float(row["phones"]) for row in written]
    assert min(gains) < 2.0 and 8.0 < max(gains) < 16.0
    (tmp_path / "file").touch()
    with pytest.raises(HarkError):
        libriphrase.write_pairs([], {}, tmp_path / "file" / "pairs.tsv")
