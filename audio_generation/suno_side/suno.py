"""Suno's Bark as an engine: its presets in ``<data>/voices/suno/speaker_embeddings/v2``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from audio_generation.engine import Engine, Setting, Voice, speaks
from core.readiness import Readiness
from core.worded import worded

LICENCE = "MIT (Bark)"


class Suno(Engine):
    """The engine. Preset ``v2/en_speaker_6`` is the voice ``en_speaker_6``; ``random`` is a new voice per seed."""

    name = "suno"
    about = worded("Natural voices, with breath and laughter. Slower than real time without a GPU.")
    licence = "MIT"
    clip_s = 30.0
    example_voice = "bark-small"
    voice_list = "https://huggingface.co/suno"
    answering_order = 6
    by_default = False  # a phrase takes a minute on two cores
    packages = ("transformers", "torch")
    loads_weights = True
    start_timeout_s = 600.0
    request_timeout_s = 900.0

    def source(self, voice: str) -> tuple[str, Sequence[str]]:
        if voice not in ("bark", "bark-small"):
            raise self.no_voice(voice, worded("Suno has the models bark and bark-small."))
        return f"suno/{voice}", ("*.json", "vocab.txt", "pytorch_model.bin", "speaker_embeddings/v2/*.npy")

    def missing(self) -> Readiness | None:
        """Require the model, in the layout of the repository suno/bark-small."""
        weights = ("pytorch_model.bin", "model.safetensors")
        if (self.folder() / "config.json").is_file() and any((self.folder() / name).is_file() for name in weights):
            return None
        return Readiness(
            False,
            worded("There is no Bark model in %(folder)s.", folder=str(self.folder())),
            "./hark voices pull suno bark-small",
        )

    def find_voices(self, language: str) -> list[Voice]:
        """Return presets of the language; ``random`` speaks all of Bark's languages."""
        suffix = "_semantic_prompt.npy"
        presets = sorted((self.folder() / "speaker_embeddings" / "v2").glob(f"*{suffix}"))
        names = [path.name.removesuffix(suffix) for path in presets]
        voices = [
            Voice(self.name, name, name[:2], f"suno-{name}", LICENCE, "bark")
            for name in names
            if speaks(name[:2], language)
        ]
        return [*voices, Voice(self.name, "random", language, "suno-random", LICENCE, "bark")] if voices else []

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Draw temperatures around Bark's 0.7 (semantic) and 0.7 (coarse acoustics), and a seed."""
        return {
            "semantic_temperature": round(float(rng.uniform(0.5, 0.9)), 3),
            "coarse_temperature": round(float(rng.uniform(0.4, 0.8)), 3),
            "seed": int(rng.integers(1 << 31)),
        }
