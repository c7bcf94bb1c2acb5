"""Names that look like somebody else's, and passwords that are nothing but a name."""

from __future__ import annotations

import pytest
from django.test import Client

from core.errors import HarkError
from tests.support.portal_password import PASSWORD
from webui.accounts.models import User
from webui.accounts.services import create_user

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", ["аlice", "алиса", "αlice", "alice٣", "ａlice\u0430"])
def test_letters_of_other_alphabets(name: str) -> None:
    with pytest.raises(HarkError, match="Latin"):
        create_user(username=name, password=PASSWORD)


@pytest.mark.parametrize("name", ["alice", "Müller", "Zoë.B", "łukasz_2", "ａlice"])
def test_latin_ones(name: str) -> None:
    assert create_user(username=name, password=PASSWORD).pk


def test_an_older_name_of_another_alphabet_signs_in(client: Client) -> None:
    User.objects.create_user("алиса", password=PASSWORD)  # as Hark made it before it looked at letters
    assert client.post("/account/login", {"name": "алиса", "password": PASSWORD}).status_code == 302
    assert client.get("/account/").status_code == 200


@pytest.mark.parametrize("password", ["carolcarol", "carolcarolcarol", "CarolCAROL12", "-carol-carol"])
def test_a_name_twice_is_no_password(password: str) -> None:
    with pytest.raises(HarkError, match="more than your name"):
        create_user(username="Carol", password=password)


def test_one_has_twelve_letters_at_least() -> None:
    with pytest.raises(HarkError, match="12 characters"):
        create_user(username="carol", password="compass-sea")
    assert create_user(username="carol", password="compass-seas").pk


def test_a_long_one_may_hold_it() -> None:
    assert create_user(username="carol", password="carol likes 7 compasses").pk
