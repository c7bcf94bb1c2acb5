"""``bench``: measurements for docs/results.md."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import BENCHMARKS, TABLES, TAKE_BUNDLES, BenchOptions
from command_line.options import Commands, Parser, add_command, count, count_or_none, folder, names, seed
from command_line.program import PROGRAM
from core.database_url import DATABASE
from core.errors import HarkError
from pipeline.training.config import EFFORTS

if TYPE_CHECKING:
    from command_line.console import Screen


ALL = ("all",)  # of wakeword's --engines


def register(commands: Commands[Parser]) -> None:
    """Add the command of this module."""
    parser = add_command(commands, "bench", "NAME [options]", "measure how fast Hark is here", run_bench)
    listed = "; ".join(f"{name}: {what}" for name, what in BENCHMARKS.items())
    parser.add_argument("name", choices=list(BENCHMARKS), metavar="NAME", help=listed)
    parser.add_argument(
        "bundles", nargs="*", type=Path, metavar="BUNDLE", help="wakeword, confusables, loop: those to measure"
    )
    parser.add_argument("--phrase", default=BenchOptions.phrase, help=f'training: default "{BenchOptions.phrase}"')
    parser.add_argument("--effort", choices=list(EFFORTS), default=BenchOptions.effort, help="training: default quick")
    parser.add_argument(
        "--engines",
        type=names,
        default=(),
        metavar="A,B",
        help='engines, training, audio: only these; wakeword: "all" measures other projects\' detectors too',
    )
    parser.add_argument(
        "--anchors", type=count_or_none, default=BenchOptions.anchors, metavar="N",
        help=f"confusables: phrases of LibriPhrase, about; default {BenchOptions.anchors}, 0 leaves it out",
    )  # fmt: skip
    parser.add_argument("--pairs", type=folder, metavar="FOLDER", help="confusables: write LibriPhrase's pairs there")
    parser.add_argument(
        "--fetch",
        type=folder,
        metavar="FOLDER",
        help="wakeword: on public audio, which is fetched into FOLDER (0.6 GB)",
    )
    parser.add_argument(
        "--minutes", type=count, default=BenchOptions.minutes, metavar="N",
        help=f"load: of mixed use; default {BenchOptions.minutes}",
    )  # fmt: skip
    parser.add_argument(
        "--servers", action="store_true",
        help="kills: on the database of DATABASE_URL, which must be empty, and the queue of REDIS_URL",
    )  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, metavar="N")


def run_bench(options: argparse.Namespace, screen: Screen) -> int:
    """``bench NAME``."""
    from benchmark import commit, machine, measure, without_servers
    from command_line.console import facts

    if options.bundles and options.name not in TAKE_BUNDLES:
        raise HarkError(
            f"The benchmark {options.name} takes no bundles.", "wakeword, confusables and loop do.", "Leave them out."
        )
    taken = options.name == "wakeword" and options.engines == ALL
    if options.engines and not taken and options.name not in ("engines", "training", "audio"):
        raise HarkError(
            f"The benchmark {options.name} takes no --engines {','.join(options.engines)}.",
            "engines, training and audio take engines, wakeword takes all.",
            "Leave it out.",
        )
    if options.fetch and options.name != "wakeword":
        raise HarkError(f"The benchmark {options.name} takes no --fetch.", "wakeword does.", "Leave it out.")
    if options.servers and options.name != "kills":
        raise HarkError(
            f"The benchmark {options.name} takes no --servers.",
            "It has a database in a folder of its own.",
            "Leave it out.",
        )
    if options.servers and not os.environ.get(DATABASE):
        raise HarkError(
            "There is no server to measure on.", f"{DATABASE} is not set.", "Set it, or leave out --servers."
        )
    chosen = BenchOptions(
        options.seed, options.engines, options.phrase, options.effort, tuple(options.bundles), options.anchors,
        options.minutes, options.servers, options.pairs, options.fetch,
    )  # fmt: skip
    if not chosen.servers:
        without_servers()
    with screen.reporter() as reporter:
        figures = measure(options.name, chosen, reporter)
    result = {
        "name": options.name,
        "command": _command(options.name, chosen),
        "commit": commit(),
        "machine": machine(),
        "figures": figures,
    }
    screen.result(result)
    about = ", ".join(f"{name} {value}" for name, value in result["machine"].items() if value is not None)
    table = importlib.import_module(f"benchmark.{TABLES[options.name]}").table if options.name in TABLES else None
    screen.show(
        table(figures) if table else facts(_flat(figures)),
        "",
        facts([("command", result["command"]), ("commit", result["commit"]), ("machine", about)]),
    )
    return 0


def _command(name: str, chosen: BenchOptions) -> str:
    """The command that gives these figures, without options that are the default."""
    from command_line.console import short_path

    words = [PROGRAM, "bench", name, *(short_path(bundle) for bundle in chosen.bundles)]  # argparse wants them first
    for option, value in (
        ("phrase", chosen.phrase),
        ("effort", chosen.effort),
        ("seed", str(chosen.seed)),
        ("anchors", str(chosen.anchors)),
        ("minutes", str(chosen.minutes)),
    ):
        if value != str(getattr(BenchOptions, option)):
            words += [f"--{option}", value]
    if chosen.engines:
        words += ["--engines", ",".join(chosen.engines)]
    if chosen.servers:
        words.append("--servers")
    if chosen.fetch:
        words += ["--fetch", short_path(chosen.fetch)]
    return shlex.join(words)


def _flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in figures.items():
        label = f"{before} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, label)
        else:
            yield label, f"{value:,}" if isinstance(value, int) else value
