"""Tokens and users by the API."""

from __future__ import annotations

import pytest

from tests.support.api_calls import Call, a_pair, a_token, bearer, problem_of
from tests.support.portal_users import PASSWORD
from webui.accounts.models import User
from webui.accounts.services import set_active

pytestmark = pytest.mark.django_db


def test_a_deactivated_user_gets_401(call: Call, other: User) -> None:
    token, pair = a_token(other), a_pair(other)
    assert call("get", "/me", headers=token).json() == {
        "user": "oscar", "is_owner": False, "scopes": ["read", "train", "audio"],
    }  # fmt: skip
    set_active(user=other, active=False)
    problem_of(call("get", "/me", headers=token), 401)
    problem_of(call("get", "/me", headers=pair), 401)


def test_a_token_cannot_exceed_its_creators_scopes(call: Call, other: User, owner: User) -> None:
    body = {"name": "t", "scopes": ["admin"]}
    problem_of(call("post", "/tokens", body=body, headers=a_pair(other)), 403)
    made = call("post", "/tokens", body={"name": "t", "scopes": ["read"], "days": 1}, headers=a_pair(other)).json()
    assert call("get", "/jobs", headers=bearer(made["token"])).status_code == 200
    assert call("delete", f"/tokens/{made['id']}", headers=a_pair(owner)).status_code == 404
    assert call("delete", f"/tokens/{made['id']}", headers=a_pair(other)).status_code == 204
    problem_of(call("get", "/jobs", headers=bearer(made["token"])), 401)


def test_a_token_pair_is_refreshed_once_and_ended(call: Call, owner: User) -> None:
    body = {"name": "olivia", "password": PASSWORD, "scopes": ["read"]}
    first = call("post", "/pairs", body=body).json()
    problem_of(call("post", "/jobs", body={"phrase": "hey compass"}, headers=bearer(first["access"])), 403)
    second = call("post", "/pairs/refresh", body={"refresh": first["refresh"]}).json()
    assert call("get", "/jobs", headers=bearer(second["access"])).status_code == 200
    assert call("post", "/pairs/end", body={"refresh": second["refresh"]}).status_code == 204
    problem_of(call("get", "/jobs", headers=bearer(second["access"])), 401)
    problem_of(call("post", "/pairs/refresh", body={"refresh": second["refresh"]}), 401)


def test_only_the_owner_gets_a_pair_with_the_scope_admin(call: Call, owner: User, other: User) -> None:
    asked = {"password": PASSWORD, "scopes": ["read", "admin"]}
    assert "Only the owner" in problem_of(call("post", "/pairs", body={"name": "oscar", **asked}), 422)["why"]
    assert call("post", "/pairs", body={"name": "olivia", **asked}).status_code == 201


def test_the_sixth_wrong_password_gets_429(call: Call, owner: User) -> None:
    for _try in range(5):
        problem_of(call("post", "/pairs", body={"name": "olivia", "password": "guessed"}), 401)
    response = call("post", "/pairs", body={"name": "olivia", "password": "guessed"})
    problem_of(response, 429)
    assert 0 < int(response["Retry-After"]) <= 600


def test_a_user_is_invited_and_deactivated(call: Call, owner: User) -> None:
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
