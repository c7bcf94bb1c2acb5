"""Sign-in with a password, and limits on guesses."""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.core import signing
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from core.errors import HarkError
from webui.accounts.addresses import client_address, network_of
from webui.accounts.audit import Action, record
from webui.accounts.hashing import HashingBusy
from webui.accounts.models import SignInFailure, User
from webui.http.errors import StatusError
from webui.transactions import serialized

# Limits for a name from one address, for all names from one address, and for a name from anywhere. The last stops
# guesses from many addresses, but does not lock users out of browsers in which they have signed in before.
FAILURES_OF_A_NAME, FAILURES_OF_AN_ADDRESS, FAILURES_FROM_ANYWHERE = 5, 20, 50
FAILURES_WITHIN = timedelta(minutes=10)
KNOWN_BROWSER, KNOWN_FOR_S = "hark_browser", 180 * 24 * 3600  # a cookie


class SignInRefused(HarkError):
    """Raised for a wrong name or password. The response is 401."""

    status = 401


def sign_in(*, name: str, password: str, address: str, browser: str = "") -> User:
    """Return the user with this name (or e-mail address) and password.

    Args:
      address: the IP address of the request.
      browser: its known-browser cookie. A known browser is not affected by failures elsewhere.

    Raises:
      StatusError: this name or this address has had too many failures in the last ten minutes.
      SignInRefused: name or password is wrong, or the user is deactivated; the message does not say which.
      HashingBusy: too many users are signing in at the same time.
    """
    name = unicodedata.normalize("NFKC", name.strip())
    user = User.objects.filter(Q(username__iexact=name) | Q(email__iexact=name)).first() if name else None
    who, place = f"user {user.pk}" if user else f"name {name.casefold()}", f"address {network_of(address)}"
    if user is not None and is_known(browser, user):
        who, place = f"{who} in {browser}", browser
    failure = expect_failure(who, place)
    # A password is hashed for an unknown name too, so that the response time does not reveal which names exist.
    try:
        signed_in = ModelBackend().authenticate(None, username=user.get_username() if user else "\0", password=password)
    except HashingBusy:
        failure.delete()  # it does not count, because the password was not checked
        raise
    if not isinstance(signed_in, User):
        record(Action.SIGN_IN_FAILED, about=user)
        raise SignInRefused(
            _("You could not be signed in."),
            _("The name or the password is wrong, or the account is deactivated."),
            _("Check both. If you forgot the password, ask the owner for a link."),
        )
    forgive_failure(failure)
    return signed_in


def sender(request: HttpRequest) -> dict[str, str]:
    """Return the IP address and browser of a request, as arguments of :func:`sign_in`."""
    return {"address": client_address(request), "browser": request.COOKIES.get(KNOWN_BROWSER, "")}


def remember_browser(request: HttpRequest, response: HttpResponse, user: User) -> None:
    """Set the cookie that marks a browser in which the user has signed in."""
    if is_known(request.COOKIES.get(KNOWN_BROWSER, ""), user):
        return
    response.set_cookie(
        KNOWN_BROWSER,
        signing.dumps([user.pk, secrets.token_hex(8)], salt=KNOWN_BROWSER),
        max_age=KNOWN_FOR_S,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def is_known(cookie: str, user: User) -> bool:
    """Return whether the cookie belongs to a browser in which the user has signed in before."""
    try:
        return bool(signing.loads(cookie, salt=KNOWN_BROWSER, max_age=KNOWN_FOR_S)[0] == user.pk)
    except signing.BadSignature:
        return False


def expect_failure(who: str, place: str, from_anywhere: int = FAILURES_FROM_ANYWHERE) -> SignInFailure:
    """Record a failure before the password is checked, so that simultaneous guesses are all counted."""
    now = timezone.now()
    name_digest, address_digest = _keyed(who), _keyed(place)
    with serialized():
        # Failures in the future mean that the clock was set back.
        SignInFailure.objects.filter(Q(at__lte=now - FAILURES_WITHIN) | Q(at__gt=now)).delete()
        of_name = SignInFailure.objects.filter(name_digest=name_digest).values_list("at", flat=True)
        of_address = SignInFailure.objects.filter(address_digest=address_digest).values_list("at", flat=True)
        wait = max(
            _wait(now, of_name.filter(address_digest=address_digest), FAILURES_OF_A_NAME),
            _wait(now, of_address, FAILURES_OF_AN_ADDRESS),
            _wait(now, of_name, from_anywhere),
        )
        if wait:
            raise too_many(wait)
        return SignInFailure.objects.create(name_digest=name_digest, address_digest=address_digest, at=now)


def _wait(now: datetime, failures: Iterable[datetime], allowed: int) -> int:
    """Return the seconds until another attempt is allowed; 0 for now."""
    times = sorted(failures)
    if len(times) < allowed:
        return 0
    return max(1, round((times[-allowed] + FAILURES_WITHIN - now).total_seconds()))


def too_many(wait_s: int) -> StatusError:
    """Return the error that tells the user to wait ``wait_s`` seconds."""
    minutes = -(-wait_s // 60)
    return StatusError(
        429,
        _("Too many failed sign-ins."),
        _("A wrong name or password was entered too many times."),
        ngettext("Wait %(n)d minute, then try again.", "Wait %(n)d minutes, then try again.", minutes) % {"n": minutes},
        wait_s,
    )


def forgive_failure(failure: SignInFailure) -> None:
    """Delete a failure recorded in advance that did not occur, and earlier ones of the same name and address."""
    SignInFailure.objects.filter(name_digest=failure.name_digest, address_digest=failure.address_digest).delete()


def forgive(*, user: User) -> None:
    SignInFailure.objects.filter(name_digest=_keyed(f"user {user.pk}")).delete()


def _keyed(text: str) -> str:
    return hmac.new(settings.SECRET_KEY.encode(), f"sign-in {text}".encode(), "sha256").hexdigest()
