"""The feature store and its batches: every window in its place, in the requested shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.dataset import (
    END_JITTER,
    AudioDataset,
    BatchRecipe,
    BatchSampler,
    FeatureStore,
    FeatureWriter,
    open_store,
    store_is_complete,
    store_soft_logits,
)
from model.features import MELS, StoredFrames

NEED = 40  # frames of a window in these tests
STORED = StoredFrames(MELS, 1, NEED, 8, 1)
COLUMNS = {
    "split": "train", "condition": "train", "engine": "fake", "voice": "low", "speaker": "s", "clip_id": 1,
}  # fmt: skip


def marked(segment: int, frames: int) -> np.ndarray:
    """Return features that encode their origin: band 0 the segment, band 1 the frame."""
    features = np.zeros((frames, MELS), np.float32)
    features[:, 0], features[:, 1] = segment, np.arange(frames)
    return features


def add(
    writer: FeatureWriter, number: int, frames: int, bucket: str, start: int = -1, end: int = -1, **more: object
) -> None:
    columns = {**COLUMNS, "bucket": bucket, "label": int(bucket == "positive"), "text": "null", **more}
    writer.append(marked(number, frames), phrase_start=start, phrase_end=end, **columns)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Positives, confusables and streams, shortest first and last, so that an index error lands in another one."""
    writer = FeatureWriter(tmp_path / "store")
    for number in range(6):
        add(writer, number, NEED + 70, "positive", NEED - 10, NEED + 20 + number)
    for number in range(6, 10):
        add(writer, number, NEED + 60, "confusable", NEED, NEED + 25)
    for number, frames in ((10, 1000), (11, 100), (12, NEED)):
        add(writer, number, frames, "plain_negative")
    writer.close()
    return open_store(tmp_path / "store")


def test_stored_features_are_read_from_a_memory_map(store: FeatureStore) -> None:
    assert isinstance(store.frames, np.memmap) and store.frames.dtype == np.float16 and not store.frames.flags.writeable
    assert len(store.segments) == 13 and store.segments["text"].tolist() == ["null"] * 13  # not read as a missing value
    for number, row in enumerate(store.segments.itertuples()):
        np.testing.assert_array_equal(store.features(row), marked(number, row.frames))
    assert len(store.where(bucket="confusable", label=0)) == 4 and len(store.where(split="test")) == 0


