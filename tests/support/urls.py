"""Every URL of the portal."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

from django.urls import URLPattern, URLResolver, get_resolver

VALUES = {"job_id": None, "detector_id": None, "sample_id": None, "number": "1", "clip_id": "1", "name": "report.json"}


def portal_urls(
    patterns: list[URLPattern | URLResolver], start: str = "", space: str = ""
) -> Iterator[tuple[str, str]]:
    """Return (name, pattern) of every URL of the portal's own."""
    for pattern in patterns:
        route = start + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from portal_urls(pattern.url_patterns, route, pattern.namespace or space)
        elif not route.startswith(("sign-in/", "api/")):
            yield f"{space}:{pattern.name}", "/" + route


URLS = sorted(portal_urls(get_resolver().url_patterns))


def filled(route: str, values: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        kind, name = match.group(1), match.group(2)
        given = {**VALUES, **values}.get(name)
        return given or {"uuid": str(uuid.uuid4()), "int": "1"}.get(kind, "x")

    return re.sub(r"<(\w+):(\w+)>", value, route)
