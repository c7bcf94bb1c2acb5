"""What is made once and shown once (links, tokens, secrets), on its way from the form to the page that shows it.

A form that makes something is answered with a redirect: reloading the answer would make a second one. Until that page
is asked for, what it will show lies in the session, sealed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from django.http import HttpRequest

from webui.api.sealing import seal, unseal

PURPOSE = "shown once"


def show_next(request: HttpRequest, name: str, shown: Mapping[str, str]) -> None:
    """Keep it for the next page that asks :func:`shown_now` for that name."""
    request.session[f"{PURPOSE}: {name}"] = seal(json.dumps(dict(shown)), PURPOSE)


def shown_now(request: HttpRequest, name: str) -> dict[str, str]:
    sealed = request.session.pop(f"{PURPOSE}: {name}", None) if request.method == "GET" else None
    return {} if sealed is None else dict(json.loads(unseal(sealed, PURPOSE)))
