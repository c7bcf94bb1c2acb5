"""Training of detectors that learn the phrase."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from model.dataset import AudioDataset, BatchRecipe, BatchSampler, FeatureStore
from model.detector import TrainedDetector, score_segments, scores_of_many
from model.fit import Fit, write_checkpoint
from model.metrics import selection_measure
from model.training_options import curves

BEST = "best.pt"  # in the folder of a training: its best weights
LABEL_SMOOTHING = 0.05
UNTAUGHT = 6.0  # absolute logit that stands for a label if the teacher has none
FRAMES_A_SECOND = 100  # log-mel frames per second


@dataclass(frozen=True)
class TrainConfig:
    """Parameters of training a detector; stored in every checkpoint."""

    steps: int = 1500
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    warmup_share: float = 0.05  # fraction of the steps, before a cosine down to 0
    ema_decay: float = 0.998  # decay of the averaged weights, which are measured and shipped
    mine_at: tuple[float, ...] = (0.35, 0.65)  # fractions of the steps after which hard negatives are mined
    hard_windows: int = 3000  # number of windows that each mining finds
    mining_hours: float = 3.0  # maximum hours of negatives that are searched
    evaluations: int = 10  # number of evaluations on the validation stream
    patience: int = 5  # evaluations without improvement (in the second half) after which training ends
    seed: int = 0
    recipe: BatchRecipe = field(default_factory=BatchRecipe)
    tensorboard: str = ""  # folder for TensorBoard; empty for none


@dataclass(frozen=True)
class TrainProgress:
    """A progress report of the training loop."""

    step: int
    steps: int
    loss: float
    measure: float | None  # the selection measure if this step was evaluated, otherwise None
    eta_s: float


@dataclass(frozen=True)
class TrainResult:
    """The best checkpoint's measure, and the cost of training."""

    best_step: int
    best_measure: float
    steps: int
    seconds: float
    device: str
    history: list[dict[str, float]]


