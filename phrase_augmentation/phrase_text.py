"""A text for an engine to synthesize."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PhraseText:
    """A text and how it was generated.

    Attributes:
        text: the text with punctuation and capitals, which affect the prosody.
        kind: alone, punctuated, start, middle, end; substitute, insert, delete, vocabulary, partial, repeated,
            reordered, joined; part, related; transcript, generated.
        distance: weighted phone distance from the keyphrase (see ``distance.py``), if measured.
    """

    text: str
    kind: str
    distance: float | None = None
