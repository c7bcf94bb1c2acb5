"""Messages of ``serve`` before the portal is up."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line.serve import _open_when_up
from core.errors import HarkError


def test_settings_of_another_system_that_are_not_taken_are_reported(
    main: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_further() -> None:
        raise HarkError("No further.", "This test ends here.", "Nothing.")

    monkeypatch.setattr("command_line.serve.ready", no_further)
    for name, value in (("DATABASE_URL", "sqlite:///x.db"), ("ALGORITHM", "RS256"), ("HF_TOKEN", "hf_x")):
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert main("serve", "--port", str(port)) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "DATABASE_URL is not supported: an SQLite file" in said
        and "ALGORITHM is not supported: Hark signs with HS256" in said
    )
    assert "HF_TOKEN" not in said


class Notes:
    """A screen that records messages."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, line: str) -> None:
        self.said.append(line)


def test_the_browser_is_opened_when_the_portal_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" >{opened}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setattr(webbrowser, "_tryorder", None)  # as in a process that has opened nothing yet
    notes = Notes()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        _open_when_up(port, f"http://localhost:{port}/setup/x", notes)  # type: ignore[arg-type]
    assert opened.read_text() == f"http://localhost:{port}/setup/x\n" and not notes.said


def test_where_no_browser_is_the_address_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*names: str) -> None:
        raise webbrowser.Error("could not locate runnable browser")

    notes = Notes()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for browser in (none, lambda: webbrowser.GenericBrowser("lynx")):  # one that would take over the terminal
            monkeypatch.delenv("BROWSER", raising=False)
            monkeypatch.setattr("webbrowser.get", browser)
            _open_when_up(listener.getsockname()[1], "http://localhost", notes)  # type: ignore[arg-type]
    assert len(notes.said) == 2 and "open the address above" in notes.said[0]


def test_lanes_of_the_command_line_are_those_of_the_portal() -> None:
    from command_line.serve import ALL_LANES
    from webui.jobs.services import LANES

    assert ALL_LANES == LANES


def test_workers_that_cannot_be_are_refused(main: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert main("worker", "--workers", "0") == 2
    assert "above 0" in capsys.readouterr().err
    assert main("worker", "--lane", "tpu") == 2
