"""Training of the phone head on cached outputs of the encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.onnx import session
from lab.weights.learning import learn
from model.asr.augmentation import BatchAugmenter, SpeechAugmentation
from model.asr.decoding import error_rate, greedy
from model.asr.packed import Packed
from model.fit import Fit
from model.large.encoder_backbone import ENCODER_FILE, package_model
from model.large.phone_head import ENCODER_WIDTH, PhoneHead
from model.phones import BLANK, phone_indices

OUTPUTS_FILE, PLACES_FILE = "encoder.f16", "encoder.json"
MAX_DURATION_S = 14.0  # maximum seconds of an utterance used for training
SILENCE = {"before": (1_600, 16_000), "after": (3_200, 16_000)}  # range of samples of silence around an utterance
EVALUATED = 100  # number of evaluated utterances per group


@dataclass(frozen=True)
class HeadTrainConfig:
    """Parameters of the training."""

    steps: int = 2_500
    batch_frames: int = 4_000  # frames of 24 ms per batch
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    real_share: float = 0.8  # fraction of the batches that is real speech
    seed: int = 0
    # Harder noise than this made detection in noise worse (lab/experiments.md).
    augmentation: SpeechAugmentation = field(
        default_factory=lambda: SpeechAugmentation(
            speed_share=0.4, speed=(0.88, 1.15), room_share=0.3, noise_share=0.75, snr_db=(0.0, 25.0),
            babble_share=0.15, recorded_share=0.7,
        )
    )  # fmt: skip


@dataclass(frozen=True)
class EncoderOutputs:
    """The encoder's outputs for one utterance: their position in the file of outputs."""

    index: int
    first: int
    frames: int


