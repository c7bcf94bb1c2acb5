"""A bundle's files in the runtimes of their devices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

BLOCK_BYTES = 2560  # 80 ms
WARM_UP = 13  # blocks: detections in the first second do not count
REFRACTORY = 25  # blocks: two seconds, as devices wait


def detections(device: str, files: Mapping[str, bytes], audio: np.ndarray, folder: Path) -> int:
    """Return how often the device's own runtime detects the phrase in a recording [samples].

    Args:
        files: of one device, by their names in the bundle.
        folder: for the files.
    """
    paths = {Path(name).suffix: folder / Path(name).name for name in files}
    for name, content in files.items():
        paths[Path(name).suffix].write_bytes(content)
    samples = (np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes()
    blocks = [samples[at : at + BLOCK_BYTES] for at in range(0, len(samples) - BLOCK_BYTES + 1, BLOCK_BYTES)]
    if device == "esphome":
        from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures

        micro, hear = MicroWakeWord.from_config(paths[".json"]), MicroWakeWordFeatures()
        # Every frame is scored, even after one that fires.
        fired = [sum(map(micro.process_streaming, hear.process_streaming(block))) > 0 for block in blocks]
    else:
        from pyopen_wakeword import OpenWakeWord, OpenWakeWordFeatures

        head, embed = OpenWakeWord.from_model(paths[".tflite"]), OpenWakeWordFeatures.from_builtin()
        scores = (
            [s for made in embed.process_streaming(block) for s in head.process_streaming(made)] for block in blocks
        )
        fired = [max(of_block, default=0.0) > 0.5 for of_block in scores]
    count, quiet_until = 0, WARM_UP
    for number, detected in enumerate(fired):
        if detected and number >= quiet_until:
            count, quiet_until = count + 1, number + REFRACTORY
    return count
