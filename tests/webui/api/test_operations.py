"""Every operation of the API, as its schema lists them: for its owner, for others, and without the right token."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from tests.webui.api.conftest import Call, World, a_pair, a_token, bearer, problem_of
from webui.accounts.models import ApiToken, User
from webui.accounts.services import SCOPES, create_token, revoke_token, set_active
from webui.api.documentation import METHODS
from webui.api.views import _schema

pytestmark = pytest.mark.django_db

SCHEMA = _schema()
OPERATIONS = [
    (path, method, operation)
    for path, methods in SCHEMA["paths"].items()
    for method, operation in methods.items()
    if method in METHODS
]
CLOSED = [entry for entry in OPERATIONS if "security" in entry[2]]
OF_OWNER = [entry for entry in CLOSED if entry[2]["x-scopes"] == ["admin"]]
OF_ONE = [entry for entry in CLOSED if "{" in entry[0] and entry not in OF_OWNER]
SCOPED = [entry for entry in CLOSED if entry[2]["x-scopes"]]
PERSONAL = {"tokens_add", "tokens_revoke"}
HEARD = {
    "seconds": 1.0, "frame_s": 0.08, "threshold": 0.5, "silent": False, "peaks": [0.1],
    "detections": [{"time_s": 0.5, "score": 0.9}], "scores": [0.1],
}  # fmt: skip


def named(entries: list[Any]) -> Any:
    return pytest.mark.parametrize(
        ("path", "method", "operation"), entries, ids=[entry[2]["operationId"] for entry in entries]
    )


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detectors of this world hear at once."""
    monkeypatch.setattr("webui.listening.services.hear_file", lambda version, path, rate: dict(HEARD))


def send(call: Call, world: World, recording: Path, path: str, method: str, operation: Any, headers: Any) -> Any:
    """Call an operation with its own examples."""
    path = re.sub(r"{(\w+)}", lambda name: world.place(name.group(1), path), path)
    asked = {p["name"]: p["example"] for p in operation["parameters"] if p["in"] == "query" and p["required"]}
    if asked:
        from urllib.parse import urlencode

        path += "?" + urlencode(asked)
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        if kind == "application/json":
            return call(method, path, body=json.dumps(content["example"]), headers=headers)
        with recording.open("rb") as file:
            return call(method, path, body={**content["example"], "audio": file}, form=True, headers=headers)
    return call(method, path, headers=headers)


@named(OPERATIONS)
def test_it_is_documented_with_examples(path: str, method: str, operation: Any) -> None:
    assert operation["summary"] and operation["description"] and operation["tags"]
    assert all("example" in parameter for parameter in operation["parameters"])
    assert all("example" in content for content in operation.get("requestBody", {}).get("content", {}).values())
    for status, response in operation["responses"].items():
        if status != "204":
            assert response["content"], status
        for kind, content in response.get("content", {}).items():
            assert "json" not in kind or "example" in content


@named(CLOSED)
def test_without_a_token_it_says_so(
    path: str, method: str, operation: Any, call: Call, world: World, recording: Path
) -> None:
    response = send(call, world, recording, path, method, operation, {})
    problem_of(response, 401)
    assert response["WWW-Authenticate"].startswith("Bearer")


@named([entry for entry in OPERATIONS if entry not in CLOSED])
def test_who_need_no_token_need_a_secret(
    path: str, method: str, operation: Any, call: Call, world: World, recording: Path
) -> None:
    example = dict(operation["requestBody"]["content"]["application/json"]["example"])
    if "password" in example:
        example["password"] = "guessed"
    problem_of(call(method, path, body=json.dumps(example)), 401)


@named(CLOSED)
def test_its_owner_gets_what_is_documented(
    path: str, method: str, operation: Any, call: Call, world: World, recording: Path
) -> None:
    response = send(call, world, recording, path, method, operation, a_pair(world.user))
    (status,) = [status for status in operation["responses"] if status != "default"]
    assert response.status_code == int(status), response.content[:600]
    content = operation["responses"][status].get("content", {})
    if "application/json" in content:
        example = content["application/json"]["example"]
        said = response.json()
        if (
            isinstance(example, dict)
            and example
            and "additionalProperties" not in content["application/json"]["schema"]
        ):
            assert set(said) == set(example)
    elif content:
        assert b"".join(response.streaming_content)
    if status == "201" and response.headers.get("Location"):
        assert call("get", response["Location"], headers=a_pair(world.user)).status_code == 200


