"""The process that synthesizes with Bark through transformers. The model is a folder, so it downloads nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from core.worker_protocol import Refused, Unavailable, serve, write_wav


class Speaker:
    def __init__(self, folder: Path) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        try:
            import torch
            from transformers import AutoTokenizer, BarkModel, BarkProcessor
        except Exception as error:  # a broken installation may raise anything
            raise Unavailable(f"torch and transformers cannot be imported: {error}") from error
        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.folder = folder
        # Presets are read from the folder below, because the processor itself would request them from the network.
        self.processor = BarkProcessor(AutoTokenizer.from_pretrained(folder, local_files_only=True))
        self.model = BarkModel.from_pretrained(folder, local_files_only=True).to(self.device).eval()

    def speak(self, request: dict[str, Any]) -> None:
        """Serve a request of the protocol. Settings: seed and the temperatures of the model's first two stages."""
        settings = request["settings"]
        self.torch.manual_seed(int(settings.get("seed", 0)))
        inputs = self.processor(request["text"], voice_preset=self._preset(request["voice"])).to(self.device)
        if "history_prompt" in inputs:
            inputs["history_prompt"] = inputs["history_prompt"].to(self.device)  # not moved above
        with self.torch.inference_mode():
            audio = self.model.generate(
                **inputs,
                semantic_temperature=float(settings.get("semantic_temperature", 0.7)),
                coarse_temperature=float(settings.get("coarse_temperature", 0.7)),
            )
        samples = (audio[0].float().clamp(-1, 1) * 32767).to(self.torch.int16).cpu().numpy()
        write_wav(request["path"], samples.tobytes(), self.model.generation_config.sample_rate)

    def _preset(self, voice: str) -> dict[str, Any] | None:
        import numpy

        if voice == "random":
            return None
        folder = self.folder / "speaker_embeddings" / "v2"
        files = {part: folder / f"{voice}_{part}_prompt.npy" for part in ("semantic", "coarse", "fine")}
        if not voice.replace("_", "").isalnum():
            files = {}
        files = {part: path for part, path in files.items() if path.is_file()}
        if len(files) < 3:
            raise Refused(f"bark has no voice {voice}")
        return {f"{part}_prompt": numpy.load(path) for part, path in files.items()}


if __name__ == "__main__":
    serve(lambda: ({}, Speaker(Path(sys.argv[1])).speak))
