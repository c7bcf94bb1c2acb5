"""Beginning a session, whichever way somebody has shown who they are."""

from __future__ import annotations

import time

from django.contrib import auth
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from webui.accounts import second_factor
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.accounts.sign_in import remember_browser

BACKEND = "webui.accounts.backend.Backend"
PENDING = "waits for a code"  # in the session


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