@named(OF_ONE)
def test_to_others_it_is_not_there(
    path: str, method: str, operation: Any, call: Call, world: World, recording: Path, other: User
) -> None:
    problem_of(send(call, world, recording, path, method, operation, a_pair(other)), 404)
    owners = send(call, world, recording, path, method, operation, a_pair(world.user))
    assert owners.status_code < 300, "and it is the owner's still"


@named(OF_OWNER)
def test_what_is_the_owner_s_only_is_refused_to_others(
    path: str, method: str, operation: Any, call: Call, world: World, recording: Path, other: User
) -> None:
    problem_of(send(call, world, recording, path, method, operation, a_pair(other)), 403)
    token, text = create_token(user=other, name="forged", scopes=["read"])
    ApiToken.objects.filter(pk=token.pk).update(scopes=["admin"])
    problem_of(send(call, world, recording, path, method, operation, bearer(text)), 403)


@named([entry for entry in CLOSED if entry not in (*OF_ONE, *OF_OWNER) and entry[1] == "get"])
def test_lists_hold_one_s_own_only(
    path: str, method: str, operation: Any, call: Call, world: World, recording: Path, other: User
) -> None:
    response = send(call, world, recording, path, method, operation, a_pair(other))
    assert response.status_code == 200
    if response.get("Content-Type", "").startswith("application/json") and "items" in response.json():
        assert response.json()["items"] == []


@named(SCOPED)
def test_a_token_for_other_things_is_refused(
    path: str, method: str, operation: Any, call: Call, world: World, recording: Path
) -> None:
    wrong = [scope for scope in SCOPES if scope not in operation["x-scopes"]]
    headers = a_token(world.user, *wrong)
    said = problem_of(send(call, world, recording, path, method, operation, headers), 403)
    assert operation["x-scopes"][0] in said["why"]


@named([entry for entry in SCOPED if entry[2]["operationId"] not in PERSONAL])
def test_the_scope_that_it_names_is_enough(
    path: str, method: str, operation: Any, call: Call, world: World, recording: Path
) -> None:
    scope = "train" if "train" in operation["x-scopes"] else operation["x-scopes"][0]
    response = send(call, world, recording, path, method, operation, a_token(world.user, scope))
    assert response.status_code < 300, response.content[:500]


@named([entry for entry in CLOSED if entry[2]["operationId"] in PERSONAL])
def test_tokens_make_and_end_no_tokens(
    path: str, method: str, operation: Any, call: Call, world: World, recording: Path
) -> None:
    assert len([entry for entry in CLOSED if entry[2]["operationId"] in PERSONAL]) == len(PERSONAL)
    headers = a_token(world.user, "read", "train", "audio")
    problem_of(send(call, world, recording, path, method, operation, headers), 403)
    admin = send(call, world, recording, path, method, operation, a_token(world.user, *SCOPES))
    assert admin.status_code < 300


@named(CLOSED)
def test_ended_tokens_let_nobody_in(
    path: str, method: str, operation: Any, call: Call, world: World, recording: Path
) -> None:
    token, text = create_token(user=world.user, name="ended", scopes=SCOPES)
    revoke_token(token=token)
    said = problem_of(send(call, world, recording, path, method, operation, bearer(text)), 401)
    assert "revoked" in said["why"]
    ApiToken.objects.filter(pk=token.pk).update(revoked_at=None, expires_at=timezone.now() - timedelta(seconds=1))
    said = problem_of(send(call, world, recording, path, method, operation, bearer(text)), 401)
    assert "expired" in said["why"]