def test_a_store_is_complete_only_after_closing(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    writer = FeatureWriter(folder)
    add(writer, 0, 50, "positive", 5, 45)
    assert not store_is_complete(folder)
    writer.close()
    assert store_is_complete(folder) and len(open_store(folder).segments) == 1
    FeatureWriter(folder)
    assert not store_is_complete(folder), "a new writer removes the old store first"


def test_an_empty_store_can_be_opened(tmp_path: Path) -> None:
    FeatureWriter(tmp_path).close()
    assert open_store(tmp_path).frames.shape == (0, MELS)


def test_windows_end_just_after_the_phrase(store: FeatureStore) -> None:
    dataset = AudioDataset(store.segments, store.frames, STORED)
    index = np.arange(len(store.segments))
    ends = set()
    for seed in range(40):
        windows = dataset.windows(index, dataset.aligned_ends(index, np.random.default_rng(seed)))
        assert windows.shape == (13, NEED, MELS) and windows.dtype == np.float32
        for number, (window, row) in enumerate(zip(windows, store.segments.itertuples(), strict=True)):
            assert (window[:, 0] == number).all(), "a window lies within its own segment"
            assert (window[1:, 1] - window[:-1, 1] == 1).all()
            last = int(window[-1, 1])
            assert last < row.frames
            if row.phrase_end >= 0:
                assert row.phrase_end <= last + 1 <= row.phrase_end + END_JITTER[1]
                ends.add(last + 1 - row.phrase_end)
    assert ends == set(range(END_JITTER[1] + 1)), "the jitter covers its whole range"


def test_a_window_of_a_short_segment_is_padded_not_read_from_the_next(tmp_path: Path) -> None:
    writer = FeatureWriter(tmp_path)
    for number, frames in enumerate((NEED - 5, NEED - 1, 200)):
        add(writer, number, frames, "plain_negative")
    writer.close()
    store = open_store(tmp_path)
    dataset = AudioDataset(store.segments, store.frames, STORED)
    index = np.arange(3)
    for number, window in enumerate(dataset.windows(index, dataset.random_ends(index, np.random.default_rng(0)))):
        assert set(window[:, 0].tolist()) <= {float(number), 0.0}


def test_prefixes_end_before_the_phrase_is_complete(store: FeatureStore) -> None:
    positives = store.where(label=1)
    dataset = AudioDataset(positives, store.frames, STORED)
    index = np.repeat(np.arange(len(positives)), 50)
    ends = dataset.prefix_ends(index, np.random.default_rng(0))
    start, end = dataset.phrase_start[index], dataset.phrase_end[index]
    heard = (ends - start) / (end - start)
    assert heard.min() > 0.1 and heard.max() < 0.65


RECIPE = BatchRecipe(positive=0.25, aligned_negative=0.25, hard=0.125, prefix=0.125)


def sampler_of(store: FeatureStore, seed: int = 0) -> BatchSampler:
    dataset = AudioDataset(store.segments, store.frames, STORED)
    return BatchSampler(dataset, RECIPE, 64, np.random.default_rng(seed))


def test_a_batch_has_the_proportions_of_its_recipe(store: FeatureStore) -> None:
    sampler = sampler_of(store)
    for hard in (0, 8):
        if hard:
            sampler.set_hard(np.array([10]), np.array([500]))
        batch, labels, told = sampler.draw()
        assert batch.shape == (64, NEED, MELS) and labels.shape == (64,)
        assert labels.sum() == 16 and (labels[:16] == 1).all() and np.isnan(told).all()
        segment = batch[:, 0, 0]
        assert (batch[:, :, 0] == segment[:, None]).all(), "no window lies in two segments"
        assert (segment[:24] <= 5).all(), "the phrase and its beginnings"
        assert ((segment[24:40] >= 6) & (segment[24:40] <= 9)).all(), "aligned negatives"
        if hard:
            last = batch[40:48, -1, 1] + 1
            assert (segment[40:48] == 10).all() and (np.abs(last - 500) <= 3).all()
        assert (segment[40:] >= 6).all()
    sampler.set_hard(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert sampler.hard is None


def test_segments_are_drawn_in_proportion_to_their_length(store: FeatureStore) -> None:
    sampler = sampler_of(store)
    segments = np.concatenate([sampler.draw()[0][40:, 0, 0] for _ in range(100)])
    lengths = store.segments["frames"].to_numpy()[6:]
    share = np.bincount(segments.astype(int), minlength=13)[6:] / len(segments)
    np.testing.assert_allclose(share, lengths / lengths.sum(), atol=0.05)


def test_the_same_generator_draws_the_same_batches(store: FeatureStore) -> None:
    one, other = sampler_of(store, 5), sampler_of(store, 5)
    for _ in range(3):
        (batch, labels, _), (batch_2, labels_2, _) = one.draw(), other.draw()
        assert np.array_equal(batch, batch_2) and np.array_equal(labels, labels_2)
    assert not np.array_equal(sampler_of(store, 6).draw()[0], sampler_of(store, 5).draw()[0])


def test_teacher_logits_are_read_at_the_end_of_each_window(store: FeatureStore, tmp_path: Path) -> None:
    frames = np.arange(len(store.frames))
    assert store.soft_logits is None
    store_soft_logits(tmp_path / "store", np.where(frames % 7 == 0, np.nan, frames % 1000))
    told = open_store(tmp_path / "store").soft_logits
    dataset = AudioDataset(store.segments, store.frames, STORED, soft_logits=told)
    index, end = np.asarray([10, 10, 11]), np.asarray([500, 10**6, 300])
    last = dataset.first[index] + np.minimum(end, dataset.length[index]) - 1
    expected = np.where(last % 7 == 0, np.nan, last % 1000)
    np.testing.assert_array_equal(dataset.teacher_logits(index, end), expected)
    _, _, logits = BatchSampler(dataset, RECIPE, 64, np.random.default_rng(0)).draw()
    assert logits.shape == (64,) and 0 < int(np.isnan(logits).sum()) < 32


def test_batches_are_drawn_from_a_store_without_confusables(store: FeatureStore) -> None:
    dataset = AudioDataset(store.segments[store.segments["bucket"] != "confusable"], store.frames, STORED)
    batch, labels, _ = BatchSampler(dataset, RECIPE, 32, np.random.default_rng(0)).draw()
    assert len(batch) == 32 and labels.sum() == 8
