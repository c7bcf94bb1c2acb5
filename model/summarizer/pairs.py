"""Training data of a summarizer: texts with their summaries, and their split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import HarkError

MIN_PAIRS = 20  # minimum pairs; with fewer, there is nothing to measure on
HELD_OUT_FRACTION = 0.1  # fraction of the pairs for validation, and for the test


@dataclass(frozen=True)
class Pair:
    text: str
    summary: str


@dataclass(frozen=True)
class Split:
    """Pairs by their use, without a text in common."""

    train: tuple[Pair, ...]
    validation: tuple[Pair, ...]
    test: tuple[Pair, ...]


def read_pairs(path: Path) -> list[Pair]:
    """Read pairs from JSON lines ``{"text": ..., "summary": ...}`` of a file, or of all files in a folder.

    In a folder, files that do not begin with a pair are skipped, such as a corpus's manifests or a job's logs. Raises
    HarkError if a file cannot be read or a line is not a pair.
    """
    files = [file for file in sorted(path.rglob("*.jsonl")) if _begins(file)] if path.is_dir() else [path]
    pairs: list[Pair] = []
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise HarkError(
                "The training data cannot be read.", f"{file}: {error}.", "Use a file of JSON lines in UTF-8."
            ) from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                text, summary = row["text"], row["summary"]
                if not isinstance(text, str) or not isinstance(summary, str):
                    raise TypeError("text and summary must be strings")
            except (ValueError, KeyError, TypeError) as error:
                raise HarkError(
                    "The training data cannot be read.",
                    f'Line {number} of {file} is not {{"text": ..., "summary": ...}} ({error}).',
                    "Correct the line, or remove it.",
                ) from error
            if text.strip() and summary.strip():
                pairs.append(Pair(text, summary))
    return pairs


def _begins(file: Path) -> bool:
    try:
        with file.open(encoding="utf-8") as lines:
            row = json.loads(lines.readline())
    except (OSError, ValueError):
        return False
    return isinstance(row, dict) and {"text", "summary"} <= row.keys()


def split_pairs(pairs: Sequence[Pair], seed: int, subset: int = 0) -> Split:
    """Split pairs 8:1:1 into training, validation and test; for a seed, a text always has the same split.

    Args:
        subset: number of pairs to use, drawn by the seed; 0: all.

    Raises HarkError if there are fewer than :data:`MIN_PAIRS`.
    """
    by_text = {" ".join(pair.text.split()): pair for pair in pairs}
    order = sorted(by_text, key=lambda text: hashlib.sha256(f"{seed} {text}".encode()).digest())
    unlike = [by_text[text] for text in order][: subset or None]
    if len(unlike) < MIN_PAIRS:
        raise HarkError(
            "There is too little to learn from.",
            f"There are {len(unlike)} different texts with a summary; at least {MIN_PAIRS} are needed, "
            "preferably thousands.",
            "Add more texts with summaries.",
        )
    held = max(1, round(HELD_OUT_FRACTION * len(unlike)))
    return Split(tuple(unlike[2 * held :]), tuple(unlike[held : 2 * held]), tuple(unlike[:held]))
