"""Runs command-line arguments. Exit codes: 0 done, 2 an error that the user can fix, 130 interrupted, 1 a bug."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from types import FrameType

from command_line.console import PROGRAM, OutputClosed, Screen
from command_line.options import Parser, UsageError, common_options
from command_line.test import run_tests
from core.errors import HarkError
from core.settings.file import read_settings_files

DONE, BUG, FIXABLE, INTERRUPTED = 0, 1, 2, 130

# The commands by group, as in --help: name, module, summary. ``register(commands)`` of the module defines the command.
GROUPS = {
    "Start here": {
        "train": ("train", "train a detector for a phrase"),
        "try": ("try_phrase", "find a phrase without any training"),
        "detect": ("detect", "find the phrase in recordings"),
        "serve": ("serve", "start the portal, to be used in a browser"),
        "doctor": ("doctor", "show what works here, what is missing and how to enable it"),
    },
    "A better detector": {
        "advise": ("train", "assess a phrase"),
        "plan": ("train", "show what training would do, without doing it"),
        "confusables": ("confusables", "find what sounds like a phrase, before any training"),
        "record": ("record", "record the phrase yourself"),
        "evaluate": ("evaluate", "measure a detector on recordings of your own"),
        "retrain": ("train", "make a detector's next version from marked errors and recordings"),
    },
    "Devices": {
        "wyoming": ("wyoming", "serve detectors as wake words to Home Assistant"),
        "bundle-web": ("bundle_web", "unpack a detector so that it runs in a browser"),
    },
    "Recordings": {
        "transcribe": ("transcribe", "turn recordings into text"),
        "watch": ("watch", "transcribe recordings that are added to a folder"),
        "summarizer": ("summarizer", "train Hark's own summarizer, or summarize a text"),
    },
    "Library and voices": {
        "library": ("library", "inspect the clip library; import and export recordings"),
        "mine": ("mine", "cut a phrase out of the library's real recordings"),
        "voices": ("engines", "list the voices available here, and download more"),
        "engines": ("engines", "list the speech engines, and enable more"),
    },
    "Portal and data": {
        "worker": ("serve", "run the jobs of a portal, without its pages"),
        "admin": ("admin", "manage users and tokens of the portal"),
        "backup": ("backup", "write the data folder into one file, also while it is in use"),
        "restore": ("backup", "restore a backup into an empty data folder"),
    },
    "Advanced": {
        "asr": ("asr", "recognize and align speech with Hark's own acoustic model"),
        "bench": ("bench", "measure detectors on real recordings, as in docs/results.md"),
        "release": ("release", "make the files of a release of Hark"),
        "test": ("test", "run Hark's own tests"),
    },
}

STOPPED = "stopped; run the same command again to continue"
AGAIN_AFTER_S = 0.1


def build_parser() -> Parser:
    """Build the parser with all commands. A command's module is imported when its options are needed."""
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [COMMAND] ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=_description(),
        epilog=f"{PROGRAM} COMMAND --help shows the options of a command.",
    )
    common_options(parser)
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser, prog=PROGRAM, help=argparse.SUPPRESS)

    @cache
    def register(module: str) -> None:
        import_module(f"command_line.{module}").register(commands)

    for group in GROUPS.values():
        for name, (module, summary) in group.items():
            commands.add_parser(name, summary=summary, complete=partial(register, module))
    return parser


def _description() -> str:
    """Return a description of Hark and the commands by group, at most 79 columns wide."""
    lines = [
        "Type a phrase, get a wake-word detector; give a recording, get its text.",
        "Without a command, Hark asks for a keyphrase and trains.",
    ]
    width = max(len(name) for group in GROUPS.values() for name in group) + 2
    for title, group in GROUPS.items():
        lines += ["", title, *(f"  {name:{width}}{summary}" for name, (_, summary) in group.items())]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None, build: Callable[[], Parser] = build_parser) -> int:
    """Run one command from ``arguments``, by default those of the process; never raise or show a traceback.

    Call it last in a process, because signals that would end the process are ignored afterwards.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["test"] and words[1:] not in (["--help"], ["-h"]):
        # pytest parses all other arguments.
        parsed = argparse.Namespace(handler=run_tests, arguments=words[1:])
    else:
        try:
            parser = build()
            parsed, unknown = parser.parse_known_args(words)
            if unknown:  # the command's own parser reports them, with its usage
                getattr(parsed, "parser", parser).refuse_options(unknown)
        except UsageError as error:
            return _explain_usage(error, json_wanted="--json" in words)
        except SystemExit as end:  # from --help
            return int(end.code or 0)
    return _run(parsed)


def _run(options: argparse.Namespace) -> int:
    if getattr(options, "data", None) is not None:
        os.environ["HARK_DATA"] = str(options.data)
    try:
        screen = Screen(json_wanted=getattr(options, "json", False))
    except ModuleNotFoundError as error:  # without rich, Hark cannot display errors
        lacking = _lacking(error)
        sys.stderr.write(f"{lacking.what}\n  Why: {lacking.why}\n  What to do: {lacking.what_to_do}\n")
        return FIXABLE
    from command_line.log import log_warnings, write_bug

    _interrupt_on_signals()
    try:
        with screen, log_warnings():
            try:
                handler = getattr(options, "handler", None) or import_module("command_line.train").ask_and_train
                if handler is not run_tests:  # tests have their own settings
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
                return FIXABLE
            except ModuleNotFoundError as error:
                screen.error(_lacking(error))
                return FIXABLE
            except Exception as error:
                if isinstance(error.__cause__, KeyboardInterrupt):  # pybind11 wraps one during its import
                    screen.stopped(STOPPED)
                    return INTERRUPTED
                screen.bug(write_bug(error))
                return BUG
            finally:
                _ignore_signals()
                _end_workers()
    except (KeyboardInterrupt, OutputClosed):  # from the few lines outside the inner try
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
    return FIXABLE


# Signals. Closing the terminal, or a stop by the service manager, has the same effect as Ctrl-C.


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _interrupt_on_signals() -> None:
    # SIGINT too: shell scripts ignore it in background processes, where `kill -INT` must work.
    _handle_signals(_interrupt)
    if sys.unraisablehook is sys.__unraisablehook__:  # tests install their own
        sys.unraisablehook = _interrupt_again


def _interrupt_again(ignored: sys.UnraisableHookArgs) -> None:
    """Repeat an interrupt that Python ignored because it arrived while an object was finalized."""
    if ignored.exc_type is KeyboardInterrupt:
        # After Python has finalized the object.
        again = threading.Timer(AGAIN_AFTER_S, signal.raise_signal, (signal.SIGINT,))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(ignored)


def _ignore_signals() -> None:
    """Ignore signals until the process ends: a second Ctrl-C must not interrupt the clean-up."""
    _handle_signals(signal.SIG_IGN)


def _handle_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is None or (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):  # it runs under nohup
            continue
        signal.signal(number, handler)


def _end_workers() -> None:
    """End the workers of the speech engines and of multiprocessing, if any may be running."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        for child in multiprocessing.active_children():
            child.terminate()  # otherwise they would finish their queue first
    registry = sys.modules.get("audio_generation.registry")
    if registry is not None:
        try:
            registry.close_engines()
        except Exception:  # they are killed with this process anyway
            import logging

            logging.getLogger(__name__).warning("ending the workers failed", exc_info=True)
