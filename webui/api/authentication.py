"""Authentication and authorization of API calls: a token in the header, or a browser's session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from webui.accounts.models import User
from webui.accounts.services import SCOPES, TOKEN_START, user_of_token
from webui.http.errors import StatusError


@dataclass(frozen=True)
class Caller:
    """The user of a call, their scopes, and whether they signed in as a person (session, or name and password)."""

    user: User
    scopes: frozenset[str]
    person: bool


class Token(AuthBase):
    """Admits callers with one of ``scopes``; without scopes, every caller with a valid token."""

    openapi_type = "http"
    openapi_scheme = "bearer"
    openapi_description = "An API token (hark_...) or the access token of a pair."

    def __init__(self, *scopes: str, person: bool = False) -> None:
        super().__init__()
        self.scopes, self.person = frozenset(scopes), person

    def __call__(self, request: HttpRequest) -> Caller:
        caller = _caller(request)
        if self.scopes and not self.scopes & caller.scopes:
            raise missing_scope(*self.scopes)
        if self.person and not caller.person and "admin" not in caller.scopes:
            raise StatusError(
                403,
                _("That is not allowed."),
                _("An API token needs the scope admin to create or revoke tokens and to manage organizations."),
                _("Sign in, or get an access token with your name and password, and use that."),
            )
        request.user = caller.user
        return caller


def missing_scope(*scopes: str) -> StatusError:
    """Return the error (403) for a token without these scopes."""
    return StatusError(
        403,
        _("The token does not permit this."),
        _("It lacks the scope %(scopes)s.") % {"scopes": " / ".join(sorted(scopes))},
        _("Create a token with that scope on your account page."),
    )


def needs(*scopes: str, person: bool = False, **more: Any) -> dict[str, Any]:
    """Return a route's arguments that require a token with one of ``scopes``, and state this in its documentation."""
    return {"auth": Token(*scopes, person=person), "openapi_extra": {"x-scopes": sorted(scopes), **more}}


def caller(request: HttpRequest) -> Caller:
    auth = getattr(request, "auth", None)
    assert isinstance(auth, Caller)
    return auth


def _caller(request: HttpRequest) -> Caller:
    header = request.headers.get("Authorization")
    user = request.user
    if header is None and isinstance(user, User) and user.is_active:
        refused = check_csrf(request)
        if refused is not None:
            raise StatusError(
                403,
                _("The request was not accepted."),
                _("A request with a session cookie needs the header X-CSRFToken to change anything."),
                _("Send the value of the cookie csrftoken in that header, or use a token."),
            )
        return Caller(user, frozenset(SCOPES if user.is_owner else set(SCOPES) - {"admin"}), person=True)
    known = getattr(request, "token_owner", None)  # from the header, if webui.accounts.rate_limits has read it
    named, scopes = known[1] if known and known[0] == header else user_of_token(header)
    text = (header or "").strip().partition(" ")[2].strip()
    return Caller(named, scopes, person=not text.startswith(TOKEN_START))
