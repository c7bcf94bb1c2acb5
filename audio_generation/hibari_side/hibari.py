"""hibari as an engine: the network of one woman's voice, and men, women and children derived from it."""

from __future__ import annotations

import numpy as np

from audio_generation.engine import Engine, Setting, Voice, speaks
from core.worded import worded

COUNTS = {"man": 12, "woman": 12, "child": 6}
RESERVED = {"man": 6, "woman": 6, "child": 3}  # number of voices reserved for measurements
FIRST_RESERVED = 101
LICENCE = "Apache-2.0 (hibari, distilled from Kokoro-82M)"


class Hibari(Engine):
    """The engine. A voice is ``heart``, the trained one, or ``man-3``: a kind, and the seed of its other parameters."""

    name = "hibari"
    about = worded("31 natural voices, 8 MB, 100 times faster than real time. Recommended.")
    licence = "Apache-2.0"
    clip_s = 0.1
    download_mb = 55
    unsure = True
    packages = ("hibari", "onnxruntime")
    loads_weights = True

    def find_voices(self, language: str) -> list[Voice]:
        """Return all voices if American English is requested."""
        if not speaks("en-us", language):
            return []
        # The network was distilled from Kokoro's af_heart, so it is the same woman.
        people = {"heart": "kokoro-af_heart"} | {
            f"{kind}-{number}": f"hibari-{kind}-{number}"
            for kind, count in COUNTS.items()
            for number in range(1, count + 1)
        }
        return [self._voice(name, who) for name, who in people.items()]

    def find_reserved_voices(self, language: str) -> list[Voice]:
        names = [f"{kind}-{FIRST_RESERVED + number}" for kind, count in RESERVED.items() for number in range(count)]
        return [self._voice(name, f"hibari-{name}") for name in names if speaks("en-us", language)]

    def _voice(self, name: str, speaker: str) -> Voice:
        return Voice(self.name, name, "en-us", speaker, LICENCE, "hibari 0.2")

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Draw factors of speed, pitch and pitch range, and the seed of the noise in breath and fricatives."""
        return {
            "speed": round(float(rng.uniform(0.75, 1.3)), 3),
            "pitch": round(float(rng.uniform(0.93, 1.08)), 3),
            "intonation": round(float(rng.uniform(0.6, 1.4)), 3),
            "seed": int(rng.integers(1 << 31)),
        }
