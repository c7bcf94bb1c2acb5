"""An encoder in a trunk's place, by onnxruntime alone: recordings in, phone probabilities of every 20 ms out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

PACKAGE = "moonshine_voice"
ENCODER_FILE = Path("assets") / "tiny-en" / "encoder_model.ort"
OUTPUT_HOP = 384  # samples an output of the encoder: 24 ms
OUTPUT_CENTRE = 447  # sample in the middle of what the first output hears through the convolutions
FRAME_SAMPLES = 320  # of a frame that is handed on: 20 ms
BATCH_STEP = 96_000  # samples of a recording that are heard at once, between others that only help to hear them
BATCH_MARGIN = 19_200
EDGE = 3_840  # samples of silence before and after a recording


def encoder_path() -> Path | None:
    """The encoder's file in the installed package; None where it is not installed, or brings another one."""
    try:
        found = find_spec(PACKAGE)
    except (ImportError, ValueError):
        return None
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / ENCODER_FILE
    return path if path.is_file() else None


def frame_places(samples: int, frames: int, first_sample: int = 0) -> np.ndarray:
    """Which of the encoder's outputs for ``samples`` of audio frames of 20 ms are read from [frames], the first frame
    beginning at ``first_sample``; at the edges the nearest one."""
    outputs = ((samples - 127) // 64 + 1 - 7) // 3 // 2  # of its three convolutions
    centres = first_sample + FRAME_SAMPLES * np.arange(frames) + FRAME_SAMPLES // 2
    return np.clip(np.rint((centres - OUTPUT_CENTRE) / OUTPUT_HOP), 0, outputs - 1).astype(np.int64)


class EncoderTrunk:
    """The encoder with its phone head by onnxruntime: what a large detector's matcher follows."""

    def __init__(self, graph: bytes | str, threads: int = 1) -> None:
        """Load ``model.encoder.window_graph``, as bytes or as a file."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def hear(self, audio: np.ndarray) -> np.ndarray:
        """Roots of phone probabilities [samples // 320, width]; the recording lies between silence."""
        frames = len(audio) // FRAME_SAMPLES
        width = int(self._session.get_outputs()[0].shape[2])
        padded = np.pad(np.asarray(audio, np.float32), EDGE)
        parts = [np.zeros((0, width), np.float32)]
        for start in range(0, frames * FRAME_SAMPLES, BATCH_STEP):
            new = min(BATCH_STEP, frames * FRAME_SAMPLES - start)
            first = max(0, start + EDGE - BATCH_MARGIN)
            window = padded[first : start + EDGE + new + BATCH_MARGIN]
            parts.append(self.window(window, new // FRAME_SAMPLES, start + EDGE - first))
        return np.concatenate(parts)

    def window(self, audio: np.ndarray, frames: int, first_sample: int = 0) -> np.ndarray:
        """What is heard in one piece: roots of phone probabilities [frames, width] from that sample on."""
        (probabilities,) = self._session.run(None, {"audio": audio[None]})
        heard: np.ndarray = np.sqrt(probabilities[0, frame_places(len(audio), frames, first_sample)])
        return heard
