"""Beginning and end of a session, for all ways to sign in."""

from __future__ import annotations

import time
from typing import Any

from allauth.account.utils import perform_login
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.utils import timezone

from webui.accounts.audit import Action
from webui.accounts.models import User

BEGAN, USED = "began", "used"  # keys in the session
MAX_DURATION_S = 14 * 24 * 3600
WRITTEN_EVERY_S = 3600


def begins(sender: object, request: HttpRequest, **more: Any) -> None:
    request.session.pop(USED, None)  # left by an earlier session in this browser
    note_use(request.session)


def note_use(session: SessionBase) -> None:
    """Extend a session in use: it ends SESSION_COOKIE_AGE from now, at most :data:`MAX_DURATION_S` after its start."""
    now = time.time()
    if now - session.get(USED, 0.0) < WRITTEN_EVERY_S:
        return
    began = session[BEGAN] if USED in session else now
    session[BEGAN], session[USED] = began, now
    session.set_expiry(max(1, round(min(settings.SESSION_COOKIE_AGE, began + MAX_DURATION_S - now))))
    UserSession.objects.filter(session_key=session.session_key).update(last_seen_at=timezone.now())


def user_of_session(key: str | None) -> User | None:
    """Return the user of a session; None if nobody is signed in."""
    request = HttpRequest()
    request.session = SessionStore(key)
    user = auth.get_user(request)
    return user if isinstance(user, User) else None


def sign_in_or_ask(request: HttpRequest, user: User, then: str, how: Action = Action.SIGNED_IN) -> HttpResponse:
    """Begin a user's session, after a code if the account has a second factor, and redirect to ``then``."""
    if request.user.is_authenticated:
        auth.logout(request)
    details = {"how": how, "hash": user.get_session_auth_hash()}
    response: HttpResponse = perform_login(request, user, redirect_url=resolve_url(then), signal_kwargs=details)
    return response
