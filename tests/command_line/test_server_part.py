"""The reaction of ``serve`` to processes that end, and the arguments of the web server."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from command_line import serve as serving
from command_line import server_part
from command_line.server_part import Part
from core.errors import HarkError

LASTING = [sys.executable, "-c", "import time; time.sleep(60)"]


class Notes:
    """A screen that records messages."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Part]:
    monkeypatch.setattr(server_part, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(server_part, "SETTLED_S", 0.5)
    part = Part(serving.WEB, LASTING)
    yield part
    part.kill()


def look_for(seconds: float, part: Part, notes: Notes) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        serving._look_after([part], notes)  # type: ignore[arg-type]
        time.sleep(0.02)


def test_a_web_server_that_was_up_is_started_again_however_often_it_ends(web: Part) -> None:
    notes = Notes()
    look_for(0.7, web, notes)
    for times in range(1, 4):
        before = web.process.pid
        web.process.kill()
        until = time.monotonic() + 5.0
        while web.process.pid == before and time.monotonic() < until:
            look_for(0.05, web, notes)
        assert web.process.poll() is None and len(notes.said) == times
    assert "started again in" in notes.said[2] and web._wait_s == pytest.approx(0.8)  # longer from time to time


def test_one_that_never_came_up_ends_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part(serving.WEB, [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(HarkError, match="ended with code 3"):
        look_for(10.0, part, Notes())


def test_workers_that_end_at_once_do_not_end_serve() -> None:
    part, notes = Part("audio", [sys.executable, "-c", "raise SystemExit(3)"]), Notes()
    part.process.wait()
    look_for(0.1, part, notes)
    assert len(notes.said) == 1
    part.kill()


def test_the_web_server_may_have_fewer_connections_than_files(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"now": (256, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _what: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _what, new: limits.update(now=new))
    files = serving._raise_file_limit()
    assert limits["now"] == (4096, 4096) and files == 4096
    command = serving._web(argparse.Namespace(host="127.0.0.1", port=1), files)
    assert command[command.index("--limit-concurrency") + 1] == "2048"
    assert command[command.index("--backlog") + 1] == "256"  # of which each takes a file before the limit is looked at
    assert int(command[command.index("--ws-max-size") + 1]) < 1_000_000  # of any client, signed in or not
    assert "--no-proxy-headers" in command  # nobody on this machine may say where a request comes from


@pytest.mark.parametrize(("hard", "files"), [(resource.RLIM_INFINITY, 65_536), (1_048_576, 65_536), (1024, 1024)])
def test_files_are_raised_as_far_as_they_may_be(monkeypatch: pytest.MonkeyPatch, hard: int, files: int) -> None:
    new: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (1024, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _what, limits: new.append(limits))
    assert serving._raise_file_limit() == files
    assert new == ([(files, hard)] if files > 1024 else [])
