"""A whole run from the command line: interrupted, continued, and its bundle used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.command_line_samples import REPOSITORY
from tests.support.processes import of_session
from tests.support.servers import wait_for

SCRIPT = Path(__file__).with_name("tiny_command.py")
TRAIN = ["train", "hey compass", "--effort", "tiny", "--from-scratch", "--engines", "espeak,flite"]


def start(data: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments], env={**os.environ, "HARK_DATA": str(data)}, start_new_session=True,
        cwd=data, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_run_interrupted_in_each_stage_can_be_finished(tmp_path: Path) -> None:
    for stage, number in (("Synthesizing", signal.SIGINT), ("Adding", signal.SIGINT), ("Measuring", signal.SIGTERM)):
        process = start(tmp_path, *TRAIN)
        assert process.stderr is not None
        while stage not in (line := process.stderr.readline()):
            assert line, f"it ended before {stage}"
        time.sleep(1.0 if stage == "Adding" else 0.3)
        os.killpg(process.pid, number)  # Ctrl-C, timeout(1) and service managers reach all processes
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "Traceback" not in errors and "leaked" not in errors, errors
        assert errors.splitlines()[-1] == "stopped; run the same command again to continue"
        wait_for(lambda session=process.pid: not of_session(session), 10)

    process = start(tmp_path, *TRAIN, "--json")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    result = json.loads(output)
    assert "Continuing the run" in errors and Path(result["bundle"]).is_file() and Path(result["report"]).is_file()
    assert set(result["counts"]) == {"positive", "confusable", "inbetween", "plain_negative"}

    check = subprocess.run(
        [sys.executable, str(REPOSITORY / "main.py"), "library", "check", "--json"],
        env={**os.environ, "HARK_DATA": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(check.stdout)["ok"], check.stdout

    clip = next((tmp_path / "clips").rglob("*.flac"))
    detect = subprocess.run(
        [sys.executable, str(REPOSITORY / "main.py"), "detect", result["bundle"], str(clip), "--scores", "--json"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert detect.returncode == 0, detect.stderr
    assert len(json.loads(detect.stdout)["scores"][str(clip)]) > 4
