"""``test``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_line import test as testing
from tests.support.command_line_samples import Run
from tests.support.long_tests import LIST, long_tests

Main = Callable[..., int]
Shown = pytest.CaptureFixture[str]


def test_pytest_runs_the_tests(hark: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they would take most of the time
    (tmp_path / "test_sample.py").write_text(
        "import pytest\ndef test_fast(): pass\n@pytest.mark.slow\ndef test_slow(): assert 'HARK_FAIL' != 'x'\n"
    )
    options = ("-n", "0", "-p", "xdist", "-p", "no:cacheprovider")
    done = hark("test", str(tmp_path / "test_sample.py"), *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("2 passed") == 1
    done = hark("test", str(tmp_path / "test_sample.py"), "-m", "slow", *options)
    assert done.returncode == 0 and "1 passed, 1 deselected" in done.stdout
    (tmp_path / "test_sample.py").write_text("def test_fails(): assert False\n")
    assert hark("test", str(tmp_path / "test_sample.py"), *options).returncode == 1


@pytest.mark.parametrize(
    ("asked", "left_out"),
    [
        ((), True),
        (("--durations", "9"), True),
        (("-m", "long"), False),
        (("-k", "voices"), False),
        (("--lf",), False),
        (("tests/test_launcher.py",), False),
        (("tests/test_launcher.py::test_none",), False),
    ],
)
def test_long_tests_are_for_who_asks(
    main: Main, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...], left_out: bool
) -> None:
    begun: list[list[str]] = []

    class Pytest:
        def __init__(self, command: list[str], **options: Any) -> None:
            begun.append(command)

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(testing.subprocess, "Popen", Pytest)
    assert main("test", *asked) == 0
    assert begun[0][len(begun[0]) - len(asked) :] == list(asked)
    assert ("not long" in begun[0]) == left_out


def test_the_list_of_long_tests() -> None:
    said = "9.00s call     tests/a/test_b.py::test_c[d e]\n0.80s setup    tests/a/test_b.py::test_f\n"
    said += "0.80s call     tests/a/test_b.py::test_f\n1.00s call     tests/a/test_b.py::test_g\n"
    assert long_tests(said) == ["a/test_b.py::test_c", "a/test_b.py::test_f"]
    listed = LIST.read_text().split()
    assert len(listed) > 100 and listed == sorted(set(listed))
    for path, name in (each.split("::") for each in listed):
        assert f"def {name}(" in (LIST.parent / path).read_text(), f"{path}::{name} is no test any more"


@pytest.mark.parametrize("code", [0, 1, 2, 5])
def test_the_exit_code_is_pytests(main: Main, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(testing, "_pytest", lambda arguments: code)
    assert main("test", "-k", "some") == code


def test_without_pytest(main: Main, capsys: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main("test") == 2
    assert "pytest is not installed" in capsys.readouterr().err
