"""The command line at a terminal, and one whose training never ends."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

from core.data_folder import REPOSITORY

# A command line with small plans, whose training takes forever, so that it can be interrupted.
SLOW_TRAINING = """
import signal, sys, time
from dataclasses import replace
signal.signal(signal.SIGHUP, getattr(signal, sys.argv.pop(1)))  # whatever these tests were started with
sys.path.insert(0, sys.argv.pop(1))
import pipeline.training.run
from pipeline.training.configuration.efforts import EFFORTS

for name in EFFORTS:
    EFFORTS[name] = replace(EFFORTS["trial"], name=name)  # which is planned at once

def training(config, data, reporter, tensorboard=False):
    reporter.stage("train", "Training for ever")
    reporter.log(f"it has begun, {config.phrase}, {config.effort}")
    time.sleep(100)

pipeline.training.run.run_training = training
import command_line.train
command_line.train.LONG_RUN_S = 0  # at a terminal every run is asked for
from command_line.application import main
sys.exit(main())
"""


def slow_command(folder: Path, script: str = SLOW_TRAINING, hangup: str = "SIG_DFL") -> list[str]:
    """Return the command that runs the script, which it writes into the folder."""
    (folder / "slow.py").write_text(script)
    return [sys.executable, str(folder / "slow.py"), hangup, str(REPOSITORY)]


def brief_command(folder: Path) -> list[str]:
    """Return the command of a training run that is interrupted as soon as it has begun."""
    return slow_command(folder, SLOW_TRAINING.replace("time.sleep(100)", "raise KeyboardInterrupt"))


def at_terminal(
    command: list[str], environment: dict[str, str], answers: list[str], timeout: float = 120.0
) -> tuple[int, str]:
    """Run a command at a pseudo-terminal, typing an answer at each question; return the exit code and its output."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command, env={**os.environ, "TERM": "xterm", "COLUMNS": "100", **environment},
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    said, seen = b"", 0
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if select.select([leader], [], [], 0.1)[0]:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            said += part
        if answers and said[seen:].endswith(b": "):
            seen = len(said)
            os.write(leader, answers.pop(0).encode())
    try:
        code = process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    os.close(leader)
    return code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode(errors="replace"))
