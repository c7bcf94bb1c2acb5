"""Secrets that must be read again (webhooks sign with theirs) lie in the database sealed with the portal's own key."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken
from django.utils.crypto import salted_hmac

from core.errors import HarkError


def _box(purpose: str) -> Fernet:
    digest = salted_hmac("hark.api.sealing", purpose, algorithm="sha256").digest()
    return Fernet(base64.urlsafe_b64encode(digest))


def seal(text: str, purpose: str) -> str:
    """Readable with the same purpose and the same key of the portal only."""
    return _box(purpose).encrypt(text.encode()).decode()


def unseal(text: str, purpose: str) -> str:
    """What was sealed. Raises HarkError where the portal's key is another now."""
    try:
        return _box(purpose).decrypt(text.encode()).decode()
    except InvalidToken as error:
        raise HarkError(
            "A secret cannot be read any more.", "The key of the portal is another one than it was.", "Make it anew."
        ) from error
