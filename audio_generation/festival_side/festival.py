"""Festival as an engine: Debian's packaged English voices."""

from __future__ import annotations

import numpy as np

from audio_generation.engine import Engine, Setting, Voice, speaks
from core.readiness import Readiness
from core.worded import worded

DEBIAN_PACKAGES = "festival festvox-us-slt-hts festvox-kallpc16k festvox-kdlpc16k"
# Voice: speaker (named as in other engines for the same person), language, licence.
KNOWN = {
    "cmu_us_slt_arctic_hts": ("slt", "en-us", "CMU Arctic (free for any use, with notice)"),
    "kal_diphone": ("kal", "en-us", "CMU (free for any use, with notice)"),
    "ked_diphone": ("ked", "en-us", "University of Edinburgh (free for any use, with notice)"),
}


class Festival(Engine):
    """The engine: two diphone voices and a statistical one, all English; other languages have other encodings."""

    name = "festival"
    about = worded("Two rule-based voices from Debian's package festival.")
    licence = "BSD-like (University of Edinburgh)"
    clip_s = 0.15
    answering_order = 5
    rule_based = True

    def available(self) -> Readiness:
        ready = super().available()
        if ready.ok and not any(voice in KNOWN for voice in self.facts()["voices"]):
            ready = Readiness(False, worded("festival is installed without an English voice that Hark knows."))
        return ready if ready.ok else Readiness(False, ready.why, f"apt-get install {DEBIAN_PACKAGES}")

    def find_voices(self, language: str) -> list[Voice]:
        return [
            Voice(self.name, name, spoken, speaker, licence, f"festival {name}")
            for name, (speaker, spoken, licence) in KNOWN.items()
            if name in self.facts()["voices"] and speaks(spoken, language)
        ]

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Draw the factor of durations and, if the voice can change them, mean and deviation of the pitch [Hz]."""
        settings: dict[str, Setting] = {"stretch": round(float(rng.uniform(0.8, 1.4)), 3)}
        if voice.name.endswith("_diphone"):
            settings["f0_mean"] = round(float(rng.uniform(85, 145)), 1)
            settings["f0_std"] = round(float(rng.uniform(10, 30)), 1)
        return settings
