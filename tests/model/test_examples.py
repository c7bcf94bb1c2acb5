"""Examples: the phrase ends where the row says, and a spec gives the same example wherever it is built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.dataset import PREFIX_FRACTION, AudioDataset, FeatureWriter, open_store
from model.examples import CONDITIONS, ExampleBuilder, ExampleSpec, build_examples, spoken_seconds
from model.features import MELS
from model.front_end import FrontEnd
from tests.support.hummed_clips import COLUMNS, CONFIG, SOURCES, aligned, folder

__all__ = ["folder"]  # fixtures

LOG_MEL = FrontEnd(CONFIG.stored)


@pytest.fixture(scope="module")
def builder() -> ExampleBuilder:
    return ExampleBuilder(SOURCES, LOG_MEL)


@pytest.mark.parametrize("seed", range(4))
def test_the_row_gives_the_position_of_the_phrase(builder: ExampleBuilder, folder: Path, seed: int) -> None:
    features, row = builder.build(aligned(folder, seed=seed))
    level = features.astype(np.float32).mean(axis=1)
    loud = np.flatnonzero(level > (level.max() + level[-20:].mean()) / 2)
    assert abs(loud[-1] + 1 - row["phrase_end"]) <= 6 and abs(loud[0] - row["phrase_start"]) <= 6
    assert row["phrase_end"] - row["phrase_start"] == pytest.approx(80, abs=8)
    assert {name: row[name] for name in COLUMNS} == COLUMNS and row["condition"] == "clean"


@pytest.mark.parametrize("condition", list(CONDITIONS))
def test_an_example_has_enough_context_around_the_phrase_end(
    builder: ExampleBuilder, folder: Path, condition: str
) -> None:
    other = str(folder / "other.wav")
    for seed in range(6):
        features, row = builder.build(aligned(folder, condition, seed, before=other, after=other if seed % 2 else ""))
        assert features.dtype == np.float16 and features.shape[1] == MELS and np.isfinite(features).all()
        assert row["phrase_end"] >= CONFIG.receptive_frames
        assert len(features) - row["phrase_end"] >= (20 if condition == "train" else 100)
        assert row["phrase_start"] < row["phrase_end"]


def test_a_mined_clip_is_labelled_with_the_position_of_its_words(builder: ExampleBuilder, folder: Path) -> None:
    features, row = builder.build(aligned(folder, place_s=(0.4, 0.7)))
    level = features.astype(np.float32).mean(axis=1)
    loud = np.flatnonzero(level > (level.max() + level[-20:].mean()) / 2)
    assert row["phrase_end"] - row["phrase_start"] == pytest.approx(30, abs=2)
    assert loud[0] == pytest.approx(row["phrase_start"], abs=6), "silence at the edges is not trimmed"
    assert loud[-1] == pytest.approx(row["phrase_end"] + 50, abs=6), "speech after the words is not cut"


def test_in_a_carrier_sentence_only_the_end_is_labelled_as_the_phrase(builder: ExampleBuilder, folder: Path) -> None:
    _, row = builder.build(aligned(folder, last_seconds=0.3))
    assert row["phrase_end"] - row["phrase_start"] == pytest.approx(30, abs=2)


def test_negative_streams_are_long_enough_and_have_no_phrase(builder: ExampleBuilder, folder: Path) -> None:
    for clips, condition in (((), "noisy"), (("silence",), "train"), (("other", "long", "phrase"), "train")):
        paths = tuple(str(folder / f"{clip}.wav") for clip in clips)
        spec = ExampleSpec(paths, False, condition, 3, CONFIG.receptive_samples, columns=COLUMNS)
        features, row = builder.build(spec)
        assert len(features) >= CONFIG.receptive_frames and np.isfinite(features).all()
        assert (row["phrase_start"], row["phrase_end"]) == (-1, -1)
    assert len(builder.build(replace(spec, clips=(), condition="noisy"))[0]) > 1000, (
        "an example of noise alone has a length"
    )


@pytest.mark.parametrize("condition", ["train", "noisy"])
def test_a_quiet_twin_has_the_words_where_its_example_has_them(
    builder: ExampleBuilder, folder: Path, condition: str
) -> None:
    lowest = []
    for seed in range(6):
        spec = aligned(folder, condition, seed, before=str(folder / "other.wav"))
        (heard, row), (quiet, of_twin) = builder.build(spec), builder.build(replace(spec, quiet=True))
        assert (row, len(heard)) == (of_twin, len(quiet))
        lowest.append([np.quantile(frames.astype(np.float32).mean(axis=1), 0.05) for frames in (heard, quiet)])
    assert np.mean(lowest, axis=0)[0] > np.mean(lowest, axis=0)[1] + 1


def test_the_same_spec_gives_the_same_example(builder: ExampleBuilder, folder: Path) -> None:
    spec = aligned(folder, "train", 7, before=str(folder / "other.wav"))
    one, row = builder.build(spec)
    other, other_row = ExampleBuilder(SOURCES, LOG_MEL).build(spec)
    np.testing.assert_array_equal(one, other)
    assert row == other_row
    assert not np.array_equal(builder.build(replace(spec, seed=8))[0][:200], one[:200])


def test_spoken_seconds_excludes_silence(folder: Path) -> None:
    assert spoken_seconds(str(folder / "phrase.wav")) == pytest.approx(0.8, abs=0.1)
    assert spoken_seconds(str(folder / "silence.wav")) == 0


def test_prefix_windows_end_within_the_prefix(builder: ExampleBuilder, folder: Path, tmp_path: Path) -> None:
    """A window that ends within the phrase must end at PREFIX_FRACTION, or it is a positive labelled negative."""
    writer = FeatureWriter(tmp_path)
    features, row = builder.build(aligned(folder, "train", name="long"))
    writer.append(features, **row)
    writer.close()
    store = open_store(tmp_path)
    dataset = AudioDataset(store.segments, store.frames, CONFIG.stored)
    index = np.zeros(100, np.int64)
    ends = dataset.prefix_ends(index, np.random.default_rng(0))
    assert ends.min() >= CONFIG.receptive_frames, "the segment begins early enough"
    heard = (ends - row["phrase_start"]) / (row["phrase_end"] - row["phrase_start"])
    assert heard.max() <= PREFIX_FRACTION[1]


def test_examples_do_not_depend_on_the_number_of_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [aligned(folder, ("train", "noisy")[seed % 2], seed) for seed in range(70)]
    built = []
    for cores in (1, 2):
        monkeypatch.setattr("model.examples.usable_cores", lambda cores=cores: cores)
        built.append(list(build_examples(specs, SOURCES, LOG_MEL)))
    for (features, row), (features_2, row_2) in zip(*built, strict=True):
        # Libraries add numbers in another order with another number of threads.
        np.testing.assert_array_max_ulp(features, features_2, maxulp=1)
        assert row == row_2
