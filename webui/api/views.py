"""The API documentation: a page, and the schema that it displays."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from webui.api.api import api


@cache
def _schema() -> dict[str, Any]:
    # A round trip through JSON converts its keys to strings, as programs receive them.
    loaded: dict[str, Any] = json.loads(json.dumps(api.get_openapi_schema(path_prefix="/api/v1/"), default=str))
    return loaded


@login_not_required
@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    """Return OpenAPI 3.1. It reveals nothing about this installation, so it is public."""
    return HttpResponse(json.dumps(_schema(), indent=1, ensure_ascii=False), content_type="application/json")


@login_not_required
@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Show the schema in Swagger UI, which django-ninja ships."""
    return render(request, "api/docs.html")
