"""The language whose sounds the shipped weights know."""

from __future__ import annotations

from phrase_augmentation.normalize import base_language

KNOWN_LANGUAGE = "en"


def is_known(language: str) -> bool:
    """Return whether the shipped weights know a language's sounds, so that phrases are detected without training."""
    return base_language(language) == KNOWN_LANGUAGE
