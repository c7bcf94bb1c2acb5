"""``python -m lab NAME``: a measurement for Hark's developers."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from command_line.application import main
from command_line.bench import IN_LAB, add_options, command_of, show_figures
from command_line.console import PROGRAM as HARK
from command_line.console import Screen
from command_line.options import Parser, add_command, common_options, count, names, seed
from core.errors import HarkError
from core.settings.database_url import DATABASE
from lab import MEASUREMENTS, BenchOptions, run_measurement, without_servers

PROGRAM = "python -m lab"


def build_parser() -> Parser:
    parser = Parser(prog=PROGRAM, usage=f"{PROGRAM} NAME [options]", description=__doc__)
    common_options(parser)
    commands = parser.add_subparsers(metavar="NAME", parser_class=Parser, prog=PROGRAM, required=True)
    for name, measurement in MEASUREMENTS.items():
        command = add_command(commands, name, "[options]", measurement.what, run)
        if name in IN_LAB:
            add_options(command, name)
        else:
            for option in (*measurement.takes, "seed"):
                _add(command, option)
    return parser


def _add(command: Parser, option: str) -> None:
    if option == "servers":
        what = "on the database of DATABASE_URL, which must be empty, and the queue of REDIS_URL"
        command.add_argument("--servers", action="store_true", help=what)
    else:
        types = {"seed": seed, "engines": names, "minutes": count}
        command.add_argument(f"--{option}", type=types[option], default=getattr(BenchOptions, option))


def run(options: argparse.Namespace, screen: Screen) -> int:
    name = options.parser.name
    given = {option: getattr(options, option) for option in (*MEASUREMENTS[name].takes, "seed")}
    chosen = BenchOptions(**{**given, "bundles": tuple(given.get("bundles", ()))})
    if chosen.servers and not os.environ.get(DATABASE):
        raise HarkError(
            "--servers needs a database server.",
            f"{DATABASE} is not set.",
            "Set it to an empty database, or leave out --servers.",
        )
    if not chosen.servers:
        without_servers()
    with screen.reporter() as reporter:
        figures = run_measurement(name, chosen, reporter)
    module = importlib.import_module(f"lab.{MEASUREMENTS[name].module}")
    table = module.table(figures) if hasattr(module, "table") else None
    by_name = (HARK, "bench", name) if name in IN_LAB else (*PROGRAM.split(), name)
    show_figures(name, command_of(options, *by_name), figures, table, screen)
    return 0


if __name__ == "__main__":
    sys.exit(main(build=build_parser))
