"""/engines: where a server keeps its files is its owner's business."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from core.readiness import Readiness
from tests.webui.api.conftest import Call, a_token
from webui.accounts.models import User

WHY = "There is no Piper voice in /srv/hark/data/voices/piper."


def test_paths_of_the_server_are_told_to_its_owner_only(
    call: Call, owner: User, other: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    piper = SimpleNamespace(name="piper", licence="GPL-3.0", paid=False)
    espeak = SimpleNamespace(name="espeak", licence="GPL-3.0-or-later", paid=False)
    rows = [(espeak, Readiness(True), []), (piper, Readiness(False, WHY, "./hark voices pull piper x"), [])]
    monkeypatch.setattr("webui.trainer.services.all_engines", lambda language: rows)
    told = {user: call("get", "/engines", headers=a_token(user, "read")).json() for user in (owner, other)}
    assert told[owner][1]["why"] == WHY and told[owner][1]["how_to_enable"].startswith("./hark")
    assert told[other][1]["why"] == "It is not set up on this server." and "/srv" not in str(told[other])
    assert [row["ready"] for row in told[other]] == [True, False] and told[other][0] == told[owner][0]
