"""Encryption, with the portal's key, of secrets that Hark must read again, such as those that sign webhooks.

A link, token or secret that is shown once is sealed too, in the session. The response to its form is a redirect,
because reloading a page would create a second one, and the page that follows shows the secret.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from core.errors import HarkError
from webui.keys.secret import all_keys

SHOWN_ONCE = "shown once"


class Unreadable(HarkError):
    """A sealed text that none of the portal's keys opens."""


def _box(purpose: str) -> MultiFernet:
    """Return an encryptor that uses the current key, and decrypts with previous keys too."""
    return MultiFernet(
        [
            Fernet(base64.urlsafe_b64encode(salted_hmac("hark.api.sealing", purpose, key, algorithm="sha256").digest()))
            for key in all_keys()
        ]
    )


def seal(text: str, purpose: str) -> str:
    """Seal a text. Opening it needs the same purpose and the portal's key."""
    return _box(purpose).encrypt(text.encode()).decode()


def unseal(text: str, purpose: str) -> str:
    """Decrypt a sealed text. Raises Unreadable if the portal's key has changed."""
    return _opened(_box(purpose).decrypt, text)


def reseal(text: str, purpose: str) -> str:
    """Seal a text again with the current key. Raises the error of :func:`unseal`."""
    return _opened(_box(purpose).rotate, text)


def _opened(opens: Callable[[bytes], bytes], text: str) -> str:
    try:
        return opens(text.encode()).decode()
    except InvalidToken as error:
        raise Unreadable(
            "A stored secret can no longer be read.", "The portal's key has changed.", "Create the secret again."
        ) from error


def show_next(request: HttpRequest, name: str, shown: Mapping[str, str]) -> None:
    """Store ``shown`` for the next page that calls :func:`shown_now` with the same name."""
    request.session[f"{SHOWN_ONCE}: {name}"] = seal(json.dumps(dict(shown)), SHOWN_ONCE)


def shown_now(request: HttpRequest, name: str) -> dict[str, str]:
    sealed = request.session.pop(f"{SHOWN_ONCE}: {name}", None) if request.method == "GET" else None
    return {} if sealed is None else dict(json.loads(unseal(sealed, SHOWN_ONCE)))
