"""/users."""

from __future__ import annotations

import pytest

from tests.webui.api.conftest import Call, a_token, problem_of
from webui.accounts.models import User

pytestmark = pytest.mark.django_db


def test_invite_and_deactivate(call: Call, owner: User) -> None:
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
