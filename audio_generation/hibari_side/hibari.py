"""hibari as an engine: one woman's network, and men, women and children who are made of it."""

from __future__ import annotations

import numpy as np

from audio_generation.engine import Setting, Voice, speaks
from audio_generation.worker import WorkerEngine

COUNTS = {"man": 12, "woman": 12, "child": 6}
LICENCE = "Apache-2.0 (hibari, distilled from Kokoro-82M)"


class Hibari(WorkerEngine):
    """A voice is ``heart``, as the network was trained, or ``man-3``: a kind and a number that draws the rest."""

    name = "hibari"
    licence = "Apache-2.0"
    unsure = True
    packages = ("hibari", "onnxruntime")
    loads_weights = True

    def find_voices(self, language: str) -> list[Voice]:
        """All that there are, where American English is wanted."""
        if not speaks("en-us", language):
            return []
        # The network was distilled from Kokoro's af_heart: the same woman.
        people = {"heart": "kokoro-af_heart"} | {
            f"{kind}-{number}": f"hibari-{kind}-{number}"
            for kind, count in COUNTS.items()
            for number in range(1, count + 1)
        }
        return [Voice(self.name, name, "en-us", who, LICENCE, "hibari 0.2") for name, who in people.items()]

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Factors of speed, pitch and its range, and the seed of the noise in breath and fricatives."""
        return {
            "speed": round(float(rng.uniform(0.75, 1.3)), 3),
            "pitch": round(float(rng.uniform(0.93, 1.08)), 3),
            "intonation": round(float(rng.uniform(0.6, 1.4)), 3),
            "seed": int(rng.integers(1 << 31)),
        }
