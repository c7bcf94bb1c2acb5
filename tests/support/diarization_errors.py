"""How wrong a diarization is: the diarization error rate, and reading reference turns from RTTM files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.recordings.diarization.turns import Turn

COLLAR_S = 0.25  # on both sides of a reference turn's start and end, not scored: nobody can place these exactly


@dataclass(frozen=True)
class DiarizationErrors:
    """Seconds of speech, each counted once for everybody who speaks; they can be added up over recordings.

    Attributes:
        speech_s: of the reference.
        missed_s: of it, with nobody found.
        false_alarm_s: found where nobody speaks, or for one speaker too many.
        confused_s: found, and given to somebody else.
    """

    speech_s: float = 0.0
    missed_s: float = 0.0
    false_alarm_s: float = 0.0
    confused_s: float = 0.0

    @property
    def rate(self) -> float:
        """The diarization error rate: all errors by all speech; can exceed 1. 0 where nobody speaks."""
        wrong = self.missed_s + self.false_alarm_s + self.confused_s
        return wrong / self.speech_s if self.speech_s else float(bool(wrong))

    def __add__(self, other: DiarizationErrors) -> DiarizationErrors:
        return DiarizationErrors(
            self.speech_s + other.speech_s,
            self.missed_s + other.missed_s,
            self.false_alarm_s + other.false_alarm_s,
            self.confused_s + other.confused_s,
        )


def diarization_errors(
    reference: Sequence[Turn], found: Sequence[Turn], collar_s: float = COLLAR_S
) -> DiarizationErrors:
    """The errors of ``found``, its speakers named as fits the reference best (one to one, the Hungarian method).

    As NIST's md-eval counts: overlapped speech is scored, so of two who speak at once both must be found.
    """
    from scipy.optimize import linear_sum_assignment

    pieces = _pieces(reference, found, collar_s)
    names = sorted({turn.speaker for turn in reference})
    others = sorted({turn.speaker for turn in found})
    together = np.zeros((len(names), len(others)))
    for duration, true, guessed in pieces:
        for one in true:
            for other in guessed:
                together[names.index(one), others.index(other)] += duration
    rows, columns = linear_sum_assignment(-together)
    meant = {others[column]: names[row] for row, column in zip(rows, columns)}
    errors = DiarizationErrors()
    for duration, true, guessed in pieces:
        right = len(true & {meant[other] for other in guessed if other in meant})
        errors += DiarizationErrors(
            duration * len(true),
            duration * max(0, len(true) - len(guessed)),
            duration * max(0, len(guessed) - len(true)),
            duration * (min(len(true), len(guessed)) - right),
        )
    return errors


def overlap_found(reference: Sequence[Turn], found: Sequence[Turn]) -> tuple[float, float, float]:
    """Seconds in which two or more speak: (of the reference, marked as overlap by ``found``, both). No collar."""
    in_reference = in_found = both = 0.0
    marked = [Turn(turn.start_s, turn.end_s, "marked") for turn in found if turn.overlap]
    for duration, true, guessed in _pieces(reference, marked, 0.0):
        in_reference += duration * (len(true) > 1)
        in_found += duration * bool(guessed)
        both += duration * (len(true) > 1 and bool(guessed))
    return in_reference, in_found, both


def _pieces(
    reference: Sequence[Turn], found: Sequence[Turn], collar_s: float
) -> list[tuple[float, frozenset[str], frozenset[str]]]:
    """(seconds, who speaks by the reference, who was found) of each stretch in which neither changes."""
    edges = [edge for turn in reference for edge in (turn.start_s, turn.end_s)]
    closed = [(edge - collar_s, edge + collar_s) for edge in edges]
    cuts = sorted(
        {
            *edges,
            *(edge for turn in found for edge in (turn.start_s, turn.end_s)),
            *(edge for stretch in closed for edge in stretch),
        }
    )
    pieces = []
    for start, end in pairwise(cuts):
        middle = (start + end) / 2
        if not any(first < middle < last for first, last in closed):
            pieces.append((end - start, _at(reference, middle), _at(found, middle)))
    return pieces


def _at(turns: Iterable[Turn], time_s: float) -> frozenset[str]:
    return frozenset(turn.speaker for turn in turns if turn.start_s <= time_s < turn.end_s)


def read_rttm(path: Path) -> dict[str, list[Turn]]:
    """The turns of each recording in an RTTM file ("SPEAKER name channel start duration <NA> <NA> speaker ...").

    Raises:
        OSError: it cannot be read.
        ValueError: a line that is not RTTM.
    """
    found: dict[str, list[Turn]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            start, duration = float(fields[3]), float(fields[4])
            found.setdefault(fields[1], []).append(Turn(start, start + duration, fields[7]))
        except (IndexError, ValueError) as error:
            raise ValueError(f"{path.name}, line {number}: {line!r} is not RTTM") from error
    return {name: sorted(turns, key=lambda turn: turn.start_s) for name, turns in found.items()}
