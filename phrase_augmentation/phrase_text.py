"""A text for an engine to speak."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PhraseText:
    """A text and the way it was made.

    Attributes:
        text: to be spoken, with punctuation and capitals, which steer the prosody.
        kind: alone, punctuated, start, middle, end; substitute, insert, delete, vocabulary, partial, repeated,
            reordered, joined; part, related; transcript, generated.
        distance: weighted phone distance from the keyphrase (see ``distance.py``), if measured.
    """

    text: str
    kind: str
    distance: float | None = None
