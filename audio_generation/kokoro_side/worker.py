"""The process that synthesizes with Kokoro. Model, configuration and voices are files, so it downloads nothing."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from core.worker_protocol import Refused, Unavailable, serve, write_wav

SAMPLE_RATE = 24_000
# The first letter of a voice is its language. misaki's English G2P would download a spaCy model; its fallback, meant
# for single words but adequate for sentences, requires only espeak-ng.
ESPEAK_LANGUAGES = {"e": "es", "f": "fr-fr", "h": "hi", "i": "it", "p": "pt-br"}


class Speaker:
    """The model, and the voices, loaded on demand."""

    def __init__(self, folder: Path) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            import torch
            from kokoro import KModel
        except Exception as error:  # a torchaudio that does not match torch raises OSError, other faults RuntimeError
            raise Unavailable(f"kokoro cannot be imported: {error}") from error
        weights = sorted(folder.glob("*.pth"))
        if not weights:
            raise Unavailable(f"There is no Kokoro model in {folder}.")
        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        model = KModel(repo_id="hexgrad/Kokoro-82M", config=str(folder / "config.json"), model=str(weights[0]))
        self.model = model.to(self.device).eval()
        self.folder = folder
        self.phonemes = cache(_phonemizer)
        self.style = cache(self._style)

    def speak(self, request: dict[str, Any]) -> None:
        """Serve a request of the protocol. Voice ``name`` or ``name*weight+name*weight``; setting ``speed``."""
        parts = [
            (name, float(weight or 1)) for name, _, weight in (p.partition("*") for p in request["voice"].split("+"))
        ]
        phonemes = self.phonemes(parts[0][0][0])(request["text"])
        known = sum(phoneme in self.model.vocab for phoneme in phonemes)
        if not 0 < known <= self.model.context_length - 2:
            raise Refused(f"kokoro cannot speak a text of {known} phonemes")
        total = sum(weight for _, weight in parts)
        # A voice is a style vector for each length of text [510, 1, 256]; a blend is their weighted mean.
        style = sum(self.style(name)[min(len(phonemes), 510) - 1] * (weight / total) for name, weight in parts)
        if "seed" in request["settings"]:
            self.torch.manual_seed(int(request["settings"]["seed"]))
        audio = self.model(phonemes, style, float(request["settings"].get("speed", 1.0)))
        samples = (audio.clamp(-1, 1) * 32767).to(self.torch.int16).cpu().numpy()
        write_wav(request["path"], samples.tobytes(), SAMPLE_RATE)

    def _style(self, name: str) -> Any:
        path = self.folder / "voices" / f"{name}.pt"
        if not name.replace("_", "").isalnum() or not path.is_file():
            raise Refused(f"kokoro has no voice {name}")
        return self.torch.load(path, map_location=self.device, weights_only=True)


def _phonemizer(letter: str) -> Any:
    from misaki.espeak import EspeakFallback, EspeakG2P  # type: ignore[import-not-found]

    if letter in "ab":
        english = EspeakFallback(british=letter == "b")
        return lambda text: english(SimpleNamespace(text=text))[0] or ""
    if letter not in ESPEAK_LANGUAGES:
        raise Refused("kokoro speaks this language only with packages that Hark does not install")
    other = EspeakG2P(language=ESPEAK_LANGUAGES[letter])
    return lambda text: other(text)[0]


if __name__ == "__main__":
    serve(lambda: ({}, Speaker(Path(sys.argv[1])).speak))
