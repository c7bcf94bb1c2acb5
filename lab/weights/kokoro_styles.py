"""Make the shipped style vectors of Kokoro's voices: ``python -m lab.weights.kokoro_styles FOLDER``.

FOLDER has a file for each voice, such as ``af_bella.bin``: 510 vectors of 256 numbers (float32), one for each number of
phonemes. ``package/voices`` in the npm package kokoro-js is such a folder (Apache-2.0; ``npm pack kokoro-js@1.2.1``).

Vectors change slowly with the number of phonemes, so only some of them are stored, in 16 bits, and the worker
interpolates. The error (root mean square) is 0.003, while two voices differ by 0.14.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from audio_generation.kokoro_int8_side.kokoro_int8 import STYLES_FILE
from core.data_folder import atomic_path

ROWS, WIDTH = 510, 256
STYLE_ROWS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 19, 24, 30, 38, 48, 60, 80, 110, 150, 220, 350, 509)


def make_styles(folder: Path, path: Path = STYLES_FILE) -> list[str]:
    """Write the styles of a folder; return their names.

    Raises:
        ValueError: the folder has no style, or a file has a different size.
    """
    files = sorted(folder.glob("*.bin"))
    if not files:
        raise ValueError(f"{folder} holds no voice")
    styles = np.stack([np.fromfile(file, "<f4").reshape(ROWS, WIDTH)[list(STYLE_ROWS)] for file in files])
    names = [file.stem for file in files]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, names=np.array(names), rows=np.array(STYLE_ROWS, np.int16), styles=styles.astype(np.float16)
        )
    return names


if __name__ == "__main__":
    sys.stdout.write(f"{len(make_styles(Path(sys.argv[1])))} voices\n")
