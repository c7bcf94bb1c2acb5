"""A passkey in software: responds to a page's requests like an authenticator with one key."""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData

ORIGIN = "https://hark.example.org"


class Authenticator:
    """An authenticator with one key."""

    def __init__(self, origin: str = ORIGIN) -> None:
        self.origin = origin
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.credential_id = secrets.token_bytes(32)

    def made(self, options: dict[str, Any]) -> str:
        """Return the response to ``navigator.credentials.create``, as JSON."""
        asked = options["publicKey"]
        public = ES256.from_cryptography_key(self.key.public_key())
        attested = AttestedCredentialData.create(Aaguid.NONE, self.credential_id, public)
        flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV | AuthenticatorData.FLAG.AT
        data = AuthenticatorData.create(self._host(asked["rp"]["id"]), flags, 0, attested)
        return self._answer(
            clientDataJSON=self._client_data("webauthn.create", asked["challenge"]),
            attestationObject=bytes(AttestationObject.create("none", data, {})),
        )

    def shown(self, options: dict[str, Any]) -> str:
        """Return the response to ``navigator.credentials.get``, as JSON."""
        asked = options["publicKey"]
        flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.UV
        data = AuthenticatorData.create(self._host(asked["rpId"]), flags, 1)
        client = self._client_data("webauthn.get", asked["challenge"])
        signed = self.key.sign(bytes(data) + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(clientDataJSON=client, authenticatorData=bytes(data), signature=signed)

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    @staticmethod
    def _host(name: str) -> bytes:
        return hashlib.sha256(name.encode()).digest()

    def _answer(self, **response: bytes) -> str:
        identifier = websafe_encode(self.credential_id)
        return json.dumps(
            {
                "id": identifier, "rawId": identifier, "type": "public-key", "clientExtensionResults": {},
                "response": {name: websafe_encode(content) for name, content in response.items()},
            }
        )  # fmt: skip
