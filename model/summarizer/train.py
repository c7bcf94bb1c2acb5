"""The training loop of the character summarizer.

The random numbers of a step depend only on the seed and the step's number, so a run that was stopped and resumed ends
with the same weights as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.errors import HarkError
from model.fit import Fit
from model.summarizer.decoding import load_summarizer, padded, save_summarizer, summarize
from model.summarizer.network import END, PAD, START, Summarizer, SummarizerConfig
from model.summarizer.pairs import Pair, Split
from model.summarizer.rouge import first_sentence, rouge_1
from model.training_options import curves

MEASURED = 200  # test pairs that ROUGE-1 is measured on; decoding is slow
BEST, LAST = "best.pt", "last.pt"


@dataclass(frozen=True)
class SummarizerTraining:
    epochs: int = 20
    batch_size: int = 32
    seed: int = 0
    learning_rate: float = 5e-4
    warmup_share: float = 0.05  # fraction of all steps
    weight_decay: float = 0.01
    label_smoothing: float = 0.05
    save_every_s: float = 120.0  # seconds between checkpoints, in addition to the end of each epoch


@dataclass(frozen=True)
class SummarizerProgress:
    """A progress report of the training loop."""

    step: int
    steps: int
    loss: float  # loss of this step, nats per character
    validation_loss: float | None  # set at the end of an epoch


@dataclass(frozen=True)
class SummarizerResult:
    """The result of training; ROUGE-1 is measured on held-out pairs."""

    best: Path
    steps: int
    validation_loss: float
    rouge_1: float
    rouge_1_first_sentence: float


def train_summarizer(
    split: Split,
    shape: SummarizerConfig,
    training: SummarizerTraining,
    folder: Path,
    on_progress: Callable[[SummarizerProgress], None],
    device: str = "cpu",
    tensorboard: str = "",
) -> SummarizerResult:
    """Train on ``split.train``; ``folder/best.pt`` is the model with the lowest loss on ``split.validation``.

    Training resumes from ``folder/last.pt`` if that file has the same configuration and data. On a CUDA device the
    arithmetic is bfloat16 where that is safe (AMP). Raises OSError if a file cannot be written, and HarkError if the
    loss is never finite.
    """
    torch.manual_seed(training.seed)
    model = Summarizer(shape).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), training.learning_rate, betas=(0.9, 0.98), weight_decay=training.weight_decay
    )
    steps_an_epoch = math.ceil(len(split.train) / training.batch_size)
    steps = training.epochs * steps_an_epoch
    fit = Fit(model, optimizer, steps, max(1, round(training.warmup_share * steps)))
    # A resumed run must have the same values as the stopped one.
    description = repr((split, shape, replace(training, save_every_s=0.0)))
    identity = hashlib.sha256(description.encode(errors="backslashreplace")).hexdigest()
    last, best_path = folder / LAST, folder / BEST
    saved = fit.resume(last, identity, lambda saved: best_path.is_file() or saved["best"] == math.inf)
    best = saved.get("best", math.inf)
    saved_at = time.monotonic()
    with curves(tensorboard) as draw:
        while fit.step < steps:
            loss = _loss(model, split.train, fit.step, training, device)
            fit.learn(loss)
            step = fit.step
            validation = None
            if step % steps_an_epoch == 0:
                validation = mean_loss(model, split.validation, training.batch_size, device)
                draw("loss/validation", validation, step)
                if validation < best:
                    best = validation
                    save_summarizer(best_path, model, {"step": step, "validation_loss": validation})
            if validation is not None or time.monotonic() - saved_at > training.save_every_s:
                saved_at = time.monotonic()
                fit.save(last, identity, best=best)
            now = SummarizerProgress(step, steps, loss.item(), validation)
            draw("loss/train", now.loss, step)
            on_progress(now)
    if best == math.inf:
        raise HarkError(
            "The training failed.",
            "At the end of each epoch, the loss was not a number.",
            "Train again with another --seed, or look for texts in the data that are not language.",
        )
    measured = split.test[:MEASURED]
    written = summarize(load_summarizer(best_path, device), [pair.text for pair in measured])
    wanted = [pair.summary for pair in measured]
    baseline = [first_sentence(pair.text, shape.longest_summary) for pair in measured]
    return SummarizerResult(best_path, steps, best, rouge_1(written, wanted), rouge_1(baseline, wanted))


def _loss(model: Summarizer, pairs: Sequence[Pair], step: int, training: SummarizerTraining, device: str) -> Tensor:
    epoch, within = divmod(step, math.ceil(len(pairs) / training.batch_size))
    order = np.random.default_rng((training.seed, epoch)).permutation(len(pairs))
    batch = [pairs[i] for i in order[within * training.batch_size : (within + 1) * training.batch_size]]
    torch.manual_seed(training.seed * 1_000_003 + step + 1)  # for dropout
    return batch_loss(model.train(), batch, training.label_smoothing, device)


def batch_loss(model: Summarizer, batch: Sequence[Pair], label_smoothing: float, device: str) -> Tensor:
    """Return the cross-entropy of the summaries' characters, including ends, in nats per character."""
    shape = model.config
    text = padded([shape.encode(pair.text, shape.longest_text) for pair in batch], device)
    summary = padded([[START, *shape.encode(pair.summary, shape.longest_summary), END] for pair in batch], device)
    with torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda")):
        logits = model(text, summary[:, :-1])
    return functional.cross_entropy(
        logits.float().flatten(0, 1), summary[:, 1:].flatten(), ignore_index=PAD, label_smoothing=label_smoothing
    )


@torch.no_grad()
def mean_loss(model: Summarizer, pairs: Sequence[Pair], batch_size: int, device: str) -> float:
    """Return the mean loss over these pairs, without dropout and smoothing."""
    model.eval()
    losses: list[Any] = [
        (
            batch_loss(model, pairs[start : start + batch_size], 0.0, device).item(),
            len(pairs[start : start + batch_size]),
        )
        for start in range(0, len(pairs), batch_size)
    ]
    return sum(loss * count for loss, count in losses) / sum(count for _, count in losses)
