"""Pretraining of the network for microcontrollers (knowledge distillation, Hinton et al. 2015).

From speech in rooms and noise it learns the states and phones that the standard backbone outputs for the same speech in
quiet.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.audio_file import SAMPLE_RATE
from core.data_folder import atomic_path
from core.errors import HarkError
from lab.weights.learning import learn
from model.asr.augmentation import BatchAugmenter, SpeechAugmentation
from model.asr.packed import BatchSource, Packed
from model.devices.micro_network import FEATURE_SCALE, STRIDE, MicroNetwork
from model.devices.microwakeword import micro_features
from model.feature_augmentation import mask, warp_frequency
from model.features import HOP
from model.fit import Fit
from model.standard.backbone import FRAMES_AT_ONCE, MEL_FFT, STEP_FRAMES, EmbeddingBackbone, shipped_backbone

FEATURE_WINDOW = 480  # samples of audio from which a feature is computed
BEGINNING = 30  # first steps of a stretch that the loss ignores, because the network lacks the audio before them
PHONES_WEIGHT = 0.5  # weight of the loss of phones, relative to that of states
VALIDATED = 120  # stretches used for validation
FILES = {"features": np.uint8, "states": np.float16, "phones": np.float16}


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
        """Map features [batch, time, FEATURES] to states and logits of phones, each [batch, width, time / STRIDE]."""
        hidden = self.network.hidden(frames)
        return self.states(hidden), self.phones(hidden)


@dataclass(frozen=True)
class SpeechPieces:
    """Cached inputs: features [STRIDE steps, FEATURES], and the teacher's states and phones [steps, width]."""

    features: np.ndarray
    states: np.ndarray
    phones: np.ndarray
    first: np.ndarray  # first step of each piece
    steps: np.ndarray
    validation: np.ndarray

    def stretches(
        self, pieces: np.ndarray, length: int, mean: np.ndarray, deviation: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a stretch of ``length`` steps from each piece in ``pieces`` (indices).

        Returns features [batch, STRIDE length, FEATURES], states in standard deviations and phones [batch, width,
        length].
        """
        starts = [self.first[piece] + int(rng.integers(self.steps[piece] - length + 1)) for piece in pieces]
        features = np.stack([self.features[STRIDE * at : STRIDE * (at + length)] for at in starts])
        states = (np.stack([self.states[at : at + length] for at in starts]).astype(np.float32) - mean) / deviation
        phones = np.stack([self.phones[at : at + length] for at in starts]).astype(np.float32)
        inputs = torch.from_numpy(features.astype(np.float32) * FEATURE_SCALE)
        return inputs, torch.from_numpy(states).transpose(1, 2), torch.from_numpy(phones).transpose(1, 2)


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
    data = _hear(packed, config, folder, on_progress)
    long_enough = data.steps >= config.stretch
    learned, holdout = np.flatnonzero(long_enough & ~data.validation), np.flatnonzero(long_enough & data.validation)
    if not len(learned) or not len(holdout):
        raise HarkError(
            "There is too little speech to train the network.",
            f"Of {len(data.steps)} pieces of speech, {len(learned)} are long enough to train on and {len(holdout)} to "
            "measure on.",
            "Give corpora with more speakers.",
        )
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    some = data.states[::50].astype(np.float32)
    mean, deviation = some.mean(0), some.std(0) + 1e-3
    student = Student(MicroNetwork(), data.states.shape[1], data.phones.shape[1])
    optimizer = torch.optim.AdamW(student.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    fit = Fit(student, optimizer, config.steps, config.warmup_steps, config.ema_decay)
    average = fit.average
    share = data.steps[learned] / data.steps[learned].sum()

    def loss() -> Tensor:
        pieces = rng.choice(learned, config.batch, p=share)
        features, states, phones = data.stretches(pieces, config.stretch, mean, deviation, rng)
        features = mask(warp_frequency(features, rng), rng, 0.0)
        of_states, of_phones = losses(student.train(), features, states, phones)
        return of_states + PHONES_WEIGHT * of_phones

    learn(fit, loss, on_progress, tensorboard)
    measured = data.stretches(holdout[:VALIDATED], config.stretch, mean, deviation, np.random.default_rng(0))
    with torch.no_grad():
        of_states, of_phones = losses(average, *measured)
    return average.network, {"unexplained/states": of_states.item(), "unexplained/phones": of_phones.item()}


def losses(student: Student, features: Tensor, states: Tensor, phones: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean squared error of states, and the Kullback-Leibler divergence of phones, of stretches."""
    student_states, student_phones = (predicted[:, :, BEGINNING:] for predicted in student(features))
    of_states = functional.mse_loss(student_states, states[:, :, BEGINNING:])

    def by_frame(values: Tensor) -> Tensor:
        return values.unflatten(1, (FRAMES_AT_ONCE, -1)).log_softmax(2)

    predicted, truth = by_frame(student_phones), by_frame(phones[:, :, BEGINNING:])
    return of_states, (truth.exp() * (truth - predicted)).sum(2).mean()


def _hear(
    packed: Packed, config: StudentTrainConfig, folder: Path, on_progress: Callable[[int, int, float], None]
) -> SpeechPieces:
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "heard.json"
    sound = asdict(replace(config, steps=0, batch=0, stretch=0, learning_rate=0.0, weight_decay=0.0, warmup_steps=0))
    wanted = json.dumps({**sound, "speech": packed.digest}, sort_keys=True)
    if not table.is_file() or json.loads(table.read_text())["made"] != wanted:
        table.unlink(missing_ok=True)
        rows = _write_pieces(packed, config, folder, on_progress)
        with atomic_path(table) as temporary:
            temporary.write_text(json.dumps({"made": wanted, "rows": rows}))
    places = np.asarray(json.loads(table.read_text())["rows"], np.int64).reshape(-1, 2)
    total = int(places[:, 0].sum())
    features, states, phones = (
        np.memmap(folder / name, kind, "r").reshape(total * (STRIDE if name == "features" else 1), -1)
        for name, kind in FILES.items()
    )
    first = np.concatenate([[0], np.cumsum(places[:, 0])])[:-1]
    return SpeechPieces(features, states, phones, first, places[:, 0], places[:, 1].astype(bool))


@torch.no_grad()
def _write_pieces(
    packed: Packed, config: StudentTrainConfig, folder: Path, on_progress: Callable[[int, int, float], None]
) -> list[tuple[int, bool]]:
    """Write inputs for pieces of the pack to :data:`FILES`; return the steps of each, and which are for validation."""
    backbone, _ = shipped_backbone()
    augmenter = BatchAugmenter(config.augmentation, packed.noise, packed.rooms, "cpu")
    features_of = micro_features()
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    rows: list[tuple[int, bool]] = []
    done_s, total_s = 0.0, config.hours * 3600
    with (
        (folder / "features").open("wb") as features_file,
        (folder / "states").open("wb") as states_file,
        (folder / "phones").open("wb") as phones_file,
    ):
        for split, share in (("train", 0.95), ("validation", 0.05)):
            source = BatchSource(packed, packed.where(split), 160.0, rng)
            written_s = 0.0
            while source and written_s < share * total_s:
                batch = source.draw()
                speech, lengths = augmenter.change_speed(torch.from_numpy(batch.audio), torch.from_numpy(batch.lengths))
                noisy = augmenter.in_a_room(speech, lengths)
                for clean, sound, length in zip(speech, noisy, lengths.tolist()):
                    features = features_of(sound[:length].numpy())
                    steps = len(features) // STRIDE
                    states, phones = taught(backbone, clean[:length], steps)
                    levels = np.round(features[: STRIDE * steps] / FEATURE_SCALE).clip(0, 255)
                    levels.astype(np.uint8).tofile(features_file)
                    states.astype(np.float16).tofile(states_file)
                    phones.astype(np.float16).tofile(phones_file)
                    rows.append((steps, split == "validation"))
                    written_s += length / SAMPLE_RATE
                on_progress(round(done_s + written_s), round(total_s), float("nan"))
            done_s += written_s
    return rows


def taught(backbone: EmbeddingBackbone, audio: Tensor, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the backbone's states and phone logits [steps, width] at the student's steps, aligned by their ends."""
    mel_frames = backbone.config.receptive_mel_frames
    lead = mel_frames * HOP + MEL_FFT
    sound = functional.pad(audio, (lead, 0))
    sound = sound + 1e-4 * torch.randn_like(sound)  # no digital silence
    states = backbone.states(backbone.convolved(backbone.mel(sound[None])))
    logits = backbone.logits(states)[0].reshape(states.shape[1], -1).numpy()
    given = states[0].numpy()
    # The last sample of each step of the backbone, and of each step of the student.
    first_end = (mel_frames - 1) * HOP + MEL_FFT - lead
    ends = first_end + STEP_FRAMES * HOP * np.arange(len(given))
    own_ends = (STRIDE * np.arange(steps) + STRIDE - 1) * HOP + FEATURE_WINDOW
    place = np.interp(own_ends, ends, np.arange(len(given)))
    below = np.floor(place).astype(int)
    above, part = np.minimum(below + 1, len(given) - 1), (place - below)[:, None]
    return given[below] * (1 - part) + given[above] * part, logits[np.round(place).astype(int)]
