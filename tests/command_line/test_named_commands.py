"""Every ``./hark COMMAND`` in a message, a page or a document exists, with the options named there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from command_line.application import build_parser
from command_line.options import Commands, Parser
from core.data_folder import REPOSITORY
from tests.support.repository import repository_files

NAMED = re.compile(r"(?:\./hark|\{PROGRAM\})((?: [^\s`|&#;<>\\]+)*)")
WORD = re.compile(r"[a-z][a-z_-]*")
PHRASE = re.compile(r"""(["'])[\w {}]+\1""")
OPTION = re.compile(r"--[a-z][\w-]*")
ENDING = re.compile(r"[.,:)'\"`]+$|</?\w+>?.*$")
VERBS = {"a", "does", "goes", "has", "installs", "leaves", "prefers", "puts", "shows", "with", "works"}  # in prose
KINDS = {".py", ".html", ".md", ".js", ".txt", ""}

PARSER = build_parser()


def named() -> Iterator[tuple[str, list[str]]]:
    """Return (file, words after the program's name) of each place."""
    for path in repository_files():
        name = str(path.relative_to(REPOSITORY))
        if path.suffix in KINDS and path.name != "test_named_commands.py":
            for match in NAMED.finditer(path.read_text(encoding="utf-8", errors="replace")):
                yield name, PHRASE.sub("PHRASE", match[1]).split()


def choices(parser: Parser) -> dict[str, Parser]:
    parser.complete()
    return next((dict(a.choices) for a in parser._actions if isinstance(a, Commands)), {})


def wrong(words: list[str]) -> str:
    """Return the first word that is not a command or option; "" if there is none."""
    parser, at_command = PARSER, True
    for word in words:
        bare = ENDING.sub("", word)
        known = choices(parser)
        if OPTION.fullmatch(bare.partition("=")[0]):
            if bare.partition("=")[0] not in parser._option_string_actions and parser.prog != "./hark test":
                return bare
        elif at_command and known and WORD.fullmatch(bare):
            if bare in known:
                parser = known[bare]
            elif bare in VERBS:
                return ""
            else:
                return bare
        else:
            at_command = False
        if bare != word:  # the end of a sentence or a quotation
            return ""
    return ""


def test_every_command_in_a_message_exists() -> None:
    places = [(name, words) for name, words in named() if words]
    assert len(places) > 150
    assert not [f"{name}: {' '.join(words)[:60]}" for name, words in places if wrong(words)]
