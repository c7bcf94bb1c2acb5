"""Word alignment on speech with known word times, and on what cannot be aligned."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.audio_file import read_audio
from core.errors import HarkError
from db.db_api import Library
from db.records import Clip, NewClip
from model.asr.emissions import Aligner, pack
from pipeline.corpora.alignment import NotAligned, align, align_clips, joint_confidence, stored_emission, unaligned
from pipeline.corpora.alignment_methods import METHODS
from tests.support.sounds import noise
from tests.support.spoken_words import joined, say

WORDS = ["please", "open", "the", "big", "window", "before", "seven"]
WORDS += ["and", "tell", "the", "captain", "about", "the", "yellow", "mirror"]


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


@pytest.fixture(scope="module")
def log_p(aligner: Aligner) -> np.ndarray:
    """The emission of the words."""
    return aligner.log_probabilities(joined(WORDS)[0])


def add(library: Library, text: str, audio: np.ndarray, **more: Any) -> Clip:
    known = {"engine": "corpus", "speaker": "someone", "source": f"c:{text}", **more}
    (clip_id,) = library.add_clips([NewClip(audio, text, text, "en", **known)])
    return library.clips([clip_id])[0]


@pytest.mark.parametrize("method", METHODS)
def test_word_boundaries_match_the_spoken_times(aligner: Aligner, log_p: np.ndarray, method: str) -> None:
    if method == "ctc-segmentation":
        pytest.importorskip("ctc_segmentation")
    found = align(log_p, " ".join(WORDS), aligner, method=method)
    assert [unit.label for unit in found.words] == WORDS
    errors = [
        (unit.start_s - start, unit.end_s - end)
        for unit, (start, end) in zip(found.words, joined(WORDS)[1], strict=True)
    ]
    assert np.median(np.abs(errors)) < 0.04
    assert found.confidence > 0.4
    starts = [unit.start_s for unit in found.words]
    assert starts == sorted(starts) and all(unit.start_s < unit.end_s for unit in found.words)


def test_phones_lie_within_their_words(aligner: Aligner, log_p: np.ndarray) -> None:
    found = align(log_p, " ".join(WORDS), aligner)
    of_words = aligner.tokens(WORDS, "en")
    assert [unit.label for unit in found.phones] == [aligner.vocabulary[i] for word in of_words for i in word]
    position = 0
    for word, tokens in zip(found.words, of_words, strict=True):
        phones = found.phones[position : position + len(tokens)]
        position += len(tokens)
        assert phones[0].start_s == word.start_s and phones[-1].end_s == word.end_s
        assert all(a.end_s == b.start_s for a, b in pairwise(phones))


def test_a_long_recording_is_aligned_in_chunks(aligner: Aligner, log_p: np.ndarray) -> None:
    times, frames = joined(WORDS)[1], len(log_p)
    copies = 3000 // frames * 3  # three pieces
    found = align(np.tile(log_p, (copies, 1)), " ".join(WORDS * copies), aligner)
    assert len(found.words) == len(WORDS) * copies
    errors = [
        unit.start_s - times[number % len(WORDS)][0] - number // len(WORDS) * frames * 0.02
        for number, unit in enumerate(found.words)
    ]
    assert np.median(np.abs(errors)) < 0.04 and np.mean(np.abs(errors) > 0.2) < 0.02


def test_no_word_is_aligned_to_silence_in_a_long_recording(aligner: Aligner) -> None:
    audio, times = joined(WORDS)
    silence = np.zeros(100 * 16_000, np.float32)
    log_p = aligner.log_probabilities(np.concatenate([silence, audio, silence]))
    found = align(log_p, " ".join(WORDS), aligner)
    errors = [unit.start_s - 100 - start for unit, (start, _) in zip(found.words, times, strict=True)]
    assert np.median(np.abs(errors)) < 0.04


def test_absent_words_are_not_aligned(aligner: Aligner, log_p: np.ndarray) -> None:
    silence = aligner.log_probabilities(np.zeros(16_000 * 4, np.float32))
    hiss = aligner.log_probabilities(noise(4.0))
    time = np.arange(64_000) / 16_000
    music = sum(np.sin(2 * np.pi * f * time) * (1 + np.sin(2 * np.pi * 2 * time + f)) for f in (220, 277, 330, 440))
    tune = aligner.log_probabilities((0.05 * music).astype(np.float32))
    for text, emission in [
        ("he asked nobody for food although nothing else was left on his ship", log_p),
        ("hello there", silence),
        ("hello there", hiss),
        ("please open the window", tune),
        ("", log_p),
        ("...", log_p),
        ("доброе утро как дела", log_p),
        ("早上好", log_p),
        (" ".join(WORDS * 20), log_p),
        ("hello", log_p[:1]),
    ]:
        with pytest.raises(NotAligned) as caught:
            align(emission, text, aligner)
        assert caught.value.what and caught.value.why and caught.value.what_to_do


def test_without_ctc_segmentation_viterbi_is_used(aligner: Aligner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctc_segmentation", None)  # as where it is not installed
    log_p = aligner.log_probabilities(np.pad(say("hey compass"), 4000))
    assert align(log_p, "hey compass", aligner).confidence > 0.3
    with pytest.raises(HarkError) as caught:
        align(log_p, "hey compass", aligner, method="ctc-segmentation")
    assert "viterbi" in caught.value.what_to_do


def test_clips_are_processed_and_aligned_once(
    library: Library, aligner: Aligner, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    listen = aligner.log_probabilities_of

    def counted(audios: list[np.ndarray]) -> Any:
        heard.append(len(audios))
        return listen(audios)

    monkeypatch.setattr(aligner, "log_probabilities_of", counted)
    audio, _ = joined(WORDS)
    good = add(library, " ".join(WORDS), audio)
    wrong = add(library, "nobody said anything of this here", audio)
    lost = add(library, "hey compass", say("hey compass"))
    unknown = add(library, "", say("window"), text_known=False, source="c:x")
    library.file(lost).unlink()
    report = align_clips(library, aligner, [good, wrong, lost, unknown])
    assert report.aligned == {good.id} and set(report.failed) == {wrong.id, lost.id, unknown.id}
    assert heard == [3]
    assert [unit.label for unit in library.alignments.units(good.id, aligner.name, "word")] == WORDS
    assert library.alignments.units(good.id, aligner.name, "phone")
    assert len(library.clips([good.id, wrong.id, lost.id, unknown.id])) == 4, "nothing is lost"
    again = align_clips(library, aligner, [good, wrong])
    assert again.aligned == {good.id} and heard == [3], "emissions are stored for failed clips, too"


def test_unaligned_lists_only_clips_that_mining_would_process(
    library: Library, aligner: Aligner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.corpora.alignment.LOOKED_UP", 2)
    first, second, third = (add(library, "window", say("window"), source=f"c:{n}") for n in range(3))
    add(library, "", say("window"), text_known=False, source="c:x")
    assert unaligned(library, aligner) == [first.id, second.id, third.id]
    align_clips(library, aligner, [first, third])
    assert unaligned(library, aligner) == [second.id]


def test_a_damaged_or_foreign_emission_is_recomputed(library: Library, aligner: Aligner, log_p: np.ndarray) -> None:
    clip = add(library, " ".join(WORDS), joined(WORDS)[0])
    library.alignments.add_emissions("another", [(clip.id, pack(log_p))])
    assert stored_emission(library, clip, aligner) is None
    for wrong in (pack(log_p)[: len(log_p) // 2], log_p, np.full((len(log_p), 16), 200, np.uint8)):
        library.alignments.add_emissions(aligner.name, [(clip.id, wrong)])
        assert stored_emission(library, clip, aligner) is None
    library.alignments.add_emissions(aligner.name, [(clip.id, pack(log_p))])
    assert stored_emission(library, clip, aligner) is not None
    (file,) = (library.data_dir / "emissions" / aligner.name).rglob("*.npy")
    file.write_bytes(file.read_bytes()[:500])
    assert stored_emission(library, clip, aligner) is None
    report = align_clips(library, aligner, [clip])
    assert report.aligned == {clip.id}
    assert stored_emission(library, clip, aligner) is not None


def test_joint_confidence_lies_between_that_of_the_words(aligner: Aligner, log_p: np.ndarray) -> None:
    words = align(log_p, " ".join(WORDS), aligner).words
    joint = joint_confidence(words[:3], [3, 4, 2])
    assert min(w.confidence for w in words[:3]) <= joint <= max(w.confidence for w in words[:3])


def test_word_boundaries_of_real_speech_are_accurate(shared_data: Path, aligner: Aligner) -> None:
    folder = shared_data / "speech" / "librispeech-aligned"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()][::8]
    errors = []
    for row in rows:
        log_p = aligner.log_probabilities(read_audio(folder / row["audio_filepath"]))
        found = align(log_p, " ".join(word for word, _, _ in row["words"]), aligner)
        errors += [(u.start_s - w[1], u.end_s - w[2]) for u, w in zip(found.words, row["words"], strict=True)]
    assert np.median(np.abs(errors)) < 0.04
    assert (np.abs(np.asarray(errors)[:, 0]) > 0.1).mean() < 0.05
