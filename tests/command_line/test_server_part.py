"""The reaction of ``serve`` to processes that end, and the arguments of the web server."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from command_line import serve as serving
from command_line import server_part
from command_line.server_part import Part
from core.errors import HarkError
from tests.support.command_line_samples import Notes
from tests.support.constants import replace_in

LASTING = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Part]:
    replace_in(server_part, monkeypatch, FIRST_WAIT_S=0.1, SETTLED_S=0.5)
    part = Part(serving.WEB, LASTING)
    yield part
    part.kill()


def look_for(seconds: float, part: Part, notes: Notes) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        serving._look_after([part], notes)  # type: ignore[arg-type]
        time.sleep(0.02)


def test_a_web_server_that_was_up_is_always_restarted(web: Part) -> None:
    notes = Notes()
    look_for(0.7, web, notes)
    for times in range(1, 4):
        before = web.process.pid
        web.process.kill()
        until = time.monotonic() + 5.0
        while web.process.pid == before and time.monotonic() < until:
            look_for(0.05, web, notes)
        assert web.process.poll() is None and len(notes.said) == times
    assert "restarted in" in notes.said[2] and web._wait_s == pytest.approx(0.8)  # each wait is longer


def test_serve_ends_if_the_web_server_never_starts() -> None:
    part = Part(serving.WEB, [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(HarkError, match="ended with code 3"):
        look_for(10.0, part, Notes())


def test_serve_continues_if_workers_exit_immediately() -> None:
    part, notes = Part("audio", [sys.executable, "-c", "raise SystemExit(3)"]), Notes()
    part.process.wait()
    look_for(0.1, part, notes)
    assert len(notes.said) == 1
    part.kill()


@pytest.mark.django_db
def test_runs_that_cannot_be_adopted_do_not_delay_deletions(monkeypatch: pytest.MonkeyPatch) -> None:
    class RoundEnded(BaseException):
        pass

    def end(seconds: float) -> None:
        raise RoundEnded

    def fail() -> int:
        raise OSError("no")

    rounds, notes = [], Notes()
    monkeypatch.setattr("webui.trainer.services.adopt_runs", fail)
    monkeypatch.setattr("webui.account_data.deletion.finish_deletions", lambda: rounds.append(1))
    monkeypatch.setattr(serving, "time", SimpleNamespace(monotonic=time.monotonic, sleep=end))
    with pytest.raises(RoundEnded):
        serving._watch([SimpleNamespace(name="audio", look=lambda: "", age_s=0.0)], notes)  # type: ignore
    assert rounds == [1] and "will be retried: no" in notes.said[-1]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The (soft, hard) limits of open files that were set so far; the last ones apply."""
    given = [(256, 4096)]
    replace_in(resource, monkeypatch, getrlimit=lambda _what: given[-1], setrlimit=lambda _what, new: given.append(new))
    return given


def test_the_connection_limit_is_below_the_file_limit(limits: list[tuple[int, int]]) -> None:
    files = serving._raise_file_limit()
    assert limits[-1] == (4096, 4096) and files == 4096
    command = serving._web(argparse.Namespace(host="127.0.0.1", port=1), files)
    assert command[command.index("--limit-concurrency") + 1] == "2048"
    assert command[command.index("--backlog") + 1] == "256"  # each takes a file before the limit is checked
    assert int(command[command.index("--ws-max-size") + 1]) < 1_000_000  # applies before sign-in, too
    assert "--no-proxy-headers" in command  # local clients must not set the client IP


@pytest.mark.parametrize(("hard", "files"), [(resource.RLIM_INFINITY, 65_536), (1_048_576, 65_536), (1024, 1024)])
def test_the_file_limit_is_raised_up_to_the_hard_limit(limits: list[tuple[int, int]], hard: int, files: int) -> None:
    limits[:] = [(1024, hard)]
    assert serving._raise_file_limit() == files
    assert limits[1:] == ([(files, hard)] if files > 1024 else [])
