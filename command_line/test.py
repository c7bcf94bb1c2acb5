"""``test``: run the project's tests."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys

from command_line.console import Screen
from command_line.options import Commands, Parser, define_command
from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.processors import usable_cores

STOPPING_S = 3.0
# Options of pytest that select tests, as paths do.
CHOOSING = ("-m", "-k", "--lf", "--last-failed", "--ff", "--failed-first", "--sw", "--stepwise", "--pyargs")


def register(commands: Commands[Parser]) -> None:
    define_command(commands, "test", "[PYTEST OPTIONS]", run_tests)


def run_tests(options: argparse.Namespace, screen: Screen) -> int:
    """Run pytest with these arguments and return its exit code (0 if all tests passed).

    Unless tests or files are named, it skips the slow tests (``tests/slow.txt``) and those of the lab, which
    ``test lab`` runs.
    """
    if importlib.util.find_spec("pytest") is None:
        raise HarkError(
            "The tests cannot be run.",
            "pytest is not installed in this environment.",
            "./hark test installs it; by hand: python -m pip install -r requirements-dev.txt -c constraints.txt.",
        )
    return _pytest(getattr(options, "arguments", []))


def _pytest(arguments: list[str]) -> int:
    arguments = ["tests/lab" if each == "lab" else each for each in arguments]
    if not any(each.startswith(CHOOSING) or (REPOSITORY / each.split("::")[0]).exists() for each in arguments):
        arguments = ["-m", "not slow", *arguments]  # without a selection, the tests that fit into ten minutes
    if importlib.util.find_spec("xdist") is not None and not {"-n", "-x", "--pdb"} & set(arguments):
        # One process more than cores, because tests wait for browsers and servers. The order of files comes from
        # tests/conftest.py, not from their number of tests, which could leave a long one for the end.
        arguments = ["-n", str(usable_cores() + 1), "--dist", "loadfile", "--no-loadscope-reorder", *arguments]
    # Runs in its own process, because Hark's handlers of signals and warnings must not affect the tests. Ctrl-C reaches
    # both, and pytest reports its results so far.
    environment = {name: value for name, value in os.environ.items() if name != "HARK_DATA"}
    environment.setdefault("OMP_NUM_THREADS", "1")  # there is one process per core
    # Otherwise each process compiles every module, which takes 15 s of a core.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "pytest", *arguments]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment)
    try:
        return process.wait()
    except KeyboardInterrupt:
        try:
            process.wait(STOPPING_S)  # the terminal has signalled it too, and a second signal would stop its clean-up
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait()
        raise