def best_device() -> str:
    """Return ``cuda``, ``mps`` or ``cpu``: the fastest that this machine has."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def detection_loss(logits: Tensor, labels: Tensor, soft_logits: Tensor | None = None) -> Tensor:
    """Return the mean loss of logits [batch] or [batch, members].

    It is the squared error to a teacher's ``soft_logits`` [batch] (Ba and Caruana 2014), which are NaN where it has
    none, otherwise the binary cross-entropy with smoothed labels [batch], 0 or 1.
    """
    if soft_logits is None:
        targets = labels * (1.0 - LABEL_SMOOTHING) + 0.5 * LABEL_SMOOTHING
    else:
        targets = torch.where(soft_logits.isnan(), UNTAUGHT * (2.0 * labels - 1.0), soft_logits)
    if logits.ndim > 1:
        targets = targets.unsqueeze(1).expand_as(logits)
    if soft_logits is None:
        return functional.binary_cross_entropy_with_logits(logits, targets)
    return functional.mse_loss(logits, targets)


def find_hard_windows(
    model: TrainedDetector, sampler: BatchSampler, config: TrainConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Run the detector on negatives as a stream; return segments and window ends with the highest scores."""
    stored, dataset = model.config.stored, sampler.dataset
    order = sampler.rng.permutation(sampler.negatives)
    budget = config.mining_hours * 3600 * FRAMES_A_SECOND / stored.step
    order = order[np.cumsum(dataset.length[order]) <= budget]
    windows: list[tuple[float, int, int]] = []
    pieces = [dataset.frames[dataset.first[i] : dataset.first[i] + dataset.length[i]] for i in order]
    for index, scores in zip(order, scores_of_many(model, pieces)):
        for position in np.argsort(scores)[::-1][: 1 + len(scores) // 12]:  # about one per second
            windows.append((float(scores[position]), int(index), int(stored.window + position * stored.chunk)))
    windows.sort(reverse=True)
    hardest = windows[: config.hard_windows]
    return np.asarray([k[1] for k in hardest], np.int64), np.asarray([k[2] for k in hardest], np.int64)


def train(
    store: FeatureStore,
    detector: TrainedDetector,
    config: TrainConfig,
    folder: Path,
    on_progress: Callable[[TrainProgress], None],
) -> TrainResult:
    """Train a detector from its current weights on the store's ``train`` split; select weights on ``validation``.

    If the store has a teacher's logits, these are learned instead of the labels. Writes ``best.pt`` (the averaged
    weights with the lowest selection measure) and ``last.pt`` (everything needed to resume) into ``folder``, and
    resumes from a ``last.pt`` of the same configuration.
    """
    device = best_device() if detector.on_gpu else "cpu"
    torch.manual_seed(config.seed)
    segments = store.where(split="train")
    dataset = AudioDataset(segments, store.frames, detector.config.stored, detector.end_jitter, store.soft_logits)
    sampler = BatchSampler(dataset, config.recipe, config.batch_size, np.random.default_rng(config.seed))
    model = copy.deepcopy(detector).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    warmup = max(1, int(config.steps * config.warmup_share))
    fit = Fit(model, optimizer, config.steps, warmup, config.ema_decay)
    identity = {
        "model": detector.config.as_dict(),
        "train": repr(asdict(replace(config, tensorboard=""))),
        "segments": len(segments),
    }
    last, started = folder / "last.pt", time.monotonic()
    history: list[dict[str, float]] = []
    if saved := fit.resume(last, identity):
        started, history = started - saved["seconds"], saved["history"]
        sampler.rng = np.random.default_rng((config.seed, fit.step))
    every = max(1, config.steps // config.evaluations)
    mine_steps = {int(config.steps * share) for share in config.mine_at}
    if any(step <= fit.step for step in mine_steps) and 0 < fit.step < config.steps:
        sampler.set_hard(*find_hard_windows(fit.average, sampler, config))
    with curves(config.tensorboard) as draw:
        while fit.step < config.steps and not (_stale(history) >= config.patience and fit.step > config.steps // 2):
            fit.learn(_loss(model, sampler, device))
            step, measure = fit.step, None
            if step % every == 0 or step == config.steps:
                measure = _validated(fit.average, store)
                history.append({"step": step, "loss": fit.loss, "measure": measure})
                if measure <= min(row["measure"] for row in history):
                    _write_best(fit.average, step, folder / BEST)
                fit.save(last, identity, seconds=time.monotonic() - started, history=history)
                draw("loss/train", fit.loss, step)
                draw("validation/mean_miss_rate", measure, step)
            if step in mine_steps:
                sampler.set_hard(*find_hard_windows(fit.average, sampler, config))
            left_s = (time.monotonic() - started) / step * (config.steps - step)
            on_progress(TrainProgress(step, config.steps, fit.loss, measure, left_s))
    best = min(reversed(history), key=lambda row: row["measure"])
    return TrainResult(int(best["step"]), best["measure"], fit.step, time.monotonic() - started, device, history)


def _stale(history: Sequence[dict[str, float]]) -> int:
    measures = [row["measure"] for row in history]
    return len(measures) - 1 - measures.index(min(measures)) if measures else 0


def _loss(model: TrainedDetector, sampler: BatchSampler, device: str) -> Tensor:
    model.train()
    batch, labels, soft_logits = map(torch.from_numpy, sampler.draw())
    batch = model.augmented(batch, sampler.rng).to(device)
    labels = labels.to(device)
    with torch.autocast(device_type="cuda", dtype=torch.bfloat16, enabled=device == "cuda"):
        logits = model(batch)[:, 0]
        return detection_loss(
            logits.float(), labels, soft_logits.to(device) if sampler.dataset.soft_logits is not None else None
        )


def _validated(detector: TrainedDetector, store: FeatureStore) -> float:
    rows = store.where(split="validation")
    # Confusables are far more frequent here than in real life, so false alarms are counted on general speech and noise.
    ordinary = rows[rows["bucket"].isin(["plain_negative", "noise"])]
    positive = score_segments(detector, store, rows[rows["label"] == 1])
    return selection_measure(positive, score_segments(detector, store, ordinary))


def _write_best(detector: TrainedDetector, step: int, path: Path) -> None:
    weights = {name: value.cpu() for name, value in detector.state_dict().items()}
    write_checkpoint(path, {"config": detector.config.as_dict(), "weights": weights, "step": step})
