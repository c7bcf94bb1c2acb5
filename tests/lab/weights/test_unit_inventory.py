"""The shipped unit inventory: its making, its format, and its present contents."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from audio_generation.splice_side.inventory import SHIPPED, shipped_people, shipped_recordings
from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from db.db_api import Library
from db.records import AlignedUnit, NewClip, real_speaker
from lab.weights import unit_inventory as unit_inventory
from lab.weights.unit_inventory import Speaker, Stretch, build, chosen_stretches, pairs_of_vocabulary, stretches
from model.asr.emissions import Aligner
from pipeline.corpora import alignment
from pipeline.corpora.alignment import Alignment, align, align_people
from pipeline.scoring.keyword_scoring import intelligible
from tests.support.constants import replace_in
from tests.support.sounds import noise
from tests.support.spoken_words import joined, say

MAX_BYTES = 6_000_000  # bytes


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


def units(level: str, *rows: tuple[str, float, float]) -> tuple[AlignedUnit, ...]:
    return tuple(AlignedUnit(level, label, start, end, 0.9) for label, start, end in rows)


def stretch(name: str, labels: str, seed: int = 0) -> Stretch:
    """Make a recording of one phone for each letter, 0.1 s each."""
    phones = [(label, 0.2 + 0.1 * n, 0.3 + 0.1 * n) for n, label in enumerate(labels)]
    end = phones[-1][2]
    return Stretch(name, noise(end + 0.2, seed), units("word", (labels, 0.2, end)), units("phone", *phones))


def test_recordings_are_cut_at_pauses_and_alignments_are_shifted() -> None:
    words = units("word", ("see", 0.5, 1.0), ("me", 1.05, 1.6), ("now", 2.6, 3.5), ("oh", 5.0, 5.1))
    phones = units("phone", ("s", 0.5, 0.7), ("i", 0.7, 1.0), ("m", 1.05, 1.2), ("i", 1.2, 1.6), ("n", 2.6, 3.0),
                   ("aʊ", 3.0, 3.5), ("oʊ", 5.0, 5.1))  # fmt: skip
    audio = noise(6.0)
    first, second = stretches("r", audio, Alignment(words, phones, 0.9))  # the last stretch, "oh", is too short
    assert [w.label for w in first.words] == ["see", "me"] and [w.label for w in second.words] == ["now"]
    assert (first.name, second.name) == ("r+0.30", "r+2.40")
    assert [(p.label, p.start_s) for p in second.phones] == [("n", 0.2), ("aʊ", 0.6)]
    start = round(0.3 * SAMPLE_RATE)
    assert np.array_equal(first.audio, audio[start : start + len(first.audio)])


def test_segments_with_missing_phone_pairs_are_chosen_first() -> None:
    parts = [stretch("same", "nana"), stretch("again", "nana"), stretch("other", "siti")]
    weights: Counter[tuple[str, str]] = Counter({pair: 1 for part in parts for pair in part.pairs})
    chosen = chosen_stretches(Speaker("x", "c", "CC0-1.0", tuple(parts)), weights, seconds=1.7)
    assert {part.name for part in chosen} == {"same", "other"}
    vocabulary = pairs_of_vocabulary(500)
    assert vocabulary["ð", "ə"] > 0 and vocabulary["", "s"] > vocabulary["", "ʒ"]


def test_an_inventory_round_trips_with_speakers_and_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aligner: Aligner
) -> None:
    people = [
        Speaker(f"p{n}", "corpus", "CC0-1.0", tuple(stretch(f"r{n}-{i}", "nasitu", 9 * n + i) for i in range(3)))
        for n in range(4)
    ]
    monkeypatch.setattr(unit_inventory, "understood", lambda speaker, *_: {"p0": 0.1}.get(speaker.name, 0.5))
    path = tmp_path / "units-xx.zip"
    about = build(people, path, aligner, people=3, seconds=2.5)
    assert [row["speaker"] for row in about["speakers"]] == ["p1", "p2", "p3"]
    assert [(p.speaker, p.licence) for p in shipped_people(path)] == [(f"p{n}", "CC0-1.0") for n in (1, 2, 3)]
    found = shipped_recordings(path, "p2")
    before = {part.name: part for part in people[2].stretches}
    for recording in found:
        part = before[recording.name]
        assert [(p.label, p.start_s, p.end_s) for p in recording.phones] == [
            (p.label, p.start_s, p.end_s) for p in part.phones
        ]
        assert len(recording.audio) == len(part.audio)
        # Opus of this libsndfile may be late; a millisecond is inaudible in a cut.
        likeness = np.correlate(recording.audio, part.audio[800:-800], "valid")
        assert abs(int(likeness.argmax()) - 800) <= 16
    with pytest.raises(ValueError, match="units-xx"):
        shipped_recordings(path, "p0")
    with pytest.raises(HarkError, match="No inventory"):
        build(people, path, aligner, seconds=60.0)


def test_the_shipped_inventory_is_small_balanced_and_free() -> None:
    if not SHIPPED.is_file():
        pytest.skip(f"{SHIPPED.name} is not there")
    assert SHIPPED.stat().st_size <= MAX_BYTES
    with zipfile.ZipFile(SHIPPED) as archive:
        rows = json.loads(archive.read("about.json"))["speakers"]
    assert 8 <= len(rows) <= 12 and all(row["licence"] in ("CC-BY-4.0", "CC0-1.0") for row in rows)
    low = sum(row["pitch_hz"] < unit_inventory.LOW_VOICE_HZ for row in rows)
    assert abs(2 * low - len(rows)) <= 2
    assert not {"bdl", "slt", "arctic-bdl", "arctic-slt"} & {row["speaker"] for row in rows}  # flite has them too


def test_only_the_spoken_text_is_intelligible(aligner: Aligner) -> None:
    audio = np.pad(say("turn on the kitchen light"), 3200)
    said = intelligible(audio, "Turn on the kitchen light!", "en", aligner)
    assert said > 0.4 and said > 3 * intelligible(audio, "call my brother tomorrow", "en", aligner)
    assert intelligible(audio, "?!", "en", aligner) == 0.0
    assert 0 < intelligible(audio, "turn on the kitchen light " * 4, "en", aligner) < said


def test_speakers_of_the_library_are_aligned_as_far_as_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aligner: Aligner
) -> None:
    replace_in(alignment, monkeypatch, MIN_SPEECH_S=3.0, MAX_SPEECH_S=3.0)
    words = ["please", "open", "the", "big", "window", "before", "seven"]
    audio, _ = joined(words)
    text = " ".join(words)
    with Library(tmp_path) as library:
        ids = library.add_clips(
            NewClip(audio * gain, text, text, "en", "corpus", speaker=speaker, source=f"c:{speaker}{gain}")
            for speaker, gains in (("ann", (1.0, 0.9)), ("bob", (0.8,)), ("", (0.7,)))
            for gain in gains
        )
        assert sorted(align_people(library, aligner)) == ["ann", "bob"]
        aligned = library.alignments.aligned(aligner.name, ids)
        assert {real_speaker(clip) for clip in library.clips(aligned)} == {"ann", "bob"} and len(aligned) == 2
        assert [u.label for u in library.alignments.units(min(aligned), aligner.name, "word")] == words
        assert align(aligner.log_probabilities(audio), text, aligner).phones
