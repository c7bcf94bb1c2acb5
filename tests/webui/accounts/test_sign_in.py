"""Sign-in, sign-out, and limits on guessing a password."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

import webui.settings
from core.errors import HarkError
from tests.support.portal_users import PASSWORD
from webui.accounts import hashing
from webui.accounts.addresses import client_address
from webui.accounts.models import SignInFailure, User
from webui.accounts.services import create_user, set_active
from webui.accounts.sign_in import (
    FAILURES_FROM_ANYWHERE,
    FAILURES_OF_A_NAME,
    FAILURES_OF_AN_ADDRESS,
    FAILURES_WITHIN,
    SignInRefused,
    sign_in,
)
from webui.http.errors import StatusError

pytestmark = pytest.mark.django_db

LOGIN = "/account/login"


def attempt(client: Client, name: str, password: str, **more: Any) -> Any:
    return client.post(LOGIN, {"name": name, "password": password}, **more)


@pytest.mark.parametrize("name", ["oscar", "OSCAR", " oscar ", "oscar@example.org", "Oscar@Example.ORG"])
def test_name_and_email_both_sign_in(client: Client, other: User, name: str) -> None:
    answer = attempt(client, name, PASSWORD)
    assert answer.status_code == 302 and answer["Location"] == reverse("home")
    assert client.session["_auth_user_id"] == str(other.pk)


def test_the_form_is_for_password_managers_and_screen_readers(client: Client) -> None:
    text = client.get(LOGIN).text
    assert 'autocomplete="username"' in text and 'autocomplete="current-password"' in text
    assert '<label for="id_name">' in text and '<label for="id_password">' in text
    assert "style=" not in text and "onclick" not in text
    assert "Google" not in text


def test_without_an_owner_the_page_says_how_to_set_up(client: Client) -> None:
    assert "./hark admin link" in client.get(LOGIN).text


def test_wrong_passwords_and_unknown_names_look_the_same(client: Client, owner: User, other: User) -> None:
    set_active(user=other, active=False)
    answers = [
        attempt(client, name, password)
        for name, password in [("olivia", "wrong"), ("nobody", "wrong"), ("oscar", PASSWORD)]
    ]
    texts = {answer.text.split('id="problem"')[1].split("</div>")[0] for answer in answers}
    assert [answer.status_code for answer in answers] == [401] * 3
    assert len(texts) == 1
    assert "wrong" in texts.pop()
    assert 'aria-describedby="problem"' in answers[0].text


def test_signing_in_changes_the_session_key(client: Client, other: User) -> None:
    session = client.session
    session["x"] = 1
    session.save()
    before = session.session_key
    client.cookies["sessionid"] = before
    attempt(client, "oscar", PASSWORD)
    assert client.session.session_key != before


def test_expired_and_deleted_sessions_are_invalid(client: Client, other: User) -> None:
    for end in (
        lambda: Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1)),
        lambda: Session.objects.all().delete(),
    ):
        client.force_login(other)
        assert client.get("/").status_code == 200
        end()
        assert client.get("/")["Location"] == f"{LOGIN}?next=/"


def test_a_session_of_the_earlier_backend_stays_valid(client: Client, other: User) -> None:
    client.force_login(other, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/").status_code == 200


def test_five_failures_of_a_name_from_one_ip_are_blocked(client: Client, other: User) -> None:
    for number in range(FAILURES_OF_A_NAME):
        name = "oscar" if number % 2 else "oscar@example.org"  # both are the same user
        assert attempt(client, name, f"guess {number}").status_code == 401
    answer = attempt(client, "oscar", PASSWORD)
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= FAILURES_WITHIN.total_seconds()
    assert "Wait 10 minutes" in answer.text
    assert "_auth_user_id" not in client.session
    SignInFailure.objects.update(at=timezone.now() - timedelta(minutes=8, seconds=30))
    assert "Wait 2 minutes" in attempt(client, "oscar", PASSWORD).text
    SignInFailure.objects.update(at=timezone.now() - FAILURES_WITHIN)
    assert attempt(client, "oscar", PASSWORD).status_code == 302


def test_failures_from_one_ip_do_not_block_a_user_elsewhere(client: Client, other: User) -> None:
    for _ in range(FAILURES_OF_A_NAME + 1):
        attempt(client, "oscar", "guess", REMOTE_ADDR="203.0.113.9")
    assert attempt(client, "oscar", PASSWORD, REMOTE_ADDR="203.0.113.9").status_code == 429
    assert attempt(Client(), "oscar", PASSWORD, REMOTE_ADDR="198.51.100.7").status_code == 302
    assert attempt(client, "oscar", PASSWORD, REMOTE_ADDR="203.0.113.9").status_code == 429  # still blocked there


def test_guesses_of_a_name_from_many_ips_are_limited(other: User) -> None:
    known = Client()
    assert attempt(known, "oscar", PASSWORD).status_code == 302
    known.post("/account/logout")
    for number in range(FAILURES_FROM_ANYWHERE):
        with pytest.raises(SignInRefused):
            sign_in(name="oscar", password="wrong", address=f"10.0.{number // 4}.1")
    assert attempt(Client(), "oscar", PASSWORD, REMOTE_ADDR="10.9.9.9").status_code == 429
    # except in a browser in which oscar has signed in before, even from the guessers' address
    assert attempt(known, "oscar", PASSWORD, REMOTE_ADDR="10.0.1.1").status_code == 302


def test_a_known_browser_is_limited_and_belongs_to_one_user(client: Client, owner: User, other: User) -> None:
    assert attempt(client, "oscar", PASSWORD).status_code == 302
    cookie = client.cookies["hark_browser"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"
    client.post("/account/logout")
    for _ in range(FAILURES_OF_A_NAME):
        assert attempt(client, "oscar", "wrong").status_code == 401
    assert attempt(client, "oscar", PASSWORD).status_code == 429
    for _ in range(FAILURES_OF_A_NAME):
        assert attempt(client, "olivia", "wrong", REMOTE_ADDR="10.0.0.1").status_code == 401
    assert attempt(client, "olivia", PASSWORD, REMOTE_ADDR="10.0.0.1").status_code == 429
    forged = Client()
    forged.cookies["hark_browser"] = cookie.value.replace(cookie.value[:4], "AAAA")
    for _ in range(FAILURES_OF_A_NAME):
        attempt(forged, "oscar", "wrong", REMOTE_ADDR="10.0.0.2")
    assert attempt(forged, "oscar", PASSWORD, REMOTE_ADDR="10.0.0.2").status_code == 429


def test_failures_dated_in_the_future_do_not_count(client: Client, other: User) -> None:
    for _ in range(FAILURES_OF_A_NAME):
        attempt(client, "oscar", "wrong")
    SignInFailure.objects.update(at=timezone.now() + timedelta(days=1))
    assert attempt(client, "oscar", PASSWORD).status_code == 302


def test_signing_in_clears_the_failures_of_the_name(client: Client, other: User) -> None:
    for _ in range(3):
        for _ in range(FAILURES_OF_A_NAME - 1):
            assert attempt(client, "oscar", "wrong").status_code == 401
        assert attempt(Client(), "oscar", PASSWORD).status_code == 302


@pytest.mark.parametrize(
    ("failing", "refused", "free"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("2001:db8::{:x}", "2001:db8::ffff:1", "2001:db8:0:1::1"),  # one network of IPv6 is one address
    ],
)
def test_twenty_failures_of_an_ip_are_blocked(other: User, failing: str, refused: str, free: str) -> None:
    for number in range(FAILURES_OF_AN_ADDRESS):
        with pytest.raises(SignInRefused):
            sign_in(name=f"name {number}", password="wrong", address=failing.format(number))
    with pytest.raises(StatusError, match="Too many failed"):
        sign_in(name="oscar", password=PASSWORD, address=refused)
    assert sign_in(name="oscar", password=PASSWORD, address=free) == other


def test_unknown_names_are_counted(client: Client) -> None:
    for _ in range(FAILURES_OF_A_NAME):
        assert attempt(client, "nobody", "wrong").status_code == 401
    assert attempt(client, "Nobody", "wrong").status_code == 429


def test_a_typed_name_is_not_stored(client: Client) -> None:
    attempt(client, "my-secret-password", "oops")
    assert SignInFailure.objects.count() == 1
    assert "my-secret-password" not in "\n".join(connection.connection.iterdump())


@pytest.mark.parametrize(
    ("wanted", "goes_to"),
    [
        ("/jobs/?page=2", "/jobs/?page=2"),
        ("http://testserver/jobs/", "http://testserver/jobs/"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("///evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("http:evil.example", "/"),
        ("http:///evil.example", "/"),
        ("javascript:alert(1)", "/"),
        (" https://evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("https://testserver@evil.example/", "/"),
        ("", "/"),
    ],
)
def test_next_never_leaves_the_portal(client: Client, other: User, wanted: str, goes_to: str) -> None:
    answer = client.post(LOGIN, {"name": "oscar", "password": PASSWORD, "next": wanted})
    assert answer.status_code == 302 and answer["Location"] == goes_to
    answer = client.get(LOGIN, {"next": wanted})  # signed in already
    assert answer.status_code == 302 and answer["Location"] == goes_to
    assert f'name="next" value="{goes_to}"' in Client().get(LOGIN, {"next": wanted}).text


def test_signing_out_needs_a_post(others: Client) -> None:
    assert others.get("/account/logout").status_code == 405
    assert others.get("/account/").status_code == 200
    assert others.post("/account/logout")["Location"] == LOGIN
    assert others.get("/account/").status_code == 302


def test_the_client_ip_comes_from_the_proxy(rf: RequestFactory, settings: Any) -> None:
    request = rf.get("/", headers={"X-Forwarded-For": "203.0.113.1, 198.51.100.2"}, REMOTE_ADDR="127.0.0.1")
    assert client_address(request) == "127.0.0.1"  # any client could send it
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert client_address(request) == "198.51.100.2"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("198.51.100.2:1001", "198.51.100.2"), ("[2001:db8::1]:99", "2001:db8::1"), ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"), ("unknown", "127.0.0.1"), ("_hidden:7", "127.0.0.1"), ("", "127.0.0.1"),
    ],
)  # fmt: skip
def test_a_forwarded_ip_may_have_a_port_and_invalid_ones_are_replaced(
    rf: RequestFactory, settings: Any, said: str, meant: str
) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    request = rf.get("/", headers={"X-Forwarded-For": f"203.0.113.1, {said}"}, REMOTE_ADDR="127.0.0.1")
    assert client_address(request) == meant


def test_deactivation_ends_sessions_immediately(client: Client, owner: User, other: User) -> None:
    client.force_login(other)
    assert client.get("/account/").status_code == 200
    set_active(user=other, active=False)
    assert client.get("/account/").status_code == 302
    set_active(user=other, active=True)
    assert client.get("/account/").status_code == 302  # the session has ended for good
    client.force_login(User.objects.get(pk=other.pk))
    assert client.get("/account/").status_code == 200


@pytest.fixture
def hashed(settings: Any, other: User) -> User:
    """A user whose password an earlier Hark hashed with Django's own parameters."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    User.objects.filter(pk=other.pk).update(password=make_password(PASSWORD))
    settings.PASSWORD_HASHERS = webui.settings.PASSWORD_HASHERS
    return other