def train_head(
    packed: Packed,
    config: HeadTrainConfig,
    folder: Path,
    on_progress: Callable[[int, int, float], None],
    tensorboard: str = "",
) -> tuple[PhoneHead, dict[str, float]]:
    """Train on the pack's ``train`` split; return the head, and phone errors by group of ``validation``.

    The encoder's outputs are cached in ``folder`` (1.1 GB for ten hours), so that a repeated call does not compute
    them.

    Args:
        on_progress: called with steps done, total steps, and the loss (NaN while the encoder runs).
    """
    outputs, rows = _outputs(packed, config, folder, on_progress)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    head = PhoneHead()
    optimizer = torch.optim.AdamW(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    fit = Fit(head, optimizer, config.steps, max(1, config.steps // 10))
    learned = sorted((h for h in rows if packed.utterances[h.index].split == "train"), key=lambda h: h.frames)
    groups = [[h for h in learned if packed.utterances[h.index].real == real] for real in (True, False)]
    groups = [group for group in groups if group]

    def loss() -> Tensor:
        group = groups[0] if len(groups) == 1 or rng.random() < config.real_share else groups[1]
        return _loss(head, outputs, packed, _draw(group, config.batch_frames, rng))

    learn(fit, loss, on_progress, tensorboard)
    return head.eval(), _errors(head, outputs, packed, rows)


def _outputs(
    packed: Packed, config: HeadTrainConfig, folder: Path, on_progress: Callable[[int, int, float], None]
) -> tuple[np.ndarray, list[EncoderOutputs]]:
    """Return the encoder's outputs of all utterances, float16 [frames, 288]; training ones are in rooms and noise."""
    folder.mkdir(parents=True, exist_ok=True)
    file, table = folder / OUTPUTS_FILE, folder / PLACES_FILE
    wanted = {"seed": config.seed, "augmentation": repr(config.augmentation), "speech": packed.digest}
    known: dict[str, Any] = json.loads(table.read_text()) if table.is_file() else {}
    if known.get("made") != wanted:
        table.unlink(missing_ok=True)
        encoder = session(package_model(ENCODER_FILE).SerializeToString())
        augmenter = BatchAugmenter(config.augmentation, packed.noise, packed.rooms, "cpu")
        rng = np.random.default_rng(config.seed)
        torch.manual_seed(config.seed)
        indices = [
            i for i, u in enumerate(packed.utterances) if u.phones and packed.length[i] <= MAX_DURATION_S * 16_000
        ]
        rows, first = [], 0
        with file.open("wb") as target:
            for number, index in enumerate(indices):
                given = encoder.run(None, _sound(packed, index, augmenter, rng))[0][0].astype(np.float16)
                given.tofile(target)
                rows.append([index, first, len(given)])
                first += len(given)
                if number % 100 == 0:
                    on_progress(number, len(indices), float("nan"))
        table.write_text(json.dumps({"made": wanted, "rows": rows}))
        known = {"rows": rows}
    outputs = np.memmap(file, np.float16, "r").reshape(-1, ENCODER_WIDTH)
    return outputs, [EncoderOutputs(*row) for row in known["rows"]]


def _sound(packed: Packed, index: int, augmenter: BatchAugmenter, rng: np.random.Generator) -> dict[str, np.ndarray]:
    audio = packed.audio(index)
    audio = audio * np.float32(0.05 / max(1e-4, float(np.sqrt(np.mean(np.square(audio))))))
    audio = np.pad(audio, (int(rng.integers(*SILENCE["before"])), int(rng.integers(*SILENCE["after"]))))
    sound = torch.from_numpy(audio)[None]
    if packed.utterances[index].split == "train":
        with torch.no_grad():
            sound, lengths = augmenter.waveform(sound, torch.tensor([sound.shape[1]]))
        sound = sound[:, : int(lengths[0])]
    else:
        sound = sound + 1e-4 * torch.randn_like(sound)
    return {"input_values": sound.numpy(), "attention_mask": np.ones(sound.shape, np.int64)}


def _draw(group: list[EncoderOutputs], frames: int, rng: np.random.Generator) -> list[EncoderOutputs]:
    """Draw utterances of similar length, ``frames`` in total."""
    start = int(rng.integers(len(group)))
    count = int(np.clip(frames / group[start].frames, 6, 40))
    low = max(0, start - 3 * count)
    return [group[i] for i in rng.choice(np.arange(low, min(len(group), low + 6 * count)), count)]


def _batch(outputs: np.ndarray, rows: list[EncoderOutputs]) -> tuple[Tensor, Tensor]:
    batch = torch.zeros(len(rows), max(row.frames for row in rows), ENCODER_WIDTH)
    for target, row in zip(batch, rows):
        target[: row.frames] = torch.from_numpy(outputs[row.first : row.first + row.frames].astype(np.float32))
    return batch, torch.tensor([row.frames for row in rows])


def _loss(head: PhoneHead, outputs: np.ndarray, packed: Packed, rows: list[EncoderOutputs]) -> Tensor:
    batch, lengths = _batch(outputs, rows)
    phone_sequences = [phone_indices(packed.utterances[row.index].phones) for row in rows]
    sizes = torch.tensor([len(phones) for phones in phone_sequences])
    flat = torch.tensor([phone for phones in phone_sequences for phone in phones], dtype=torch.long)
    log_p = head.train()(batch).log_softmax(-1).transpose(0, 1)
    loss = functional.ctc_loss(log_p, flat, lengths, sizes, BLANK, reduction="none", zero_infinity=True)
    mean: Tensor = (loss / sizes.clamp(min=1)).mean()
    return mean


@torch.no_grad()
def _errors(head: PhoneHead, outputs: np.ndarray, packed: Packed, all_rows: list[EncoderOutputs]) -> dict[str, float]:
    """Return greedy phone error rates ``per/<real|synthetic>/<corpus>`` of the validation split."""
    groups: dict[str, list[EncoderOutputs]] = {}
    for row in all_rows:
        utterance = packed.utterances[row.index]
        if utterance.split == "validation":
            name = f"per/{'real' if utterance.real else 'synthetic'}/{utterance.corpus}"
            groups.setdefault(name, []).append(row)
    errors: dict[str, float] = {}
    for name, rows in sorted(groups.items()):
        chosen = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:EVALUATED]]
        hypotheses = []
        for row in chosen:
            log_p = head(_batch(outputs, [row])[0])[0].log_softmax(-1).numpy()
            hypotheses.append(greedy(log_p))
        errors[name] = error_rate([phone_indices(packed.utterances[row.index].phones) for row in chosen], hypotheses)
    return errors
