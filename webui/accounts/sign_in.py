"""Signing in with a password, and how often one may be guessed."""

from __future__ import annotations

import hmac
import ipaddress
import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from core.errors import HarkError
from webui.accounts.models import SignInFailure, User

FAILURES_OF_A_NAME, FAILURES_OF_AN_ADDRESS = 5, 20
FAILURES_WITHIN = timedelta(minutes=10)
IPV6_NETWORK = 64  # bits; one household has as many addresses as it likes


class SignInRefused(HarkError):
    """A wrong name or password; answered with 401."""

    status = 401


class TooManyFailures(HarkError):
    """Passwords were guessed too often; answered with 429.

    Attributes:
        wait_s: until the next try is looked at [s].
    """

    status = 429
    wait_s = 0


def sign_in(*, name: str, password: str, address: str) -> User:
    """The user whom a name (or e-mail address) and a password belong to; ``address`` is where the request came from.

    Raises:
        TooManyFailures: of this name or from this address, in the last ten minutes.
        SignInRefused: wrong, or deactivated. Which of them is not said.
    """
    name = unicodedata.normalize("NFKC", name.strip())
    user = User.objects.filter(Q(username__iexact=name) | Q(email__iexact=name)).first() if name else None
    failure = _expect_failure(f"user {user.pk}" if user else f"name {name.casefold()}", address)
    # For an unknown name it hashes too, so that the time that it takes tells nothing.
    signed_in = ModelBackend().authenticate(None, username=user.get_username() if user else "\0", password=password)
    if not isinstance(signed_in, User):
        raise SignInRefused(
            _("You could not be signed in."),
            _("The name or the password is wrong, or the account is deactivated."),
            _("Check both. A forgotten password is replaced by a link from the owner."),
        )
    SignInFailure.objects.filter(name_digest=failure.name_digest).delete()
    return signed_in


def _expect_failure(who: str, address: str) -> SignInFailure:
    """Write down a failure before the password is looked at: many guesses at once are counted one by one so."""
    now = timezone.now()
    name_digest, address_digest = _keyed(who), _keyed(f"address {network_of(address)}")
    with transaction.atomic():
        SignInFailure.objects.filter(at__lte=now - FAILURES_WITHIN).delete()
        wait = max(
            _wait(now, SignInFailure.objects.filter(name_digest=name_digest).values_list("at", flat=True),
                  FAILURES_OF_A_NAME),
            _wait(now, SignInFailure.objects.filter(address_digest=address_digest).values_list("at", flat=True),
                  FAILURES_OF_AN_ADDRESS),
        )  # fmt: skip
        if wait:
            raise _too_many(wait)
        return SignInFailure.objects.create(name_digest=name_digest, address_digest=address_digest, at=now)


def _wait(now: datetime, failures: Iterable[datetime], allowed: int) -> int:
    """Seconds until one more may be tried, 0 where it may now."""
    times = sorted(failures)
    if len(times) < allowed:
        return 0
    return max(1, round((times[-allowed] + FAILURES_WITHIN - now).total_seconds()))


def _too_many(wait_s: int) -> TooManyFailures:
    minutes = -(-wait_s // 60)
    error = TooManyFailures(
        _("Too many failed sign-ins."),
        _("A wrong name or password was given again and again."),
        ngettext("Wait %(n)d minute, then try again.", "Wait %(n)d minutes, then try again.", minutes) % {"n": minutes},
    )
    error.wait_s = wait_s
    return error


def forgive(*, user: User) -> None:
    """Forget the failed sign-ins of a user."""
    SignInFailure.objects.filter(name_digest=_keyed(f"user {user.pk}")).delete()


def _keyed(text: str) -> str:
    return hmac.new(settings.SECRET_KEY.encode(), f"sign-in {text}".encode(), "sha256").hexdigest()


def network_of(address: str) -> str:
    """The addresses that one household has: of IPv6 a network, else the address itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, IPV6_NETWORK), strict=False))
    return str(found)


def client_address(request: HttpRequest) -> str:
    """Where a request came from; behind the proxy that HARK_HTTPS speaks of, what that proxy says."""
    if settings.SECURE_PROXY_SSL_HEADER:
        forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        if forwarded:
            return forwarded
    return str(request.META.get("REMOTE_ADDR", ""))
