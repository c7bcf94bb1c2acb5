"""``./hark wyoming``: refusals before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line_samples import Cli


def test_sending_needs_one_detector_and_a_token(monkeypatch: pytest.MonkeyPatch, cli: Cli, tmp_path: Path) -> None:
    monkeypatch.delenv("HARK_TOKEN", raising=False)
    send = ("--send", "http://127.0.0.1:9/api/v1/detectors/1/wakes")
    assert cli.refused("wyoming", "a.zip", "b.zip", *send)["what"] == "--send is for one detector."
    assert "HARK_TOKEN is empty" in str(cli.refused("wyoming", "a.zip", *send))
    assert "--send" in cli.refused("wyoming", "a.zip", "--token-file", str(tmp_path / "token"))["what"]
    (tmp_path / "token").write_text("two words\n")
    for name, words in (("token", "contains characters that a token cannot have."), ("gone", "could not be read.")):
        assert words in str(cli.refused("wyoming", "a.zip", *send, "--token-file", str(tmp_path / name)))
