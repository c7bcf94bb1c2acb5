"""Joint scoring of large bundles on a stream. The encoder, which takes most of the time, runs once for all of them.

A bundle is scored by its ``model.pt``; the scores equal those of its ``model.onnx`` (``model.export.check_parity``).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, repeat

import numpy as np

from core.processors import usable_cores
from model.checkpoint import load_checkpoint
from model.features import CHUNK_SAMPLES
from model.large.encoder import encoder_name, loaded_backbone
from model.large.encoder_backbone import FRAME_SAMPLES
from model.large.encoder_detector import ENCODER_HOP, EncoderDetector
from model.runtime.detector import SMOOTHING_FRAMES, Bundle, smooth_scores

WINDOWS_AT_ONCE = 128


def large_detector(bundle: Bundle) -> EncoderDetector | None:
    """Return the detector of a bundle; None if it is not large, or uses another encoder or smoothing."""
    if "model.pt" not in bundle.manifest["files"] or bundle.manifest["smoothing_frames"] != SMOOTHING_FRAMES:
        return None
    detector, _ = load_checkpoint(io.BytesIO(bundle.read("model.pt")))
    return detector if isinstance(detector, EncoderDetector) and detector.config.encoder == encoder_name() else None


def scores_together(
    detectors: Sequence[EncoderDetector],
    blocks: Iterable[np.ndarray],
    window: int,
    advance: Callable[[], None] = lambda: None,
) -> list[np.ndarray]:
    """Return the smoothed scores [n] of each detector on consecutive blocks of one stream, preceded by silence.

    Args:
        window: samples per window, the same for all of them.
        advance: called after each block.
    """
    encoder, samples = loaded_backbone(), 0
    frames = window // FRAME_SAMPLES
    by_detector: list[list[np.ndarray]] = [[] for _ in detectors]

    def counted() -> Iterator[np.ndarray]:
        nonlocal samples
        for block in blocks:
            samples += len(block)
            yield block
            advance()

    with ThreadPoolExecutor(usable_cores()) as pool:  # onnxruntime releases Python's lock
        windows = _windows(counted(), window)
        while part := list(islice(windows, WINDOWS_AT_ONCE)):
            outputs = list(pool.map(lambda audio: encoder.window(audio, frames), part))
            scored = pool.map(EncoderDetector.window_scores, detectors, repeat(outputs))
            for scores, given in zip(by_detector, scored):
                scores.append(given)
    hop = ENCODER_HOP // CHUNK_SAMPLES
    before = SMOOTHING_FRAMES - 1  # scores of silence
    raw = [np.repeat(np.concatenate(scores), hop)[1 : 1 + samples // CHUNK_SAMPLES] for scores in by_detector]
    return [smooth_scores(scores, np.repeat(given[0][:1], before)) for scores, given in zip(raw, by_detector)]


def _windows(blocks: Iterable[np.ndarray], window: int) -> Iterator[np.ndarray]:
    """Yield the window at every :data:`ENCODER_HOP` samples, beginning with silence."""
    held, new = np.zeros(window, np.float32), np.zeros(0, np.float32)
    yield held
    for block in blocks:
        new = np.concatenate([new, block.astype(np.float32)])
        while len(new) >= ENCODER_HOP:
            held, new = np.concatenate([held[ENCODER_HOP:], new[:ENCODER_HOP]]), new[ENCODER_HOP:]
            yield held
