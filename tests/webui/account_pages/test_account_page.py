"""The user's own account: name, address, password."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.support.portal_users import PASSWORD, browser_of
from tests.support.refusals import refuses
from webui.accounts.models import User
from webui.accounts.services import create_token, issue_pair, user_of_token

NEW = "quite another password"


def change(client: Client, old: str = PASSWORD, new: str = NEW, again: str | None = None) -> Any:
    sent = {"oldpassword": old, "password1": new, "password2": new if again is None else again}
    return client.post("/account/password", sent)


def test_every_field_has_a_label(others: Client) -> None:
    pages = {
        "/account/": ("username", "email", "name", "days", "scopes_0"),
        "/account/password": ("oldpassword", "password1", "password2"),
    }
    for address, fields in pages.items():
        answer = others.get(address)
        text = answer.text
        for field in fields:
            assert f'id="id_{field}"' in text and f'for="id_{field}"' in text
        assert text.count(' id="') == len({piece.split('"')[0] for piece in text.split(' id="')[1:]})
        assert 'autocomplete="current-password"' in text
        assert "no-store" in answer["Cache-Control"]
    assert 'autocomplete="email"' in others.get("/account/").text


def test_the_name_and_the_email_can_be_changed(others: Client, other: User) -> None:
    assert others.post("/account/", {"username": "oskar", "email": "Oskar@Example.ORG"}).status_code == 302
    other.refresh_from_db()
    assert (other.username, other.email) == ("oskar", "Oskar@example.org")
    assert "Saved." in others.get("/account/").text
    assert others.post("/account/", {"username": "OSKAR", "email": ""}).status_code == 302


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"username": "olivia", "email": ""}, "This name is taken."),
        ({"username": "OLIVIA", "email": ""}, "This name is taken."),
        ({"username": "oscar", "email": "Olivia@example.org"}, "Another user has this address."),
        ({"username": "olivia@example.org", "email": ""}, "letters, digits"),
        ({"username": "<i>x</i>", "email": ""}, "letters, digits"),
        ({"username": "x\x1b[31m", "email": ""}, "letters, digits"),
        ({"username": "a\x00b", "email": ""}, "Null characters"),
    ],
)
def test_invalid_names_and_emails_are_rejected(
    others: Client, owner: User, other: User, sent: dict[str, str], said: str
) -> None:
    answer = others.post("/account/", sent)
    text = answer.text
    assert answer.status_code == 422 and text.count(said) == 1 and "<i>x" not in text
    other.refresh_from_db()
    assert other.username == "oscar"
    assert ">oscar<" in text  # the page's head still shows the user


def test_other_fields_of_the_user_cannot_be_set(others: Client, other: User) -> None:
    others.post(
        "/account/", {"username": "oscar", "email": "", "is_owner": "on", "is_superuser": "on", "is_staff": "on"}
    )
    other.refresh_from_db()
    assert not other.is_owner and not other.is_superuser and not other.is_staff


def test_a_new_password_ends_the_other_sessions(others: Client, other: User) -> None:
    elsewhere = browser_of(other)
    _, token = create_token(user=other, name="ci", scopes=["read"])
    pair = issue_pair(user=other)
    answer = change(others)
    assert answer.status_code == 302
    assert others.get("/account/").status_code == 200
    assert elsewhere.get("/account/").status_code == 302
    other.refresh_from_db()
    assert other.check_password(NEW)
    assert user_of_token(f"Bearer {token}")[0] == other
    with refuses(401):
        user_of_token(f"Bearer {pair.access}")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"old": "wrong"}, "The password is wrong."),
        ({"new": "short"}, "too short"),
        ({"again": "different"}, "same password each time"),
        ({"new": "oscar@example"}, "too similar"),
    ],
)
def test_an_invalid_password_change_is_rejected(others: Client, other: User, sent: dict[str, str], said: str) -> None:
    answer = change(others, **sent)
    assert answer.status_code == 422 and said in answer.text
    other.refresh_from_db()
    assert other.check_password(PASSWORD)


def test_password_changes_limit_wrong_passwords(others: Client, other: User) -> None:
    for number in range(5):
        change(others, old=f"guess {number}")
    assert "Too many failed sign-ins." in change(others).text
    other.refresh_from_db()
    assert other.check_password(PASSWORD)


def test_a_user_without_a_password_can_set_one(client: Client, other: User) -> None:
    other.set_unusable_password()
    other.save()
    client.force_login(other)
    assert client.get("/account/password")["Location"] == "/account/password/set"
    assert client.post("/account/password/set", {"password1": NEW, "password2": NEW}).status_code == 302
    assert User.objects.get(pk=other.pk).check_password(NEW) and client.get("/account/").status_code == 200


def test_changes_need_a_post(others: Client) -> None:
    assert others.get("/account/tokens").status_code == 405


def test_with_google_sign_in_only_the_owner_sets_emails(
    client: Client, owner: User, other: User, settings: Any
) -> None:
    settings.GOOGLE_SIGN_IN = True
    client.force_login(other)
    assert "only the owner can set it" in client.get("/account/").text
    client.post("/account/", {"username": "oscar", "email": "victim@example.org"})
    other.refresh_from_db()
    assert other.email == "oscar@example.org"
    client.force_login(owner)
    client.post("/account/", {"username": "olivia", "email": "owner@example.org"})
    owner.refresh_from_db()
    assert owner.email == "owner@example.org"
