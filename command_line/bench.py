"""``bench``: measurements for docs/results.md."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import BENCHMARKS, BenchOptions
from command_line.options import Commands, Parser, add_command, names, seed
from command_line.program import PROGRAM
from core.errors import HarkError
from pipeline.training.config import EFFORTS

if TYPE_CHECKING:
    from command_line.console import Screen


def register(commands: Commands[Parser]) -> None:
    """Add the command of this module."""
    parser = add_command(commands, "bench", "NAME [options]", "measure how fast Hark is here", run_bench)
    listed = "; ".join(f"{name}: {what}" for name, what in BENCHMARKS.items())
    parser.add_argument("name", choices=list(BENCHMARKS), metavar="NAME", help=listed)
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE", help="wakeword: the bundles to measure")
    parser.add_argument("--phrase", default=BenchOptions.phrase, help=f'training: default "{BenchOptions.phrase}"')
    parser.add_argument("--effort", choices=list(EFFORTS), default=BenchOptions.effort, help="training: default quick")
    parser.add_argument("--engines", type=names, default=(), metavar="A,B", help="engines, training: only these")
    parser.add_argument("--peers", action="store_true", help="wakeword: measure other projects' detectors too")
    parser.add_argument("--seed", type=seed, default=0, metavar="N")


def run_bench(options: argparse.Namespace, screen: Screen) -> int:
    """``bench NAME``."""
    from benchmark import commit, machine, measure
    from benchmark.wakeword_summary import table
    from command_line.console import facts

    if (options.bundles or options.peers) and options.name != "wakeword":
        what = f"The benchmark {options.name} takes neither bundles nor --peers."
        raise HarkError(what, "Only wakeword does.", "Leave them out.")
    chosen = BenchOptions(
        options.seed, options.engines, options.phrase, options.effort, tuple(options.bundles), options.peers
    )
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
    screen.show(
        table(figures) if options.name == "wakeword" else facts(_flat(figures)),
        "",
        facts([("command", result["command"]), ("commit", result["commit"]), ("machine", about)]),
    )
    return 0


def _command(name: str, chosen: BenchOptions) -> str:
    """The command that gives these figures, without options that are the default."""
    from command_line.console import short_path

    words = [PROGRAM, "bench", name]
    for option, value in (("phrase", chosen.phrase), ("effort", chosen.effort), ("seed", str(chosen.seed))):
        if value != str(getattr(BenchOptions, option)):
            words += [f"--{option}", value]
    if chosen.peers:
        words += ["--peers"]
    if chosen.engines:
        words += ["--engines", ",".join(chosen.engines)]
    return shlex.join([*words, *(short_path(bundle) for bundle in chosen.bundles)])


def _flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    for name, value in figures.items():
        label = f"{before} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, label)
        else:
            yield label, f"{value:,}" if isinstance(value, int) else value
