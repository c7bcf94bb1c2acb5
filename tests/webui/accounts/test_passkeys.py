"""Passkeys: adding and removing them, signing in with one, and what is no passkey."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from allauth.mfa.models import Authenticator as Kept
from django.db import connection
from django.test import Client

from tests.support.authenticator import ORIGIN, Authenticator
from tests.support.portal_password import PASSWORD
from tests.support.rendered_pages import flat
from tests.webui.accounts.test_second_factor import PAGE, code_of, turned_on
from webui.accounts import second_factor
from webui.accounts.models import AuditEntry, SignInFailure, User
from webui.accounts.services import issue_pair

ADD = f"{PAGE}/passkeys"


@pytest.fixture(autouse=True)
def over_https(settings: Any) -> None:
    """Under a name, behind a proxy."""
    settings.ALLOWED_HOSTS = ["hark.example.org", "localhost", "127.0.0.1"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


def browser(host: str = "hark.example.org", scheme: str = "https") -> Client:
    return Client(headers={"Host": host, "X-Forwarded-Proto": scheme})


def options_on(page: str) -> dict[str, Any]:
    found = re.search(r'data-options="([^"]*)"', page)
    assert found is not None
    asked: dict[str, Any] = json.loads(html.unescape(found[1]))
    return asked


def password_step(client: Client, **more: str) -> Any:
    sent = {"name": "oscar", "password": PASSWORD, "next": "/jobs/", **more}
    return client.post("/account/login", sent, headers={"Referer": ORIGIN})


def is_signed_in(client: Client) -> bool:
    return client.get("/account/").status_code == 200


def add(client: Client, authenticator: Authenticator, name: str = "phone", password: str = PASSWORD) -> Any:
    credential = authenticator.made(options_on(client.get(PAGE).content.decode()))
    return client.post(ADD, {"passkey-name": name, "passkey-password": password, "passkey-credential": credential})


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("action", flat=True))


def test_from_the_page_to_signing_in(other: User) -> None:
    access = issue_pair(user=other).access
    client, elsewhere, phone = browser(), browser(), Authenticator()
    password_step(client)
    elsewhere.force_login(other)
    assert add(client, phone, password="wrong").status_code == 422 and not second_factor.is_on(other)
    assert add(client, phone).status_code == 302
    page = client.get(PAGE).content.decode()
    codes = re.findall(r"<li><code>(\d{10})</code></li>", page)
    assert len(codes) == 10 and "phone" in page and codes[0] not in client.get(PAGE).content.decode()
    assert is_signed_in(client) and not is_signed_in(elsewhere)
    assert client.get("/api/v1/me", headers={"Authorization": f"Bearer {access}"}).status_code == 401
    assert "PRIVATE" not in "\n".join(connection.connection.iterdump())

    new = browser()
    answer = password_step(new)
    assert answer["Location"] == "/account/code" and not is_signed_in(new)
    asked = options_on(new.get("/account/code").content.decode())
    signed = phone.shown(asked)
    answer = new.post("/account/code", {"credential": signed})
    assert answer.status_code == 302 and answer["Location"] == "/jobs/" and is_signed_in(new)
    again = browser()
    password_step(again)
    again.get("/account/code")
    assert again.post("/account/code", {"credential": signed}).status_code == 401, "it answers one question"
    assert again.post("/account/code", {"code": codes[0]}).status_code == 302, "recovery codes work, too"
    assert actions().count("passkey_added") == 1 and "factor_on" in actions() and "factor_failed" in actions()


def test_beside_an_app_and_the_last_one(other: User) -> None:
    client, phone, token = browser(), Authenticator(), Authenticator()
    client.force_login(other)
    turned_on(other)
    client.force_login(other)
    for authenticator, name in ((phone, "phone"), (token, "token")):
        assert add(client, authenticator, name).status_code == 302
    assert "recovery codes</h2>" not in flat(client.get(PAGE)), "those of before stay"
    page = flat(client.get(PAGE))
    numbers = re.findall(r'name="remove" value="(\d+)"', page)
    assert client.post(PAGE, {"remove": numbers[0]}).status_code == 422, "the password is asked for"
    assert client.post(PAGE, {"remove": numbers[0], "factor-password": PASSWORD}).status_code == 302
    assert [each.wrap().name for each in second_factor.passkeys_of(other)] == ["token"]
    new = browser()
    password_step(new)
    assert new.post("/account/code", {"code": code_of("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")}).status_code == 302
    Kept.objects.filter(user=other, type="totp").delete()
    client.post(PAGE, {"remove": numbers[1], "factor-password": PASSWORD})
    assert not Kept.objects.exists() and not second_factor.is_on(other), "recovery codes alone are no factor"
    assert actions()[-2:] == ["passkey_removed", "factor_off"]


def test_nobody_removes_those_of_others(owner: User, other: User) -> None:
    client = browser()
    client.force_login(other)
    add(client, Authenticator())
    number = second_factor.passkeys_of(other).get().pk
    second_factor.remove_passkey(user=owner, number=number)
    assert second_factor.passkeys_of(other).exists()


def test_what_is_no_passkey_opens_nothing(other: User) -> None:
    client, phone = browser(), Authenticator()
    client.force_login(other)
    add(client, phone)
    phishing, stranger = Authenticator("https://hark.example.net"), Authenticator()
    phishing.key, phishing.credential_id = phone.key, phone.credential_id
    signed = json.loads(phone.shown({"publicKey": {"rpId": "hark.example.org", "challenge": "AAAA"}}))
    cut = {**signed, "response": {**signed["response"], "authenticatorData": "AAAA"}}
    sent: list[Any] = [phishing, stranger, signed, cut, {**signed, "response": None}, {}, [], "", "x", 5, None]
    sent += [{**signed, "rawId": 5}, {**signed, "response": {"clientDataJSON": "bnVsbA"}}]
    for each in sent:
        new = browser()
        password_step(new)
        asked = options_on(new.get("/account/code").content.decode())
        credential = each.shown(asked) if isinstance(each, Authenticator) else json.dumps(each)
        assert new.post("/account/code", {"credential": credential}).status_code == 401 and not is_signed_in(new), each
        assert client.post(ADD, {"passkey-name": "x", "passkey-password": PASSWORD, "passkey-credential": credential})
        SignInFailure.objects.all().delete()
    new = browser()
    password_step(new)
    for each in range(6):  # and they are counted as wrong codes are
        assert new.post("/account/code", {"credential": "{}"}).status_code == (429 if each == 5 else 401)
    assert second_factor.passkeys_of(other).count() == 1


@pytest.mark.parametrize(
    ("host", "scheme", "can"),
    [
        ("hark.example.org", "https", True), ("hark.example.org", "http", False), ("localhost:8000", "http", True),
        ("127.0.0.1:8000", "http", False), ("127.0.0.1", "https", False),
    ],
)  # fmt: skip
def test_where_browsers_use_none_it_is_said(other: User, host: str, scheme: str, can: bool) -> None:
    client = browser(host, scheme)
    client.force_login(other)
    page = client.get(PAGE).content.decode()
    assert ("data-passkey" in page) == can and ("Passkeys work where" in page) != can


def test_a_user_has_a_number_of_them(other: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_factor, "MOST_PASSKEYS", 1)
    client = browser()
    client.force_login(other)
    assert [add(client, Authenticator()).status_code for _ in range(2)] == [302, 422]
