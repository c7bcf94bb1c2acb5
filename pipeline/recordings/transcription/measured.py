"""Size, speed and accuracy of recognizers: from ``measured.json``, which names the command that measured them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from core.worded import Worded, worded

FILE = Path(__file__).with_name("measured.json")
EASY, HARD = "dev-clean", "test-other"


@cache
def measured() -> dict[str, Any]:
    """Read the whole file: ``models`` by name (``engine.described``), ``corpora``, ``command``, ``commits``."""
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def size_of(name: str) -> Worded | None:
    """Return the size of a model, to download or on disk; None if unknown."""
    megabytes = measured()["models"].get(name, {}).get("megabytes")
    if megabytes is None:
        return None
    if megabytes < 1000:
        return worded("%(megabytes)d MB", megabytes=megabytes)
    return worded("%(gigabytes)s GB", gigabytes=round(megabytes / 1000, 1))


def facts(name: str, took_s: float | None = None) -> list[Worded]:
    """Return facts for choosing a recognizer: size, time and word errors, each a sentence without its full stop.

    Args:
        name: from ``engine.described``.
        took_s: seconds that a minute of audio took on this machine; None for the measurement on two cores.
    """
    known = measured()["models"].get(name, {})
    sentences = [size] if (size := size_of(name)) is not None else []
    if took_s is not None:
        sentences.append(worded("a minute of audio took %(seconds)s s here", seconds=_rounded(took_s)))
    elif times := known.get("times_real_time"):
        sentences.append(worded("a minute of audio takes about %(seconds)s s", seconds=_rounded(60 / times)))
    if wrong := known.get("wrong"):
        sentences.append(
            worded(
                "%(easy)d of 100 words wrong in clearly read English, %(hard)d in difficult recordings",
                easy=round(100 * wrong[EASY]),
                hard=round(100 * wrong[HARD]),
            )
        )
    else:
        sentences.append(worded("word error rate not measured"))
    return sentences


def source() -> Worded:
    """Return a sentence with the corpora and numbers of words that the word errors were measured on."""
    easy, hard = (measured()["corpora"][name] for name in (EASY, HARD))
    return worded(
        "Word error rates were measured on %(words)d words of %(easy)s and %(others)d of %(hard)s. Meetings and "
        "telephone calls have higher ones.",
        words=easy["words"], easy=easy["name"], others=hard["words"], hard=hard["name"],
    )  # fmt: skip


def _rounded(seconds: float) -> int | float:
    return round(seconds, 1) if seconds < 2 else round(seconds)
