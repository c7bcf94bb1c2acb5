"""Pretraining of the network for microcontrollers (knowledge distillation, Hinton et al. 2015).

From speech in rooms and noise it learns the states and phones that the standard backbone outputs for the same speech in
quiet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lab.weights.heard_speech import Lesson, divergence, hear, taught, too_little
from lab.weights.learning import learn
from model.asr.augmentation import SpeechAugmentation
from model.asr.packed import Packed
from model.devices.micro_network import FEATURE_SCALE, STRIDE, MicroNetwork
from model.devices.microwakeword import micro_features
from model.feature_augmentation import mask, warp_frequency
from model.fit import Fit
from model.standard.backbone import shipped_backbone

FEATURE_WINDOW = 480  # samples of audio from which a feature is computed
BEGINNING = 30  # first steps of a stretch that the loss ignores, because the network lacks the audio before them
PHONES_WEIGHT = 0.5  # weight of the loss of phones, relative to that of states
VALIDATED = 120  # stretches used for validation


@dataclass(frozen=True)
class StudentTrainConfig:
    """Parameters of the training.

    Attributes:
        hours: hours of speech drawn from the pack.
        batch: stretches per batch.
        stretch: steps of 30 ms per stretch.
    """

    hours: float = 24.0
    steps: int = 20_000
    batch: int = 48
    stretch: int = 100
    learning_rate: float = 4e-3
    weight_decay: float = 1e-3
    warmup_steps: int = 200
    ema_decay: float = 0.998
    seed: int = 0
    augmentation: SpeechAugmentation = field(default_factory=lambda: SpeechAugmentation(snr_db=(-3.0, 30.0)))


class Student(nn.Module):
    """The network, with layers that predict its teacher's outputs."""

    def __init__(self, network: MicroNetwork, states: int, phones: int) -> None:
        super().__init__()
        self.network = network
        channels = network.config.channels[-1]
        self.states = nn.Conv1d(channels, states, 1)
        self.phones = nn.Conv1d(channels, phones, 1)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Map features [batch, time, FEATURES] to states and logits of phones, each [batch, time / STRIDE, width]."""
        hidden = self.network.hidden(frames)
        return self.states(hidden).transpose(1, 2), self.phones(hidden).transpose(1, 2)


def train_student(
    packed: Packed,
    config: StudentTrainConfig,
    folder: Path,
    on_progress: Callable[[int, int, float], None],
    tensorboard: str = "",
) -> tuple[MicroNetwork, dict[str, float]]:
    """Train on the pack's ``train`` split; return the network, and its errors on the speech of ``validation``.

    The errors are the unexplained share of the states' variance, and the phones' Kullback-Leibler divergence in nats.
    Inputs are cached in ``folder`` (80 MB an hour), so that a repeated call does not compute them.

    Args:
        on_progress: called with steps done, total steps, and the loss (NaN while inputs are computed).

    Raises:
        HarkError: there is too little speech.
        ImportError: pymicro-features is not installed.
    """
    data = hear(packed, _lesson(config), config.hours, config.seed, folder, on_progress)
    long_enough = data.steps >= config.stretch
    learned, holdout = np.flatnonzero(long_enough & ~data.validation), np.flatnonzero(long_enough & data.validation)
    if not len(learned) or not len(holdout):
        raise too_little(len(data.steps), len(learned), len(holdout))
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    mean, deviation = data.spread("states")
    student = Student(MicroNetwork(), len(mean), data.outputs["phones"].shape[1])
    optimizer = torch.optim.AdamW(student.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    fit = Fit(student, optimizer, config.steps, config.warmup_steps, config.ema_decay)
    average = fit.average
    share = data.steps[learned] / data.steps[learned].sum()

    def stretches(pieces: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        starts = [data.first[piece] + int(rng.integers(data.steps[piece] - config.stretch + 1)) for piece in pieces]
        features, outputs = data.stretches(starts, config.stretch)
        return features, (outputs["states"] - mean) / deviation, outputs["phones"]

    def loss() -> Tensor:
        features, states, phones = stretches(rng.choice(learned, config.batch, p=share), rng)
        features = mask(warp_frequency(features, rng), rng, 0.0)
        of_states, of_phones = losses(student.train(), features, states, phones)
        return of_states + PHONES_WEIGHT * of_phones

    learn(fit, loss, on_progress, tensorboard)
    measured = stretches(holdout[:VALIDATED], np.random.default_rng(0))
    with torch.no_grad():
        of_states, of_phones = losses(average, *measured)
    return average.network, {"unexplained/states": of_states.item(), "unexplained/phones": of_phones.item()}


def losses(student: Student, features: Tensor, states: Tensor, phones: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean squared error of states, and the Kullback-Leibler divergence of phones, of stretches."""
    student_states, student_phones = (predicted[:, BEGINNING:] for predicted in student(features))
    of_states = functional.mse_loss(student_states, states[:, BEGINNING:])
    return of_states, divergence(student_phones, phones[:, BEGINNING:])


def _lesson(config: StudentTrainConfig) -> Lesson:
    backbone, _ = shipped_backbone()

    def teacher(audio: Tensor, ends: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(("states", "phones"), taught(backbone, audio, ends)))

    def features_of(audio: np.ndarray) -> np.ndarray:
        features: np.ndarray = micro_features()(audio)
        return features

    heard = (config.augmentation,)
    return Lesson(features_of, FEATURE_WINDOW, STRIDE, 0.0, FEATURE_SCALE, teacher, ("states", "phones"), heard, heard)
