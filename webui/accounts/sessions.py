"""Beginning a session, whichever way somebody has shown who they are."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from webui.accounts import second_factor
from webui.accounts.addresses import client_address
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.accounts.sign_in import remember_browser

BACKEND = "webui.accounts.backend.Backend"
PENDING, BEGAN, USED, FROM = "waits for a code", "began", "used", "from"  # in the session
LONGEST_AGENT = 200  # characters
NOWHERE = {"address": "", "agent": ""}  # of a session that an earlier Hark began
LONGEST_S = 14 * 24 * 3600
WRITTEN_EVERY_S = 3600


def begins(sender: object, request: HttpRequest, **more: Any) -> None:
    """Somebody has signed in."""
    agent = request.headers.get("User-Agent", "")[:LONGEST_AGENT]
    request.session[FROM] = {"address": client_address(request), "agent": agent}
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


@dataclass(frozen=True)
class OpenSession:
    """A browser in which a user is signed in; ``number`` says which, and opens nothing."""

    number: str
    address: str
    agent: str
    began: datetime | None
    used: datetime | None
    key: str


def sessions_of(user: User) -> list[OpenSession]:
    """The sessions of a user, the one that was used last first. All of the installation's are looked into."""
    found = []
    for session in Session.objects.filter(expire_date__gt=timezone.now()).iterator():
        content = session.get_decoded()
        if content.get(SESSION_KEY) == str(user.pk) and user.has_session(content.get(HASH_SESSION_KEY, "")):
            began, used = (
                datetime.fromtimestamp(content[name], UTC) if name in content else None for name in (BEGAN, USED)
            )
            number = hashlib.sha256(session.session_key.encode()).hexdigest()[:16]
            found.append(
                OpenSession(number, **content.get(FROM, NOWHERE), began=began, used=used, key=session.session_key)
            )
    return sorted(found, key=lambda one: one.used.timestamp() if one.used else 0.0, reverse=True)


def end_session(*, user: User, number: str) -> None:
    """End one of them. Raises Http404 where there is none of that number."""
    found = next((one for one in sessions_of(user) if one.number == number), None)
    if found is None:
        raise Http404
    Session.objects.filter(session_key=found.key).delete()
    record(Action.SIGNED_OUT, what=found.address, about=user)


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
