"""The owner's page of users."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.account.adapter import get_adapter
from django.test import Client

from tests.support.portal_users import PASSWORD
from webui.account_pages.forms import PersonForm
from webui.accounts.models import OneTimeLink, User
from webui.accounts.services import create_token

LINK = re.compile(r'value="(http://testserver/account/setup/[\w-]+)" readonly')


def test_the_owner_adds_a_user_by_link(owners: Client) -> None:
    answer = owners.post("/account/users", {"username": "nora", "email": "nora@example.org"}, follow=True)
    found = LINK.search(answer.text)
    assert answer.status_code == 200 and found and "no-store" in answer["Cache-Control"]
    nora = User.objects.get(username="nora")
    assert not nora.is_owner and not nora.has_usable_password()
    theirs = Client()
    sent = {"new_password1": "a password of hers", "new_password2": "a password of hers"}
    assert theirs.post(urlsplit(found[1]).path, sent).status_code == 302
    assert theirs.get("/account/").status_code == 200
    assert not LINK.search(owners.get("/account/users").text)


def test_reloading_the_page_creates_no_second_link(owners: Client, other: User) -> None:
    for path, sent in (("/account/users", {"username": "nora", "email": ""}), (f"/account/users/{other.pk}/link", {})):
        answer = owners.post(path, sent)
        assert answer.status_code == 302 and answer["Location"] == "/account/users"
        links = set(OneTimeLink.objects.values_list("digest", flat=True))
        found = LINK.search(owners.get(answer["Location"]).text)
        assert found and Client().get(urlsplit(found[1]).path).status_code == 200
        assert owners.get(answer["Location"]).status_code == 200
        assert set(OneTimeLink.objects.values_list("digest", flat=True)) == links


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"username": "oscar", "email": ""}, "This name is taken."),
        ({"username": "nora", "email": "OSCAR@example.org"}, "Another user has this address."),
        ({"username": "<script>", "email": ""}, "letters, digits"),
        ({"username": "nora\u202e", "email": ""}, "letters, digits"),
        ({}, "required"),
    ],
)
def test_invalid_users_are_rejected(owners: Client, other: User, sent: dict[str, str], said: str) -> None:
    answer = owners.post("/account/users", sent)
    text = answer.text
    assert answer.status_code == 422 and said in text and not LINK.search(text) and "<script>" not in text
    assert User.objects.count() == 2 and not OneTimeLink.objects.exists()


def test_the_owner_creates_a_password_link(owners: Client, other: User) -> None:
    answer = owners.post(f"/account/users/{other.pk}/link", follow=True)
    found = LINK.search(answer.text)
    assert found
    assert other.check_password(PASSWORD)  # until the link is used
    assert "oscar" in Client().get(urlsplit(found[1]).path).text


def test_the_owner_deactivates_and_reactivates_a_user(owners: Client, others: Client, other: User) -> None:
    create_token(user=other, name="ci", scopes=["read"])
    assert owners.post(f"/account/users/{other.pk}/active", {"active": "0"}).status_code == 302
    assert others.get("/account/").status_code == 302
    assert "deactivated" in owners.get("/account/users").text
    assert owners.post(f"/account/users/{other.pk}/link").status_code == 422
    assert owners.post(f"/account/users/{other.pk}/active", {"active": "1"}).status_code == 302
    other.refresh_from_db()
    assert other.is_active


def test_the_owner_cannot_be_deactivated(owners: Client, owner: User) -> None:
    answer = owners.post(f"/account/users/{owner.pk}/active", {"active": "0"})
    assert answer.status_code == 422 and "cannot be deactivated" in answer.text
    owner.refresh_from_db()
    assert owner.is_active


def test_the_owner_changes_a_users_name_and_email(owners: Client, other: User) -> None:
    address = f"/account/users/{other.pk}"
    assert 'value="oscar"' in owners.get(address).text
    answer = owners.post(address, {"username": "olivia", "email": ""})
    assert answer.status_code == 422 and "<h1>oscar</h1>" in answer.text
    assert owners.post(address, {"username": "oskar", "email": "o@example.org", "is_owner": "on"}).status_code == 302
    other.refresh_from_db()
    assert (other.username, other.email, other.is_owner) == ("oskar", "o@example.org", False)


def test_only_the_owner_sees_the_page(others: Client, owner: User, other: User) -> None:
    assert "/account/users" not in others.get("/account/").text
    requests = [
        others.get("/account/users"),
        others.post("/account/users", {"username": "eve", "email": ""}),
        others.get(f"/account/users/{owner.pk}"),
        others.post(f"/account/users/{owner.pk}", {"username": "eve", "email": ""}),
        others.post(f"/account/users/{owner.pk}/link"),
        others.post(f"/account/users/{other.pk}/active", {"active": "0"}),
    ]
    assert [answer.status_code for answer in requests] == [403] * 6
    assert not User.objects.filter(username="eve").exists() and not OneTimeLink.objects.exists()


@pytest.mark.parametrize("path", ["link", "active"])
def test_changes_need_a_post(owners: Client, other: User, path: str) -> None:
    assert owners.get(f"/account/users/{other.pk}/{path}").status_code == 405


def test_an_unknown_user_gets_404(owners: Client) -> None:
    assert owners.get("/account/users/999").status_code == 404
    assert owners.post("/account/users/999/link").status_code == 404


def test_the_number_of_queries_does_not_grow_with_users(owners: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(30):
        User.objects.create_user(f"user{number}")
    with django_assert_max_num_queries(6):
        owners.get("/account/users")


def test_saving_name_or_password_does_not_unlock_an_account(other: User) -> None:
    form = PersonForm({"username": "oskar", "email": other.email}, instance=other)
    assert form.is_valid()
    User.objects.filter(pk=other.pk).update(is_active=False)
    form.save()
    get_adapter().set_password(other, "another password")
    saved = User.objects.get(pk=other.pk)
    assert saved.username == "oskar" and saved.check_password("another password") and not saved.is_active
