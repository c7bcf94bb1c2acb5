"""The slow tests: ``tests/slow.txt`` lists them with their seconds, and ``./hark test -m "" --measure`` writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LIST = TESTS / "slow.txt"
SLOW_S = 1.5  # set-up and call of all cases together, on two cores that three processes share
# The product from end to end: listed, so that they begin early, but part of every run.
ALWAYS = (
    "browser/test_portal.py::", "browser/test_first_minute.py::",
    "browser/test_recordings_in_browser.py::test_a_recording_is_uploaded_transcribed_shared_and_revoked[wide]",
)  # fmt: skip


def test_of(node: str) -> str:
    """Return ``folder/test_file.py::test_name[case]`` of a node ID of pytest."""
    return node.removeprefix("tests/")


def listed(text: str) -> dict[str, int]:
    """Read the list: seconds by ``folder/test_file.py::test_name``."""
    return {name: int(seconds) for name, seconds in (line.split() for line in text.splitlines())}


def is_slow(test: str, seconds: Mapping[str, int]) -> bool:
    return test.split("[")[0] in seconds and not test.startswith(ALWAYS)


def seconds_of_files(seconds: Mapping[str, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for test, took in seconds.items():
        found[test.split("::")[0]] += took
    return found


def is_there(test: str, tests: Path = TESTS) -> bool:
    path, *_, name = test.split("::")
    return (tests / path).is_file() and f"def {name}(" in (tests / path).read_text()


def updated(seconds: Mapping[str, int], measured: Mapping[str, float], tests: Path) -> dict[str, int]:
    """Return the list after a run that took ``measured`` seconds for each test.

    Lines of tests that did not run are kept. Those of deleted tests are not.
    """
    took = {**seconds, **{name: round(each) if each >= SLOW_S else 0 for name, each in measured.items()}}
    return {name: took[name] for name in sorted(took) if took[name] and is_there(name, tests)}


class Measuring:
    """A plugin of pytest that writes the list when a run ends."""

    def __init__(self, tests: Path = TESTS) -> None:
        self.tests = tests
        self.cases: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        case = test_of(report.nodeid)
        if report.skipped:
            self.cases.pop(case, None)
        elif report.when != "teardown":
            self.cases[case] += report.duration

    def pytest_sessionfinish(self) -> None:
        measured: Counter[str] = Counter()
        for case, took in self.cases.items():
            measured[case.split("[")[0]] += took
        file = self.tests / LIST.name
        found = updated(listed(file.read_text()), measured, self.tests)
        file.write_text("".join(f"{name} {took}\n" for name, took in found.items()))
