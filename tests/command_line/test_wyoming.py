"""``./hark wyoming``: refusals before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line.application import main
from tests.support.command_line_samples import Shown


def test_sending_is_for_one_detector_and_wants_a_token(
    monkeypatch: pytest.MonkeyPatch, capsys: Shown, tmp_path: Path
) -> None:
    monkeypatch.delenv("HARK_TOKEN", raising=False)
    send = ["--send", "http://127.0.0.1:9/api/v1/detectors/1/wakes"]
    assert main(["wyoming", "a.zip", "b.zip", *send]) == 2
    assert "--send is for one detector." in capsys.readouterr().err
    assert main(["wyoming", "a.zip", *send]) == 2
    assert "HARK_TOKEN is not set." in capsys.readouterr().err
    (tmp_path / "token").write_text("two words\n")
    for name, words in (("token", "holds none."), ("gone", "could not be read.")):
        assert main(["wyoming", "a.zip", *send, "--token-file", str(tmp_path / name)]) == 2
        assert words in capsys.readouterr().err
