"""onnxruntime, as Hark uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from core.data_folder import REPOSITORY

MODEL = Path(onnxruntime.__file__).parent / "datasets" / "mul_1.onnx"
OPENED = {
    "by Hark": "from core.onnx import session; session(open(path, 'rb').read())",
    "by a bundle's own program": "from model.runtime.detector import Model; Model(open(path, 'rb').read())",
}


@pytest.mark.parametrize("how", OPENED)
def test_nothing_is_told_of_its_use(tmp_path: Path, how: str) -> None:
    """Where it tells Microsoft, it begins with a file that names the machine, in the folder for temporary files."""
    program = f"import sys, time; path = sys.argv[1]; {OPENED[how]}; time.sleep(1)"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", program, str(MODEL)], cwd=REPOSITORY, check=True, timeout=60,
        env={**environment, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert not list(tmp_path.iterdir())
