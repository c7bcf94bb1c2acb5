"""One-time links: the one that makes the owner, and those for passwords."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

import webui.settings
from core.errors import HarkError
from tests.support.portal_users import browser_of
from tests.support.programs import run_python
from webui.accounts import services
from webui.accounts.models import OneTimeLink, User

pytestmark = pytest.mark.django_db

BASE = "http://testserver"
PASSWORD = "correct horse battery"
FORM = {"username": "olga", "email": "olga@example.org", "new_password1": PASSWORD, "new_password2": PASSWORD}


def path_of(link: str) -> str:
    assert link.startswith(BASE + "/account/setup/")
    return link.removeprefix(BASE)


def test_the_link_creates_the_owner_and_signs_in(client: Client, settings: Any) -> None:
    settings.PASSWORD_HASHERS = webui.settings.PASSWORD_HASHERS
    address = path_of(services.owner_link(base_url=BASE))
    page = client.get(address)
    assert page.status_code == 200 and "no-store" in page["Cache-Control"]
    text = page.text
    assert 'autocomplete="new-password"' in text and 'autocomplete="username"' in text
    assert client.post(address, FORM).status_code == 302
    user = User.objects.get()
    assert user.is_owner and user.username == "olga"
    assert user.password.startswith("argon2$argon2id$")
    assert client.session["_auth_user_id"] == str(user.pk)


def test_the_link_works_once(client: Client) -> None:
    address = path_of(services.owner_link(base_url=BASE))
    client.post(address, FORM)
    again = Client()
    for answer in (again.get(address), again.post(address, {**FORM, "username": "eve", "email": ""})):
        assert answer.status_code == 410
        assert "no longer works" in answer.text
    assert User.objects.count() == 1
    with pytest.raises(HarkError, match="already has an owner"):
        services.owner_link(base_url=BASE)


def test_a_new_link_invalidates_the_older_one(client: Client) -> None:
    old, new = (path_of(services.owner_link(base_url=BASE)) for _ in range(2))
    assert client.get(old).status_code == 410
    assert client.get(new).status_code == 200


def test_the_link_expires(client: Client) -> None:
    address = path_of(services.owner_link(base_url=BASE))
    OneTimeLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.post(address, FORM).status_code == 410
    assert not User.objects.exists()


@pytest.mark.parametrize("secret", ["x", "a" * 40, "a%00b", "../x", "é"])
def test_an_invalid_link_is_rejected(client: Client, secret: str) -> None:
    services.owner_link(base_url=BASE)
    assert client.get(f"/account/setup/{secret}").status_code in (404, 410)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"new_password2": "another one entirely"}, "didn’t match"),
        ({"new_password1": "12345678", "new_password2": "12345678"}, "too common"),
        ({"new_password1": "olga-olga", "new_password2": "olga-olga", "username": "olga-olg"}, "too similar"),
        ({"username": "<b>olga</b>"}, "letters, digits"),
        ({"username": "olga\x07"}, "letters, digits"),
        ({"username": "olga\n.", "email": ""}, "letters, digits"),
        ({"username": "somebody@example.org"}, "letters, digits"),
        ({"username": ""}, "required"),
        ({"email": "nonsense"}, "valid email"),
    ],
)
def test_an_invalid_value_is_reported_at_its_field(client: Client, change: dict[str, str], said: str) -> None:
    address = path_of(services.owner_link(base_url=BASE))
    answer = client.post(address, {**FORM, **change})
    text = answer.text
    assert answer.status_code == 422
    assert said in text
    assert 'aria-invalid="true"' in text and re.search(r'aria-describedby="[^"]*_error"', text)
    assert "<b>olga" not in text
    assert not User.objects.exists()
    assert client.post(address, FORM).status_code == 302  # the link was not used up by that


def test_the_link_itself_is_not_in_the_database() -> None:
    secret = services.owner_link(base_url=BASE).rpartition("/")[2]
    assert secret not in "\n".join(connection.connection.iterdump())


RACE = """
from webui.setup import ready
ready()
from django.db import connection
from core.errors import HarkError
from tests.support.racing import race
from webui.accounts import services
from webui.accounts.models import User
secret = services.owner_link(base_url="http://x").rpartition("/")[2]
connection.close()  # each racer opens its own

def use(number):
    try:
        name = f"racer-{number}"
        return services.use_owner_link(secret=secret, username=name, password="correct horse battery").username
    except HarkError as error:
        return type(error).__name__

assert race(use)
print(*User.objects.values_list("username", "is_owner"))
"""


def test_simultaneous_setups_create_one_owner(tmp_path: Path) -> None:
    done = run_python(RACE, HARK_DATA=str(tmp_path), DJANGO_SETTINGS_MODULE="webui.settings")
    *answers, users = done.stdout.splitlines()
    won = [answer for answer in answers if answer.startswith("racer-")]
    assert len(won) == 1 and answers.count("LinkGone") == 3, (answers, done.stderr)
    assert users == f"('{won[0]}', True)"


def test_only_the_first_user_becomes_the_owner() -> None:
    first = services.create_user(username="first", password=PASSWORD)
    second = services.create_user(username="second", password=PASSWORD)
    assert first.is_owner and not second.is_owner
    with pytest.raises(HarkError, match="name is taken"):
        services.create_user(username="FIRST", password=PASSWORD)


def test_a_password_link_ends_the_sessions_and_works_once(client: Client, other: User) -> None:
    elsewhere = browser_of(other)
    assert elsewhere.get(reverse("accounts:me")).status_code == 200
    address = path_of(services.password_link(user=other, base_url=BASE))
    assert "oscar" in client.get(address).text
    sent = {"new_password1": PASSWORD, "new_password2": PASSWORD}
    assert client.post(address, sent).status_code == 302
    assert client.session["_auth_user_id"] == str(other.pk)
    assert elsewhere.get(reverse("accounts:me")).status_code == 302
    assert Client().post(address, sent).status_code == 410
    other.refresh_from_db()
    assert other.check_password(PASSWORD) and not other.is_owner


def test_a_password_link_does_not_create_an_owner(other: User) -> None:
    secret = services.password_link(user=other, base_url=BASE).rpartition("/")[2]
    with pytest.raises(services.LinkGone):
        services.use_owner_link(secret=secret, username="eve", password=PASSWORD)


def test_a_deactivated_user_can_neither_get_nor_use_a_link(client: Client, owner: User, other: User) -> None:
    address = path_of(services.password_link(user=other, base_url=BASE))
    services.set_active(user=other, active=False)
    assert client.get(address).status_code == 410
    with pytest.raises(HarkError, match="deactivated"):
        services.password_link(user=other, base_url=BASE)
