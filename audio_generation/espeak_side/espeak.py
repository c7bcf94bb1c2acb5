"""espeak-ng as an engine: every accent of a language with every variant of the vocal tract."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from audio_generation.engine import Engine, Setting, Voice, speaks
from core.worded import worded

# Sound effects and a speed test. They come last in the list of voices, because most uses take the first voices.
NOVELTY = frozenset(
    ("AnxiousAndy", "Demonic", "Tweaky", "UniRobot", "anikaRobot", "announcer", "croak", "fast", "whisper", "whisperf")
    + ("robosoft", *(f"robosoft{number}" for number in range(2, 9)))
)
# Voices that expect a different alphabet.
OTHER_SCRIPT = frozenset({"gmw/en-Shaw"})


class Espeak(Engine):
    """The engine. Voices have espeak-ng's names, ``gmw/en-US+f3``. A variant (``f3``) is one speaker in all accents."""

    name = "espeak"
    about = worded("Rule-based voices for 100 languages, built in. They make a detector robust.")
    licence = "GPL-3.0-or-later"
    clip_s = 0.02
    answering_order = 4
    rule_based = True
    packages = ("espeakng_loader",)

    def languages(self) -> set[str]:
        """Return the languages of the voices, without the cost of creating each voice."""
        return {spoken for _, spoken in self._accents()} if self.available().ok else set()

    def _accents(self) -> list[tuple[str, str]]:
        return [
            (identifier, spoken) for identifier, spoken in self.facts()["languages"] if identifier not in OTHER_SCRIPT
        ]

    def find_voices(self, language: str) -> list[Voice]:
        """Return all combinations of accents and variants, human-like ones first."""
        facts = self.facts()
        accents = [(identifier, spoken) for identifier, spoken in self._accents() if speaks(spoken, language)]
        return list(_voices(tuple(accents), tuple(facts["variants"]), facts["version"]))

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Draw rate [words/min] (default 175), pitch and its range from 0 to 99 (default 50), word gap [10 ms]."""
        return {
            "rate": int(rng.integers(125, 216)),
            "pitch": int(rng.integers(25, 76)),
            "pitch_range": int(rng.integers(25, 81)),
            "word_gap": int(rng.choice([0, 0, 0, 1, 2, 4])),
        }


@lru_cache(maxsize=8)  # pages often request the same hundreds of voices
def _voices(accents: tuple[tuple[str, str], ...], variants: tuple[str, ...], version: str) -> tuple[Voice, ...]:
    return tuple(
        Voice(
            engine=Espeak.name,
            name=f"{identifier}+{variant}" if variant else identifier,
            language=spoken,
            speaker=f"espeak-{variant or 'default'}",
            # The program is GPL, but its output is not a derived work.
            licence="output of espeak-ng (GPL-3.0-or-later program)",
            model=f"espeak-ng {version}",
        )
        for variant in ["", *sorted(variants, key=lambda variant: (variant in NOVELTY, variant))]
        for identifier, spoken in accents
    )
