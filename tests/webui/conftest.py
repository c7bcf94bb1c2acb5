"""The portal under test: a data folder and a database for each test, two users, no cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.test import Client

from tests.support.api_calls import Call
from tests.support.detector_versions import make_version
from tests.support.portal_users import PASSWORD, browser_of
from webui.accounts.models import User
from webui.trainer.models import Version


@pytest.fixture(autouse=True)
def portal(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder, which receives everything a test writes. Nothing remains of the previous test."""
    cache.clear()
    caches["requests"].clear()
    settings.DATA = tmp_path
    settings.PORTAL_DATA = tmp_path / "portal"
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "tmp"
    settings.SECRET_KEY = "of the tests, and of nothing else: 0123456789abcdef"
    settings.SECRET_KEY_FALLBACKS = []
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # Argon2 is slow by design
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def owner(db: None) -> User:
    """The owner of the installation."""
    return User.objects.create_user("olivia", "olivia@example.org", PASSWORD, is_owner=True)


@pytest.fixture
def other(db: None) -> User:
    """Another user, who owns nothing."""
    return User.objects.create_user("oscar", "oscar@example.org", PASSWORD)


@pytest.fixture
def owners(client: Client, owner: User) -> Client:
    """A browser with the owner's session."""
    client.force_login(owner)
    return client


@pytest.fixture
def others(other: User) -> Client:
    """A browser with the other user's session."""
    return browser_of(other)


@pytest.fixture
def version(owner: User, portal: Path) -> Version:
    """The first version of a detector of the owner's."""
    return make_version(owner, portal)


@pytest.fixture
def call(client: Client) -> Call:
    """Call the API: ``call("post", "/jobs", body={...}, headers=..., files=...)``."""

    def do(method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None, **more: Any) -> Any:
        address = path if path.startswith("/api/") else f"/api/v1{path}"
        if body is not None and "content_type" not in more and not more.pop("form", False):
            more["content_type"] = "application/json"
        if body is not None:
            more["data"] = body
        return getattr(client, method)(address, headers=headers or {}, **more)

    return do
