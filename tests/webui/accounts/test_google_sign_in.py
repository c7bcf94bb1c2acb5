"""Sign-in with Google, from the button to the way back, with a double of Google."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.google.views import GoogleOAuth2Adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Client, OAuth2Error
from django.test import Client

from tests.support.second_factor import SECRET, code_of, turned_on
from webui.accounts.models import User
from webui.accounts.services import set_active

BEGIN, BACK = "/sign-in/google/login/", "/sign-in/google/login/callback/"


class Google:
    """Google's answer about the returning person."""

    claims: dict[str, Any]
    broken = False

    def says(self, email: str, verified: bool = True, sub: str = "1001") -> None:
        self.claims = {"sub": sub, "email": email, "email_verified": verified, "given_name": "<b>X</b>"}


@pytest.fixture
def google(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Google:
    settings.GOOGLE_SIGN_IN = True
    settings.SOCIALACCOUNT_PROVIDERS = {
        "google": {
            "SCOPE": ["profile", "email"],
            "OAUTH_PKCE_ENABLED": True,
            "APPS": [{"client_id": "an-id", "secret": "a-secret", "key": ""}],
        }
    }
    it = Google()

    def access_token(self: Any, code: str, pkce_code_verifier: str | None = None) -> dict[str, str]:
        if it.broken:
            raise OAuth2Error("no")
        assert code == "a-code" and pkce_code_verifier
        return {"access_token": "opaque", "id_token": "signed by Google"}

    monkeypatch.setattr(OAuth2Client, "get_access_token", access_token)
    monkeypatch.setattr(GoogleOAuth2Adapter, "_decode_id_token", lambda self, app, token: it.claims)
    return it


def go(client: Client, then: str = "") -> Any:
    away = client.post(BEGIN, {"next": then})
    assert away.status_code == 302, away.content
    parts = urlsplit(away["Location"])
    assert parts.hostname == "accounts.google.com"
    query = parse_qs(parts.query)
    assert query["redirect_uri"] == [f"http://testserver{BACK}"] and query["code_challenge_method"] == ["S256"]
    return client.get(BACK, {"code": "a-code", "state": query["state"][0]})


def signed_in_as(client: Client) -> str:
    return str(client.session.get("_auth_user_id", ""))


def test_a_verified_email_signs_in_its_user(client: Client, other: User, google: Google) -> None:
    assert "Sign in with Google" in client.get("/account/login").text
    google.says("OSCAR@example.org")
    answer = go(client, "/jobs/")
    assert answer.status_code == 302 and answer["Location"] == "/jobs/"
    assert signed_in_as(client) == str(other.pk)
    assert client.get("/account/").status_code == 200
    assert User.objects.count() == 1
    again = Client()
    assert go(again)["Location"] == "/"
    assert SocialAccount.objects.count() == 1


def test_google_sign_in_still_asks_for_the_second_factor(client: Client, other: User, google: Google) -> None:
    turned_on(other)
    google.says("oscar@example.org")
    answer = go(client, "/jobs/")
    assert answer.status_code == 302 and answer["Location"] == "/account/code" and not signed_in_as(client)
    assert client.get("/jobs/")["Location"].startswith("/account/login")
    answer = client.post("/account/code", {"code": code_of(SECRET)})
    assert answer["Location"] == "/jobs/" and signed_in_as(client) == str(other.pk)


def test_next_never_leaves_the_portal(client: Client, other: User, google: Google) -> None:
    google.says("oscar@example.org")
    assert go(client, "https://evil.example/")["Location"] == "/"


@pytest.mark.parametrize(
    ("email", "verified", "said"),
    [
        ("oscar@example.org", False, "has not verified"),
        ("eve@example.org", True, "No user here has the address"),
        ("", True, "has not verified"),
    ],
)
def test_other_google_accounts_are_rejected(
    client: Client, other: User, google: Google, email: str, verified: bool, said: str
) -> None:
    google.says(email, verified)
    answer = go(client)
    assert answer.status_code == 403 and said in answer.text
    assert not signed_in_as(client)
    assert User.objects.count() == 1 and not SocialAccount.objects.exists()


def test_a_deactivated_user_is_rejected(client: Client, owner: User, other: User, google: Google) -> None:
    google.says("oscar@example.org")
    go(client)
    set_active(user=other, active=False)
    answer = go(Client())
    assert answer.status_code == 403 and "deactivated" in answer.text


def test_a_user_without_an_email_matches_no_google_account(client: Client, google: Google, db: None) -> None:
    User.objects.create_user("blank")
    google.says("")
    assert go(client).status_code == 403


def test_an_email_reassigned_to_another_google_account_is_rejected(client: Client, other: User, google: Google) -> None:
    google.says("oscar@example.org", sub="1001")
    go(client)
    google.says("oscar@example.org", sub="2002")
    later = Client()
    answer = go(later)
    assert answer.status_code == 403 and "another Google account before" in answer.text
    assert not signed_in_as(later)


def test_changing_the_email_unlinks_the_google_account(owners: Client, other: User, google: Google) -> None:
    google.says("oscar@example.org", sub="1001")
    go(Client())
    owners.post(f"/account/users/{other.pk}", {"username": "oscar", "email": "oscar@example.com"})
    assert go(Client()).status_code == 403
    google.says("oscar@example.com", sub="2002")
    theirs = Client()
    go(theirs)
    assert signed_in_as(theirs) == str(other.pk)


def test_new_users_are_created_only_if_sign_up_is_open(
    client: Client, other: User, google: Google, settings: Any
) -> None:
    settings.OPEN_SIGN_UP = True
    google.says("oscar@example.com")  # its name is already used
    assert go(client).status_code == 302
    made = User.objects.get(email="oscar@example.com")
    assert re.fullmatch(r"oscar\d+", made.username) and not made.is_owner and not made.has_usable_password()
    assert signed_in_as(client) == str(made.pk)
    google.says("eve@example.org", verified=False, sub="3003")
    assert go(Client()).status_code == 403


@pytest.mark.parametrize("query", [{}, {"state": "made-up", "code": "a-code"}, {"error": "server_error"}])
def test_a_callback_without_a_valid_state_is_rejected(
    client: Client, db: None, google: Google, query: dict[str, str]
) -> None:
    answer = client.get(BACK, query)
    assert answer.status_code == 401 and "Google did not sign you in" in answer.text


def test_a_state_is_valid_only_in_its_own_browser(client: Client, other: User, google: Google) -> None:
    google.says("oscar@example.org")
    state = parse_qs(urlsplit(client.post(BEGIN)["Location"]).query)["state"][0]
    victim = Client()
    assert victim.get(BACK, {"code": "a-code", "state": state}).status_code == 401
    assert not signed_in_as(victim)


def test_an_unreachable_google_is_reported(client: Client, db: None, google: Google) -> None:
    google.broken = True
    assert go(client).status_code == 401


def test_a_refusal_at_google_returns_to_the_sign_in_page(client: Client, db: None, google: Google) -> None:
    state = parse_qs(urlsplit(client.post(BEGIN)["Location"]).query)["state"][0]
    answer = client.get(BACK, {"error": "access_denied", "state": state})
    assert answer.status_code == 302 and answer["Location"] == "/account/login"


def test_google_sign_in_starts_with_a_post(client: Client, db: None, google: Google) -> None:
    assert client.get(BEGIN).status_code == 405
    assert Client(enforce_csrf_checks=True).post(BEGIN).status_code == 403


@pytest.mark.parametrize("path", [BEGIN, BACK])
def test_google_sign_in_is_absent_without_settings(client: Client, db: None, path: str) -> None:
    assert (client.post if path == BEGIN else client.get)(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/sign-in/signup/", "/sign-in/", "/sign-in/login/error/", "/sign-in/google/login/token/"]
)
def test_allauths_own_pages_get_404(client: Client, db: None, google: Google, path: str) -> None:
    assert client.get(path).status_code == 404
