"""Pages need a sign-in. Fragments and programs get answers that they can use."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from webui.accounts.middleware import LoginRequiredMiddleware
from webui.accounts.models import User

OPEN = {
    *("accounts:login", "account_login", "mfa_authenticate", "accounts:logout", "accounts:setup"),
    *("google_login", "google_callback"),
    *("api-docs", "api-schema"),
    # Anyone with a working link sees its recording.
    *("recordings:shared", "recordings:shared_audio", "recordings:shared_waveform", "recordings:shared_words"),
    # Anyone with the URL of a version's files for devices.
    "trainer:device_file",
    # They take a name and a password themselves.
    *("compatibility:token", "compatibility:auth-token"),
    # Nothing private: health, the number of waiting jobs, response times, and unknown URLs.
    *("live", "ready"),
    "metrics",  # takes a token of its own
    *(f"compatibility:{name}-short" for name in ("ready", "live", "metrics")),
    *(f"compatibility:{name}" for name in ("docs", "health", "stereo-health", "ready", "live", "metrics", "nothing")),
}


def patterns(resolver: URLResolver, prefix: str = "") -> list[tuple[str, URLPattern]]:
    found = []
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            namespace = f"{pattern.namespace}:" if pattern.namespace else ""
            found += patterns(pattern, prefix + namespace)
        else:
            found.append((f"{prefix}{pattern.name}", pattern))
    return found


def is_api(pattern: URLPattern) -> bool:
    return getattr(pattern.callback, "__module__", "").startswith("ninja")


def test_only_public_pages_need_no_account() -> None:
    every = [(name, pattern) for name, pattern in patterns(get_resolver()) if not is_api(pattern)]
    assert len(every) > 15
    # Those for programs ask for a token or a session themselves.
    by_themselves = {name for name, pattern in every if getattr(pattern.callback, "scopes", ())}
    unguarded = {name for name, pattern in every if not getattr(pattern.callback, "login_required", True)}
    assert unguarded - by_themselves == OPEN


@pytest.mark.parametrize("name", ["accounts:me", "accounts:users", "home", "jobs:index"])
def test_anonymous_requests_are_redirected_to_sign_in_with_next(client: Client, db: None, name: str) -> None:
    address = reverse(name)
    answer = client.get(address + "?page=2")
    assert answer.status_code == 302
    assert answer["Location"] == f"/account/login?next={address}%3Fpage%3D2"


def test_an_anonymous_fragment_redirects_the_whole_page(client: Client, db: None) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/new?phrase=a%20b&x=1"}
    answer = client.get("/jobs/", headers=headers)
    assert answer.status_code == 200 and not answer.content
    assert answer["HX-Redirect"] == "/account/login?next=/new%3Fphrase%3Da%2520b%26x%3D1"
    answer = client.post("/start", headers=headers)
    assert answer["HX-Redirect"].startswith("/account/login?next=/new")


@pytest.mark.parametrize("current", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", ""])
def test_a_fragment_with_a_foreign_url_gets_no_next(client: Client, db: None, current: str) -> None:
    answer = client.get("/jobs/", headers={"HX-Request": "true", "HX-Current-URL": current})
    assert answer["HX-Redirect"].startswith("/account/login") and "evil" not in answer["HX-Redirect"]


def test_anonymous_scripts_get_json(client: Client, db: None) -> None:
    answer = client.get("/jobs/", headers={"Accept": "application/json"})
    assert answer.status_code == 401
    assert set(answer.json()) >= {"what", "why", "what_to_do"}


def test_an_anonymous_form_is_redirected_to_sign_in(client: Client, db: None) -> None:
    answer = client.post("/account/tokens", {"name": "x"})
    assert answer.status_code == 303 and answer["Location"] == "/account/login"


@pytest.mark.parametrize(
    ("path", "stopped"), [("/api/v1/x", False), ("/api/", False), ("/apical", True), ("/x/api/", True)]
)
def test_api_paths_are_left_to_the_apis_own_authentication(rf: RequestFactory, path: str, stopped: bool) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("seen")

    request: Any = rf.get(path)
    request.user, request.htmx = AnonymousUser(), None
    answer = LoginRequiredMiddleware(view).process_view(request, view, (), {})
    assert (answer is not None) == stopped


def test_static_files_are_public(client: Client, db: None) -> None:
    assert client.get("/static/hark/copy.js").status_code == 200


def test_an_unknown_page_gets_404_for_everyone(client: Client, other: User) -> None:
    assert client.get("/account/nothing-here").status_code == 404
    client.force_login(other)
    assert client.get("/account/nothing-here").status_code == 404
