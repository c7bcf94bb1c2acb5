"""The Content-Security-Policy of all answers: one, without nonces, so that it is put together once."""

from __future__ import annotations

from collections.abc import Callable

from csp.constants import HEADER
from csp.utils import build_policy
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from webui.logs import Middleware


class ContentPolicy(Middleware):
    """Set django-csp's header for ``settings.CONTENT_SECURITY_POLICY``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        self._policy = build_policy()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = super().__call__(request)
        response.headers[HEADER] = self._policy
        return response
