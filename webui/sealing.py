"""Secrets that must be read again (webhooks sign with theirs) lie in the database sealed with the portal's own key.

So does what is made once and shown once (links, tokens, secrets): a form that makes something is answered with a
redirect, as reloading the answer would make a second one. Until that page is asked for, it lies in the session.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from core.errors import HarkError
from webui.secret import all_keys

SHOWN_ONCE = "shown once"


def _box(purpose: str) -> MultiFernet:
    """Seals with the key of now, opens with those of before, too."""
    return MultiFernet(
        [
            Fernet(base64.urlsafe_b64encode(salted_hmac("hark.api.sealing", purpose, key, algorithm="sha256").digest()))
            for key in all_keys()
        ]
    )


def seal(text: str, purpose: str) -> str:
    """Readable with the same purpose and the same key of the portal only."""
    return _box(purpose).encrypt(text.encode()).decode()


def unseal(text: str, purpose: str) -> str:
    """What was sealed. Raises HarkError where the portal's key is another now."""
    return _opened(_box(purpose).decrypt, text)


def reseal(text: str, purpose: str) -> str:
    """The same, sealed with the key of now. Raises HarkError as :func:`unseal`."""
    return _opened(_box(purpose).rotate, text)


def _opened(opens: Callable[[bytes], bytes], text: str) -> str:
    try:
        return opens(text.encode()).decode()
    except InvalidToken as error:
        raise HarkError(
            "A secret cannot be read any more.", "The key of the portal is another one than it was.", "Make it anew."
        ) from error


def show_next(request: HttpRequest, name: str, shown: Mapping[str, str]) -> None:
    """Keep it for the next page that asks :func:`shown_now` for that name."""
    request.session[f"{SHOWN_ONCE}: {name}"] = seal(json.dumps(dict(shown)), SHOWN_ONCE)


def shown_now(request: HttpRequest, name: str) -> dict[str, str]:
    sealed = request.session.pop(f"{SHOWN_ONCE}: {name}", None) if request.method == "GET" else None
    return {} if sealed is None else dict(json.loads(unseal(sealed, SHOWN_ONCE)))
