"""The portal's own middleware, and names of requests that contain no URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Middleware:
    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = self.get_response(request)
        return response


def view_of(request: HttpRequest) -> str:
    """Return the view's name for the log, because the URL may hold a token or be invented."""
    return str(request.resolver_match.view_name) if request.resolver_match else "none"


def method_of(request: HttpRequest) -> str:
    return request.method if request.method in METHODS else "other"