def test_who_is_deactivated_gets_nothing(call: Call, other: User) -> None:
    token, pair = a_token(other), a_pair(other)
    assert call("get", "/me", headers=token).json() == {
        "user": "oscar", "is_owner": False, "scopes": ["read", "train", "audio"],
    }  # fmt: skip
    set_active(user=other, active=False)
    problem_of(call("get", "/me", headers=token), 401)
    problem_of(call("get", "/me", headers=pair), 401)


def test_a_token_gives_no_more_than_its_maker_has(call: Call, other: User, owner: User) -> None:
    body = {"name": "t", "scopes": ["admin"]}
    problem_of(call("post", "/tokens", body=body, headers=a_pair(other)), 403)
    made = call("post", "/tokens", body={"name": "t", "scopes": ["read"], "days": 1}, headers=a_pair(other)).json()
    assert call("get", "/jobs", headers=bearer(made["token"])).status_code == 200
    assert call("delete", f"/tokens/{made['id']}", headers=a_pair(owner)).status_code == 404
    assert call("delete", f"/tokens/{made['id']}", headers=a_pair(other)).status_code == 204
    problem_of(call("get", "/jobs", headers=bearer(made["token"])), 401)


def test_a_pair_is_refreshed_once_and_ended(call: Call, owner: User) -> None:
    from tests.webui.conftest import PASSWORD

    body = {"name": "olivia", "password": PASSWORD, "scopes": ["read"]}
    first = call("post", "/pairs", body=body).json()
    problem_of(call("post", "/jobs", body={"phrase": "hey compass"}, headers=bearer(first["access"])), 403)
    second = call("post", "/pairs/refresh", body={"refresh": first["refresh"]}).json()
    assert call("get", "/jobs", headers=bearer(second["access"])).status_code == 200
    assert call("post", "/pairs/end", body={"refresh": second["refresh"]}).status_code == 204
    problem_of(call("get", "/jobs", headers=bearer(second["access"])), 401)
    problem_of(call("post", "/pairs/refresh", body={"refresh": second["refresh"]}), 401)


def test_guessing_passwords_is_slowed_down(call: Call, owner: User) -> None:
    for _try in range(5):
        problem_of(call("post", "/pairs", body={"name": "olivia", "password": "guessed"}), 401)
    response = call("post", "/pairs", body={"name": "olivia", "password": "guessed"})
    problem_of(response, 429)
    assert 0 < int(response["Retry-After"]) <= 600


def test_lists_come_in_pages(call: Call, owner: User) -> None:
    from webui.jobs.models import Job

    for number in range(5):
        Job.objects.create(user=owner, kind="train", lane="training", title=str(number))
    headers = a_token(owner, "read")
    seen, following, pages = [], "/jobs?limit=2&kind=train", 0
    while following:
        said = call("get", following, headers=headers).json()
        assert said["total"] == 5 and said["limit"] == 2
        seen += [job["title"] for job in said["items"]]
        following, pages = said["next"], pages + 1
    assert seen == ["4", "3", "2", "1", "0"] and pages == 3
    for wrong in ("limit=0", "limit=101", "offset=-1", "limit=x", "state=unknown"):
        problem_of(call("get", f"/jobs?{wrong}", headers=headers), 422)


def test_clips_are_found_by_what_is_said_page_by_page(call: Call, world: World, portal: Path) -> None:
    from db.db_api import Library
    from db.records import NewClip
    from tests.webui.api.conftest import noise

    with Library(portal) as library:
        library.add_clips(
            NewClip(
                audio=noise(0.1 + n / 100), text="compass", text_normalized="compass", language="en", engine="flite"
            )
            for n in range(3)
        )
    headers = a_token(world.user, "read")
    first = call("get", "/clips?phrase=compass&limit=3", headers=headers).json()
    then = call("get", first["next"], headers=headers).json()
    assert [clip["id"] for clip in first["items"] + then["items"]] == [1, 2, 3, 4] and then["next"] is None
    assert call("get", "/clips?engine=espeak", headers=headers).json()["items"][0]["text"] == "Hey, compass!"
    assert call("get", "/clips?phrase=nothing", headers=headers).json()["items"] == []


