"""Pretraining of the trunk of TinyCRNN (knowledge distillation, Hinton et al. 2015).

From speech in rooms and noise it learns what two teachers output for the same speech in quiet: the states and phones of
the standard backbone, and the phones of the encoder of large detectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lab.weights.heard_speech import HeardSpeech, Lesson, by_frame, divergence, hear, taught, too_little
from lab.weights.learning import learn
from model.asr.augmentation import SpeechAugmentation
from model.asr.packed import Packed
from model.feature_augmentation import augment_features
from model.features import WINDOW, log_mel
from model.fit import Fit
from model.large.encoder import loaded_backbone
from model.large.encoder_backbone import FRAME_SAMPLES
from model.phones import BLANK
from model.standard.backbone import FRAMES_AT_ONCE, shipped_backbone
from model.tiny.tiny_crnn import STEP_FRAMES, TrunkConfig
from model.tiny.trunk import CrnnTrunk

LOWEST, LEVEL = -14.0, 24 / 255  # log-mel in 8 bits
# Samples by which the student hears more than its teachers. The backbone's steps then end with those of the student;
# the encoder, which is bidirectional, knows a phone before it has ended.
BACKBONE_LAG, ENCODER_LAG = 400, 2560
LEAST_PROBABILITY = 1e-4
WEIGHTS = {"states": 1.0, "phones": 0.5, "encoder": 0.5}  # weights of the losses
BEGINNING = 30  # first steps of a stretch that the loss ignores, because the network lacks the audio before them
CARRIED = 0.5  # fraction of the stretches that begin with a state of the recurrent layer from other speech
VALIDATED = 120  # stretches used for validation
VALIDATION_SNR_DB = 10.0
CHECKPOINT_EVERY, VALIDATE_EVERY = 100, 1_000  # updates; multiples of the interval of progress reports


@dataclass(frozen=True)
class CrnnTrainConfig:
    """Parameters of the training.

    Attributes:
        hours: hours of speech drawn from the pack.
        renderings: rooms and noises in which each piece of it is heard.
        batch: stretches per batch.
        stretch: steps of 40 ms per stretch.
    """

    hours: float = 10.0
    renderings: int = 2
    steps: int = 8_000
    batch: int = 24
    stretch: int = 100
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    warmup_steps: int = 300
    ema_decay: float = 0.999
    seed: int = 0
    shape: TrunkConfig = field(default_factory=TrunkConfig)
    augmentation: SpeechAugmentation = field(default_factory=lambda: SpeechAugmentation(snr_db=(-3.0, 30.0)))


class CrnnStudent(nn.Module):
    """The trunk, with layers that predict its teachers' outputs, whose widths are given by name."""

    def __init__(self, trunk: CrnnTrunk, widths: dict[str, int]) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict({name: nn.Linear(trunk.config.recurrent, width) for name, width in widths.items()})

    def forward(self, log_mel: Tensor, memory: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """Map log-mel [batch, STEP_FRAMES steps, MELS] to predictions [batch, steps, width] and the last memory.

        ``memory`` [1, batch, recurrent] is the recurrent layer's state at the beginning, by default that of a stream.
        """
        state = self.trunk.beginning(len(log_mel))
        outputs, state = self.trunk(log_mel, state if memory is None else [*state[:-1], memory])
        return {name: head(outputs) for name, head in self.heads.items()}, state[-1]


def train_crnn(
    packed: Packed,
    config: CrnnTrainConfig,
    folder: Path,
    on_progress: Callable[[int, int, float], None],
    tensorboard: str = "",
    on_measured: Callable[[int, dict[str, float]], None] = lambda done, errors: None,
) -> tuple[CrnnTrunk, dict[str, float]]:
    """Train on the pack's ``train`` split; return the trunk, and :func:`measured` on the speech of ``validation``.

    Inputs are cached in ``folder`` (120 MB an hour). The same call resumes: the cache from its last table, the training
    from ``last.pt``, written every :data:`CHECKPOINT_EVERY` updates, if it has the same configuration.

    Args:
        on_progress: called with steps done, total steps, and the loss (NaN while inputs are computed).
        on_measured: called with steps done and the errors, every :data:`VALIDATE_EVERY` updates.

    Raises:
        HarkError: there is too little speech, or the encoder is not installed.
    """
    data = hear(packed, _lesson(config), config.hours, config.seed, folder, on_progress)
    total = int(data.steps.sum())
    learned = int(data.steps[~data.validation].sum())
    if min(learned, total - learned) < config.stretch:
        raise too_little(len(data.steps), learned // config.stretch, (total - learned) // config.stretch)
    torch.manual_seed(config.seed)
    mean, deviation = data.spread("states")
    student = CrnnStudent(CrnnTrunk(config.shape), {name: data.outputs[name].shape[1] for name in WEIGHTS})
    optimizer = torch.optim.AdamW(student.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    fit = Fit(student, optimizer, config.steps, config.warmup_steps, config.ema_decay)
    average, last = fit.average, folder / "last.pt"
    identity = {"train": repr(asdict(config)), "speech": packed.digest}
    fit.resume(last, identity)
    memory = torch.zeros(1, config.batch, config.shape.recurrent)
    # Half the time on processors that multiply such numbers; seven times as long on others.
    short_floats = bool(torch.cpu.get_capabilities().get("avx512_bf16"))

    def loss() -> Tensor:
        nonlocal memory
        rng = np.random.default_rng((config.seed, fit.step))
        starts = rng.integers(learned - config.stretch + 1, size=config.batch)
        features, truth = data.stretches(starts, config.stretch, rng.integers(config.renderings, size=config.batch))
        truth["states"] = (truth["states"] - mean) / deviation
        # A stream lasts for days, so half of the stretches begin after other speech.
        carried = torch.from_numpy(rng.random(config.batch) < CARRIED)[:, None]
        before = memory[:, torch.from_numpy(rng.permutation(config.batch))] * carried
        with torch.autocast("cpu", torch.bfloat16, enabled=short_floats):
            predicted, memory = student.train()(augment_features(features, rng), before)
        memory = memory.detach().float()
        of_each = losses({name: values.float() for name, values in predicted.items()}, truth)
        return torch.stack([WEIGHTS[name] * value for name, value in of_each.items()]).sum()

    def tell(done: int, total: int, loss: float) -> None:
        if done % CHECKPOINT_EVERY == 0 or done == total:
            fit.save(last, identity)
        if done % VALIDATE_EVERY == 0:
            on_measured(done, measured(average, data, config.stretch))
        on_progress(done, total, loss)

    learn(fit, loss, tell, tensorboard)
    return average.trunk, measured(average, data, config.stretch)


def losses(predicted: dict[str, Tensor], truth: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean squared error of states and the divergence of each kind of phones, after the beginning."""
    after = {name: (predicted[name][:, BEGINNING:], truth[name][:, BEGINNING:]) for name in predicted}
    return {name: functional.mse_loss(*pair) if name == "states" else divergence(*pair) for name, pair in after.items()}


@torch.no_grad()
def measured(student: CrnnStudent, data: HeardSpeech, stretch: int) -> dict[str, float]:
    """Return errors on held-out people, in quiet and in noise at :data:`VALIDATION_SNR_DB`.

    They are the unexplained share of the states' variance, the phones' divergence in nats, and the share of frames with
    a phone in which the student has the teacher's.
    """
    student.eval()
    first, end = int(data.steps[~data.validation].sum()), int(data.steps.sum())
    starts = np.unique(np.linspace(first, end - stretch, VALIDATED).astype(int))
    mean, deviation = data.spread("states")
    errors: dict[str, float] = {}
    for number, condition in enumerate(("quiet", "noise")):
        features, truth = data.stretches(starts, stretch, [number] * len(starts))
        truth["states"] = (truth["states"] - mean) / deviation
        predicted, _ = student(features)
        for name, value in losses(predicted, truth).items():
            errors[f"{condition}/unexplained/{name}"] = value.item()
        for name in ("phones", "encoder"):
            own, known = (by_frame(each[name][:, BEGINNING:]).argmax(-1) for each in (predicted, truth))
            spoken = known != BLANK
            errors[f"{condition}/agreement/{name}"] = float((own == known)[spoken].float().mean())
    return errors


def _lesson(config: CrnnTrainConfig) -> Lesson:
    backbone, _ = shipped_backbone()

    def teacher(audio: Tensor, ends: np.ndarray) -> dict[str, np.ndarray]:
        states, phones = taught(backbone, audio, ends - BACKBONE_LAG)
        sound = functional.pad(audio, (0, ENCODER_LAG)) + 1e-4 * torch.randn(len(audio) + ENCODER_LAG)
        probabilities = np.square(loaded_backbone().encode(sound.numpy())[0])
        last = (ends - ENCODER_LAG) // FRAME_SAMPLES - 1
        frames = last[:, None] + np.arange(1 - FRAMES_AT_ONCE, 1)
        log_p = np.log(probabilities.clip(LEAST_PROBABILITY))[frames.clip(0)].reshape(len(ends), -1)
        return {"states": states, "phones": phones, "encoder": log_p}

    quiet = replace(config.augmentation, room_share=0.0, noise_share=0.0, equalizer_db=0.0, telephone_share=0.0)
    noisy = replace(quiet, noise_share=1.0, snr_db=(VALIDATION_SNR_DB, VALIDATION_SNR_DB))
    return Lesson(
        log_mel,
        WINDOW,
        STEP_FRAMES,
        LOWEST,
        LEVEL,
        teacher,
        tuple(WEIGHTS),
        (config.augmentation,) * config.renderings,
        tuple(noisy if number else quiet for number in range(config.renderings)),
    )
