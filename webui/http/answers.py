"""Middleware for responses: one Content-Security-Policy, and compression of pages and JSON."""

from __future__ import annotations

from collections.abc import Callable

from csp.constants import HEADER
from csp.utils import build_policy
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

from webui.http.middleware import Middleware

COMPRESSED = ("text/html", "application/json")  # audio, files and streams are not compressed


class ContentPolicy(Middleware):
    """Sets the header of ``settings.CONTENT_SECURITY_POLICY``, built once, because it has no nonces."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        self._policy = build_policy()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = super().__call__(request)
        response.headers[HEADER] = self._policy
        return response


class CompressPages(GZipMiddleware):
    """Compresses pages and JSON as Django's middleware does, with random bytes that hide lengths (BREACH)."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if response.streaming or not response.headers.get("Content-Type", "").startswith(COMPRESSED):
            return response
        return super().process_response(request, response)
