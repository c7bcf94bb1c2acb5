"""JWTs: short-lived, refreshed once each, and revoked together if one was stolen."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from tests.support.refusals import refuses
from webui.accounts import services
from webui.accounts.models import SpentToken, User
from webui.accounts.services import end_pair, issue_pair, rotate_pair, user_of_token
from webui.http.errors import StatusError


def claims_of(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def signed(claims: dict[str, Any], key: bytes | None = None, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, services._jwt_key() if key is None else key, algorithm=algorithm)


def refused(token: str) -> StatusError:
    with refuses(401) as found:
        user_of_token(f"Bearer {token}")
    return found.value


def test_a_token_pair_has_the_users_scopes_and_lifetimes(owner: User, other: User) -> None:
    pair = issue_pair(user=other)
    assert user_of_token(f"Bearer {pair.access}") == (other, {"read", "train", "audio", "wakes"})
    assert pair.expires_in == 15 * 60
    assert user_of_token(f"Bearer {issue_pair(user=owner).access}")[1] == {"read", "train", "audio", "wakes", "admin"}
    assert user_of_token(f"Bearer {issue_pair(user=owner, scopes=['read']).access}")[1] == {"read"}
    access, refresh = claims_of(pair.access), claims_of(pair.refresh)
    assert access["exp"] - access["iat"] == 15 * 60
    assert refresh["exp"] - refresh["iat"] == 14 * 24 * 3600
    assert access["aud"] == "hark"


def test_the_signing_key_differs_from_the_secret_key(other: User) -> None:
    assert services._jwt_key() != settings.SECRET_KEY.encode()
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(issue_pair(user=other).access, settings.SECRET_KEY.encode(), ["HS256"], audience="hark")


def test_forged_tokens_are_rejected(other: User) -> None:
    good = claims_of(issue_pair(user=other).access)
    parts = issue_pair(user=other).access.split(".")

    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    forgeries = [
        signed(good, b"x" * 32),
        signed(good, b"y" * 64, algorithm="HS512"),
        f"{part({'alg': 'none', 'typ': 'JWT'})}.{parts[1]}.",
        f"{part({'alg': 'none', 'typ': 'JWT'})}.{parts[1]}.{parts[2]}",
        f"{parts[0]}.{part({**good, 'sub': '1', 'scopes': ['admin']})}.{parts[2]}",
        f"{parts[0]}.{parts[1]}.",
        f"{parts[0]}.{parts[1]}",
        "nonsense",
        "a.b.c",
        "é.é.é",
        signed({**good, "aud": "another"}),
        *(signed({name: value for name, value in good.items() if name != left_out}) for left_out in good),
    ]
    for forgery in forgeries:
        assert "Hark did not issue" in refused(forgery).why, forgery


def test_expired_tokens_are_rejected(other: User) -> None:
    pair = issue_pair(user=other)
    past = int((timezone.now() - timedelta(seconds=1)).timestamp())
    assert "expired" in refused(signed({**claims_of(pair.access), "exp": past})).why
    with refuses(401, match="expired"):
        rotate_pair(refresh=signed({**claims_of(pair.refresh), "exp": past}))


def test_access_and_refresh_tokens_are_not_interchangeable(other: User) -> None:
    pair = issue_pair(user=other)
    assert "It is a refresh token" in refused(pair.refresh).why
    with refuses(401, match="not a refresh token"):
        rotate_pair(refresh=pair.access)
    _, text = services.create_token(user=other, name="ci", scopes=["read"])
    with refuses(401, match="Hark did not issue"):
        rotate_pair(refresh=text)


def test_a_refresh_token_is_exchanged_for_a_new_pair(other: User) -> None:
    first = issue_pair(user=other, scopes=["read"])
    second = rotate_pair(refresh=first.refresh)
    third = rotate_pair(refresh=second.refresh)
    assert user_of_token(f"Bearer {third.access}") == (other, {"read"})
    assert len({claims_of(pair.refresh)["jti"] for pair in (first, second, third)}) == 3


def test_reusing_a_refresh_token_revokes_its_family(other: User) -> None:
    stolen = issue_pair(user=other)
    apart = issue_pair(user=other)
    fresh = rotate_pair(refresh=stolen.refresh)
    with refuses(401, match="already used"):
        rotate_pair(refresh=stolen.refresh)
    with refuses(401, match="ended"):
        rotate_pair(refresh=fresh.refresh)
    refused(fresh.access)
    assert user_of_token(f"Bearer {apart.access}")[0] == other
    rotate_pair(refresh=apart.refresh)


def test_ending_a_pair_revokes_both_tokens(other: User) -> None:
    pair = issue_pair(user=other)
    end_pair(refresh=pair.refresh)
    end_pair(refresh=pair.refresh)
    refused(pair.access)
    with refuses(401):
        rotate_pair(refresh=pair.refresh)


def test_deactivation_deletion_and_a_new_password_revoke_tokens(owner: User, other: User) -> None:
    pair = issue_pair(user=other)
    services.set_active(user=other, active=False)
    assert "deactivated" in refused(pair.access).why
    with refuses(401, match="deactivated"):
        rotate_pair(refresh=pair.refresh)
    services.set_active(user=other, active=True)
    refused(pair.access)  # reactivation does not restore tokens
    with refuses(401):
        rotate_pair(refresh=pair.refresh)
    pair = issue_pair(user=other)
    other.set_password("another password")
    other.save()
    assert "changed the password" in refused(pair.access).why
    with refuses(401, match="changed the password"):
        rotate_pair(refresh=pair.refresh)
    pair = issue_pair(user=other)
    other.delete()
    refused(pair.access)


def test_scopes_are_limited_to_those_of_the_user(owner: User) -> None:
    pair = issue_pair(user=owner)
    User.objects.update(is_owner=False)
    assert "admin" not in user_of_token(f"Bearer {pair.access}")[1]
    assert "admin" not in claims_of(rotate_pair(refresh=pair.refresh).access)["scopes"]


def test_tokens_are_not_stored_and_expired_ids_are_deleted(other: User) -> None:
    pair = rotate_pair(refresh=issue_pair(user=other).refresh)
    dump = "\n".join(connection.connection.iterdump())
    assert pair.access not in dump and pair.refresh not in dump
    SpentToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    rotate_pair(refresh=pair.refresh)
    assert SpentToken.objects.count() == 1
