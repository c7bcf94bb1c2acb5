"""Every ``./hark`` line of the documents is taken by the parser; those that take a second are run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line.application import build_parser, main
from command_line.options import UsageError
from tests.test_architecture import REPOSITORY

BLOCK = re.compile(r"^ *```(?:sh|bash|shell)\b[^\n]*\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
CHEAP = {"advise", "doctor", "engines", "voices", "library"}  # commands that take seconds, and change nothing
NAMED = re.compile(r"`\./hark ([^`|]*)`")  # in a sentence or a table: its arguments may be left out
LEFT_OUT = re.compile(r"arguments are required|expected one argument|'(?:JOB|NAME)'")
PAST = {"defects.md"}  # names what was wrong

PARSER = build_parser()


def documents() -> list[Path]:
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "deploy").glob("*.md")]
    return sorted(page for page in pages if page.name not in PAST)


def typed() -> Iterator[tuple[str, list[str]]]:
    """(document, words after the program's name) of each line of a shell block that begins with ``./hark``."""
    for page in documents():
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\|", line.partition(" #")[0]):
                    words = shlex.split(part)
                    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                        words.pop(0)
                    if words[:1] == ["./hark"]:
                        yield page.name, words[1:]


def refused(words: list[str]) -> str:
    """Why the parser does not take a command line; "" where it does."""
    if words[:1] == ["test"] or "--help" in words:  # what follows is pytest's; help ends the parser
        return ""
    try:
        _parsed, unknown = PARSER.parse_known_args(words)
    except UsageError as error:
        return str(error)
    return f"unknown: {unknown}" if unknown else ""


def test_what_the_documents_tell_to_type_is_taken_by_the_parser() -> None:
    lines = list(typed())
    assert len(lines) > 30 and {"tutorial.md", "README.md", "portal.md", "devices.md"} <= {page for page, _ in lines}
    assert not [f"{page}: ./hark {' '.join(words)}: {why}" for page, words in lines if (why := refused(words))]


def test_what_sentences_name_is_taken_by_the_parser() -> None:
    named = [(page.name, said) for page in documents() for said in NAMED.findall(page.read_text(encoding="utf-8"))]
    assert len(named) > 100
    wrong = [(page, said, refused(shlex.split(said))) for page, said in named]
    assert not [(page, said, why) for page, said, why in wrong if why and not LEFT_OUT.search(why)]


def test_a_line_that_is_wrong_is_found() -> None:
    assert refused(["train", "hey compass", "--efort", "trial"]) and refused(["trian", "x"]) and refused(["advise"])
    assert not refused(["train", "hey compass", "--effort", "trial"])


def test_what_takes_a_second_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    cheap = [words for words in dict.fromkeys(tuple(words) for _, words in typed()) if is_cheap(words)]
    assert ("advise", "hey compass") in cheap and ("doctor",) in cheap
    for words in cheap:
        assert main(words) == 0, words


def is_cheap(words: tuple[str, ...]) -> bool:
    return words[:1] == ("advise",) or words in {(name,) for name in CHEAP} | {("library", "stats"), ("--help",)}
