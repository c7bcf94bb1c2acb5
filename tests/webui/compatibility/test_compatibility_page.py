"""docs/compatibility.md: every address in it answers, with the method, and no address is missing."""

from __future__ import annotations

import re
import uuid
from functools import partial

import pytest
from django.test import Client
from django.urls import resolve

from core.data_folder import REPOSITORY
from db.database import DATABASE_NAME
from pipeline.recordings.transcription.registry import ENGINES
from tests.webui.compatibility.conftest import token_text
from webui.accounts.models import User
from webui.accounts.services import SCOPES
from webui.audio.uploads import WHOLE
from webui.compatibility.urls import urlpatterns
from webui.jobs.heartbeat import beat
from webui.jobs.services import LANES

PAGE = (REPOSITORY / "docs" / "compatibility.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(GET|POST|DELETE) (/\S+)` \| ([\w ,-]+) \|", PAGE, flags=re.MULTILINE)
SENT = re.findall(r"^\| `(POST) (/\S+)` \| [\w ,-]+ \| ([^|]*)\|", PAGE, flags=re.MULTILINE)
NOT_LISTED = {"reply", "nothing"}  # an answer names the one; the other says that there is nothing


def filled(address: str) -> str:
    return address.replace("{name}", "transcript.txt").replace("{meeting_id}", str(uuid.uuid4())).replace(
        "{session_id}", str(uuid.uuid4())
    )  # fmt: skip


def expected_of_nobody(method: str, scopes: str) -> int:
    """The status of an answer to somebody without an account, who sends nothing."""
    open_to_all = 200 if method == "GET" else 400
    return {"-": open_to_all, "metrics token": 404}.get(scopes, 401)  # none is set


@pytest.mark.django_db
@pytest.mark.parametrize(("method", "address", "scopes"), ROWS)
def test_it_answers_whom_it_says(client: Client, owner: User, method: str, address: str, scopes: str) -> None:
    for lane in LANES:
        beat(lane)  # or it is not ready
    ask = partial(getattr(client, method.lower()), filled(address))
    expected = expected_of_nobody(method, scopes)
    assert ask().status_code == expected
    if expected == 401:
        others = [scope for scope in SCOPES if scope not in re.findall(r"\w+", scopes)]
        refused = ask(headers={"Authorization": f"Bearer {token_text(owner, *others)}"})
        assert refused.status_code == 403 and (address.startswith("/v1/") or scopes[:5] in refused.json()["why"])


def test_what_takes_recordings_may_be_as_large_as_one() -> None:
    with_files = {address for _method, address, sent in SENT if "form:" in sent}
    assert len(with_files) == 8
    assert all(WHOLE.fullmatch(address) for address in with_files) and WHOLE.fullmatch("/api/v1/recordings")
    assert not any(WHOLE.fullmatch(address) for _method, address, _scopes in ROWS if address not in with_files)


def test_who_recognizes_and_where_clips_are_is_named() -> None:
    assert [kind.name for kind in ENGINES if f"`{kind.name}`" not in PAGE.partition("\n## ")[0]] == []
    assert f"`data/{DATABASE_NAME}`" in PAGE


def test_all_are_listed() -> None:
    listed = {resolve(filled(address)).url_name for _method, address, _scopes in ROWS}
    tabs = {resolve(address).url_name for address in re.findall(r"`(/workspace\S*)`", PAGE)}
    assert listed | tabs | NOT_LISTED == {pattern.name for pattern in urlpatterns}
