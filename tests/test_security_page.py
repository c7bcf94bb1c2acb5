"""docs/security.md: every line of its tables names tests, and these are there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from core.data_folder import REPOSITORY

PAGE = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
TEST = re.compile(r"`([\w/]*\.py)?::(\w+)`")


def rows() -> list[str]:
    """The lines of all tables, without their heads."""
    lines = PAGE.splitlines()
    rules = [number for number, line in enumerate(lines) if re.fullmatch(r"\|( --- \|)+", line)]
    heads = {number - 1 for number in rules}
    found = [line for number, line in enumerate(lines) if line.startswith("|") and number not in {*rules, *heads}]
    assert len(rules) >= 7 and len(found) >= 80, "the page is written otherwise than this test reads it"
    return found


@cache
def functions_of(file: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE))


def missing_of(row: str) -> list[str]:
    """What a line names that is not there. A test without a file is of the file before it."""
    named = TEST.findall(row.rpartition("| ")[2])
    if not named:
        return [f"names no test: {row[:80]}"]
    wrong, file = [], Path()
    for name, test in named:
        if name:
            file = REPOSITORY / (name if name.startswith("tests/") else f"tests/webui/{name}")
        if not file.is_file() or test not in functions_of(file):
            wrong.append(f"{name or file.name}::{test}")
    return wrong


def test_every_line_names_tests_that_exist() -> None:
    assert [wrong for row in rows() for wrong in missing_of(row)] == []


def test_a_record_names_tests_that_exist() -> None:
    record = (REPOSITORY / "docs" / "defects.md").read_text(encoding="utf-8")
    named = re.findall(r"(tests/[\w/]+\.py)::(test_\w+)\b(?!\.\.\.)", record)
    assert len(named) > 50
    assert [row for row in named if row[1] not in functions_of(REPOSITORY / row[0])] == []


def test_a_line_without_a_test_and_one_with_another_are_found() -> None:
    assert missing_of("| a promise | by the way |") and missing_of("| a promise | `test_shares.py` |")
    assert missing_of("| a promise | `test_shares.py::test_nothing_of_the_kind` |")
    assert missing_of("| a | `test_shares.py::test_all_that_is_kept_is_refused_in_words`, `::test_no` |") == [
        "test_shares.py::test_no"
    ]


def test_what_is_named_beside_tests_is_a_table_of_its_own_or_prose() -> None:
    assert not re.findall(r"\| the same \|", PAGE), "a line says itself what holds it"
