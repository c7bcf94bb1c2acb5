"""One text that an engine may be asked to speak."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PhraseText:
    """A text with the way it was made.

    Attributes:
        text: what is spoken, with its punctuation and capitals, which steer the prosody.
        kind: how it was made: alone, punctuated, start, middle, end; substitute, insert, delete, vocabulary, partial,
            repeated, reordered, joined; part, related; transcript, generated.
        distance: weighted phone distance from the keyphrase (see ``distance.py``), where one was measured.
    """

    text: str
    kind: str
    distance: float | None = None
