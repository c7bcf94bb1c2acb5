"""Output for users and programs: results on stdout, progress and errors on stderr, one JSON object with --json."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO
from unicodedata import category

from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.events import Event, Reporter, silent_reporter
from core.worded import percent

if TYPE_CHECKING:  # not at run time: every command imports this module, and --help does not need rich
    from rich.console import Console, RenderableType
    from rich.progress import TaskID
    from rich.table import Table

    from command_line.log import WrittenBug

PROGRAM = "./hark"
WIDTH_OF_A_FILE = 160  # columns if the output is not a terminal, so that cells are not folded
PLAIN_EVERY_S = 5.0  # seconds between two lines of progress without a terminal
SHOWN_METRICS = {"loss": "loss", "validation_miss_rate": "missed"}


class OutputClosed(Exception):
    """Raised if the reader of stdout has ended (``| head``), so that no more output is needed."""


class Screen:
    """The output of a command. With ``json_wanted``, stdout gets exactly one JSON object and no other output."""

    def __init__(self, json_wanted: bool) -> None:
        self.json_wanted = json_wanted
        self._stdout, self._stderr = sys.stdout, sys.stderr
        for stream in (self._stdout, self._stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:  # a character that the terminal cannot show must not end the command
                reconfigure(errors="backslashreplace")
        self.err = _console(self._stderr)
        self._has_result = False
        self._redirected = contextlib.ExitStack()

    def __enter__(self) -> Screen:
        if self.json_wanted:
            # Output that libraries print must not mix with the JSON object.
            self._redirected.enter_context(contextlib.redirect_stdout(self._stderr))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redirected.close()
        with contextlib.suppress(OSError, ValueError):
            self._stderr.flush()
        try:
            self._stdout.flush()
        except (OSError, ValueError):
            _discard_stdout()

    # Results.

    def result(self, value: Mapping[str, Any]) -> None:
        """Write the JSON object if JSON is wanted."""
        if not self.json_wanted or self._has_result:
            return
        self._has_result = True
        # Encodings other than UTF-8 get ASCII with escapes, which is equivalent JSON.
        utf8 = (getattr(self._stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
        self._write(json.dumps(value, ensure_ascii=not utf8) + "\n")

    def show(self, *lines: RenderableType) -> None:
        """Show lines and tables on stdout, unless JSON is wanted."""
        if self.json_wanted:
            return
        console = _console(self._stdout)
        with console.capture() as captured:
            for line in lines:
                _print(console, line)
        text = captured.get()
        # Tables are padded with spaces on the right, which a file does not need.
        self._write(text if console.is_terminal else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))

    def show_line(self, line: str) -> None:
        """Show one line without wrapping, so that it can be copied (a path, a command), unless JSON is wanted."""
        if not self.json_wanted:
            self._write(_printable(line) + "\n")

    def _write(self, text: str) -> None:
        try:
            self._stdout.write(text)
            self._stdout.flush()
        except BrokenPipeError as error:
            _discard_stdout()
            raise OutputClosed from error

    def results(self, value: Mapping[str, Any], errors: Sequence[tuple[object, HarkError]]) -> int:
        """Write :meth:`result` for several files, with the errors of failed ones; return the exit code, 0 or 2."""
        if errors:
            rows = [{"file": str(file), **error.as_dict()} for file, error in errors]
            value = {**value, "error": errors[0][1].as_dict(), "errors": rows}
        self.result(value)
        return 2 if errors else 0

    # Errors, all on stderr and, if JSON is wanted, also on stdout as JSON.

    def error(self, error: HarkError) -> None:
        self.warn_of(error)
        self.result({"error": error.as_dict()})

    def warn_of(self, error: HarkError) -> None:
        """Show the three sentences of an error on stderr. The command continues."""
        what, why, what_to_do = map(_printable, (error.what, error.why, error.what_to_do))
        self._failed(what, f"  Why: {why}", f"  What to do: {what_to_do}")

    def usage(self, usage: str, error: HarkError) -> None:
        """Report a command line that could not be parsed."""
        self._failed(error.what, usage, f"More: {error.what_to_do}")
        self.result({"error": error.as_dict()})

    def bug(self, bug: WrittenBug) -> None:
        """Report an unexpected exception in one sentence, without a traceback."""
        where = f"the details are in {bug.log}" if bug.log else f"no log could be written ({bug.summary})"
        what = f"Hark failed because of a bug (id {bug.identifier}); {where}."
        self._failed(what)
        to_do = f"Report it with that part of the log and the output of {PROGRAM} doctor."
        self.result({"error": {"what": what, "why": bug.summary, "what_to_do": to_do, "id": bug.identifier}})

    def stopped(self, message: str) -> None:
        """Report an interrupt by Ctrl-C."""
        self.err = _console(self._stderr)  # the old console may hold a part of a line
        self.note(message)
        again = "Run the same command again to continue."
        self.result({"error": {"what": "Stopped.", "why": "It was interrupted.", "what_to_do": again}})

    def note(self, *lines: RenderableType) -> None:
        """Show a message on stderr while a command runs, with or without JSON."""
        with contextlib.suppress(OSError):
            for line in lines:
                _print(self.err, line)

    def _failed(self, what: str, *more: str) -> None:
        from rich.text import Text

        self.note(Text(what, "bold red"), *more)

    # Progress.

    @contextmanager
    def reporter(self, passing: bool = False) -> Iterator[Reporter]:
        """Yield a reporter that displays events on stderr: bars with the time left on a terminal, otherwise lines.

        With ``passing``, it leaves no lines behind, and writes none without a terminal.
        """
        if not self.err.is_terminal:
            yield silent_reporter() if passing else _printing(PlainLines(self._stderr).draw)
            return
        with Bars(self.err, keep=not passing) as bars:
            yield _printing(bars.draw)


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    console = Console(file=stream, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_A_FILE
    return console


def _print(console: Console, line: RenderableType) -> None:
    from rich.text import Text

    console.print(line, soft_wrap=isinstance(line, str | Text))


def _discard_stdout() -> None:
    """Discard stdout, so that Python's final flush does not fail after the reader has ended."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.__stdout__.fileno() if sys.__stdout__ else 1)
        os.close(nowhere)


