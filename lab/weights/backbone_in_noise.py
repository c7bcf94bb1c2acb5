"""Training of the standard backbone for rooms and noise.

From noisy speech it learns the outputs that the shipped backbone has for the same speech in quiet (teacher-student
learning on parallel speech, Li and others 2017). The convolutions are trained too.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.errors import HarkError
from core.processors import usable_cores
from lab.weights.learning import learn
from model.asr.augmentation import BatchAugmenter, SpeechAugmentation
from model.asr.packed import BatchSource, Packed, SpeechBatch
from model.asr.train import ctc_losses, targets_of
from model.features import HOP
from model.fit import Fit
from model.standard.backbone import FRAMES_AT_ONCE, MEL_FFT, STEP_FRAMES, EmbeddingBackbone, shipped_backbone
from model.weights import weights_digest

STEP = STEP_FRAMES * HOP  # samples per step of the backbone
TAIL_STEPS = 5  # steps added after an item, because the backbone outputs its last phone late
SILENCE = 1e-4  # amplitude of noise in silence, because recordings have no digital silence
SPEECH_RMS = 0.004  # minimum RMS of a step that contains speech
AFTER_SPEECH = 16  # steps after speech that still depend on it
SILENCE_WEIGHT = 0.25  # weight of steps without speech in the loss
CTC_WEIGHT = 0.1
VALIDATED = 4  # batches used for validation
CHECKPOINT_EVERY = 100  # updates between checkpoints; a multiple of the interval of progress reports
PRECISION = torch.bfloat16  # on a GPU


@dataclass(frozen=True)
class NoiseTrainConfig:
    """Parameters of the training.

    Attributes:
        batch_size: utterances per batch; 0 for as many as fit into ``batch_seconds``.
        convolutions_rate: factor of the learning rate for the public embedding's convolutions.
    """

    steps: int = 1500
    batch_seconds: float = 1000.0
    batch_size: int = 0
    learning_rate: float = 1e-3
    convolutions_rate: float = 0.25
    weight_decay: float = 1e-3
    warmup_steps: int = 200
    ema_decay: float = 0.999
    seed: int = 0
    augmentation: SpeechAugmentation = field(
        default_factory=lambda: SpeechAugmentation(
            room_share=0.45, noise_share=0.8, snr_db=(-2.0, 26.0), babble_share=0.2, recorded_share=0.65,
            equalizer_db=6.0,
        )
    )  # fmt: skip


@dataclass(frozen=True)
class Parallel:
    """Speech in quiet and the same in noise, each after a lead [batch, lead + samples], and the teacher's outputs.

    Attributes:
        lengths: samples of each item, without the lead.
        states: the teacher's states for the quiet speech [batch, steps, channels].
        logits: its logits of phones for it [batch, FRAMES_AT_ONCE * steps, phones].
        weights: weight of each step in the loss [batch, steps].
    """

    noisy: Tensor
    lengths: Tensor
    states: Tensor
    logits: Tensor
    weights: Tensor


def train_in_noise(
    packed: Packed,
    config: NoiseTrainConfig,
    folder: Path,
    on_progress: Callable[[int, int, float], None],
    device: str = "cpu",
    tensorboard: str = "",
) -> tuple[EmbeddingBackbone, dict[str, float]]:
    """Train the shipped backbone on the pack's ``train`` split; return it, and its errors.

    The errors compare its outputs on the noisy speech of ``validation`` with the teacher's on the quiet speech. The
    error of states is relative to their variance; that of phones is the Kullback-Leibler divergence in nats. Both are
    given for the teacher in noise too.

    Training resumes from ``last.pt`` in ``folder``, written every :data:`CHECKPOINT_EVERY` updates, if it has the same
    configuration.

    Raises:
        HarkError: there is too little speech.
    """
    torch.manual_seed(config.seed)
    augmenter = BatchAugmenter(config.augmentation, packed.noise, packed.rooms, device)
    seconds = math.inf if config.batch_size else config.batch_seconds
    sources = [
        BatchSource(
            packed, packed.where(split), seconds, np.random.default_rng(config.seed), max_utterances=config.batch_size
        )
        for split in ("train", "validation")
    ]
    if not all(sources):
        raise HarkError(
            "There is too little speech to train the backbone.",
            "It needs speech for training, and speech by other people for validation.",
            "Give corpora with more speakers.",
        )
    teacher, _ = shipped_backbone()
    identity = {"teacher": weights_digest(teacher), "train": repr(asdict(config)), "speech": packed.digest}
    teacher.to(device)
    student = copy.deepcopy(teacher)
    pretrained = list(student.convs.parameters())
    others = [value for name, value in student.named_parameters() if not name.startswith("convs.")]
    slower = config.convolutions_rate * config.learning_rate
    groups: list[dict[str, Any]] = [{"params": others}, {"params": pretrained, "lr": slower}]
    optimizer = torch.optim.AdamW(groups, config.learning_rate, weight_decay=config.weight_decay)
    fit = Fit(student, optimizer, config.steps, min(config.warmup_steps, config.steps), config.ema_decay)
    average = fit.average
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "last.pt"
    fit.resume(last, identity)

    def drawn(source: BatchSource, step: int) -> SpeechBatch:
        own = copy.copy(source)
        own.rng = np.random.default_rng((config.seed, step))
        return own.draw()

    def parallel(batch: SpeechBatch) -> Parallel:
        return parallel_speech(teacher, augmenter, batch, device)

    held = [parallel(drawn(sources[1], step)) for step in range(VALIDATED)]
    deviation = held[0].states.flatten(0, 1).std(0) + 1e-3
    cores = usable_cores()
    with ThreadPoolExecutor(cores) as pool:
        first = range(fit.step + 1, min(fit.step + cores, config.steps) + 1)
        waiting = [pool.submit(drawn, sources[0], step) for step in first]

        def loss() -> Tensor:
            batch = waiting.pop(0).result()
            if fit.step + 1 + cores <= config.steps:
                waiting.append(pool.submit(drawn, sources[0], fit.step + 1 + cores))
            speech = parallel(batch)
            of_states, of_phones, logits = losses(student.train(), speech, deviation)
            return of_states + of_phones + CTC_WEIGHT * read_loss(logits, packed, batch, speech.lengths)

        def tell(done: int, total: int, loss: float) -> None:
            if done % CHECKPOINT_EVERY == 0 or done == total:
                fit.save(last, identity)
            on_progress(done, total, loss)

        learn(fit, loss, tell, tensorboard)
    with torch.no_grad():
        errors = {}
        for name, model in (("", average), ("teacher/", teacher)):
            parts = [losses(model, speech, deviation)[:2] for speech in held]
            errors[f"{name}unexplained/states"] = float(torch.stack([states for states, _ in parts]).mean())
            errors[f"{name}unexplained/phones"] = float(torch.stack([phones for _, phones in parts]).mean())
    return average.cpu(), errors


@torch.no_grad()
def parallel_speech(teacher: EmbeddingBackbone, augmenter: BatchAugmenter, batch: SpeechBatch, device: str) -> Parallel:
    """Return the teacher's outputs for a batch, and the student's input: at the same speed, in rooms and noise."""
    audio, lengths = torch.from_numpy(batch.audio).to(device), torch.from_numpy(batch.lengths).to(device)
    quiet, lengths = augmenter.change_speed(audio, lengths)
    quiet = functional.pad(quiet, (0, TAIL_STEPS * STEP - quiet.shape[1] % STEP))
    lead = teacher.config.receptive_mel_frames * HOP + MEL_FFT
    led = functional.pad(quiet, (lead, 0))
    noisy = augmenter.in_a_room(led, lengths)[:, : led.shape[1]]
    states, logits = _outputs(teacher, led + SILENCE * torch.randn_like(led))
    loud = quiet.reshape(len(quiet), -1, STEP).square().mean(2).sqrt() > SPEECH_RMS
    after = functional.max_pool1d(functional.pad(loud.float(), (AFTER_SPEECH, 0))[:, None], AFTER_SPEECH + 1, 1)[:, 0]
    # The first step ends with the lead, each later one with a step of the item.
    steps = torch.arange(states.shape[1], device=device)[None]
    inside = steps * STEP < lengths[:, None] + TAIL_STEPS * STEP
    speech = functional.pad(after, (1, states.shape[1]))[:, : states.shape[1]]
    return Parallel(noisy, lengths, states, logits, inside * (SILENCE_WEIGHT + (1 - SILENCE_WEIGHT) * speech))


def losses(student: EmbeddingBackbone, speech: Parallel, deviation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return squared errors of states (in standard deviations), the phones' divergence, and the student's logits."""
    states, logits = _outputs(student, speech.noisy)
    weights = speech.weights
    of_states = (((states - speech.states) / deviation).square().mean(2) * weights).sum() / weights.sum()
    log_p, truth = logits.log_softmax(2), speech.logits.log_softmax(2)
    twice = weights.repeat_interleave(FRAMES_AT_ONCE, 1)
    of_phones = ((truth.exp() * (truth - log_p)).sum(2) * twice).sum() / twice.sum()
    return of_states, of_phones, logits


def _outputs(backbone: EmbeddingBackbone, audio: Tensor) -> tuple[Tensor, Tensor]:
    mel = backbone.mel(audio)
    with torch.autocast("cuda", PRECISION, enabled=audio.is_cuda):
        states = backbone.states(backbone.convolved(mel))
        logits = backbone.logits(states)
    return states.float(), logits.float()


def read_loss(logits: Tensor, packed: Packed, batch: SpeechBatch, lengths: Tensor) -> Tensor:
    """Return the CTC loss per phone of the items with a transcript."""
    known = torch.tensor([all(packed.utterances[u].phones for u in item) for item in batch.items])
    if not known.any():
        return logits.sum() * 0.0
    outputs = FRAMES_AT_ONCE * (lengths // STEP + TAIL_STEPS)
    return ctc_losses(logits, outputs, *targets_of(packed, batch, "phones"))[known.to(logits.device)].mean()