def test_too_many_simultaneous_sign_ins_get_503(client: Client, hashed: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "PATIENCE_S", 0.01)
    with ExitStack() as others:
        for _ in range(hashing.MAX_CONCURRENT):
            others.enter_context(hashing._place())
        page = client.post("/account/login", {"name": "oscar", "password": PASSWORD})
        program = client.post("/api/v1/pairs", {"name": "oscar", "password": PASSWORD}, "application/json")
        unknown = client.post("/account/login", {"name": "nobody", "password": PASSWORD})
    assert [(answer.status_code, answer["Retry-After"]) for answer in (page, program, unknown)] == [(503, "2")] * 3
    assert not SignInFailure.objects.exists(), "the passwords were not checked"
    assert client.post("/account/login", {"name": "oscar", "password": PASSWORD}).status_code == 302


def test_older_password_hashes_are_upgraded(client: Client, hashed: User) -> None:
    assert "m=102400,t=2,p=8" in hashed.__class__.objects.get(pk=hashed.pk).password
    assert client.post("/account/login", {"name": "oscar", "password": PASSWORD}).status_code == 302
    kept = User.objects.get(pk=hashed.pk).password
    assert "m=19456,t=2,p=1" in kept and check_password(PASSWORD, kept)


@pytest.mark.parametrize("name", ["аlice", "алиса", "αlice", "alice٣", "ａlice\u0430"])
def test_non_latin_names_are_rejected(name: str) -> None:
    with pytest.raises(HarkError, match="Latin"):
        create_user(username=name, password=PASSWORD)


@pytest.mark.parametrize("name", ["alice", "Müller", "Zoë.B", "łukasz_2", "ａlice"])
def test_latin_names_are_accepted(name: str) -> None:
    assert create_user(username=name, password=PASSWORD).pk


def test_an_existing_non_latin_name_can_still_sign_in(client: Client) -> None:
    User.objects.create_user("алиса", password=PASSWORD)  # as Hark created it before it checked letters
    assert client.post("/account/login", {"name": "алиса", "password": PASSWORD}).status_code == 302
    assert client.get("/account/").status_code == 200


@pytest.mark.parametrize("password", ["carolcarol", "carolcarolcarol", "CarolCAROL12", "-carol-carol"])
def test_a_repeated_name_is_not_a_valid_password(password: str) -> None:
    with pytest.raises(HarkError, match="your name alone"):
        create_user(username="Carol", password=password)


def test_a_password_has_at_least_twelve_characters() -> None:
    with pytest.raises(HarkError, match="12 characters"):
        create_user(username="carol", password="compass-sea")
    assert create_user(username="carol", password="compass-seas").pk


def test_a_long_password_may_contain_the_name() -> None:
    assert create_user(username="carol", password="carol likes 7 compasses").pk
