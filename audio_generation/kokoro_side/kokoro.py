"""Kokoro as an engine: all voices in ``<data>/voices/kokoro/voices`` and blends of two."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from audio_generation.engine import Engine, Setting, Voice, speaks
from core.readiness import Readiness
from core.worded import worded

# By the first letter of a voice's name; Japanese (j) and Mandarin (z) require packages that are not installed.
LANGUAGES = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "p": "pt-br"}
LICENCE = "Apache-2.0 (Kokoro-82M)"


class Kokoro(Engine):
    """The engine. A blend is named ``af_heart*0.5+am_adam*0.5``.

    Any weights are accepted. Only equal blends are listed.
    """

    name = "kokoro"
    about = worded("Kokoro in full precision, with PyTorch. The 8-bit version is enough for most uses.")
    licence = "Apache-2.0 (phonemes by espeak-ng, GPL-3.0-or-later)"
    clip_s = 2.0
    example_voice = "af_heart"
    voice_list = "https://huggingface.co/hexgrad/Kokoro-82M"
    answering_order = 2
    packages = ("kokoro", "misaki", "torch")
    loads_weights = True
    start_timeout_s = 300.0
    request_timeout_s = 120.0

    def source(self, voice: str) -> tuple[str, Sequence[str]]:
        """Return the model and a voice, or ``all`` voices."""
        if not re.fullmatch(r"all|[a-z]{2}_[a-z0-9]+", voice):
            raise self.no_voice(voice, worded("A Kokoro voice has a name such as af_heart; all downloads every voice."))
        voices = "voices/*.pt" if voice == "all" else f"voices/{voice}.pt"
        return "hexgrad/Kokoro-82M", ("config.json", "*.pth", voices)

    def missing(self) -> Readiness | None:
        """Require the model, its configuration and at least one voice."""
        folder = self.folder()
        lacking = [name for name in ("*.pth", "config.json", "voices/*.pt") if not any(folder.glob(name))]
        if not lacking:
            return None
        return Readiness(
            False,
            worded("There is no %(file)s in %(folder)s.", file=lacking[0], folder=str(folder)),
            "./hark voices pull kokoro all",
        )

    def find_voices(self, language: str) -> list[Voice]:
        """Return all voices, then as many blends: each voice with the next one of the same accent, in equal parts.

        The speaker of a blend names both voices, so that a split by speaker can put it where both are, or exclude it.
        """
        names = sorted(path.stem for path in (self.folder() / "voices").glob("*.pt"))
        single = [name for name in names if name[0] in LANGUAGES and speaks(LANGUAGES[name[0]], language)]
        blends = []
        for letter in LANGUAGES:
            accent = [name for name in single if name[0] == letter]
            if len(accent) > 2:
                blends += [f"{first}*0.5+{second}*0.5" for first, second in zip(accent, accent[1:] + accent[:1])]
        return [self._voice(name) for name in single + blends]

    def voice_named(self, name: str, language: str) -> Voice | None:
        """Return any blend of existing voices, listed or not."""
        known = {voice.name for voice in self.voices(language)}
        parts = [part.partition("*") for part in name.split("+")]
        weights_are_numbers = all(not weight or weight.replace(".", "", 1).isdigit() for _, _, weight in parts)
        return self._voice(name) if weights_are_numbers and {part[0] for part in parts} <= known else None

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Draw the factor of the speed, and the seed of the noise in the vocoder."""
        return {"speed": round(float(rng.uniform(0.75, 1.3)), 3), "seed": int(rng.integers(1 << 31))}

    def _voice(self, name: str) -> Voice:
        speaker = "+".join(f"kokoro-{part.partition('*')[0]}" for part in name.split("+"))
        return Voice(self.name, name, LANGUAGES[name[0]], speaker, LICENCE, "Kokoro-82M")