def test_a_job_tells_what_it_says_but_not_where_things_lie(call: Call, world: World) -> None:
    said = call("get", f"/jobs/{world.failed.id}/events", headers=a_token(world.user, "read")).json()
    assert said["events"] == [{"event": "artifact", "time": 1.0, "kind": "log", "path": "log"}]
    assert said["job"]["state"] == "failed" and said["job"]["error"]["what_to_do"] == "C." and not said["more"]
    address = f"/jobs/{world.failed.id}/events?after={said['last']}"
    assert call("get", address, headers=a_token(world.user, "read")).json()["events"] == []


def test_jobs_are_cancelled_and_tried_again(call: Call, world: World) -> None:
    headers = a_token(world.user, "train", "read")
    address = f"/jobs/{world.failed.id}"
    assert call("post", f"{address}/retry", headers=headers).json()["state"] == "queued"
    problem_of(call("post", f"{address}/retry", headers=headers), 409)
    assert call("post", f"{address}/cancel", headers=headers).json()["state"] == "cancelled"
    assert call("post", f"{address}/cancel", headers=headers).json()["state"] == "cancelled"
    problem_of(call("post", f"{address}/cancel", headers=a_token(world.user, "audio")), 403)


def test_a_plan_is_trained_as_it_is(call: Call, world: World) -> None:
    headers = a_token(world.user, "train")
    made = call("post", "/jobs", body={"plan": str(world.plan.id)}, headers=headers)
    assert made.status_code == 201 and made.json()["spec"]["effort"] == "quick"
    for body in ({}, {"plan": str(world.plan.id), "phrase": "hey compass"}, {"plan": str(world.plan.id), "seed": 1}):
        problem_of(call("post", "/jobs", body=body, headers=headers), 422)
    problem_of(call("post", "/jobs", body={"plan": str(world.failed.id)}, headers=headers), 404)


def test_the_trained_version_is_named_by_its_job(call: Call, world: World) -> None:
    said = call("get", f"/jobs/{world.version.job_id}", headers=a_token(world.user, "read")).json()
    assert said["result"] == {"detector": world.version.detector_id, "version": 1}


def test_thresholds_are_numbers(call: Call, world: World) -> None:
    place = f"/detectors/{world.version.detector_id}/versions/1"
    rows = call("get", f"{place}/thresholds", headers=a_token(world.user, "read")).json()
    assert [row["fa_per_day"] for row in rows] == sorted(row["fa_per_day"] for row in rows)
    assert [row["default"] for row in rows].count(True) == 1
    assert all(0 <= row["miss_rate"][name] <= 1 for row in rows for name in ("all", "clean", "noisy"))


def test_the_bundle_comes_with_the_default_that_was_asked_for(call: Call, world: World) -> None:
    import io
    import zipfile

    place = f"/detectors/{world.version.detector_id}/versions/1/bundle"
    response = call("get", f"{place}?fa_per_day=2", headers=a_token(world.user, "read"))
    with zipfile.ZipFile(io.BytesIO(b"".join(response.streaming_content))) as archive:
        assert json.loads(archive.read("manifest.json"))["default_fa_per_day"] == 2
    assert world.version.bundle in response["Content-Disposition"]
    problem_of(call("get", f"{place}?fa_per_day=0", headers=a_token(world.user, "read")), 422)
    (world.version.path / world.version.bundle).unlink()
    problem_of(call("get", place, headers=a_token(world.user, "read")), 410)


def test_marked_audio_goes_into_the_inbox(call: Call, world: World, recording: Path) -> None:
    place = f"/detectors/{world.version.detector_id}/versions/1/samples"
    headers = a_token(world.user, "audio", "read")
    with recording.open("rb") as file:
        body = {"audio": file, "verdict": "false_alarm", "start_s": "0.2", "end_s": "0.9"}
        made = call("post", place, body=body, form=True, headers=headers)
    assert made.status_code == 201 and made.json()["seconds"] == pytest.approx(0.7, abs=0.001)
    with recording.open("rb") as file:
        body = {"audio": file, "verdict": "false_alarm", "end_s": "0.1"}
        problem_of(call("post", place, body=body, form=True, headers=headers), 422)
    assert call("post", f"/inbox/{made.json()['id']}/take", headers=headers).json()["state"] == "taken"
    assert call("get", "/library", headers=headers).json()["clips"] == 2


