"""``wyoming``: serve detectors as wake words for Home Assistant."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from command_line.console import Screen
from command_line.options import Commands, Parser, above_zero, define_command
from core.errors import HarkError

if TYPE_CHECKING:
    from model.runtime.detector import Detector
    from pipeline.serving.wakes import WakeSender
    from pipeline.serving.wyoming import Activation

DEFAULT_URI = "tcp://127.0.0.1:10400"


def register(commands: Commands[Parser]) -> None:
    parser = define_command(commands, "wyoming", "MODEL... [options]", run_wyoming)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="bundles (zips, or their folders)")
    where = (
        f"tcp://HOST:PORT, unix://PATH or stdio:// (default {DEFAULT_URI}; tcp://0.0.0.0:10400: others can reach it)"
    )
    parser.add_argument("--uri", default=DEFAULT_URI, metavar="URI", help=where)
    parser.add_argument(
        "--send",
        metavar="ADDRESS",
        help="send a few seconds around each activation and near miss to a portal: https://HOST/api/v1/detectors/ID/wakes",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file with an API token that has the scope wakes (default: HARK_TOKEN)",
    )
    parser.add_argument("--fa-per-day", type=above_zero, metavar="X", help="accepted false alarms per day and phrase")


def run_wyoming(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``wyoming MODEL...`` until Ctrl-C or, with stdio://, until stdin ends."""
    from pipeline.serving.wakes import WakeSender
    from pipeline.serving.wyoming import open_wake_words, server_at

    if screen.json_wanted and options.uri.startswith("stdio:"):
        raise HarkError(
            "--json and stdio:// cannot be combined.",
            "Both write to stdout.",
            "Leave out --json, or serve at another URI.",
        )
    if options.send and len(options.models) > 1:
        raise HarkError(
            "--send is for one detector.",
            "Its URL accepts recordings from that detector only.",
            "Serve each detector with its own command and URI.",
        )
    if options.token_file and not options.send:
        raise HarkError(
            "--token-file has no effect without --send.",
            "The token is for sending recordings to a portal.",
            "Add --send ADDRESS, or leave it out.",
        )
    sender = WakeSender(options.send, _token(options.token_file)) if options.send else None
    server_at(options.uri)  # reports an invalid URI before anything is loaded
    detectors = open_wake_words(options.models, options.fa_per_day)
    for name, detector in detectors.items():
        screen.note(f'{name}: "{detector.phrase}", threshold {detector.threshold:.3f}')
    if asyncio.run(_serve(options.uri, detectors, screen, sender)):
        raise KeyboardInterrupt  # a signal ended it, so exit as every command does
    return 0


def _token(file: Path | None) -> str:
    """Read the API token from a file or, by default, from HARK_TOKEN. Raises HarkError if it is missing or invalid."""
    try:
        text = os.environ.get("HARK_TOKEN", "") if file is None else file.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = f"{file}: {getattr(error, 'strerror', error)}."
        raise HarkError(
            "The token could not be read.", why, "Give --token-file a text file that Hark can read."
        ) from error
    text = text.strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise HarkError(
            "The token cannot be used.",
            f"{file or 'HARK_TOKEN'} is empty, or contains characters that a token cannot have.",
            "Create one on your account page, or on the portal's machine with ./hark admin token --name NAME.",
        )
    return text


async def _serve(uri: str, detectors: Mapping[str, Detector], screen: Screen, sender: WakeSender | None = None) -> bool:
    """Serve until a signal or the end of stdin; return whether a signal ended it."""
    from pipeline.serving.wyoming import serve

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stopping.set)
        except (NotImplementedError, RuntimeError, ValueError):  # not in the main thread, where the caller ends it
            pass

    def ready() -> None:
        screen.note(f"Listening on {uri} (Ctrl-C stops it)")
        screen.result({"uri": uri, "wake_words": {n: d.phrase for n, d in detectors.items()}})

    def on_activation(activation: Activation) -> None:
        screen.note(f"{time.strftime('%H:%M:%S')}  {activation.name}  score {activation.score:.3f}")

    await serve(uri, detectors, stopping, ready, on_activation, sender)
    return stopping.is_set()
