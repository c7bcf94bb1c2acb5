"""The command ``test``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command_line import test as testing
from tests.support import slow_tests
from tests.support.command_line_samples import Cli, Run

EndsWith = Callable[[int], list[list[str]]]


def test_pytest_runs_the_tests(hark: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # loading plugins would take most of the time
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


@pytest.fixture
def ends_with(monkeypatch: pytest.MonkeyPatch) -> EndsWith:
    """Let pytest end with a code; return the commands that start it."""

    def end(code: int) -> list[list[str]]:
        begun: list[list[str]] = []

        class Pytest:
            def __init__(self, command: list[str], **options: Any) -> None:
                begun.append(command)

            def wait(self) -> int:
                return code

        monkeypatch.setattr(testing.subprocess, "Popen", Pytest)
        return begun

    return end


@pytest.mark.parametrize(
    ("asked", "left_out"),
    [
        ((), True),
        (("--durations", "9"), True),
        (("--measure",), True),
        (("-m", "slow"), False),
        (("-k", "voices"), False),
        (("--lf",), False),
        (("tests/test_launcher.py",), False),
        (("tests/test_launcher.py::test_none",), False),
    ],
)
def test_slow_tests_run_only_on_request(cli: Cli, ends_with: EndsWith, asked: tuple[str, ...], left_out: bool) -> None:
    begun = ends_with(0)
    cli("test", *asked)
    assert begun[0][len(begun[0]) - len(asked) :] == list(asked)
    assert ("not slow" in begun[0]) == left_out


def test_slow_tests_in_the_list_exist() -> None:
    text = slow_tests.LIST.read_text()
    listed = slow_tests.listed(text)
    assert len(listed) > 100 and text.splitlines() == [f"{name} {seconds}" for name, seconds in sorted(listed.items())]
    gone = [name for name in listed if not slow_tests.is_there(name)]
    assert not gone


def test_a_measured_run_updates_only_the_lines_of_its_tests(tmp_path: Path) -> None:
    names = ("quicker", "slower", "new", "quick", "skipped", "elsewhere")
    (tmp_path / "test_a.py").write_text("".join(f"def test_{name}(): ...\n" for name in names))
    (tmp_path / "slow.txt").write_text(
        "".join(f"test_a.py::test_{name} 3\n" for name in ("quicker", "slower", "skipped", "elsewhere", "gone"))
    )
    plugin = slow_tests.Measuring(tmp_path)
    for name, when, seconds, outcome in (
        ("quicker", "call", 1.4, "passed"),
        ("slower[a b]", "setup", 4.0, "passed"), ("slower[a b]", "call", 5.0, "failed"),
        ("slower[c]", "call", 1.0, "passed"), ("slower[c]", "teardown", 90.0, "passed"), ("new", "call", 1.6, "passed"),
        ("quick", "call", 0.1, "passed"), ("skipped", "setup", 0.1, "passed"), ("skipped", "call", 0.1, "skipped"),
    ):  # fmt: skip
        node = f"tests/test_a.py::test_{name}"
        plugin.pytest_runtest_logreport(pytest.TestReport(node, ("", 0, ""), {}, outcome, None, when, duration=seconds))
    plugin.pytest_sessionfinish()
    assert (tmp_path / "slow.txt").read_text().replace("test_a.py::test_", "").splitlines() == [
        "elsewhere 3", "new 2", "skipped 3", "slower 10",
    ]  # fmt: skip


def test_journeys_are_listed_and_part_of_every_run() -> None:
    seconds = slow_tests.listed(
        "browser/test_portal.py::test_a 9\nbrowser/test_portal.py::test_b 2\na/test_b.py::test_c 5\n"
    )
    assert slow_tests.seconds_of_files(seconds) == {"browser/test_portal.py": 11, "a/test_b.py": 5}
    assert slow_tests.is_slow("a/test_b.py::test_c[case]", seconds)
    assert not slow_tests.is_slow("a/test_b.py::test_d", seconds)
    assert not slow_tests.is_slow("browser/test_portal.py::test_a", seconds)
    *_, upload = slow_tests.ALWAYS
    seconds = {upload.split("[")[0]: 9}
    assert not slow_tests.is_slow(upload, seconds) and slow_tests.is_slow(upload.replace("wide", "phone"), seconds)


@pytest.mark.parametrize("code", [0, 1, 2, 5])
def test_the_exit_code_is_pytests(cli: Cli, ends_with: EndsWith, code: int) -> None:
    ends_with(code)
    cli("test", "-k", "some", code=code)


def test_a_missing_pytest_is_reported(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)  # as where it is not installed
    cli("test", code=2)
    assert "pytest is not installed" in cli.err