def test_what_is_no_audio_is_said_under_its_own_name(
    call: Call, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.audio_file import read_audio

    monkeypatch.setattr("webui.listening.services.hear_file", lambda version, path, rate: read_audio(path))
    path = tmp_path / "letter.wav"
    path.write_text("Dear Sir")
    with path.open("rb") as file:
        place = f"/detectors/{world.version.detector_id}/versions/1/detect"
        response = call("post", place, body={"audio": file}, form=True, headers=a_token(world.user, "audio"))
    said = problem_of(response, 422)
    assert "letter.wav" in said["what"] and str(tmp_path) not in json.dumps(said)


def test_deleting_a_detector_removes_its_files(call: Call, world: World) -> None:
    folder = world.version.path
    assert folder.is_dir()
    place = f"/detectors/{world.version.detector_id}"
    assert call("delete", place, headers=a_token(world.user, "train")).status_code == 204
    assert not folder.exists()
    problem_of(call("get", place, headers=a_token(world.user, "read")), 404)


def test_users_are_invited_and_let_out(call: Call, owner: User) -> None:
    from django.test import Client

    headers = a_token(owner, "admin")
    made = call("post", "/users", body={"name": "paula"}, headers=headers).json()
    problem_of(call("post", "/users", body={"name": "PAULA"}, headers=headers), 422)
    link = call("post", f"/users/{made['id']}/link", headers=headers).json()["link"]
    assert Client().get(link).status_code == 200
    said = call("patch", f"/users/{made['id']}", body={"is_active": False}, headers=headers).json()
    assert said["is_active"] is False
    assert Client().get(link).status_code == 410
    problem_of(call("patch", f"/users/{owner.pk}", body={"is_active": False}, headers=headers), 422)
    problem_of(call("patch", "/users/999", body={"is_active": False}, headers=headers), 404)


def test_engines_that_cost_money_are_not_used(call: Call, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = a_token(owner, "train")
    for engine in ("elevenlabs", "unknown", "fake"):
        said = problem_of(
            call("post", "/plans", body={"phrase": "hey compass", "engines": [engine]}, headers=headers), 422
        )
        assert engine in said["what"] and "espeak" in said["what_to_do"]
        problem_of(call("post", "/jobs", body={"phrase": "hey compass", "engines": [engine]}, headers=headers), 422)
    made = call("post", "/plans", body={"phrase": "hey compass", "engines": ["espeak"]}, headers=headers)
    assert made.json()["spec"]["engines"] == ["espeak"]


@pytest.mark.parametrize(
    "path",
    [
        *("/detectors/{}", "/detectors/{}/versions/1", "/detectors/1/versions/{}", "/inbox/{}", "/clips/{}"),
        *("/tokens/{}", "/webhooks/{}", "/webhooks/{}/deliveries", "/users/{}"),
    ],
)
def test_numbers_that_nothing_can_have(call: Call, owner: User, path: str) -> None:
    problem_of(call("get", path.format(10**23), headers=a_pair(owner)), 404)


def test_clips_are_mended_and_deleted(call: Call, world: World, portal: Path) -> None:
    headers = a_token(world.user, "train", "read")
    place = f"/clips/{world.clip}"
    said = call("patch", place, body={"text": "Hey campus.", "state": "rejected"}, headers=headers).json()
    assert (said["text"], said["state"]) == ("Hey campus.", "rejected")
    assert call("get", "/clips?phrase=campus&state=ready", headers=headers).json()["items"] == []
    problem_of(call("patch", place, body={"text": "!"}, headers=headers), 422)
    assert call("delete", place, headers=headers).status_code == 204
    problem_of(call("get", f"{place}/audio", headers=headers), 404)
    problem_of(call("delete", place, headers=headers), 404)
