"""Helpers for tests of the command line: reading its output, writing bundles and sounds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

Run = Callable[..., subprocess.CompletedProcess[str]]
Shown = pytest.CaptureFixture[str]


class Notes:
    """A screen that records messages."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def error_of(output: str) -> dict[str, str]:
    """Return the three sentences in the one JSON object on stdout."""
    error = json.loads(output)["error"]
    assert all(error[name].strip() for name in ("what", "why", "what_to_do"))
    assert isinstance(error, dict)
    return error


class Cli:
    """The command line in the test's own process; ``out`` and ``err`` hold what the last command printed."""

    def __init__(self, capsys: Shown) -> None:
        self.capsys = capsys
        self.out = self.err = ""

    def __call__(self, *words: str, code: int | None = 0) -> str:
        """Run a command, check its exit code (None: it depends on the machine) and return its stdout."""
        from command_line import application

        exit_code = application.main(words)
        self.out, self.err = self.capsys.readouterr()
        assert code in (exit_code, None), (words, exit_code, self.err)
        return self.out

    def json(self, *words: str, code: int | None = 0) -> dict[str, Any]:
        """Return the JSON object that a command printed."""
        result: dict[str, Any] = json.loads(self(*words, "--json", code=code))
        return result

    def refused(self, *words: str) -> dict[str, str]:
        """Return the error of a command that cannot be done."""
        return error_of(self(*words, "--json", code=2))


def assert_fixable(done: subprocess.CompletedProcess[str]) -> None:
    """Check for exit code 2, and on stderr what happened, why and what to do."""
    assert done.returncode == 2, done.stderr
    assert "  Why: " in done.stderr and "  What to do: " in done.stderr
