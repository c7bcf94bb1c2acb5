"""The parser of the command line: options that all commands share, and types of arguments that explain themselves."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from command_line.program import PROGRAM

if TYPE_CHECKING:  # importing it draws rich in, which --help has no use for
    from command_line.console import Screen

Handler = Callable[[argparse.Namespace, "Screen"], int]


class UsageError(Exception):
    """The words of a command line that make no command, with a short usage of the command they were meant for."""

    def __init__(self, message: str, usage: str, command: str) -> None:
        super().__init__(message)
        self.message, self.usage, self.command = message, usage, command


class Parser(argparse.ArgumentParser):
    """An argument parser that raises :class:`UsageError` instead of ending the process."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, self.format_usage().strip(), self.prog)


Commands = argparse._SubParsersAction


def common_options(parser: argparse.ArgumentParser) -> None:
    """--data and --json. They may stand before or after the command, so the one not given must not undo the other."""
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=folder,
        default=argparse.SUPPRESS,
        help="data folder (default: HARK_DATA or data/)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print one JSON object on stdout, all else on stderr",
    )


def add_command(commands: Commands[Parser], name: str, arguments: str, summary: str, handler: Handler) -> Parser:
    """A subcommand with the common options; ``arguments`` is what its short usage shows."""
    parser: Parser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", usage=f"%(prog)s {arguments}".rstrip()
    )
    common_options(parser)
    parser.set_defaults(handler=handler, parser=parser)
    return parser


def add_group(
    commands: Commands[Parser], name: str, summary: str, handler: Handler | None = None, **defaults: Any
) -> Commands[Parser]:
    """A subcommand that has subcommands; without one of them it is ``handler`` with ``defaults``, or a mistake."""
    parser: Parser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", usage="%(prog)s [COMMAND] ..."
    )
    common_options(parser)
    parser.set_defaults(handler=handler, parser=parser, **defaults)
    group: Commands[Parser] = parser.add_subparsers(
        title="commands",
        metavar="COMMAND" if handler else None,  # None: a mistake names the subcommands that there are
        parser_class=Parser,
        prog=f"{PROGRAM} {name}",
        required=handler is None,
    )
    return group


# Types of arguments. argparse shows the message of ArgumentTypeError after the option's name.


def folder(text: str) -> Path:
    """A folder, there or not."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError("it is empty")
    return Path(text).expanduser()


def whole(least: int, most: int) -> Callable[[str], int]:
    """A type of whole numbers within these bounds."""
    return lambda text: _number(text, int, lambda n: least <= n <= most, f"a whole number from {least} to {most}")


seed = whole(0, 2**32 - 1)  # NumPy takes no negative seed


def above_zero(text: str) -> float:
    """A number above 0."""
    return _number(text, float, lambda value: 0 < value < math.inf, "a number above 0")


def at_least_zero(text: str) -> float:
    """A number, 0 or more."""
    return _number(text, float, lambda value: 0 <= value < math.inf, "a number, 0 or more")


def count(text: str) -> int:
    """A whole number above 0."""
    return _number(text, _whole, lambda value: value > 0, "a whole number above 0")


def count_or_none(text: str) -> int:
    """A whole number, 0 or more."""
    return _number(text, _whole, lambda value: value >= 0, "a whole number, 0 or more")


def score(text: str) -> float:
    """A score from 0 to 1."""
    return _number(text, float, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def per_cent(text: str) -> float:
    """A share in per cent, above 0."""
    return _number(text, float, lambda value: 0 < value <= 100, "a number above 0, at most 100")


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not found:
        raise argparse.ArgumentTypeError("it holds no name; give some with commas between them")
    return found


def language(text: str) -> str:
    """A language as espeak-ng names it (en, en-gb, pt-br), lower case."""
    code = text.strip().lower().replace("_", "-")
    if not code.replace("-", "").isalnum() or not code.isascii() or len(code) > 20:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} names no language; give a code such as en, de or pt-br")
    return code


def _whole(text: str) -> int:
    """1e3 too. Raises ValueError."""
    value = float(text)
    if not value.is_integer():
        raise ValueError(text)
    return int(value)


def _number(text: str, kind: Callable[[str], Any], within: Callable[[Any], bool], wanted: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not within(value):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {wanted}")
    return value
