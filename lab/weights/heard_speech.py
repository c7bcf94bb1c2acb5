"""Speech in rooms and noise, and what teachers output for the same speech in quiet, cached on disk.

Students of :mod:`lab.weights.micro_student` and :mod:`lab.weights.crnn_student` learn from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.audio_file import SAMPLE_RATE
from core.data_folder import atomic_path
from core.errors import HarkError
from model.asr.augmentation import BatchAugmenter, SpeechAugmentation
from model.asr.packed import BatchSource, Packed
from model.features import HOP
from model.standard.backbone import FRAMES_AT_ONCE, MEL_FFT, STEP_FRAMES, EmbeddingBackbone

BATCH_SECONDS = 160.0
TRAIN_SHARE = 0.95  # fraction of the hours that is speech for training; the rest is for validation
BATCHES_A_TABLE = 10  # batches between two tables, from which an interrupted call resumes
TABLE, FEATURES_FILE = "heard.json", "features"

# Maps quiet audio [samples] and the ends [steps] (samples) of the student's steps to outputs by name [steps, width].
Teacher = Callable[[Tensor, np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Lesson:
    """What a student hears, and who teaches it.

    Attributes:
        features_of: maps audio [samples] to features [frames of 10 ms, width].
        window: samples of audio from which a frame is computed.
        stride: frames per step of the student.
        lowest, level: features are stored in 8 bits, as ``lowest`` plus a multiple of ``level``.
        teacher, taught: the teacher, and the names of its outputs.
        training, validation: the conditions in which each piece is heard; both have the same number.
    """

    features_of: Callable[[np.ndarray], np.ndarray]
    window: int
    stride: int
    lowest: float
    level: float
    teacher: Teacher
    taught: tuple[str, ...]
    training: tuple[SpeechAugmentation, ...]
    validation: tuple[SpeechAugmentation, ...]


@dataclass(frozen=True)
class HeardSpeech:
    """Pieces of speech, one after the other; those for validation are last.

    Attributes:
        features: 8-bit levels [stride steps, conditions, width].
        outputs: the teachers' outputs by name [steps, width].
        first: first step of each piece.
        steps: number of steps of each piece.
        validation: whether a piece is for validation.
    """

    lesson: Lesson
    features: np.ndarray
    outputs: Mapping[str, np.ndarray]
    first: np.ndarray
    steps: np.ndarray
    validation: np.ndarray

    def stretches(
        self, starts: Sequence[int] | np.ndarray, length: int, conditions: Sequence[int] | np.ndarray | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features [batch, stride length, width] and outputs [batch, length, width] of stretches of steps.

        Args:
            starts: first step of each stretch.
            conditions: the condition in which each is heard; the first by default.
        """
        stride = self.lesson.stride
        heard = [0] * len(starts) if conditions is None else conditions
        levels = np.stack([self.features[stride * at : stride * (at + length), c] for at, c in zip(starts, heard)])
        outputs = {
            name: torch.from_numpy(np.stack([values[at : at + length] for at in starts]).astype(np.float32))
            for name, values in self.outputs.items()
        }
        return torch.from_numpy(levels.astype(np.float32) * self.lesson.level + self.lesson.lowest), outputs

    def spread(self, name: str) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation [width] of outputs."""
        some = torch.from_numpy(self.outputs[name][::50].astype(np.float32))
        return some.mean(0), some.std(0, correction=0) + 1e-3


def too_little(pieces: int, learned: int, held_out: int) -> HarkError:
    return HarkError(
        "There is too little speech to train the network.",
        f"Of {pieces} pieces of speech, {learned} are long enough to train on and {held_out} to measure on.",
        "Give corpora with more speakers.",
    )


def by_frame(logits: Tensor) -> Tensor:
    """Map phone logits [..., FRAMES_AT_ONCE phones] of steps to log-probabilities [..., FRAMES_AT_ONCE, phones]."""
    return logits.unflatten(-1, (FRAMES_AT_ONCE, -1)).log_softmax(-1)


def divergence(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the mean Kullback-Leibler divergence [nats] of phone logits [batch, steps, FRAMES_AT_ONCE phones]."""
    log_p, log_q = by_frame(truth), by_frame(predicted)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean()


def hear(
    packed: Packed,
    lesson: Lesson,
    hours: float,
    seed: int,
    folder: Path,
    on_progress: Callable[[int, int, float], None],
) -> HeardSpeech:
    """Return ``hours`` of speech from the pack, cached in ``folder``. A repeated call resumes and then reads the cache.

    Args:
        on_progress: called with seconds done, total seconds, and NaN.
    """
    folder.mkdir(parents=True, exist_ok=True)
    conditions = [asdict(condition) for condition in (*lesson.training, *lesson.validation)]
    made = json.dumps({"hours": hours, "seed": seed, "conditions": conditions, "speech": packed.digest}, sort_keys=True)
    table: dict[str, Any] = {"made": made, "rows": [], "batches": 0, "complete": False}
    if (folder / TABLE).is_file():
        known = json.loads((folder / TABLE).read_text())
        table = known if known["made"] == made else table
    if not table["complete"]:
        _write_pieces(packed, lesson, hours, seed, folder, table, on_progress)
    places = np.asarray(table["rows"], np.int64).reshape(-1, 2)
    total = int(places[:, 0].sum())
    features = np.memmap(folder / FEATURES_FILE, np.uint8, "r")
    return HeardSpeech(
        lesson,
        features.reshape(total * lesson.stride, len(lesson.training), -1),
        {name: np.memmap(folder / name, np.float16, "r").reshape(total, -1) for name in lesson.taught},
        np.concatenate([[0], np.cumsum(places[:, 0])])[:-1],
        places[:, 0],
        places[:, 1].astype(bool),
    )


