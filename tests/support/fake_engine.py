"""A test double of an engine: vowel-like sound from the text, and every way to fail."""

from __future__ import annotations

import numpy as np

from audio_generation.engine import Engine, Setting, Voice
from core.worded import worded


class Fake(Engine):
    """Two voices in every language. The setting ``behave`` makes a request fail (see ``fake_worker.misbehave``)."""

    name = "fake"
    about = worded("Tones in place of speech, for tests.")
    licence = "Apache-2.0"
    by_default = False
    request_timeout_s = 5.0

    def worker_module(self) -> str:
        return "tests.support.fake_worker"

    def find_voices(self, language: str) -> list[Voice]:
        return [Voice(self.name, name, language, f"fake-{name}", "CC0-1.0", "fake") for name in self.facts()["voices"]]

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        return {"rate": round(float(rng.uniform(0.8, 1.25)), 3), "pitch": round(float(rng.uniform(0.9, 1.1)), 3)}
