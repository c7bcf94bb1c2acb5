"""Training learns, is reproducible, and resumes after a stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from core.errors import HarkError
from model import train as train_module
from model.checkpoint import load_checkpoint
from model.dataset import AudioDataset, BatchRecipe, BatchSampler, FeatureStore, FeatureWriter, open_store
from model.detector import score_segments
from model.features import CHUNK_FRAMES, SAMPLE_RATE, log_mel
from model.fit import Fit
from model.tiny_crnn import BackboneConfig, TinyCRNN, TinyCRNNConfig
from model.train import (
    LABEL_SMOOTHING,
    TrainConfig,
    TrainProgress,
    TrainResult,
    detection_loss,
    find_hard_windows,
    train,
)
from model.training_options import TrainingOptions, part_of, training_options

CONFIG = TinyCRNNConfig(
    BackboneConfig(stem_channels=(8, 8), channels=24, dilations=(1, 2)), recurrent_input=16, recurrent_size=16,
    window_frames=12,
)  # fmt: skip
NEED = CONFIG.receptive_frames


def untrained(seed: int = 0) -> TinyCRNN:
    torch.manual_seed(seed)
    return TinyCRNN(CONFIG)


STEPS = TrainConfig(steps=150, batch_size=24, learning_rate=5e-3, evaluations=4, ema_decay=0.9, seed=1)
SHORT = replace(STEPS, steps=20, batch_size=8, evaluations=4)
NOTES = (500.0, 1100.0, 2300.0)  # Hz: the "phrase" is these three one after the other


def melody(notes: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """Return noise with notes of 120 ms that end at frame ``NEED + 30``."""
    note = np.arange(int(0.12 * SAMPLE_RATE)) / SAMPLE_RATE
    tones = np.concatenate([np.sin(2 * np.pi * f * rng.uniform(0.95, 1.05) * note) for f in notes])
    audio = 0.02 * rng.standard_normal((NEED + 30) * 160 + len(tones) + 16_000 * 2)
    start = (NEED + 30) * 160 - len(tones)
    audio[start : start + len(tones)] += 0.2 * rng.uniform(0.5, 1.0) * tones
    return audio.astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("store")
    writer = FeatureWriter(folder)
    rng = np.random.default_rng(0)
    end = NEED + 30
    for split, count in (("train", 40), ("validation", 12)):
        condition = "train" if split == "train" else "clean"
        row = {"split": split, "condition": condition, "engine": "fake", "voice": "", "speaker": "", "clip_id": 1}
        for _ in range(count):
            for label, bucket, notes in ((1, "positive", NOTES), (0, "confusable", NOTES[::-1])):
                features = log_mel(melody(notes, rng))[: end + 120]
                writer.append(
                    features, phrase_start=end - 36, phrase_end=end, label=label, bucket=bucket, text="", **row
                )
        for _ in range(12):
            noise = 0.02 * rng.standard_normal(SAMPLE_RATE * 8)
            tones = np.concatenate([melody(tuple(rng.permutation(NOTES)[:2]), rng) for _ in range(4)])
            noise[: len(tones)] += tones[: len(noise)]
            row_of_stream = {"label": 0, "bucket": "plain_negative", "text": "", "phrase_start": -1, "phrase_end": -1}
            writer.append(log_mel(noise.astype(np.float32)), **row_of_stream, **row)
    writer.close()
    return open_store(folder)


def silent(progress: TrainProgress) -> None:
    """Report nothing."""


class Trained(NamedTuple):
    folder: Path
    result: TrainResult
    told: list[TrainProgress]


@pytest.fixture(scope="module")
def trained(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    told: list[TrainProgress] = []
    return Trained(folder, train(store, untrained(), STEPS, folder, told.append), told)


def test_a_small_detector_learns_a_melody_in_seconds(store: FeatureStore, trained: Trained) -> None:
    folder, result, told = trained
    assert told[-1].loss < 0.75 * told[0].loss
    assert [p.step for p in told] == list(range(1, result.history[-1]["step"] + 1))
    measured = {p.step: p.measure for p in told if p.measure is not None}
    assert measured == {row["step"]: row["measure"] for row in result.history}
    assert result.best_measure == min(measured.values()) == measured[result.best_step]
    assert all(p.eta_s >= 0 for p in told) and told[-1].eta_s == pytest.approx(0, abs=0.5)

    model, extra = load_checkpoint(str(folder / "best.pt"))
    assert extra["step"] == result.best_step and model.config == CONFIG
    validation = store.where(split="validation")
    streams = score_segments(model, store, validation)
    best = np.array([s.scores.max() for s in streams])
    heard = best[validation["label"] == 1]
    not_heard = best[validation["bucket"] == "confusable"]
    ranked = (heard[:, None] > not_heard[None]).mean()
    assert ranked > 0.9, "the melody scores above the same notes in another order; 0.5 is chance"


def test_checkpoints_load_without_running_code(trained: Trained) -> None:
    folder = trained.folder
    assert set(torch.load(folder / "best.pt", weights_only=True)) == {"config", "weights", "step"}
    last = torch.load(folder / "last.pt", weights_only=True)
    assert last["step"] == trained.result.history[-1]["step"]
    assert not list(folder.glob(".*")), "no temporary files remain"


def test_the_same_seed_gives_the_same_detector(store: FeatureStore, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
        result = train(store, untrained(seed), replace(SHORT, seed=seed), tmp_path / name, silent)
        return result.history, load_checkpoint(str(tmp_path / name / "best.pt"))[0].state_dict()

    (history, one), (again, other) = weights("one", 4), weights("other", 4)
    assert again == history
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert weights("another seed", 5)[0] != history


class Stopped(Exception):
    """Raised by a watcher to stop training."""


def test_training_continues_where_it_stopped(store: FeatureStore, tmp_path: Path) -> None:
    def stop_at_12(progress: TrainProgress) -> None:
        if progress.step == 12:
            raise Stopped

    with pytest.raises(Stopped):
        train(store, untrained(), SHORT, tmp_path, stop_at_12)
    told: list[TrainProgress] = []
    result = train(store, untrained(), SHORT, tmp_path, told.append)
    assert told[0].step == 11, "the last evaluation before the stop was at step 10"
    assert [row["step"] for row in result.history] == [5, 10, 15, 20]
    assert result.best_measure == min(row["measure"] for row in result.history)
    assert load_checkpoint(str(tmp_path / "best.pt"))[1]["step"] == result.best_step
    nothing: list[TrainProgress] = []
    finished = train(store, untrained(), SHORT, tmp_path, nothing.append)
    assert nothing == [] and finished.history == result.history and finished.best_step == result.best_step


def test_a_different_configuration_restarts_training(store: FeatureStore, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes((trained.folder / "last.pt").read_bytes())
    told: list[TrainProgress] = []
    other = TrainConfig(steps=4, batch_size=8, evaluations=1, seed=2)
    train(store, untrained(), other, tmp_path, told.append)
    assert [p.step for p in told] == [1, 2, 3, 4]


def test_training_stops_when_validation_stops_improving(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "selection_measure", lambda positives, negatives: 0.5)
    config = TrainConfig(steps=20, batch_size=8, evaluations=10, patience=3, seed=2)
    told: list[TrainProgress] = []
    result = train(store, untrained(), config, tmp_path, told.append)
    assert told[-1].step == 11 and len(result.history) == 5, "stopping begins in the second half"
    again = train(store, untrained(), config, tmp_path, silent)
    assert again.history == result.history, "a finished training does not continue"


def test_scored_segments_have_the_end_of_the_phrase(store: FeatureStore, trained: Trained) -> None:
    model, _ = load_checkpoint(str(trained.folder / "best.pt"))
    positives = store.where(split="validation", label=1)
    for stream, row in zip(score_segments(model, store, positives), positives.itertuples()):
        assert len(stream.scores) == (row.frames - NEED) // CHUNK_FRAMES + 1
        # Score i ends with frame NEED + 8 i, and at (i + 1) * 80 ms of the stream.
        (end_s,) = stream.phrase_end_s
        index = end_s / 0.08 - 1
        assert NEED + CHUNK_FRAMES * index == pytest.approx(row.phrase_end)
        assert abs(np.argmax(stream.scores) - index) < 12
    assert all(len(s.phrase_end_s) == 0 for s in score_segments(model, store, store.where(bucket="plain_negative")))


def test_hard_windows_are_those_with_the_highest_scores(store: FeatureStore, trained: Trained) -> None:
    model, _ = load_checkpoint(str(trained.folder / "best.pt"))
    segments = store.where(split="train")
    dataset = AudioDataset(segments, store.frames, CONFIG.stored)
    sampler = BatchSampler(dataset, BatchRecipe(), 32, np.random.default_rng(0))
    config = TrainConfig(hard_windows=25)
    index, end = find_hard_windows(model, sampler, config)
    assert len(index) == len(end) == 25
    assert (dataset.labels[index] == 0).all()
    assert (end >= NEED).all() and (end <= dataset.length[index]).all()

    def scores(index: np.ndarray, end: np.ndarray) -> Any:
        with torch.no_grad():
            return torch.sigmoid(model(torch.from_numpy(dataset.windows(index, end)))[:, 0]).numpy()

    random = sampler.negatives[np.random.default_rng(1).integers(0, len(sampler.negatives), 200)]
    ordinary = scores(random, dataset.random_ends(random, np.random.default_rng(2)))
    assert scores(index, end).min() >= np.quantile(ordinary, 0.8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_training_runs_on_a_gpu(store: FeatureStore, tmp_path: Path) -> None:
    result = train(store, untrained(), STEPS, tmp_path, silent)
    assert result.device == "cuda" and result.best_measure < 0.5
    model, _ = load_checkpoint(str(tmp_path / "best.pt"))
    assert isinstance(model, TinyCRNN) and next(model.parameters()).device.type == "cpu"


def test_the_scores_of_a_teacher_replace_the_labels() -> None:
    logits, labels = torch.tensor([1.0, -2.0, 6.0]), torch.tensor([0.0, 1.0, 1.0])
    assert float(detection_loss(logits, labels, torch.tensor([1.0, -2.0, float("nan")]))) == 0
    assert float(detection_loss(logits, labels, torch.tensor([1.0, -2.0, 4.0]))) == pytest.approx(4 / 3)
    members = torch.stack([logits, logits + 1], 1)
    assert float(detection_loss(members, labels, torch.tensor([1.0, -2.0, 6.0]))) == pytest.approx(0.5)


def test_the_loss_balances_classes_and_smooths_labels() -> None:
    def value(logits: list[float], labels: list[float]) -> float:
        return float(detection_loss(torch.tensor(logits), torch.tensor(labels)))

    assert value([3.0, -3.0], [1.0, 0.0]) == pytest.approx(value([3.0], [1.0]), rel=1e-5)
    assert value([3.0, 3.0], [1.0, 0.0]) > value([3.0, -3.0], [1.0, 0.0])
    best = float(np.log((1 - LABEL_SMOOTHING / 2) / (LABEL_SMOOTHING / 2)))  # a higher logit increases the loss
    assert value([best], [1.0]) < value([best + 2], [1.0])


def test_the_learning_rate_rises_and_falls_and_overflows_are_skipped() -> None:
    model = torch.nn.Linear(1, 1)
    fit = Fit(model, torch.optim.SGD(model.parameters(), 1.0), 100, 10, ema_decay=0.9)
    rates = []
    for step in range(100):
        rates += fit.schedule.get_last_lr()
        before = model.weight.clone()
        fit.learn(model.weight.sum() * float("inf" if step else 1))
        assert torch.equal(model.weight, before) == bool(step)
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] and 0.0 < rates[-1] < 0.001
    assert rates[9:] == sorted(rates[9:], reverse=True)


def test_absent_options_have_their_defaults() -> None:
    assert (
        training_options({}) == training_options({"epochs": "", "batch_size": None, "all": True}) == TrainingOptions()
    )
    assert training_options({"epochs": "2", "batch_size": 8, "subset": "2.5"}) == TrainingOptions(2.0, 8, 2.5)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"epochs": 51},
        {"epochs": "x"},
        {"batch_size": -1},
        {"subset": 0},
        {"subset": 101},
        {"subset": "nan"},
    ],
)
def test_options_out_of_range_are_rejected(values: dict[str, object]) -> None:
    with pytest.raises(HarkError, match=next(iter(values))):
        training_options(values, max_epochs=50)


def test_a_subset_is_neither_empty_nor_larger_than_the_whole() -> None:
    assert [part_of(1132, 2.0), part_of(3, 2.0), part_of(0, 2.0), part_of(40, 100.0), part_of(300, 2.0, 20)] == [
        23, 1, 0, 40, 20,
    ]  # fmt: skip
