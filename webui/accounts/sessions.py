"""Beginning a session, whichever way somebody has shown who they are."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from webui.accounts import second_factor
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.accounts.sign_in import remember_browser

BACKEND = "webui.accounts.backend.Backend"
PENDING, BEGAN, USED = "waits for a code", "began", "used"  # in the session
LONGEST_S = 14 * 24 * 3600
WRITTEN_EVERY_S = 3600


def begins(sender: object, request: HttpRequest, **more: Any) -> None:
    """Somebody has signed in."""
    request.session.pop(USED, None)  # of an earlier session in this browser
    note_use(request.session)


def note_use(session: SessionBase) -> None:
    """Write down that a session is used: it ends SESSION_COOKIE_AGE later, and :data:`LONGEST_S` after it began."""
    now = time.time()
    if now - session.get(USED, 0.0) < WRITTEN_EVERY_S:
        return
    began = session[BEGAN] if USED in session else now
    session[BEGAN], session[USED] = began, now
    session.set_expiry(max(1, round(min(settings.SESSION_COOKIE_AGE, began + LONGEST_S - now))))


def sign_in_or_ask(request: HttpRequest, user: User, then: str, how: Action = Action.SIGNED_IN) -> HttpResponse:
    """Begin the session of a user, after a code where the account has a second factor; then on to ``then``."""
    if not second_factor.is_on(user):
        return begin_session(request, user, then, how)
    request.session.cycle_key()
    request.session[PENDING] = {
        "user": user.pk, "at": time.time(), "then": then, "how": how, "hash": user.get_session_auth_hash(),
    }  # fmt: skip
    return redirect("accounts:code")


def begin_session(request: HttpRequest, user: User, then: str, how: Action) -> HttpResponse:
    """Begin the session of a user who has shown all that is asked for."""
    auth.login(request, user, backend=BACKEND)
    record(how)
    response = redirect(then)
    remember_browser(request, response, user)
    return response