@torch.no_grad()
def _write_pieces(
    packed: Packed,
    lesson: Lesson,
    hours: float,
    seed: int,
    folder: Path,
    table: dict[str, Any],
    on_progress: Callable[[int, int, float], None],
) -> None:
    """Write the pieces that ``table`` lacks, and update it: steps of each, and whether it is for validation."""
    rows, step_s = table["rows"], lesson.stride * HOP / SAMPLE_RATE
    files = [_opened(folder / name, table) for name in (FEATURES_FILE, *lesson.taught)]

    def keep_table() -> None:
        for file in files:
            file.flush()
        table["bytes"] = {Path(file.name).name: file.tell() for file in files}
        with atomic_path(folder / TABLE) as temporary:
            temporary.write_text(json.dumps(table))

    try:
        for split, share, conditions in (
            ("train", TRAIN_SHARE, lesson.training),
            ("validation", 1.0 - TRAIN_SHARE, lesson.validation),
        ):
            source = BatchSource(packed, packed.where(split), BATCH_SECONDS, np.random.default_rng(seed))
            augmenters = [BatchAugmenter(one, packed.noise, packed.rooms, "cpu") for one in conditions]
            held_out = split == "validation"
            while source and step_s * sum(steps for steps, own in rows if own == held_out) < share * hours * 3600:
                source.rng = np.random.default_rng((seed, table["batches"]))
                torch.manual_seed(seed + table["batches"])
                batch = source.draw()
                audio, lengths = torch.from_numpy(batch.audio), torch.from_numpy(batch.lengths)
                quiet, lengths = augmenters[0].change_speed(audio, lengths)
                heard = [augmenter.in_a_room(quiet, lengths) for augmenter in augmenters]
                for number, length in enumerate(lengths.tolist()):
                    levels = [_levels(lesson, sound[number, :length].numpy()) for sound in heard]
                    steps = min(map(len, levels)) // lesson.stride
                    np.stack([one[: lesson.stride * steps] for one in levels], 1).tofile(files[0])
                    ends = (lesson.stride * (np.arange(steps) + 1) - 1) * HOP + lesson.window
                    outputs = lesson.teacher(quiet[number, :length], ends)
                    for name, file in zip(lesson.taught, files[1:]):
                        outputs[name].astype(np.float16).tofile(file)
                    rows.append((steps, held_out))
                table["batches"] += 1
                if table["batches"] % BATCHES_A_TABLE == 0:
                    keep_table()
                on_progress(round(step_s * sum(steps for steps, _ in rows)), round(hours * 3600), float("nan"))
        table["complete"] = True
        keep_table()
    finally:
        for file in files:
            file.close()


def _opened(path: Path, table: dict[str, Any]) -> IO[bytes]:
    """Open a file to append to, without what an interrupted call wrote after its last table."""
    file = path.open("ab")
    file.truncate(table.get("bytes", {}).get(path.name, 0))
    file.seek(0, 2)
    return file


def _levels(lesson: Lesson, audio: np.ndarray) -> np.ndarray:
    values = (lesson.features_of(audio) - lesson.lowest) / lesson.level
    levels: np.ndarray = np.round(values).clip(0, 255).astype(np.uint8)
    return levels


def taught(backbone: EmbeddingBackbone, audio: Tensor, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the standard backbone's states and phone logits [steps, width] at ``ends`` [steps] (samples)."""
    mel_frames = backbone.config.receptive_mel_frames
    lead = mel_frames * HOP + MEL_FFT
    sound = functional.pad(audio, (lead, 0))
    sound = sound + 1e-4 * torch.randn_like(sound)  # no digital silence
    states = backbone.states(backbone.convolved(backbone.mel(sound[None])))
    logits = backbone.logits(states)[0].reshape(states.shape[1], -1).numpy()
    given = states[0].numpy()
    own_ends = (mel_frames - 1) * HOP + MEL_FFT - lead + STEP_FRAMES * HOP * np.arange(len(given))
    place = np.interp(ends, own_ends, np.arange(len(given)))
    below = np.floor(place).astype(int)
    above, part = np.minimum(below + 1, len(given) - 1), (place - below)[:, None]
    return given[below] * (1 - part) + given[above] * part, logits[np.round(place).astype(int)]
