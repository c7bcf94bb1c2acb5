"""The page that explains the portal's numbers and keys."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from db.backup import hark_version


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    """What can be done here, what the figures mean, which keys do what, and Hark's version."""
    return render(request, "help.html", {"version": hark_version()})
