"""Every operation of the API's schema: for its owner, for others, and without the right token."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core.readiness import Readiness
from pipeline.serving.sorting import Sorted
from tests.support.api_calls import Call, World, a_pair, a_token, bearer, call_example, problem_of
from tests.support.api_operations import CLOSED, HEARD, OF_ONE, OF_OWNER, OPERATIONS
from webui.accounts.models import ApiToken, User
from webui.accounts.services import SCOPES, create_token, revoke_token

pytestmark = pytest.mark.django_db

SCOPED = [entry for entry in CLOSED if entry[2]["x-scopes"]]
PERSONAL = {
    "tokens_add", "tokens_revoke", "organizations_add", "organizations_change", "organizations_delete",
    "organizations_invite", "organizations_join", "organizations_quota", "organizations_remove",
    "organizations_rename", "organizations_revoke",
}  # fmt: skip


def named(entries: list[Any]) -> Any:
    return pytest.mark.parametrize(
        ("path", "method", "operation"), entries, ids=[entry[2]["operationId"] for entry in entries]
    )


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this world's detectors answer immediately, and set up a language model."""
    monkeypatch.setattr("pipeline.recordings.language_models.llm.available", lambda: Readiness(True))
    monkeypatch.setattr("webui.listening.services.detect_in_file", lambda version, path, rate: dict(HEARD))
    # These need a voice, two passages or a change.
    for name in ("speaker_changes.remember_voice", "corrections.join_with_next", "corrections.undo"):
        monkeypatch.setattr(f"webui.recordings.editing.{name}", lambda **of: None)
    monkeypatch.setattr("webui.listening.services.sort_wake", lambda phrase, language, audio: Sorted("unsure", ""))


def send(world: World, path: str, method: str, operation: Any, headers: dict[str, str]) -> Any:
    """Call an operation with its own examples."""
    return call_example(path, method, operation, world.place, headers)


@named(OPERATIONS)
def test_an_operation_is_documented_with_examples(path: str, method: str, operation: Any) -> None:
    assert operation["summary"] and operation["description"] and operation["tags"]
    assert all("example" in parameter for parameter in operation["parameters"])
    assert all("example" in content for content in operation.get("requestBody", {}).get("content", {}).values())
    for status, response in operation["responses"].items():
        if status != "204":
            assert response["content"], status
        for kind, content in response.get("content", {}).items():
            assert "json" not in kind or "example" in content


@named(CLOSED)
def test_an_operation_rejects_missing_revoked_and_wrong_tokens(
    path: str, method: str, operation: Any, world: World
) -> None:
    response = send(world, path, method, operation, {})
    problem_of(response, 401)
    assert response["WWW-Authenticate"].startswith("Bearer")

    token, text = create_token(user=world.user, name="ended", scopes=SCOPES)
    revoke_token(token=token)
    said = problem_of(send(world, path, method, operation, bearer(text)), 401)
    assert "revoked" in said["why"]
    ApiToken.objects.filter(pk=token.pk).update(revoked_at=None, expires_at=timezone.now() - timedelta(seconds=1))
    said = problem_of(send(world, path, method, operation, bearer(text)), 401)
    assert "expired" in said["why"]

    if operation["x-scopes"]:
        wrong = [scope for scope in SCOPES if scope not in operation["x-scopes"]]
        headers = a_token(world.user, *wrong)
        said = problem_of(send(world, path, method, operation, headers), 403)
        assert operation["x-scopes"][0] in said["why"]


@named([entry for entry in OPERATIONS if entry not in CLOSED])
def test_an_open_operation_needs_a_valid_secret(
    path: str, method: str, operation: Any, call: Call, world: World
) -> None:
    example = dict(operation["requestBody"]["content"]["application/json"]["example"])
    if "password" in example:
        example["password"] = "guessed"
    problem_of(call(method, path, body=json.dumps(example)), 401)


@named(CLOSED)
def test_the_owner_gets_the_documented_response(
    path: str, method: str, operation: Any, call: Call, world: World
) -> None:
    response = send(world, path, method, operation, a_pair(world.user))
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
        assert response.getvalue()
    if status == "201" and response.headers.get("Location"):
        assert call("get", response["Location"], headers=a_pair(world.user)).status_code == 200


@named(OF_OWNER)
def test_an_owner_operation_rejects_others(path: str, method: str, operation: Any, world: World, other: User) -> None:
    problem_of(send(world, path, method, operation, a_pair(other)), 403)
    token, text = create_token(user=other, name="forged", scopes=["read"])
    ApiToken.objects.filter(pk=token.pk).update(scopes=["admin"])
    problem_of(send(world, path, method, operation, bearer(text)), 403)


@named([entry for entry in CLOSED if entry not in (*OF_ONE, *OF_OWNER) and entry[1] == "get"])
def test_a_list_contains_only_the_users_own_items(
    path: str, method: str, operation: Any, world: World, other: User
) -> None:
    response = send(world, path, method, operation, a_pair(other))
    assert response.status_code == 200
    if response.get("Content-Type", "").startswith("application/json") and "items" in response.json():
        assert response.json()["items"] == []


@named([entry for entry in SCOPED if entry[2]["operationId"] not in PERSONAL])
def test_one_of_the_listed_scopes_is_enough(path: str, method: str, operation: Any, world: World) -> None:
    scope = "train" if "train" in operation["x-scopes"] else operation["x-scopes"][0]
    response = send(world, path, method, operation, a_token(world.user, scope))
    assert response.status_code < 300, response.content[:500]


@named([entry for entry in CLOSED if entry[2]["operationId"] in PERSONAL])
def test_an_api_token_cannot_manage_tokens(path: str, method: str, operation: Any, world: World) -> None:
    assert len([entry for entry in CLOSED if entry[2]["operationId"] in PERSONAL]) == len(PERSONAL)
    headers = a_token(world.user, "read", "train", "audio")
    problem_of(send(world, path, method, operation, headers), 403)
    admin = send(world, path, method, operation, a_token(world.user, *SCOPES))
    assert admin.status_code < 300
