"""The negative bank that ships with Hark: hours of real speech as a trunk hears it, so that a machine without any
recordings still trains against real voices.

It holds phone probabilities, not sound: square roots of probabilities as 8-bit numbers, compressed. What was said can
be guessed from them roughly; who said it cannot be heard.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.data_folder import atomic_path
from core.errors import HarkError
from model.asr.packed import Utterance
from model.examples import ExampleSpec, SoundSources, build_examples
from model.features import HOP, WINDOW
from pipeline.config import SIZES
from pipeline.events import Progress, Reporter

FOLDER = Path(__file__).parents[1] / "model" / "shipped"
BANKS = {size: f"negative-bank-{size}.zip" for size in SIZES}
STREAM_S = 25.0  # speech in one piece
FRAME_S = 0.02  # of a trunk
LEAST = 8  # of 255: smaller square roots of probabilities become nothing, which is what makes the bank small


@dataclass(frozen=True)
class BankPiece:
    """A stretch of speech: stored frames [frames, width] float16 and its row in the feature store."""

    frames: np.ndarray
    row: dict[str, Any]


def build_bank(
    utterances: Sequence[Utterance],
    root: Path,
    sources: SoundSources,
    path: Path,
    seed: int,
    reporter: Reporter,
    about: dict[str, Any],
) -> dict[str, float]:
    """Write a bank of the utterances; returns hours by split. Training pieces are heard in rooms and noise, as examples
    are; the others half of them quiet, half noisy.

    Args:
        utterances: their ``split`` says what each is for; ``path`` is relative to ``root``.
        sources: with the trunk that hears them.
    """  # fmt: skip
    assert sources.stored is not None, "a bank is made with a trunk"
    needed = (sources.stored.lead + sources.stored.step * (sources.stored.window - 1)) * HOP + WINDOW
    rng = np.random.default_rng(seed)
    specs: list[ExampleSpec] = []
    by_corpus: dict[tuple[str, str], list[Utterance]] = {}
    for utterance in utterances:
        by_corpus.setdefault((utterance.split, utterance.corpus), []).append(utterance)
    for (split, corpus), group in sorted(by_corpus.items()):
        block: list[str] = []
        seconds = 0.0
        for number, index in enumerate(rng.permutation(len(group))):
            block.append(str(root / group[index].path))
            seconds += _seconds(root / group[index].path)
            if seconds >= STREAM_S or number == len(group) - 1:
                conditions = ("train",) if split == "train" else ("clean", "noisy")
                row: dict[str, Any] = {
                    "split": split, "label": 0, "bucket": "plain_negative", "engine": f"bank:{corpus}", "voice": "",
                    "speaker": "", "clip_id": -1, "text": "",
                }  # fmt: skip
                for condition in conditions:
                    seed_of_this = int(rng.integers(2**62))
                    specs.append(ExampleSpec(tuple(block), False, condition, seed_of_this, needed, columns=row))
                block, seconds = [], 0.0
    progress = Progress(reporter, len(specs))
    parts: list[np.ndarray] = []
    table: list[dict[str, Any]] = []
    hours: dict[str, float] = {}
    for frames, columns in build_examples(specs, sources):
        levels = np.rint(frames.astype(np.float32) * 255).astype(np.uint8)
        levels[levels < LEAST] = 0
        parts.append(levels)
        table.append({**columns, "frames": len(levels)})
        split = str(columns["split"])
        hours[split] = hours.get(split, 0.0) + len(levels) * FRAME_S / 3600
        progress.advance()
    # Of each phone over time, and as differences of neighbouring frames' zeros: runs of zeros pack best.
    joined = np.ascontiguousarray(np.concatenate(parts).T)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("about.json", json.dumps({**about, "hours": {k: round(v, 2) for k, v in hours.items()}}))
        archive.writestr("table.json", json.dumps(table))
        buffer = io.BytesIO()
        np.save(buffer, joined)
        archive.writestr("frames.npy", buffer.getvalue())
    return hours


def _seconds(path: Path) -> float:
    import soundfile

    return float(soundfile.info(path).duration)


def shipped_bank(size: str) -> Path | None:
    """The bank for detectors of that size; None where there is none."""
    path = FOLDER / BANKS[size]
    return path if path.is_file() else None


def bank_about(path: Path) -> dict[str, Any]:
    """What is said about a bank: its trunk, corpora, licences and hours. Raises HarkError where it is damaged."""
    with _opened(path) as archive:
        about: dict[str, Any] = json.loads(archive.read("about.json"))
        return about


def bank_pieces(path: Path, hours: float, seed: int) -> Iterator[BankPiece]:
    """Pieces of a bank, drawn by the seed: about ``hours`` for training; what is left of its training part joins the
    validation, because a threshold for one false alarm in some hours wants many hours.

    With less than an hour for training, no other part gives more. Raises HarkError: the file is missing or damaged.
    """
    rng = np.random.default_rng((seed, 6))
    with _opened(path) as archive:
        table = json.loads(archive.read("table.json"))
        frames = np.load(io.BytesIO(archive.read("frames.npy"))).T
    firsts = np.cumsum([0, *(row["frames"] for row in table)])
    whole = hours >= 1.0  # else no part gives more than training
    left = {"train": hours, **dict.fromkeys(("validation", "test"), np.inf if whole else hours)}
    for index in rng.permutation(len(table)):
        row = dict(table[index])
        count = row.pop("frames")
        if row["split"] == "train" and left["train"] <= 0 and whole:
            row["split"] = "validation"
        if left[row["split"]] > 0:
            left[row["split"]] -= count * FRAME_S / 3600
            part = frames[firsts[index] : firsts[index] + count]
            yield BankPiece((part.astype(np.float32) / 255).astype(np.float16), row)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise HarkError(
            f"The negative bank {path.name} cannot be read.",
            f"{path}: {error}.",
            "Get Hark's files again (git checkout model/shipped), or train with --from-scratch.",
        ) from error
