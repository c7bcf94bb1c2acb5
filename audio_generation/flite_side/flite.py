"""flite as an engine: Debian's four 16 kHz voices, and any ``<data>/voices/flite/*.flitevox``."""

from __future__ import annotations

import numpy as np

from audio_generation.engine import Engine, Setting, Voice, speaks
from core.readiness import Readiness
from core.worded import worded

ACCENTS = {"awb": "en-gb-scotland"}  # Alan W Black; the others are American
# The usual standard deviation of each voice's pitch [Hz], which is larger for women; settings vary around it.
PITCH_SPREAD_HZ = {"kal16": 12.0, "awb": 20.0, "rms": 15.0, "slt": 25.0}


class Flite(Engine):
    """The engine. Speakers are named as in CMU's Arctic, to match other engines' voices of the same people."""

    name = "flite"
    about = worded("Four rule-based voices from Debian's package flite.")
    licence = "BSD-4-Clause-like (CMU flite)"
    clip_s = 0.1
    answering_order = 3
    rule_based = True

    def available(self) -> Readiness:
        ready = super().available()
        return ready if ready.ok else Readiness(False, ready.why, "apt-get install flite")

    def find_voices(self, language: str) -> list[Voice]:
        facts = self.facts()
        voices = [
            Voice(
                engine=self.name,
                name=name,
                language=ACCENTS.get(name, "en-us"),
                speaker=name.removeprefix("cmu_us_").removesuffix("16"),
                licence="CMU flite (free for any use, with notice)",
                model=f"flite {name}",
            )
            for name in facts["voices"]
        ]
        return [voice for voice in voices if speaks(voice.language, language)]

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Draw factors of durations and of the pitch (1: unchanged), and the standard deviation of the pitch [Hz]."""
        spread = PITCH_SPREAD_HZ.get(voice.name, 20.0)
        return {
            "duration_stretch": round(float(rng.uniform(0.8, 1.35)), 3),
            "f0_shift": round(float(rng.uniform(0.85, 1.2)), 3),
            "f0_stddev": round(float(spread * rng.uniform(0.6, 1.6)), 2),
        }
