"""API tokens: shown once, stored as hashes, refused when they should be."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.utils import timezone

from core.errors import HarkError
from tests.support.failing_database import FULL, database_fails
from tests.support.refusals import refuses
from webui.accounts.models import ApiToken, User
from webui.accounts.services import create_token, revoke_token, set_active, user_of_token


def database() -> str:
    return "\n".join(connection.connection.iterdump())


def test_a_token_identifies_its_user_and_scopes(other: User) -> None:
    token, text = create_token(user=other, name="ci", scopes=["train", "read"], days=30)
    assert re.fullmatch(r"hark_[A-Za-z0-9_-]{40}", text)
    assert text.startswith(token.prefix) and len(token.prefix) == 12
    assert user_of_token(f"Bearer {text}") == (other, {"read", "train"})
    assert user_of_token(f"bearer  {text} ") == (other, {"read", "train"})
    assert token.expires_at is not None
    assert timedelta(days=29) < token.expires_at - timezone.now() <= timedelta(days=30)


def test_a_token_is_not_stored_in_plain_text(other: User) -> None:
    _, text = create_token(user=other, name="ci", scopes=["read"])
    user_of_token(f"Bearer {text}")
    assert text not in database() and text[12:] not in database()


def test_the_last_use_is_recorded_once_per_minute(other: User, django_assert_num_queries: Any) -> None:
    token, text = create_token(user=other, name="ci", scopes=["read"])
    user_of_token(f"Bearer {text}")
    token.refresh_from_db()
    first = token.last_used_at
    assert first is not None
    with django_assert_num_queries(1):
        user_of_token(f"Bearer {text}")
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=1))
    user_of_token(f"Bearer {text}")
    token.refresh_from_db()
    assert token.last_used_at is not None and token.last_used_at >= first


@pytest.mark.django_db(transaction=True)  # a failure inside the test's own transaction would end it
def test_a_token_works_on_a_full_disk(other: User) -> None:
    token, text = create_token(user=other, name="ci", scopes=["read"])
    with database_fails(FULL, "UPDATE"):
        assert user_of_token(f"Bearer {text}")[0] == other
    token.refresh_from_db()
    assert token.last_used_at is None


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic b3NjYXI6eA==", "hark_x", "Bearer hark_", "Bearer hark_" + "x" * 40]
)
def test_an_unknown_token_is_rejected(db: None, header: str | None) -> None:
    with refuses(401) as refused:
        user_of_token(header)
    assert refused.value.status == 401 and refused.value.what_to_do


def test_revoked_and_expired_tokens_and_inactive_users_are_rejected(owner: User, other: User) -> None:
    token, text = create_token(user=other, name="ci", scopes=["read"], days=1)
    header = f"Bearer {text}"
    set_active(user=other, active=False)
    with refuses(401, match="deactivated"):
        user_of_token(header)
    set_active(user=other, active=True)
    with refuses(401, match="revoked"):  # for good
        user_of_token(header)
    token, text = create_token(user=other, name="ci", scopes=["read"], days=1)
    header = f"Bearer {text}"
    assert user_of_token(header)[0] == other
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())
    with refuses(401, match="expired"):
        user_of_token(header)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=None)
    revoke_token(token=token)
    with refuses(401, match="revoked"):
        user_of_token(header)


@pytest.mark.parametrize(
    ("field", "values", "why"),
    [
        ("name", ["", " ", "x" * 101, "a\x00b", "\x07", "line\nline", "a\u202eb", "\ud800"], "control character"),
        ("scopes", [[], ["fly"], ["read", "fly"]], "scopes must be"),
        ("days", [0, -1, 3651], "1 to 3650"),
    ],
)
def test_invalid_names_and_scopes_are_rejected(other: User, field: str, values: list[Any], why: str) -> None:
    for value in values:
        with pytest.raises(HarkError, match=why):
            create_token(user=other, **{"name": "ci", "scopes": ["read"], field: value})


def test_only_the_owner_can_have_the_admin_scope(owner: User, other: User) -> None:
    with pytest.raises(HarkError, match="owner"):
        create_token(user=other, name="ci", scopes=["admin"])
    _, text = create_token(user=owner, name="ci", scopes=["admin", "read"])
    assert user_of_token(f"Bearer {text}") == (owner, {"admin", "read"})
    User.objects.filter(pk=owner.pk).update(is_owner=False)
    assert user_of_token(f"Bearer {text}")[1] == {"read"}


def test_a_token_created_on_the_page_is_shown_once(others: Client, other: User) -> None:
    sent = {"name": "<script>alert(1)</script>", "scopes": ["read", "audio"], "days": "90"}
    answer = others.post("/account/tokens", sent)
    assert answer.status_code == 302 and answer["Location"] == "/account/"
    assert Session.objects.count() == 1 and "hark_" not in str(Session.objects.get().get_decoded())
    answer = others.get("/account/")
    page = answer.text
    found = re.search(r'value="(hark_[\w-]{40})" readonly', page)
    assert answer.status_code == 200 and found and "no-store" in answer["Cache-Control"]
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert 'data-copy="token-text"' in page and "hark/copy.js" in page
    assert user_of_token(f"Bearer {found[1]}") == (other, {"read", "audio"})
    assert found[1] not in database()
    again = others.get("/account/").text
    assert found[1] not in again and found[1][:12] in again
    sent_again = others.post("/account/tokens", sent)
    assert sent_again.status_code == 422 and "You already have a token with this name" in sent_again.text
    assert ApiToken.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "a\x07b"}, "control character"),
        ({"name": ""}, "required"),
        ({"scopes": []}, "required"),
        ({"scopes": ["admin"]}, "not one of the available choices"),
        ({"days": "5"}, "not one of the available choices"),
    ],
)
def test_the_page_explains_invalid_fields(others: Client, change: dict[str, object], said: str) -> None:
    answer = others.post("/account/tokens", {"name": "ci", "scopes": ["read"], "days": "0", **change})
    assert answer.status_code == 422 and said in answer.text
    assert not ApiToken.objects.exists()


def test_users_revoke_only_their_own_tokens(others: Client, owner: User, other: User) -> None:
    mine, text = create_token(user=other, name="ci", scopes=["read"])
    theirs, _ = create_token(user=owner, name="ci", scopes=["read"])
    assert others.get(f"/account/tokens/{mine.pk}/revoke").status_code == 405
    assert others.post(f"/account/tokens/{theirs.pk}/revoke").status_code == 404
    assert others.post(f"/account/tokens/{mine.pk}/revoke").status_code == 302
    with refuses(401, match="revoked"):
        user_of_token(f"Bearer {text}")
    theirs.refresh_from_db()
    assert theirs.revoked_at is None
    assert mine.prefix not in others.get("/account/").text
