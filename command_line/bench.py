"""``bench``: measurements in docs/results.md that users can repeat."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from command_line.console import PROGRAM, Screen, facts, short_path
from command_line.options import Commands, Parser, add_command, add_group, count_or_none, folder, names, seed
from core.data_folder import REPOSITORY
from core.errors import HarkError

ALL = ("all",)  # the only value of wakeword's --engines
IN_LAB = {  # measurements in the folder ``lab`` of the source code, which an installed Hark lacks
    "confusables": "measure phrases against confusables: LibriPhrase, and what bundles accept (needs the shared audio)",
    "detector": "measure a detector's share of one core and its bytes, for each size and form",
    "mining": "measure emissions, alignment and mining in a library of 100 h (needs the shared audio)",
}


def register(commands: Commands[Parser]) -> None:
    group = add_group(commands, "bench")
    help_text = (
        "measure bundles on real recordings of their phrase (needs the shared audio, see HARK_SHARED, or --fetch)"
    )
    wakeword = add_command(group, "wakeword", "BUNDLE... [options]", help_text, run_wakeword)
    wakeword.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE", help="the bundles to measure")
    help_text = "all: measure other projects' detectors too"
    wakeword.add_argument("--engines", type=names, default=(), metavar="all", help=help_text)
    help_text = "use public audio, downloaded into FOLDER (0.6 GB)"
    wakeword.add_argument("--fetch", type=folder, metavar="FOLDER", help=help_text)
    wakeword.add_argument("--seed", type=seed, default=0, metavar="N")
    for name, help_text in IN_LAB.items():
        add_options(add_command(group, name, "[options]", help_text, run_in_lab), name)


def add_options(command: Parser, name: str) -> None:
    """Add the options of a measurement in :data:`IN_LAB`."""
    command.add_argument("--seed", type=seed, default=0, metavar="N")
    if name == "confusables":
        command.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE", help="the bundles to measure")
        help_text = "approximate number of phrases of LibriPhrase; default: 400; 0 leaves LibriPhrase out"
        command.add_argument("--anchors", type=count_or_none, default=400, metavar="N", help=help_text)
        command.add_argument("--pairs", type=folder, metavar="FOLDER", help="write the pairs of LibriPhrase into it")
    if name == "mining":
        command.add_argument("--phrase", default="something", help='default: "something"')


def run_wakeword(options: argparse.Namespace, screen: Screen) -> int:
    from benchmark import wakeword
    from benchmark.wakeword_summary import table

    if options.engines not in ((), ALL):
        raise HarkError(
            f"The benchmark does not accept --engines {','.join(options.engines)}.",
            "It can measure all other projects' detectors, or none.",
            "Use --engines all, or leave the option out.",
        )
    with screen.reporter() as reporter:
        figures = wakeword.run(options.bundles, bool(options.engines), options.fetch, options.seed, reporter)
    show_figures("wakeword", command_of(options, PROGRAM, "bench", "wakeword"), figures, table(figures), screen)
    return 0


def run_in_lab(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``bench confusables``, ``detector`` or ``mining`` in a process of the lab."""
    name = options.parser.name
    if not (REPOSITORY / "lab").is_dir():
        raise HarkError(
            f"The benchmark {name} is not part of an installed Hark.",
            "It is in the folder lab of the source code.",
            "Clone the repository and run the same command there.",
        )
    words = shlex.split(command_of(options, name)) + ["--json"] * getattr(options, "json", False)
    places = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return subprocess.call([sys.executable, "-m", "lab", *words], env={**os.environ, "PYTHONPATH": places})


def command_of(options: argparse.Namespace, *before: str) -> str:
    """Return the command that reproduces the figures: the bundles, and the options that differ from their defaults."""
    words = [*before, *(short_path(bundle) for bundle in getattr(options, "bundles", ()))]  # argparse needs them first
    for action in options.parser._actions:
        value = getattr(options, action.dest, action.default)
        if action.option_strings and action.dest not in ("help", "data", "json") and value != action.default:
            words.append(action.option_strings[0])
            if action.nargs != 0:
                given = ",".join(value) if isinstance(value, tuple) else value
                words.append(short_path(given) if isinstance(given, Path) else str(given))
    return shlex.join(words)


def show_figures(name: str, command: str, figures: Mapping[str, Any], table: str | None, screen: Screen) -> None:
    """Show figures with their command, commit and machine. Figures without a table are listed."""
    from benchmark import commit, machine

    result: dict[str, Any] = {
        "name": name,
        "command": command,
        "commit": commit(),
        "machine": machine(),
        "figures": figures,
    }
    screen.result(result)
    about = ", ".join(f"{fact} {value}" for fact, value in result["machine"].items() if value is not None)
    where = facts([("command", command), ("commit", result["commit"]), ("machine", about)])
    screen.show(facts(_flat(figures)) if table is None else table, "", where)


def _flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in figures.items():
        label = f"{before} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, label)
        else:
            yield label, f"{value:,}" if isinstance(value, int) else value
