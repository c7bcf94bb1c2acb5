"""Events as users see them, and formatted numbers."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from command_line.console import Bars, PlainLines, clock, command, duration, short_path, table
from core.data_folder import REPOSITORY
from core.events import Reporter


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.44, "0.4 s"),
        (8.2, "8 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7530, "2 h 5 min"),
    ],
)
def test_durations_are_formatted_with_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "whole", "exact"),
    [(0.0, "0:00", "0:00.00"), (83.45, "1:23", "1:23.45"), (3723.999, "1:02:04", "1:02:04.00")],
)
def test_times_are_formatted_as_a_clock(seconds: float, whole: str, exact: str) -> None:
    assert clock(seconds) == whole and clock(seconds, exact=True) == exact


def test_a_printed_command_can_be_copied(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert command("train", "hey compass") == "./hark train 'hey compass'"
    monkeypatch.chdir(tmp_path)
    assert command("doctor").endswith("/hark doctor") and command("doctor").startswith("/")
    assert short_path(tmp_path / "a" / "b") == "a/b" and short_path("/usr/bin") == "/usr/bin"


def events(reporter: Reporter, pause: float = 0.0) -> None:
    reporter.stage("train", "Training [bold]hard")
    reporter.metric("loss", 0.5)
    reporter.metric("validation_miss_rate", 0.25)
    reporter.progress(5, 10, 30.0)
    time.sleep(pause)
    reporter.log("flite: [3] clips failed", "warning")
    reporter.artifact("bundle", "x.zip")
    reporter.progress(10, 10, 0.0)
    reporter.stage("report", "Measuring")


def test_a_terminal_shows_progress_bars() -> None:
    stream = io.StringIO()
    with Bars(Console(file=stream, force_terminal=True, width=120, markup=False)) as bars:
        events(Reporter(bars.draw), pause=0.3)  # a bar is drawn ten times a second
    said = stream.getvalue()
    assert "✓" in said and "Training [bold]hard" in said and "! flite: [3] clips failed" in said
    assert "left" in said and "loss 0.500, missed 25.0 %" in said


def test_an_interrupted_stage_is_not_marked_as_done() -> None:
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Bars(Console(file=stream, force_terminal=True, width=120)) as bars:
        Reporter(bars.draw).stage("train", "Training")
        raise KeyboardInterrupt
    assert "✓" not in stream.getvalue()


def test_progress_is_plain_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("command_line.console.PLAIN_EVERY_S", 0.0)
    stream = io.StringIO()
    events(Reporter(PlainLines(stream).draw))
    assert stream.getvalue().splitlines() == [
        "[0:00] Training [bold]hard",
        "[0:00]   50 %, 30 s left, loss 0.500, missed 25.0 %",
        "[0:00] ! flite: [3] clips failed",
        "[0:00]   100 %, loss 0.500, missed 25.0 %",
        "[0:00] Measuring",
    ]


def test_a_table_does_not_interpret_markup() -> None:
    stream = io.StringIO()
    Console(file=stream, width=60).print(table(["file", "n"], [["a[red].wav", 3]], right=[1]))
    assert "a[red].wav" in stream.getvalue()
