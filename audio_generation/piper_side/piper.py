"""Piper as an engine: every voice in ``<data>/voices/piper`` or in an installed package, with all speakers."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audio_generation.engine import Engine, Setting, Voice, speaks
from core import environments
from core.readiness import Readiness
from core.worded import worded


class Piper(Engine):
    """The engine. The files ``key.onnx`` and ``key.onnx.json`` are the voice ``key``.

    A file with several speakers has the voices ``key#speaker``.
    """

    name = "piper"
    about = worded("A natural voice, 58 MB. Other voices and languages can be downloaded. Recommended.")
    licence = "GPL-3.0-or-later"
    clip_s = 0.3
    example_voice = "en_US-lessac-medium"
    voice_list = "https://rhasspy.github.io/piper-samples"
    download_mb = 95
    answering_order = 1
    answering_voice = "en_US-kathleen-low"
    packages = ("piper",)
    loads_weights = True
    request_timeout_s = 60.0

    @staticmethod
    def packaged() -> Path:
        return environments.packages_folder(Piper.name)

    def models(self) -> list[Path]:
        """Return the models of all voices; a downloaded one takes precedence over a packaged one of the same name."""
        paths = [*self.packaged().glob("*_piper_voice/data/*.onnx"), *self.folder().rglob("*.onnx")]
        by_name = {path.name: path for path in paths}
        return [path for _, path in sorted(by_name.items())]

    def source(self, voice: str) -> tuple[str, Sequence[str]]:
        key = re.fullmatch(r"([a-z]{2,3})_([A-Z]{2,3})-([A-Za-z0-9_]+)-(x_low|low|medium|high)", voice)
        if key is None:
            raise self.no_voice(
                voice, worded("A Piper voice is named language-name-quality, such as en_US-lessac-medium.")
            )
        language, country, name, quality = key.groups()
        folder = f"{language}/{language}_{country}/{name}/{quality}"
        return "rhasspy/piper-voices", [f"{folder}/{file}" for file in ("*.onnx", "*.onnx.json", "MODEL_CARD")]

    def missing(self) -> Readiness | None:
        if any(path.with_suffix(".onnx.json").is_file() for path in self.models()):
            return None
        return Readiness(
            False,
            worded("There is no Piper voice in %(folder)s.", folder=str(self.folder())),
            "./hark voices pull piper en_US-libritts_r-medium",
        )

    def worker_arguments(self) -> list[str]:
        return [str(self.folder()), *map(str, self.packaged().glob("*_piper_voice/data"))]

    def find_voices(self, language: str) -> list[Voice]:
        """Return the voices that the JSON files next to the models describe. Unreadable files are skipped."""
        voices: list[Voice] = []
        for path in self.models():
            try:
                config = json.loads(path.with_suffix(".onnx.json").read_text(encoding="utf-8"))
                spoken = str(config.get("language", {}).get("code") or config["espeak"]["voice"])
                speakers = list(config.get("speaker_id_map") or {}) or [str(n) for n in range(config["num_speakers"])]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            spoken = spoken.lower().replace("_", "-")
            if not speaks(spoken, language):
                continue
            # Different qualities of a voice are the same person: en_US-lessac-low and en_US-lessac-high.
            person = re.sub(r"-(x_low|low|medium|high)$", "", path.stem)
            licence = _licence(path)
            if len(speakers) < 2:
                voices.append(Voice(self.name, path.stem, spoken, f"piper-{person}", licence, path.stem))
            else:
                voices += [
                    Voice(self.name, f"{path.stem}#{who}", spoken, f"piper-{person}-{who}", licence, path.stem)
                    for who in speakers
                ]
        return voices

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Draw Piper's scales around their defaults of 1 (length), 0.667 (noise) and 0.8 (noise of durations)."""
        return {
            "length_scale": round(float(rng.uniform(0.75, 1.35)), 3),
            "noise_scale": round(float(rng.uniform(0.4, 0.95)), 3),
            "noise_w_scale": round(float(rng.uniform(0.5, 1.1)), 3),
        }


def _licence(model: Path) -> str:
    """Return the licence in the model card next to a model, ``* License: ...``."""
    try:
        card = (model.parent / "MODEL_CARD").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        card = ""
    match = re.search(r"licen[sc]e\s*:\s*(.+)", card, re.IGNORECASE)
    return match[1].strip() if match else "unknown: see the voice's model card"
