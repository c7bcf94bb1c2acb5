"""A bundle's graph that never ends or takes all memory ends with an error that says so, and can be interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from core.data_folder import REPOSITORY
from model.runtime import detector as run_time
from model.runtime.detector import BundleError, Detector
from tests.support.hostile_bundles import CHUNK, loop_bundle, slow_bundle
from tests.support.programs import run_python

LOUD = np.full(CHUNK, 0.7, np.float32)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_time, "CALL_S", 1.0)


def test_an_endless_graph_is_stopped_on_opening(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"stopped.*more than 2 s for 0.08 s of audio"):
        Detector(loop_bundle(tmp_path / "bundle"))


def test_an_endless_graph_is_stopped_and_the_stream_continues(tmp_path: Path) -> None:
    detector = Detector(loop_bundle(tmp_path / "bundle", from_level=0.5))
    assert detector.process(np.full(CHUNK, 0.2, np.float32)) == []
    with pytest.raises(BundleError, match="stopped"):
        detector.process(LOUD)
    detector.reset()
    assert detector.scores(np.full(CHUNK, 0.4, np.float32)) == pytest.approx([0.2])


def test_a_graph_that_exhausts_memory_is_stopped(tmp_path: Path) -> None:
    """In its own process, whose memory is checked afterwards."""
    bundle = loop_bundle(tmp_path / "bundle", grows=True, from_level=0.5)
    program = f"""
import resource, sys
import numpy as np
from model.runtime.detector import BundleError, Detector
detector = Detector({str(bundle)!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    detector.process(np.full({CHUNK}, 0.7, np.float32))
except BundleError as error:
    print(error, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    ran = run_python(program)
    assert "The detector's model failed." in ran.stdout and "2048 MB of memory" in ran.stdout, ran.stderr
    assert int(ran.stdout.split()[-1]) < 2500


@pytest.mark.parametrize("when", ["load", "run"])
def test_a_graph_stuck_in_one_operator_or_in_loading_is_abandoned(tmp_path: Path, when: str) -> None:
    """In its own process: onnxruntime's thread may still run at its end, and abort it."""
    program = f"""
from model.runtime import detector
detector.CALL_S = detector.STOP_S = 1.0
try:
    detector.Detector({str(slow_bundle(tmp_path / "bundle", when))!r})
except detector.BundleError as error:
    print(error)
"""
    ran = run_python(program)
    assert "The detector was stopped." in ran.stdout, ran.stderr
    assert ran.returncode in (0, -signal.SIGABRT)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_endless_graph_can_be_interrupted(tmp_path: Path, stop: signal.Signals) -> None:
    bundle = loop_bundle(tmp_path / "bundle")
    program = f"""
import sys
from command_line.application import main
from model.runtime import detector

run = detector.Model.run

def told(self, inputs, seconds):
    print("it runs", flush=True)
    return run(self, inputs, seconds)

detector.Model.run = told
sys.exit(main(["detect", {str(bundle)!r}, "any.wav"]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "it runs\n", process.communicate()
    time.sleep(0.3)
    assert process.poll() is None, process.communicate()
    process.send_signal(stop)
    _, said = process.communicate(timeout=20)
    assert process.returncode in (130, 143, -stop) and "Traceback" not in said
