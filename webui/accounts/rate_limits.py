"""Limits on the requests per minute of a user, a token and an IP address. Excess requests get 429.

They are counted in windows of a minute, in memory or, for the web servers of all machines, in Redis. django-ninja's
throttles would limit only operations of its own API, after a successful authentication, and set no RateLimit headers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from core.errors import HarkError
from webui.accounts.addresses import client_address, network_of
from webui.accounts.models import User
from webui.accounts.services import user_of_token
from webui.http.errors import StatusError, explain, problem
from webui.http.middleware import Middleware
from webui.http.parameters import is_page

log = logging.getLogger(__name__)

WINDOW_S = 60


@dataclass(frozen=True)
class Allowance:
    """The state of a limit.

    Attributes:
      limit: requests allowed per window.
      n: requests in this window.
      resets_at: start of the next window [s since 1970].
    """

    limit: int
    n: int
    resets_at: int

    @property
    def reset_s(self) -> int:
        return max(1, round(self.resets_at - time.time()))


def count(limits: Mapping[str, int], now: float | None = None) -> Allowance | None:
    """Count a request against all ``limits``, and return the one with the least left.

    ``limits`` are requests per minute by name; 0 means no limit. Without limits, or if Redis fails, return None, so
    that the request is allowed.
    """
    window = int((time.time() if now is None else now) // WINDOW_S)
    allowances = []
    try:
        for who, most in limits.items():
            if most:
                key = f"{salted_hmac('hark.rate_limits', who).hexdigest()}:{window}"
                caches["requests"].add(key, 0, 2 * WINDOW_S)
                allowances.append(Allowance(most, caches["requests"].incr(key), (window + 1) * WINDOW_S))
                # A token over its limit must not use up the limit of the user's other tokens.
                if allowances[-1].n > most:
                    break
    except _failures() as error:
        log.warning("requests are not counted: %s", error)
        return None
    return min(allowances, key=lambda allowance: allowance.limit - allowance.n, default=None)


def _failures() -> tuple[type[Exception], ...]:
    """Return the exceptions raised if Redis does not respond or the cache has dropped the key."""
    if not settings.REDIS:
        return (ValueError,)
    from redis.exceptions import RedisError

    return RedisError, ValueError


class RateLimitMiddleware(Middleware):
    """Counts each request to a known URL before it is processed."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = super().__call__(request)
        allowance: Allowance | None = getattr(request, "allowance", None)
        if allowance is not None:
            for name, value in _headers(request, allowance).items():
                response[name] = value
        return response

    def process_view(
        self, request: HttpRequest, view_func: Any, view_args: tuple[Any, ...], view_kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        allowance = count(_limits(request))
        request.allowance = allowance  # type: ignore[attr-defined]
        if allowance is None or allowance.n <= allowance.limit:
            return None
        error = StatusError(
            429,
            _("Too many requests."),
            _("%(most)d a minute are allowed here.") % {"most": allowance.limit},
            _("Wait %(n)d s, then continue more slowly.") % {"n": allowance.reset_s},
            wait_s=allowance.reset_s,
        )
        return _refused(request, view_func, error)


def _refused(request: HttpRequest, view_func: Any, error: StatusError) -> HttpResponseBase:
    """Respond in the format of the URL: a page, problem details, or OpenAI's error object."""
    shape = getattr(view_func, "shape", problem if request.path.startswith("/api/") else None)
    if shape is None or (shape is problem and is_page(request)):
        return explain(request, error, 429)
    response: HttpResponseBase = shape(error, 429)
    return response


def _limits(request: HttpRequest) -> dict[str, int]:
    """Return the limits of the token and its user, of the session's user or, if neither is known, of the IP address."""
    header = request.headers.get("Authorization")
    user = None
    limits = {}
    if header is not None:
        try:
            user_and_scopes = user_of_token(header)
        except HarkError:
            pass  # the view checks the token again and reports the error
        else:
            request.token_owner = header, user_and_scopes  # type: ignore[attr-defined]  # webui.api.authentication reads it
            user = user_and_scopes[0]
            limits[f"token {header.split()[-1]}"] = settings.REQUESTS_PER_TOKEN
    elif isinstance(request.user, User):
        user = request.user
    if user is None:
        return {f"address {network_of(client_address(request))}": settings.REQUESTS_PER_ADDRESS}
    return {**limits, f"user {user.pk}": settings.REQUESTS_PER_USER}


def _headers(request: HttpRequest, allowance: Allowance) -> dict[str, str]:
    most, remaining = str(allowance.limit), str(max(0, allowance.limit - allowance.n))
    headers = {
        "RateLimit-Limit": most,
        "RateLimit-Remaining": remaining,
        "RateLimit-Reset": str(allowance.reset_s),
        "X-RateLimit-Limit": most,
        "X-RateLimit-Remaining": remaining,
        "X-RateLimit-Reset": str(allowance.resets_at),
    }
    if request.path.startswith("/v1/"):  # OpenAI's header names
        headers["x-ratelimit-limit-requests"] = most
        headers["x-ratelimit-remaining-requests"] = remaining
        headers["x-ratelimit-reset-requests"] = f"{allowance.reset_s}s"
    return headers