class Bars:
    """Progress on a terminal: a bar for the running stage, and a line per finished one (unless ``keep`` is False)."""

    def __init__(self, console: Console, keep: bool = True) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

        self._console, self._keep = console, keep
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]}", style="cyan"),
            TextColumn("[dim]{task.fields[extra]}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._message, self._started = "", 0.0
        self._metrics: dict[str, float] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end_stage(finished=error[0] is None)
        self._progress.stop()

    def draw(self, event: Event) -> None:
        """Display an event of ``core.events``."""
        from rich.text import Text

        kind = event["event"]
        if kind == "stage":
            self._end_stage()
            self._message, self._started = event["message"], time.monotonic()
            # Square brackets in a phrase or a path are not markup.
            shown = self._message.replace("[", "\\[")
            self._task = self._progress.add_task(shown, total=None, extra="", left="")
        elif kind == "progress" and self._task is not None:
            left = f"{duration(event['eta_s'])} left" if event["eta_s"] else ""
            self._progress.update(self._task, completed=event["done"], total=event["total"] or None, left=left)
        elif kind == "metric" and self._task is not None:
            self._metrics[event["name"]] = event["value"]
            self._progress.update(self._task, extra=_metrics(self._metrics))
        elif kind == "log":
            warning = event["level"] == "warning"
            self._console.print(
                Text(f"! {event['message']}" if warning else event["message"], "yellow" if warning else "")
            )

    def _end_stage(self, finished: bool = True) -> None:
        from rich.text import Text

        if self._task is None:
            return
        self._progress.remove_task(self._task)
        self._task = None
        if finished and self._keep:
            took = time.monotonic() - self._started
            self._console.print(Text.assemble(("✓ ", "green"), self._message, (f"  {duration(took)}", "dim")))
        self._metrics.clear()


class PlainLines:
    """Progress for logs and pipes: a line per stage and a few on its progress, with the time since the start."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = time.monotonic()
        self._last, self._tenth = 0.0, -1
        self._metrics: dict[str, float] = {}

    def draw(self, event: Event) -> None:
        """Display an event of ``core.events``."""
        kind, now = event["event"], time.monotonic()
        if kind == "stage":
            self._metrics.clear()
            self._last, self._tenth = now, 0
            self._say(event["message"])
        elif kind == "progress" and event["total"]:
            share = event["done"] / event["total"]
            if int(10 * share) > self._tenth and (now - self._last >= PLAIN_EVERY_S):
                self._last, self._tenth = now, int(10 * share)
                left = f", {duration(event['eta_s'])} left" if event["eta_s"] and share < 1 else ""
                extra = _metrics(self._metrics)
                self._say(f"  {100 * share:.0f} %{left}{', ' + extra if extra else ''}")
        elif kind == "metric":
            self._metrics[event["name"]] = event["value"]
        elif kind == "log":
            self._say(f"! {event['message']}" if event["level"] == "warning" else event["message"])

    def _say(self, message: str) -> None:
        # Written without rich, which repeats a line after an interrupt, and flushed at once.
        with contextlib.suppress(OSError):
            self._stream.write(f"[{clock(time.monotonic() - self._started)}] {message}\n")
            self._stream.flush()


def _metrics(values: Mapping[str, float]) -> str:
    parts = []
    for name, label in SHOWN_METRICS.items():
        if name in values:
            parts.append(f"{label} {percent(values[name]) if 'rate' in name else f'{values[name]:.3f}'}")
    return ", ".join(parts)


# Texts and tables that several commands use.


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = ()) -> Table:
    """Return a table without a frame. Columns whose numbers are in ``right`` are right-aligned."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    to_the_right = set(right)
    for number, header in enumerate(headers):
        drawn.add_column(header, justify="right" if number in to_the_right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    return drawn


def facts(rows: Iterable[tuple[str, object]]) -> Table:
    """Return a table of names and values without a header."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in rows:
        drawn.add_row(Text(name), value if isinstance(value, Text) else Text(str(value)))
    return drawn


def duration(seconds: float) -> str:
    """Format a duration: ``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s" if 0 < seconds < 0.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min" if whole % 3600 >= 60 else f"{whole // 3600} h"


def detected_times(count: int) -> str:
    """Return in words how often a phrase was detected."""
    return {0: "not detected", 1: "detected once"}.get(count, f"detected {count} times")


def clock(seconds: float, exact: bool = False) -> str:
    """Format a position in a recording: ``2:03``, ``1:02:03``, or exactly ``2:03.45``."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else str(minutes)
    return f"{start}:{rest // 100:02d}" + (f".{rest % 100:02d}" if exact else "")


def command(*words: str) -> str:
    """Return a Hark command that works in the shell in the user's current folder."""
    program = PROGRAM if Path.cwd() == REPOSITORY else shlex.quote(str(REPOSITORY / "hark"))
    return " ".join([program, *map(shlex.quote, words)])


def _printing(draw: Callable[[Event], None]) -> Reporter:
    return Reporter(
        lambda event: draw({**event, "message": _printable(event["message"])} if "message" in event else event)
    )


def _printable(text: str) -> str:
    """Escape control characters, which file names may contain and which could control a terminal."""
    return "".join(ascii(one)[1:-1] if category(one) == "Cc" and one not in "\n\t" else one for one in text)


def short_path(path: Path | str) -> str:
    """Return the path relative to the user's current folder, if it is below it."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)
