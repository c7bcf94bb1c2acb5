"""Passkeys: adding, removing, signing in, and invalid ones."""

from __future__ import annotations

import html
import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from allauth.mfa.models import Authenticator as Kept
from django.db import connection
from django.db.models import QuerySet
from django.test import Client

from tests.support.authenticator import ORIGIN, Authenticator
from tests.support.portal_users import PASSWORD
from tests.support.second_factor import CODES, PAGE, SECRET, code_of, confirmed, is_signed_in, turned_on
from webui.accounts import second_factor
from webui.accounts.models import AuditEntry, SignInFailure, User
from webui.accounts.services import issue_pair

ADD = f"{PAGE}/passkeys"


@pytest.fixture(autouse=True)
def over_https(settings: Any) -> None:
    """Serve under a name, behind a proxy."""
    settings.ALLOWED_HOSTS = ["hark.example.org", "localhost", "127.0.0.1"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


def browser(host: str = "hark.example.org", scheme: str = "https") -> Client:
    return Client(headers={"Host": host, "X-Forwarded-Proto": scheme})


def options_on(page: str) -> dict[str, Any]:
    found = re.search(r'data-options="([^"]*)"', page)
    return json.loads(html.unescape(found[1]))


def password_step(client: Client, **more: str) -> Any:
    sent = {"name": "oscar", "password": PASSWORD, "next": "/jobs/", **more}
    return client.post("/account/login", sent, headers={"Referer": ORIGIN})


def add(client: Client, authenticator: Authenticator, name: str = "phone") -> Any:
    confirmed(client)
    credential = authenticator.made(options_on(client.get(ADD).text))
    return client.post(ADD, {"name": name, "credential": credential})


def passkeys_of(user: User) -> QuerySet[Kept]:
    return Kept.objects.filter(user=user, type="webauthn").order_by("pk")


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("action", flat=True))


def test_a_passkey_is_added_and_signs_in(other: User) -> None:
    access = issue_pair(user=other).access
    client, elsewhere, phone = browser(), browser(), Authenticator()
    password_step(client)
    elsewhere.force_login(other)
    assert client.get(ADD)["Location"] == f"/account/again?next={quote(ADD, '')}" and not second_factor.is_on(other)
    assert add(client, phone).status_code == 302
    codes = re.findall(r"<li><code>(\d{10})</code></li>", client.get(CODES).text)
    assert len(codes) == 10 and codes[0] not in client.get(CODES).text
    assert "phone" in client.get(PAGE).text
    assert is_signed_in(client) and not is_signed_in(elsewhere)
    assert client.get("/api/v1/me", headers={"Authorization": f"Bearer {access}"}).status_code == 401
    assert "PRIVATE" not in "\n".join(connection.connection.iterdump())

    new = browser()
    answer = password_step(new)
    assert answer["Location"] == "/account/code" and not is_signed_in(new)
    asked = options_on(new.get("/account/code").text)
    signed = phone.shown(asked)
    answer = new.post("/account/code", {"credential": signed})
    assert answer.status_code == 302 and answer["Location"] == "/jobs/" and is_signed_in(new)
    again = browser()
    password_step(again)
    again.get("/account/code")
    assert again.post("/account/code", {"credential": signed}).status_code == 422, (
        "a response is valid for one challenge"
    )
    assert again.post("/account/code", {"code": codes[0]}).status_code == 302, "recovery codes work, too"
    assert actions().count("passkey_added") == 1 and "factor_on" in actions() and "factor_failed" in actions()


def test_removing_the_last_passkey_turns_the_second_factor_off(other: User) -> None:
    client, phone, token = browser(), Authenticator(), Authenticator()
    client.force_login(other)
    turned_on(other)
    client.force_login(other)
    for authenticator, name in ((phone, "phone"), (token, "token")):
        assert add(client, authenticator, name).status_code == 302
    assert actions().count("recovery_codes") == 1, "the second passkey makes no new recovery codes"
    removes = re.findall(r'href="([^"]*/remove)"', client.get(PAGE).text)
    app, *passkeys = removes
    unconfirmed = browser()
    unconfirmed.force_login(User.objects.get(pk=other.pk))
    assert unconfirmed.post(passkeys[0])["Location"].startswith("/account/again"), "the password is asked for"
    assert client.post(passkeys[0])["Location"] == PAGE
    assert [each.wrap().name for each in passkeys_of(other)] == ["token"]
    new = browser()
    password_step(new)
    assert new.post("/account/code", {"code": code_of(SECRET)}).status_code == 302
    client.post(app)
    client.post(passkeys[1])
    assert not Kept.objects.exists() and not second_factor.is_on(other), "recovery codes alone are not a second factor"
    assert actions()[-2:] == ["passkey_removed", "factor_off"]


def test_users_cannot_remove_passkeys_of_others(owner: User, other: User) -> None:
    client = browser()
    client.force_login(other)
    add(client, Authenticator())
    theirs = browser()
    theirs.force_login(owner)
    confirmed(theirs)
    assert theirs.post(f"{ADD}/{passkeys_of(other).get().pk}/remove").status_code == 404
    assert passkeys_of(other).exists()


def test_an_invalid_passkey_does_not_sign_in(other: User) -> None:
    client, phone = browser(), Authenticator()
    client.force_login(other)
    add(client, phone)
    phishing, visitor = Authenticator("https://hark.example.net"), Authenticator()
    phishing.key, phishing.credential_id = phone.key, phone.credential_id
    signed = json.loads(phone.shown({"publicKey": {"rpId": "hark.example.org", "challenge": "AAAA"}}))
    cut = {**signed, "response": {**signed["response"], "authenticatorData": "AAAA"}}
    sent: list[Any] = [phishing, visitor, signed, cut, {**signed, "response": None}, {}, [], "", "x", 5, None]
    sent += [{**signed, "rawId": 5}, {**signed, "response": {"clientDataJSON": "bnVsbA"}}]
    for each in sent:
        new = browser()
        password_step(new)
        asked = options_on(new.get("/account/code").text)
        credential = each.shown(asked) if isinstance(each, Authenticator) else json.dumps(each)
        assert new.post("/account/code", {"credential": credential}).status_code == 422 and not is_signed_in(new), each
        assert client.post(ADD, {"name": "x", "credential": credential}).status_code == 422
        SignInFailure.objects.all().delete()
    new = browser()
    password_step(new)
    for each in range(6):  # and they are counted as wrong codes are
        assert new.post("/account/code", {"credential": "{}"}).status_code == (429 if each == 5 else 422)
    assert passkeys_of(other).count() == 1


@pytest.mark.parametrize(
    ("host", "scheme", "can"),
    [
        ("hark.example.org", "https", True), ("hark.example.org", "http", False), ("localhost:8000", "http", True),
        ("127.0.0.1:8000", "http", False), ("127.0.0.1", "https", False),
    ],
)  # fmt: skip
def test_a_host_that_cannot_use_passkeys_is_explained(other: User, host: str, scheme: str, can: bool) -> None:
    client = browser(host, scheme)
    client.force_login(other)
    page = client.get(PAGE).text
    assert (f'href="{ADD}"' in page) == can and ("Passkeys work when" in page) != can


def test_the_number_of_passkeys_is_limited(other: User) -> None:
    client = browser()
    client.force_login(other)
    assert add(client, Authenticator()).status_code == 302
    row = {"user": other, "type": "webauthn", "data": passkeys_of(other).get().data}
    Kept.objects.bulk_create(Kept(**row) for _ in range(second_factor.MAX_PASSKEYS - 1))
    assert add(client, Authenticator()).status_code == 422
