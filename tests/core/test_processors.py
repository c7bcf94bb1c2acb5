"""The number of processors that a process may use; and onnxruntime, as Hark uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from core.data_folder import REPOSITORY
from core.processors import MAX_CROWDING, crowding
from tests.support.programs import output_of

PRINT_CORES = "from core.processors import usable_cores; print(usable_cores())"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin a process to a processor")
def test_a_process_limited_to_one_processor_counts_one() -> None:
    one = f"import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1]); {PRINT_CORES}"
    assert output_of(one) == "1"


@pytest.mark.parametrize(("waiting", "times"), [(0.0, 1.0), (0.9, 1.0), (2.5, 2.5), (400.0, MAX_CROWDING)])
def test_crowding_grows_with_the_load_per_core(monkeypatch: pytest.MonkeyPatch, waiting: float, times: float) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: ((os.cpu_count() or 1) * waiting, 0.0, 0.0))
    assert crowding() == pytest.approx(times)


def test_crowding_is_one_without_a_load_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "getloadavg")
    assert crowding() == 1.0


MODEL = Path(onnxruntime.__file__).parent / "datasets" / "mul_1.onnx"
OPENED = {
    "by Hark": "from core.onnx import session; session(open(path, 'rb').read())",
    "by a bundle's own program": "from model.runtime.detector import Model; Model(open(path, 'rb').read())",
}


@pytest.mark.parametrize("how", OPENED)
def test_no_telemetry_is_sent(tmp_path: Path, how: str) -> None:
    """Telemetry of onnxruntime begins by writing a file with the machine's id into the temporary folder."""
    program = f"import sys, time; path = sys.argv[1]; {OPENED[how]}; time.sleep(1)"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", program, str(MODEL)], cwd=REPOSITORY, check=True, timeout=60,
        env={**environment, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert not list(tmp_path.iterdir())
