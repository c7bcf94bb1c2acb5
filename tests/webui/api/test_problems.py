"""All errors of the API are explained as problem details."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.support.api_calls import Call, World, a_token, problem_of
from tests.support.portal_users import browser_of
from webui.accounts.models import User

pytestmark = pytest.mark.django_db


def test_invalid_fields_are_named_one_by_one(call: Call, owner: User) -> None:
    body = {"effort": "enormous", "seed": -1, "colour": "blue"}
    said = problem_of(call("post", "/plans", body=body, headers=a_token(owner)), 422)
    assert {error["where"].rpartition(".")[2] for error in said["errors"]} == {"phrase", "effort", "seed", "colour"}
    assert "phrase" in said["why"]


def test_an_invalid_password_is_not_echoed(call: Call) -> None:
    response = call("post", "/pairs", body={"name": "olivia", "password": ["hunter2"]})
    problem_of(response, 422)
    assert b"hunter2" not in response.content


def test_an_untrainable_phrase_is_explained(call: Call, owner: User) -> None:
    said = problem_of(call("post", "/plans", body={"phrase": "!!!"}, headers=a_token(owner)), 422)
    assert "!!!" in said["what"] + said["why"]


@pytest.mark.parametrize("body", ["{", "[1, 2", '"text"', "[]", "null", "\x00"])
def test_malformed_json_is_rejected(call: Call, owner: User, body: str) -> None:
    response = call("post", "/plans", body=body, headers=a_token(owner))
    problem_of(response, response.status_code)
    assert response.status_code in (400, 422)


def test_unknown_urls_get_404(call: Call, owner: User) -> None:
    for path in ("/nothing", "/jobs/7", "/detectors/x", "/api/v2/jobs", "/api/"):
        problem_of_any(call("get", path, headers=a_token(owner)), 404)


def problem_of_any(response: Any, status: int) -> None:
    assert response.status_code == status and response["Content-Type"] == "application/problem+json"
    assert {"title", "status", "what", "why", "what_to_do"} <= set(response.json())


def test_unsupported_methods_get_405(call: Call, owner: User) -> None:
    response = call("put", "/jobs", headers=a_token(owner))
    problem_of(response, 405)
    assert "POST" in response["Allow"]


def test_a_too_large_body_gets_413(call: Call, owner: User, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    problem_of(call("post", "/plans", body={"phrase": "x" * 2000}, headers=a_token(owner)), 413)


def test_body_sizes_are_checked_before_reading() -> None:
    from webui.asgi import application

    async def ask(path: str, length: int) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        headers = [(b"content-length", str(length).encode()), (b"host", b"localhost")]
        scope = {
            "type": "http", "path": path, "raw_path": path.encode(), "method": "POST", "headers": headers,
            "query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("localhost", 80),
        }  # fmt: skip
        await application(scope, receive, send)
        return sent

    start, body, _end = asyncio.run(ask("/api/v1/plans", 3_000_000))
    assert start["status"] == 413 and (b"content-type", b"application/problem+json") in start["headers"]
    assert set(json.loads(body["body"])) == {"type", "title", "status", "what", "why", "what_to_do"}
    start, *_body = asyncio.run(ask("/api/v1/detectors/1/versions/1/detect", 300_000_000))
    assert start["status"] == 413


def test_a_bug_reveals_nothing(call: Call, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("the secret")

    monkeypatch.setattr("webui.trainer.services.plan", fail)
    response = call("post", "/plans", body={"phrase": "hey compass"}, headers=a_token(owner))
    problem_of(response, 500)
    assert b"secret" not in response.content


def test_a_full_queue_gets_429(call: Call, world: World, settings: Any) -> None:
    settings.JOBS_WAITING = 0
    response = call("post", "/jobs", body={"phrase": "hey compass"}, headers=a_token(world.user))
    problem_of(response, 429)
    assert int(response["Retry-After"]) > 0


def test_session_requests_need_a_csrf_token(owner: User) -> None:
    browser = browser_of(owner, enforce_csrf_checks=True)
    assert browser.get("/api/v1/jobs").status_code == 200
    body = {"phrase": "hey compass"}
    problem_of(browser.post("/api/v1/plans", body, content_type="application/json"), 403)
    browser.get("/account/login")
    browser.get("/")
    token = browser.cookies["csrftoken"].value
    headers = {"X-CSRFToken": token}
    assert browser.post("/api/v1/plans", body, content_type="application/json", headers=headers).status_code == 201
    # A bearer's request needs none, and a wrong bearer does not fall back to the session.
    assert browser.post("/api/v1/plans", body, "application/json", headers=a_token(owner)).status_code == 201
    problem_of(browser.get("/api/v1/jobs", headers={"Authorization": "Bearer hark_x"}), 401)
    problem_of(browser.get("/api/v1/jobs", headers={"Authorization": "Basic b2s6b2s="}), 401)
