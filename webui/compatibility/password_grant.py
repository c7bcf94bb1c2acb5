"""OAuth 2.0's password grant (RFC 6749, section 4.3), with which programs of the meeting system sign in."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse

from core.errors import HarkError
from webui.accounts.addresses import client_address
from webui.accounts.second_factor import sign_in_program
from webui.accounts.services import SCOPES, issue_pair
from webui.accounts.sign_in import SignInRefused
from webui.api.endpoints import endpoint
from webui.http.errors import StatusError, problem

GRANT = "password"


class _Refused(StatusError):
    """An error with OAuth's code for it."""

    def __init__(self, word: str, why: str, what_to_do: str) -> None:
        super().__init__(400, "No token was given.", why, what_to_do)
        self.word = word


def _shape(error: HarkError, status: int) -> HttpResponse:
    """Return problem details with OAuth's ``error`` and ``error_description``; a wrong password gets 400."""
    wrong_password = isinstance(error, SignInRefused)
    word = "invalid_grant" if wrong_password else getattr(error, "word", "invalid_request")
    return problem(error, 400 if wrong_password else status, error=word, error_description=error.why)


@endpoint("POST", shape=_shape)
def token(request: HttpRequest) -> HttpResponse:
    """Handle ``POST /token``: return a token for ``username``, ``password``, ``grant_type=password`` and ``scope``.

    Wrong passwords count as on the sign-in page.
    """
    grant = request.POST.get("grant_type") or GRANT
    if grant != GRANT:
        raise _Refused("unsupported_grant_type", f"Hark does not support the grant {grant[:40]!r}.", f"Send {GRANT}.")
    name, password = request.POST.get("username", ""), request.POST.get("password", "")
    if not name or not password:
        raise _Refused("invalid_request", "username or password is missing.", "Send both, as a form.")
    wanted = request.POST.get("scope", "").split()
    if unknown := set(wanted) - set(SCOPES):
        why = f"The scope {min(unknown)[:40]!r} does not exist."
        raise _Refused("invalid_scope", why, f"Request some of {' '.join(SCOPES)}; without a scope, you get all.")
    user = sign_in_program(name=name, password=password, address=client_address(request))
    try:
        pair = issue_pair(user=user, scopes=wanted or None)
    except HarkError as error:
        raise _Refused("invalid_scope", error.why, error.what_to_do) from error
    return JsonResponse({"access_token": pair.access, "token_type": "bearer", "expires_in": pair.expires_in})
