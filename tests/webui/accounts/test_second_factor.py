"""The second factor: turning it on, signing in with it, guessing, losing it, and what it protects."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.db import connection
from django.db.models import F, QuerySet
from django.test import Client

from tests.support.portal_users import PASSWORD, browser_of
from tests.support.second_factor import CODES, PAGE, SECRET, code_of, confirmed, is_signed_in, password_step, turned_on
from webui.accounts import second_factor
from webui.accounts.models import AuditEntry, SignInFailure, User
from webui.accounts.services import issue_pair, password_link

APP = f"{PAGE}/app"


@pytest.mark.parametrize(("at", "code"), [(59, "287082"), (1111111109, "081804"), (2000000000, "279037")])
def test_codes_match_rfc_6238(at: int, code: str) -> None:
    assert format_hotp_value(hotp_value(SECRET, at // 30)) == code  # RFC 6238, appendix B, the last six digits


def test_an_app_is_added_and_its_code_signs_in(client: Client, other: User) -> None:
    access = issue_pair(user=other).access
    elsewhere = browser_of(other)
    password_step(client)
    assert client.get(APP)["Location"] == f"/account/again?next={quote(APP, '')}"
    assert confirmed(client, "wrong").status_code == 422 and client.get(APP).status_code == 302
    confirmed(client)
    page = client.get(APP).text
    found = re.search(r'<code class="break">([A-Z2-7]{32})</code>', page)
    assert found and 'src="data:image/svg+xml;base64,' in page
    secret = found[1]
    assert client.post(APP, {"code": "000000"}).status_code == 422 and not second_factor.is_on(other)
    page = client.post(APP, {"code": code_of(secret, -1)}, follow=True).text
    codes = re.findall(r"<li><code>(\d{10})</code></li>", page)
    assert len(codes) == 10 and codes[0] not in client.get(CODES).text
    assert is_signed_in(client) and not is_signed_in(elsewhere)
    assert client.get("/api/v1/me", headers={"Authorization": f"Bearer {access}"}).status_code == 401
    assert secret not in "\n".join(connection.connection.iterdump())

    new = Client()
    answer = password_step(new)
    assert answer.status_code == 302 and answer["Location"] == "/account/code" and not is_signed_in(new)
    assert new.post("/account/code", {"code": "123456"}).status_code == 422 and not is_signed_in(new)
    code = code_of(secret)
    answer = new.post("/account/code", {"code": code})
    assert answer.status_code == 302 and answer["Location"] == "/jobs/" and is_signed_in(new)
    again = Client()
    password_step(again)
    assert again.post("/account/code", {"code": code}).status_code == 422  # it works once
    for expected in (302, 422):  # a recovery code, too
        password_step(again)
        assert again.post("/account/code", {"code": codes[3]}).status_code == expected
        again.post("/account/logout")
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"factor_on", "factor_failed", "recovery_code", "signed_in"} <= actions


def test_guesses_of_codes_are_limited(client: Client, other: User) -> None:
    turned_on(other)
    password_step(client)
    for _ in range(5):
        assert client.post("/account/code", {"code": "000000"}).status_code == 422
    password_step(client)  # the password does not reset the attempts
    answer = client.post("/account/code", {"code": code_of(SECRET)})
    assert answer.status_code == 429 and int(answer["Retry-After"]) > 0 and not is_signed_in(client)
    SignInFailure.objects.all().delete()
    assert client.post("/account/code", {"code": code_of(SECRET)}).status_code == 302


def test_guesses_from_many_ips_wait_longer_and_are_reported(other: User) -> None:
    turned_on(other)
    known = Client()
    password_step(known)
    assert known.post("/account/code", {"code": code_of(SECRET)}).status_code == 302

    def guess(number: int) -> Any:
        browser = Client(REMOTE_ADDR=f"198.51.100.{number}")
        password_step(browser)
        return browser.post("/account/code", {"code": "000000"})

    def later(minutes: int) -> None:
        QuerySet.update(AuditEntry.objects.all(), at=F("at") - timedelta(minutes=minutes))
        SignInFailure.objects.all().delete()

    assert [guess(number).status_code for number in range(12)] == [422] * 10 + [429] * 2
    waits = []
    for minutes in (11, 21, 41, 81):
        later(minutes)
        assert guess(20).status_code == 422
        waits.append(round(int(guess(21)["Retry-After"]) / 60))
    assert waits == [20, 40, 80, 160]
    known.post("/account/logout")
    password_step(known)
    answer = known.post("/account/code", {"code": code_of(SECRET, 1)}, follow=True)
    assert answer.status_code == 200 and "14 wrong codes were entered with your password" in answer.text


def test_the_code_alone_does_not_sign_in(client: Client, other: User) -> None:
    turned_on(other)
    assert client.post("/account/code", {"code": code_of(SECRET)})["Location"] == "/account/login"
    password_step(client)
    other.set_password("quite another password")
    other.save()
    assert client.post("/account/code", {"code": code_of(SECRET)})["Location"] == "/account/login"
    assert not is_signed_in(client)


def test_a_password_link_also_asks_for_the_code(client: Client, other: User) -> None:
    turned_on(other)
    link = password_link(user=other, base_url="http://testserver")
    sent = {"new_password1": "quite another password", "new_password2": "quite another password"}
    assert client.post(link.removeprefix("http://testserver"), sent)["Location"] == "/account/code"
    assert not is_signed_in(client)
    assert client.post("/account/code", {"code": code_of(SECRET)}).status_code == 302 and is_signed_in(client)


def test_programs_with_a_password_are_told_to_use_a_token(client: Client, other: User) -> None:
    turned_on(other)
    answer = client.post("/token", {"username": "oscar", "password": PASSWORD})
    assert answer.status_code == 400 and answer.json()["error"] == "invalid_grant"
    assert "second factor" in answer.json()["error_description"] and "API token" in answer.json()["what_to_do"]
    sent = {"name": "oscar", "password": PASSWORD}
    answer = client.post("/api/v1/pairs", sent, content_type="application/json")
    assert answer.status_code == 403 and "second factor" in answer.json()["why"]


def test_removing_the_app_and_new_recovery_codes_need_the_password(client: Client, other: User) -> None:
    codes = turned_on(other)
    client.force_login(other)
    for change in (f"{CODES}/new", f"{APP}/remove"):
        assert client.post(change)["Location"] == f"/account/again?next={quote(change, '')}"
    assert confirmed(client, "wrong").status_code == 422 and second_factor.is_on(other)
    confirmed(client)
    page = client.post(f"{CODES}/new", follow=True).text
    new = re.findall(r"<li><code>(\d{10})</code></li>", page)
    assert len(new) == 10 and not set(new) & set(codes)
    client.post(f"{APP}/remove")
    assert not second_factor.is_on(other) and not Authenticator.objects.exists()


def test_the_owner_can_turn_off_a_lost_second_factor(owners: Client, other: User) -> None:
    turned_on(other)
    address = f"/account/users/{other.pk}/factor"
    theirs = browser_of(other)
    assert theirs.post(address).status_code == 403
    assert "lost the app" in owners.get(f"/account/users/{other.pk}").text
    assert owners.post(address).status_code == 302 and not second_factor.is_on(other)
    entry = AuditEntry.objects.get(action="factor_off")
    assert (entry.by_name, entry.about_name) == ("olivia", "oscar")
    client = Client()
    assert password_step(client)["Location"] == "/jobs/"
