"""Piper as an engine: every voice in ``<data>/voices/piper`` and every speaker of each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from audio_generation.engine import Setting, Voice, speaks
from audio_generation.worker import WorkerEngine
from core.data_folder import installation_folder
from core.readiness import Readiness


class Piper(WorkerEngine):
    """A voice is ``key.onnx`` with ``key.onnx.json``; its name is ``key``, or ``key#speaker`` where it has several."""

    name = "piper"
    licence = "GPL-3.0-or-later"
    packages = ("piper",)
    loads_weights = True
    request_timeout_s = 60.0

    @staticmethod
    def folder() -> Path:
        """Where the voices lie."""
        return installation_folder() / "voices" / "piper"

    def missing(self) -> Readiness | None:
        """At least one voice is needed."""
        if any(path.with_suffix(".onnx.json").is_file() for path in self.folder().glob("*.onnx")):
            return None
        return Readiness(
            False, f"There is no Piper voice in {self.folder()}.", "./hark voices pull piper en_US-libritts_r-medium"
        )

    def worker_environment(self) -> Mapping[str, str]:
        """Where the voices lie."""
        return {"HARK_VOICES": str(self.folder())}

    def find_voices(self, language: str) -> list[Voice]:
        """As the JSON files beside the models describe them; a file that cannot be read is no voice."""
        voices: list[Voice] = []
        for path in sorted(self.folder().glob("*.onnx")):
            try:
                config = json.loads(path.with_suffix(".onnx.json").read_text(encoding="utf-8"))
                spoken = str(config.get("language", {}).get("code") or config["espeak"]["voice"])
                speakers = list(config.get("speaker_id_map") or {}) or [str(n) for n in range(config["num_speakers"])]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            spoken = spoken.lower().replace("_", "-")
            if not speaks(spoken, language):
                continue
            # Qualities of one voice are one person: en_US-lessac-low and en_US-lessac-high.
            person = re.sub(r"-(x_low|low|medium|high)$", "", path.stem)
            licence = _licence(path.with_suffix(".MODEL_CARD"))
            if len(speakers) < 2:
                voices.append(Voice(self.name, path.stem, spoken, f"piper-{person}", licence, path.stem))
            else:
                voices += [
                    Voice(self.name, f"{path.stem}#{who}", spoken, f"piper-{person}-{who}", licence, path.stem)
                    for who in speakers
                ]
        return voices

    def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
        """Piper's scales around their defaults of 1 (length), 0.667 (noise) and 0.8 (noise of durations)."""
        return {
            "length_scale": round(float(rng.uniform(0.75, 1.35)), 3),
            "noise_scale": round(float(rng.uniform(0.4, 0.95)), 3),
            "noise_w_scale": round(float(rng.uniform(0.5, 1.1)), 3),
        }


def _licence(card: Path) -> str:
    """The licence that a Piper model card names, ``* License: ...``."""
    try:
        found = re.search(r"licen[sc]e\s*:\s*(.+)", card.read_text(encoding="utf-8"), re.IGNORECASE)
    except (OSError, UnicodeDecodeError):
        found = None
    return found[1].strip() if found else "unknown: see the voice's model card"
