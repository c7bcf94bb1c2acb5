"""Two requests with one key create once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from tests.support.api_calls import Call, World, a_pair, a_token, problem_of
from tests.support.programs import run_python
from webui.accounts.models import ApiToken, User
from webui.api.models import KeptAnswer
from webui.jobs.models import Job
from webui.listening.models import Sample

pytestmark = pytest.mark.django_db

BODY = {"phrase": "hey compass"}


def with_key(headers: dict[str, str], key: str = "one") -> dict[str, str]:
    return {**headers, "Idempotency-Key": key}


def test_a_repeated_request_gets_the_stored_answer(call: Call, owner: User) -> None:
    headers = with_key(a_pair(owner))
    payload = {"name": "t", "scopes": ["read"]}
    first, again = (call("post", "/tokens", body=payload, headers=headers) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert first.content == again.content and first["Location"] == again["Location"]
    assert again["Idempotent-Replayed"] == "true" and "Idempotent-Replayed" not in first
    assert ApiToken.objects.count() == 1
    call("post", "/tokens", body=payload, headers=with_key(a_pair(owner), "two"))
    assert ApiToken.objects.count() == 2


def test_stored_responses_cannot_be_read_in_the_database(call: Call, owner: User) -> None:
    said = call("post", "/tokens", body={"name": "t", "scopes": ["read"]}, headers=with_key(a_pair(owner), "my key"))
    dump = "\n".join(connection.connection.iterdump())
    assert said.json()["token"] not in dump and "my key" not in dump


def test_the_same_key_with_a_different_request_gets_409(call: Call, owner: User) -> None:
    headers = with_key(a_token(owner))
    assert call("post", "/plans", body=BODY, headers=headers).status_code == 201
    problem_of(call("post", "/plans", body={"phrase": "hey campus"}, headers=headers), 409)
    problem_of(call("post", "/jobs", body=BODY, headers=headers), 409)
    assert Job.objects.count() == 1


def test_users_can_use_the_same_key(call: Call, owner: User, other: User) -> None:
    mine = call("post", "/plans", body=BODY, headers=with_key(a_token(owner))).json()
    theirs = call("post", "/plans", body=BODY, headers=with_key(a_token(other))).json()
    assert mine["id"] != theirs["id"]


def test_a_corrected_request_may_reuse_the_key(call: Call, owner: User, settings: Any) -> None:
    waiting, settings.JOBS_WAITING = settings.JOBS_WAITING, 0
    headers = with_key(a_token(owner))
    problem_of(call("post", "/plans", body=BODY, headers=headers), 429)
    assert not KeptAnswer.objects.exists()
    settings.JOBS_WAITING = waiting
    assert call("post", "/plans", body=BODY, headers=headers).status_code == 201


def test_keys_expire_after_a_day(call: Call, owner: User) -> None:
    headers = with_key(a_pair(owner))
    payload = {"name": "t", "scopes": ["read"]}
    call("post", "/tokens", body=payload, headers=headers)
    KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    call("post", "/tokens", body=payload, headers=headers)
    assert ApiToken.objects.count() == 2 and KeptAnswer.objects.count() == 1


def test_uploads_are_compared_by_their_content(call: Call, world: World, recording: Path) -> None:
    place = f"/detectors/{world.version.detector_id}/versions/1/samples"
    headers = with_key(a_token(world.user))

    def send(verdict: str) -> Any:
        with recording.open("rb") as file:  # with other boundaries each time
            return call("post", place, body={"audio": file, "verdict": verdict}, form=True, headers=headers)

    assert send("missed").json() == send("missed").json()
    problem_of(send("false_alarm"), 409)
    assert Sample.objects.count() == 2


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb"])
def test_invalid_keys_are_rejected(call: Call, owner: User, key: str) -> None:
    problem_of(call("post", "/plans", body=BODY, headers=with_key(a_token(owner), key)), 422)


def test_an_interrupted_request_blocks_its_key_briefly(
    call: Call, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.api.idempotency.WAIT_S", 0.2)
    headers = with_key(a_token(owner))
    assert call("post", "/plans", body=BODY, headers=headers).status_code == 201
    KeptAnswer.objects.update(status=None)
    response = call("post", "/plans", body=BODY, headers=headers)
    problem_of(response, 409)
    assert int(response["Retry-After"]) > 0
    KeptAnswer.objects.update(claimed_at=timezone.now() - timedelta(minutes=11))
    assert call("post", "/plans", body=BODY, headers=headers).status_code == 201


def test_simultaneous_requests_with_one_key_are_executed_once(tmp_path: Path) -> None:
    """Threads against a database on the disk, as the portal has it."""
    program = """
import sys, threading
from webui.setup import ready
ready()
from django.db import connection
from django.test import Client
from webui.accounts.models import ApiToken, User
from webui.accounts.services import issue_pair
user = User.objects.create_user("olivia", "", "x", is_owner=True)
access = issue_pair(user=user).access
answers, barrier = [], threading.Barrier(8)

def ask():
    client = Client(SERVER_NAME="localhost")
    headers = {"Authorization": f"Bearer {access}", "Idempotency-Key": "one"}
    barrier.wait()
    response = client.post("/api/v1/tokens", {"name": "t", "scopes": ["read"]}, "application/json", headers=headers)
    answers.append((response.status_code, response.content))
    connection.close()

threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(answers), sorted({status for status, _ in answers}), len(set(answers)), ApiToken.objects.count())
"""
    done = run_python(program, HARK_DATA=str(tmp_path))
    assert done.stdout.strip() == "8 [201] 1 1", done.stdout + done.stderr[-2000:]
