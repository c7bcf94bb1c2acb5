"""``serve``: what it says before the portal is there."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from core.errors import HarkError


def test_settings_of_another_system_that_are_not_taken_are_said(
    main: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_further() -> None:
        raise HarkError("No further.", "This test ends here.", "Nothing.")

    monkeypatch.setattr("webui.setup.ready", no_further)
    for name, value in (("DATABASE_URL", "sqlite:///x.db"), ("ALGORITHM", "RS256"), ("HF_TOKEN", "hf_x")):
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert main("serve", "--port", str(port)) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "DATABASE_URL is not taken: an SQLite file" in said and "ALGORITHM is not taken: Hark signs with HS256" in said
    )
    assert "HF_TOKEN" not in said


def test_lanes_of_the_command_line_are_those_of_the_portal() -> None:
    from command_line.serve import ALL_LANES
    from webui.jobs.services import LANES

    assert ALL_LANES == LANES


def test_workers_that_cannot_be_are_refused(main: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert main("worker", "--workers", "0") == 2
    assert "above 0" in capsys.readouterr().err
    assert main("worker", "--lane", "gpu") == 2
