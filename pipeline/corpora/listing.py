"""The layout, licence and utterances of a corpus; an untrusted one is read in a confined process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

from core.confinement.call import called, invalid_answer
from pipeline.corpora.layouts import layout_of
from pipeline.corpora.layouts.utterance import OUTSIDE, Utterance, lies_below
from pipeline.corpora.licences import licence_of


@dataclass(frozen=True)
class Listing:
    """A listed corpus; ``utterances`` reads it again each time, without any audio."""

    layout: str
    licence: str
    licence_from: str
    utterances: Callable[[], Iterator[Utterance]]


def listed_corpus(folder: Path, own: bool) -> Listing:
    """List the corpus in a folder.

    Args:
        own: whether it is trusted, so that this process reads it.

    Raises:
        HarkError: it does not exist or is not a corpus, or the process that read it was stopped.
        OSError: it cannot be read.
    """
    if own:
        layout = layout_of(folder)
        return Listing(layout.name, *licence_of(folder), lambda: layout.utterances(folder))

    def lines() -> Iterator[Any]:
        return called("pipeline.corpora.listing:rows", [str(folder)], reads=[folder])

    first = next(lines(), None)
    if not isinstance(first, list) or len(first) != 3:
        raise invalid_answer()
    layout_name, said, said_by = map(str, first)
    return Listing(layout_name, said, said_by, lambda: (_utterance(folder, line) for line in islice(lines(), 1, None)))


def rows(folder: str) -> Iterator[Any]:
    """Yield layout, licence and its file, then utterances, from the confined process to :func:`listed_corpus`."""
    layout = layout_of(Path(folder))
    yield [layout.name, *licence_of(Path(folder))]
    for utterance in layout.utterances(Path(folder)):
        told_of = replace(utterance, offset_s=None, duration_s=None) if utterance.problem else utterance
        yield {**asdict(told_of), "audio": str(utterance.audio)}  # the times may be the problem


def _utterance(folder: Path, values: Any) -> Utterance:
    """Validate an utterance of the confined process, which a corpus may control. Raises HarkError if it is invalid."""
    if not isinstance(values, dict) or set(values) != {field.name for field in fields(Utterance)}:
        raise invalid_answer()
    audio = Path(str(values["audio"]))
    utterance = Utterance(
        audio, _word(values["text"]), str(values["speaker"]), _word(values["language"]), _word(values["licence"]),
        _time(values["offset_s"]), _time(values["duration_s"]), str(values["problem"]),
    )  # fmt: skip
    return utterance if utterance.problem or lies_below(folder, audio) else replace(utterance, problem=OUTSIDE)


def _word(value: Any) -> str | None:
    return None if value is None else str(value)


def _time(value: Any) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise invalid_answer()
    return seconds
