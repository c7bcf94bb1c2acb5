"""How many passwords are looked at at once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.auth.hashers import check_password, make_password
from django.test import Client

import webui.settings
from tests.support.portal_password import PASSWORD
from webui.accounts import hashing
from webui.accounts.models import SignInFailure, User


@pytest.fixture
def hashed(settings: Any, other: User) -> User:
    """A user whose password was hashed with Django's own parameters, by an earlier Hark."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    User.objects.filter(pk=other.pk).update(password=make_password(PASSWORD))
    settings.PASSWORD_HASHERS = webui.settings.PASSWORD_HASHERS
    return other


def test_beyond_its_places_it_is_503_and_no_failure(
    client: Client, hashed: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "PATIENCE_S", 0.01)
    with ExitStack() as others:
        for _ in range(hashing.MOST_AT_ONCE):
            others.enter_context(hashing._place())
        page = client.post("/account/login", {"name": "oscar", "password": PASSWORD})
        program = client.post("/api/v1/pairs", {"name": "oscar", "password": PASSWORD}, "application/json")
        unknown = client.post("/account/login", {"name": "nobody", "password": PASSWORD})
    assert [(answer.status_code, answer["Retry-After"]) for answer in (page, program, unknown)] == [(503, "2")] * 3
    assert not SignInFailure.objects.exists(), "the passwords were not looked at"
    assert client.post("/account/login", {"name": "oscar", "password": PASSWORD}).status_code == 302


def test_a_hash_takes_19_megabytes_and_older_ones_are_replaced(client: Client, hashed: User) -> None:
    assert "m=102400,t=2,p=8" in hashed.__class__.objects.get(pk=hashed.pk).password
    assert client.post("/account/login", {"name": "oscar", "password": PASSWORD}).status_code == 302
    kept = User.objects.get(pk=hashed.pk).password
    assert "m=19456,t=2,p=1" in kept and check_password(PASSWORD, kept)
