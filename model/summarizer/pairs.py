"""What a summarizer learns from: texts with their summaries, and how they are split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import HarkError

FEWEST = 20  # pairs; with fewer there is nothing to measure on
HELD_OUT_SHARE = 0.1  # for validation, and as much for the test


@dataclass(frozen=True)
class Pair:
    """A text and what it comes down to."""

    text: str
    summary: str


@dataclass(frozen=True)
class Split:
    """Pairs by what they are for. No text is in two of them."""

    train: tuple[Pair, ...]
    validation: tuple[Pair, ...]
    test: tuple[Pair, ...]


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file of JSON lines ``{"text": ..., "summary": ...}``, or of all such files (*.jsonl) in a folder.
    Those that begin with something else are left out there: manifests of a corpus, what a job writes down.

    Raises HarkError where a file cannot be read, or a line is something else.
    """
    files = [file for file in sorted(path.rglob("*.jsonl")) if _begins(file)] if path.is_dir() else [path]
    pairs: list[Pair] = []
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise HarkError(
                "The training data cannot be read.", f"{file}: {error}.", "Give a file of JSON lines in UTF-8."
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
                    f'Line {number} of {file} is no {{"text": ..., "summary": ...}} ({error}).',
                    "Mend the line, or take it out.",
                ) from error
            if text.strip() and summary.strip():
                pairs.append(Pair(text, summary))
    return pairs


def _begins(file: Path) -> bool:
    """Whether the first line of a file is a pair."""
    try:
        with file.open(encoding="utf-8") as lines:
            row = json.loads(lines.readline())
    except (OSError, ValueError):
        return False
    return isinstance(row, dict) and {"text", "summary"} <= row.keys()


def split_pairs(pairs: Sequence[Pair], seed: int, subset: int = 0) -> Split:
    """Nine of ten texts (less what is for validation) for training; the same texts always go the same way.

    Args:
        subset: use so many pairs only, drawn by the seed; 0: all.

    Raises HarkError where there are fewer than :data:`FEWEST`.
    """
    by_text = {" ".join(pair.text.split()): pair for pair in pairs}
    order = sorted(by_text, key=lambda text: hashlib.sha256(f"{seed} {text}".encode()).digest())
    unlike = [by_text[text] for text in order][: subset or None]
    if len(unlike) < FEWEST:
        raise HarkError(
            "There is too little to learn from.",
            f"There are {len(unlike)} different texts with a summary; {FEWEST} are needed, and thousands help.",
            "Give more data.",
        )
    held = max(1, round(HELD_OUT_SHARE * len(unlike)))
    return Split(tuple(unlike[2 * held :]), tuple(unlike[held : 2 * held]), tuple(unlike[:held]))
