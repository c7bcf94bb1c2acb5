"""Messages of ``serve`` before the portal is up."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line.serve import _address, _open_when_up
from tests.support.command_line_samples import Cli, Notes


def test_rejected_settings_are_reported(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    before_the_portal: list[Callable[[], None]],
) -> None:
    for name, value in (
        ("DATABASE_URL", "sqlite:///x.db"), ("ALGORITHM", "RS256"), ("HF_TOKEN", "hf_x"),
        ("HARK_USER_MAX_BYTES", "50GB"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    cli("serve", "--port", str(port), code=2)
    said = " ".join(cli.err.split())
    assert "DATABASE_URL is ignored: an SQLite file" in said and "HF_TOKEN" not in said
    assert "ALGORITHM is ignored: Hark signs with HS256" in said
    assert "HARK_USER_MAX_BYTES is ignored: it must be a whole number" in said


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs, in a process that has opened no page yet."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, value in (("PATH", str(folder)), ("TERM", "xterm"), ("DISPLAY", ""), ("WAYLAND_DISPLAY", "")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("BROWSER", raising=False)
    monkeypatch.setattr(webbrowser, "_tryorder", None)
    return folder


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://localhost:8000"),
        ("0.0.0.0", "http://localhost:8000"),
        ("192.168.1.5", "http://192.168.1.5:8000"),
        ("::1", "http://[::1]:8000"),
        ("::", "http://[::1]:8000"),
    ],
)
def test_serve_shows_the_url_that_reaches_the_portal(host: str, address: str) -> None:
    assert _address(host, 8000) == address


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])  # the second is not "localhost"
def test_the_browser_opens_once_the_portal_responds(programs: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    browser, opened = programs / "browser", programs / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" >{opened}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    notes = Notes()
    with socket.create_server((host, 0)) as listener:
        page = f"{_address(host, listener.getsockname()[1])}/setup/x"
        _open_when_up(page, notes)  # type: ignore[arg-type]
    assert opened.read_text() == f"{page}\n" and not notes.said


@pytest.mark.parametrize("browser", ["", "lynx"])  # none, and one that would take over the terminal
def test_without_a_browser_serve_points_to_the_url(programs: Path, browser: str) -> None:
    if browser:
        (programs / browser).touch(0o755)
    notes = Notes()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _open_when_up(_address("127.0.0.1", listener.getsockname()[1]), notes)  # type: ignore[arg-type]
    assert len(notes.said) == 1 and "open the URL above" in notes.said[0]


def test_invalid_numbers_of_workers_are_rejected(cli: Cli) -> None:
    cli("worker", "--workers", "0", code=2)
    assert "above 0" in cli.err
    cli("worker", "--queue", "tpu", code=2)
    assert "webhooks" in cli.refused("worker", "--queue", "webhooks", "--workers", "8")["what"]
