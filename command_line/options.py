"""The parser of the command line: options that all commands share, and argument types with clear error messages."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from command_line.console import PROGRAM, Screen

Handler = Callable[[argparse.Namespace, Screen], int]


class UsageError(Exception):
    """A command line that cannot be parsed, with a short usage of the command it was meant for."""

    def __init__(self, message: str, usage: str, command: str) -> None:
        super().__init__(message)
        self.message, self.usage, self.command = message, usage, command


class Parser(argparse.ArgumentParser):
    """An argument parser that raises :class:`UsageError` instead of ending the process.

    Attributes:
        summary: the command's description in lists of commands.
        complete: adds the command's options, unless it has done so. Call it before using a parser from ``choices``.
    """

    def __init__(self, summary: str = "", complete: Callable[[], None] = lambda: None, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)
        self.summary, self.complete = summary, complete

    @property
    def name(self) -> str:
        """The last word of the command's full name."""
        return self.prog.rpartition(" ")[2]

    def commands(self) -> Iterator[Parser]:
        """Yield the subcommands, each followed by its own subcommands."""
        for action in self._actions:
            if isinstance(action, Commands):
                for command in action.choices.values():
                    command.complete()
                    yield command
                    yield from command.commands()

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, self.format_usage().strip(), self.prog)

    def refuse_options(self, words: Sequence[str]) -> NoReturn:
        """Raise :class:`UsageError` for unknown options, with a suggestion of the most similar one."""
        names = [name[2:] for name in self._option_string_actions if name.startswith("--")]
        near = difflib.get_close_matches(words[0].lstrip("-").partition("=")[0], names, 1)
        self.error(f"unrecognized arguments: {' '.join(words)}" + _did_you_mean([f"--{name}" for name in near]))

    # Python 3.14 has this as suggest_on_error.
    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if not isinstance(action, Commands):
            super()._check_value(action, value)
        elif value in action.choices:
            action.choices[value].complete()
        else:
            # For a subcommand without its group, suggest both: `admin token` for `token`.
            meant = [command.prog for command in self.commands() if command.name == value]
            meant = meant or [action.choices[name].prog for name in difflib.get_close_matches(value, action.choices, 1)]
            self.error(f"{self.prog} has no command {value!r}" + _did_you_mean(meant[:3]))


def _did_you_mean(names: Sequence[str]) -> str:
    return f". Did you mean {' or '.join(names)}?" if names else ""


Commands = argparse._SubParsersAction


def common_options(parser: argparse.ArgumentParser) -> None:
    """Add --data and --json, which may precede or follow the command.

    The default must not override a value given earlier.
    """
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
        help="print one JSON object on stdout, everything else on stderr",
    )


def add_command(commands: Commands[Parser], name: str, arguments: str, summary: str, handler: Handler | None) -> Parser:
    """Add a subcommand with the common options; ``arguments`` appear in its short usage."""
    commands.add_parser(name, summary=summary, help=summary)
    return define_command(commands, name, arguments, handler)


def define_command(commands: Commands[Parser], name: str, arguments: str, handler: Handler | None) -> Parser:
    """Define a command of ``GROUPS`` in ``application.py``, as :func:`add_command` defines a subcommand."""
    parser = commands.choices[name]
    parser.description = parser.summary[0].upper() + parser.summary[1:] + "."
    parser.usage = f"%(prog)s {arguments}".rstrip()
    common_options(parser)
    parser.set_defaults(handler=handler, parser=parser)
    return parser


def add_group(
    commands: Commands[Parser], name: str, handler: Handler | None = None, **defaults: Any
) -> Commands[Parser]:
    """Define a command of ``GROUPS`` that has subcommands. Without one, it runs ``handler`` with ``defaults``.

    Without ``handler``, that call is an error.
    """
    parser = define_command(commands, name, "[COMMAND] ...", handler)
    parser.set_defaults(**defaults)
    group: Commands[Parser] = parser.add_subparsers(
        title="commands",
        metavar="COMMAND" if handler else None,  # with None, the error lists the subcommands
        parser_class=Parser,
        prog=f"{PROGRAM} {name}",
        required=handler is None,
    )
    return group


# Types of arguments. argparse prints the message of an ArgumentTypeError after the option's name.


def folder(text: str) -> Path:
    """Parse the path of a folder, which need not exist."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError("it is empty")
    return Path(text).expanduser()


def _number(kind: Callable[[str], Any], within: Callable[[Any], bool], wanted: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not within(value):
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {wanted}")
        return value

    return read


def _whole(text: str) -> int:
    """Parse a whole number, such as 1000 or 1e3. Raises ValueError if it is not one."""
    value = float(text)
    if not value.is_integer():
        raise ValueError(text)
    return int(value)


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return the type of whole numbers within these bounds."""
    return _number(int, lambda value: minimum <= value <= maximum, f"a whole number from {minimum} to {maximum}")


seed = whole(0, 2**32 - 1)  # NumPy rejects negative seeds
above_zero = _number(float, lambda value: 0 < value < math.inf, "a number above 0")
at_least_zero = _number(float, lambda value: 0 <= value < math.inf, "a number, 0 or more")
count = _number(_whole, lambda value: value > 0, "a whole number above 0")
count_or_none = _number(_whole, lambda value: value >= 0, "a whole number, 0 or more")
score = _number(float, lambda value: 0 <= value <= 1, "a number from 0 to 1")
per_cent = _number(float, lambda value: 0 < value <= 100, "a number above 0, at most 100")


def names(text: str) -> tuple[str, ...]:
    """Parse names separated by commas."""
    result = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not result:
        raise argparse.ArgumentTypeError("it contains no name; separate names with commas")
    return result


def language(text: str) -> str:
    """Parse a language code of espeak-ng (en, en-gb, pt-br), in lower case."""
    code = text.strip().lower().replace("_", "-")
    if not code.replace("-", "").isalnum() or not code.isascii() or len(code) > 20:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a language; use a code such as en, de or pt-br")
    return code
