"""From the words of a command line to an exit code: 0 done, 2 the user can mend it, 130 interrupted, 1 a bug."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from command_line.console import PROGRAM, OutputClosed, Screen
from command_line.options import Parser, UsageError, common_options
from command_line.test import run_tests
from core.errors import HarkError
from core.settings_file import read_settings_files

DONE, BUG, MENDABLE, INTERRUPTED = 0, 1, 2, 130

# Each module has ``register(commands)``. They import what is slow when they run.
COMMANDS = (
    "train", "detect", "evaluate", "wyoming", "bundle_web", "serve", "admin", "record", "mine", "try_phrase",
    "confusables", "library", "backup", "transcribe", "watch", "asr", "summarizer", "engines", "bench", "doctor",
    "release", "test",
)  # fmt: skip

# How --help shows the commands.
GROUPS = {
    "Start here": ("train", "try", "detect", "serve", "doctor"),
    "A better detector": ("advise", "plan", "confusables", "record", "evaluate", "retrain"),
    "Devices": ("wyoming", "bundle-web"),
    "Recordings": ("transcribe", "watch", "summarizer"),
    "Library and voices": ("library", "mine", "voices", "engines"),
    "Portal and data": ("worker", "admin", "backup", "restore"),
    "Advanced": ("asr", "bench", "release", "test"),
}

STOPPED = "stopped; run the same command again to go on"
AGAIN_AFTER_S = 0.1


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [COMMAND] ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"{PROGRAM} COMMAND --help shows the options of a command.",
    )
    common_options(parser)
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser, prog=PROGRAM, help=argparse.SUPPRESS)
    for command in COMMANDS:
        importlib.import_module(f"command_line.{command}").register(commands)
    parser.description = _description(commands.choices)
    return parser


def _description(commands: Mapping[str, Parser]) -> str:
    """What Hark does and its commands by group, at most 79 columns wide."""
    lines = [
        "Type a phrase, get a wake-word detector; give a recording, get its text.",
        "Without a command, Hark asks for a keyphrase and trains.",
    ]
    width = max(map(len, commands)) + 2
    for title, names in GROUPS.items():
        lines += ["", title, *(f"  {name:{width}}{commands[name].summary}" for name in names)]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None, build: Callable[[], Parser] = build_parser) -> int:
    """Run one command; the arguments are those of the process unless given. Never raises, never shows a traceback.

    It is the last thing that a process does: signals that would end it are ignored afterwards.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["test"] and words[1:] not in (["--help"], ["-h"]):
        # Everything after it is pytest's.
        parsed = argparse.Namespace(handler=run_tests, arguments=words[1:])
    else:
        try:
            parser = build()
            parsed, unknown = parser.parse_known_args(words)
            if unknown:  # said by the command's own parser, so that the usage is that of the command
                getattr(parsed, "parser", parser).refuse_options(unknown)
        except UsageError as error:
            return _explain_usage(error, json_wanted="--json" in words)
        except SystemExit as end:  # --help
            return int(end.code or 0)
    return _run(parsed)


def _run(options: argparse.Namespace) -> int:
    if getattr(options, "data", None) is not None:
        os.environ["HARK_DATA"] = str(options.data)
    try:
        screen = Screen(json_wanted=getattr(options, "json", False))
    except ModuleNotFoundError as error:  # without rich not even errors can be drawn
        lacking = _lacking(error)
        sys.stderr.write(f"{lacking.what}\n  Why: {lacking.why}\n  What to do: {lacking.what_to_do}\n")
        return MENDABLE
    from command_line.log import keep_warnings, write_bug
    from command_line.train import ask_and_train

    _interrupt_on_signals()
    try:
        with screen, keep_warnings():
            handler = getattr(options, "handler", None) or ask_and_train
            try:
                if handler is not run_tests:  # tests have settings of their own
                    read_settings_files()
                return int(handler(options, screen))
            except (KeyboardInterrupt, EOFError):
                _ignore_signals()
                screen.stopped(STOPPED)
                return INTERRUPTED
            except OutputClosed:  # `./hark voices list | head`
                return DONE
            except HarkError as error:
                screen.error(error)
                return MENDABLE
            except ModuleNotFoundError as error:
                screen.error(_lacking(error))
                return MENDABLE
            except Exception as error:
                if isinstance(error.__cause__, KeyboardInterrupt):  # as pybind11 tells of one while it is imported
                    screen.stopped(STOPPED)
                    return INTERRUPTED
                screen.bug(write_bug(error))
                return BUG
            finally:
                _ignore_signals()
                _end_workers()
    except (KeyboardInterrupt, OutputClosed):  # in the few lines above that are outside of the inner try
        return INTERRUPTED


def _lacking(error: ModuleNotFoundError) -> HarkError:
    return HarkError(
        "A Python package is missing.",
        f"{error} (in {sys.prefix}).",
        f"{PROGRAM} installs what is pinned; by hand: python -m pip install -r requirements.txt -c constraints.txt.",
    )


def _explain_usage(error: UsageError, json_wanted: bool) -> int:
    what = error.message[0].upper() + error.message[1:]
    what += "" if what.endswith((".", "?")) else "."
    screen = Screen(json_wanted)
    with screen:
        screen.usage(error.usage, HarkError(what, "The command line could not be read.", f"{error.command} --help"))
    return MENDABLE


# Signals. A terminal that closes and a service manager that ends Hark mean the same as Ctrl-C.


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _interrupt_on_signals() -> None:
    # SIGINT too: shell scripts have it ignored in what they start in the background, and `kill -INT` must work there.
    _handle_signals(_interrupt)
    if sys.unraisablehook is sys.__unraisablehook__:  # tests have one of their own
        sys.unraisablehook = _interrupt_again


def _interrupt_again(ignored: sys.UnraisableHookArgs) -> None:
    """Python ignores what is raised while it finalizes an object: an interrupt that came just then comes once more."""
    if ignored.exc_type is KeyboardInterrupt:
        again = threading.Timer(AGAIN_AFTER_S, signal.raise_signal, (signal.SIGINT,))  # when this is over
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(ignored)


def _ignore_signals() -> None:
    """From the end of a command to the end of the process: a second Ctrl-C must not stop the cleaning up half way."""
    _handle_signals(signal.SIG_IGN)


def _handle_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):  # nohup
            continue
        signal.signal(number, handler)


def _end_workers() -> None:
    """End the workers of the speech engines and of multiprocessing, where any could have been started."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        for child in multiprocessing.active_children():
            child.terminate()  # else they would first do all that is still in their queue
    registry = sys.modules.get("audio_generation.registry")
    if registry is not None:
        try:
            registry.close_engines()
        except Exception:  # they are killed with this process anyway
            import logging

            logging.getLogger(__name__).warning("ending the workers failed", exc_info=True)
