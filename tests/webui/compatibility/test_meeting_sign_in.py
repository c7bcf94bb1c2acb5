"""The meeting system: its password grant, the life of a token, and pages of other origins."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import Client

from tests.support.portal_users import PASSWORD
from webui.accounts.models import User

pytestmark = pytest.mark.django_db
FORM = {"grant_type": "password", "username": "oscar", "password": PASSWORD}
APP = "https://app.example.org"


@pytest.mark.parametrize("address", ["/token", "/api/auth/token"])
def test_a_name_and_a_password_get_a_token(client: Client, other: User, settings: Any, address: str) -> None:
    settings.ACCESS_TOKEN_MINUTES = 7
    answer = client.post(address, FORM)
    said = answer.json()
    assert answer.status_code == 200 and "no-store" in answer["Cache-Control"] and not answer.cookies
    assert said["token_type"] == "bearer" and said["expires_in"] == 420
    bearer = {"Authorization": f"Bearer {said['access_token']}"}
    assert client.get("/api/meetings", headers=bearer).json() == {"meetings": []}
    assert client.get("/api/v1/me", headers=bearer).json()["user"] == "oscar"


def test_a_token_can_have_fewer_scopes(client: Client, other: User) -> None:
    token = client.post("/token", {**FORM, "scope": "read"}).json()["access_token"]
    assert client.get("/api/meetings", headers={"Authorization": f"Bearer {token}"}).status_code == 403


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"password": "wrong"}, "invalid_grant"),
        ({"username": "nobody"}, "invalid_grant"),
        ({"password": ""}, "invalid_request"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"scope": "read root"}, "invalid_scope"),
        ({"scope": "read admin"}, "invalid_scope"),
    ],
)
def test_invalid_token_requests_are_rejected(client: Client, other: User, change: dict[str, str], word: str) -> None:
    answer = client.post("/token", {**FORM, **change})
    assert answer.status_code == 400 and answer.json()["error"] == word and answer.json()["what_to_do"]
    assert "access_token" not in answer.json()


def test_wrong_passwords_are_limited(client: Client, other: User) -> None:
    for _number in range(5):
        assert client.post("/token", {**FORM, "password": "wrong"}).status_code == 400
    answer = client.post("/token", FORM)
    assert answer.status_code == 429 and int(answer["Retry-After"]) > 0


def test_cors_allows_only_listed_origins(client: Client, owner: User, settings: Any) -> None:
    ask = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for answer in (client.get("/health", headers={"Origin": APP}), client.options("/api/meetings", headers=ask)):
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
    settings.CORS_ALLOWED_ORIGINS = [APP]
    answer = client.get("/health", headers={"Origin": APP})
    assert answer["Access-Control-Allow-Origin"] == APP and answer["Access-Control-Allow-Credentials"] == "true"
    preflight = client.options("/api/meetings", headers=ask)
    assert preflight.status_code == 200 and "authorization" in preflight["Access-Control-Allow-Headers"]
    for origin in ("https://evil.example", "null", f"{APP}.evil.example", "http://app.example.org"):
        answer = client.get("/health", headers={"Origin": origin})
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_sockets_accept_only_listed_origins(settings: Any) -> None:
    from webui.accounts.socket_sign_in import OwnPagesAndPrograms
    from webui.asgi import application

    sockets = application.application_mapping["websocket"]
    assert isinstance(sockets, OwnPagesAndPrograms)
    sockets = OwnPagesAndPrograms(sockets.application, [*sockets.allowed_origins, APP])

    settings.CORS_ALLOWED_ORIGINS = [APP]

    async def opens(origin: str) -> bool:
        headers = [(b"host", b"localhost"), (b"origin", origin.encode())]
        scope = {"type": "websocket", "path": "/ws/jobs", "headers": headers, "query_string": b"", "subprotocols": []}
        end = ApplicationCommunicator(sockets, scope)
        await end.send_input({"type": "websocket.connect"})
        return bool((await end.receive_output(20))["type"] == "websocket.accept")

    assert asyncio.run(opens(APP)) and not asyncio.run(opens("https://evil.example"))
