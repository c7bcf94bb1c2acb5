"""Requests a minute of a user, a token and an address, and the refusal of the next one."""

from __future__ import annotations

import time
from typing import Any

import pytest
from django.test import Client

from tests.support.processes import free_port
from webui.accounts import rate_limits
from webui.accounts.models import User
from webui.accounts.services import create_token

PER_USER, PER_TOKEN, PER_ADDRESS = 5, 3, 2


@pytest.fixture(autouse=True)
def limits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REQUESTS_PER_USER, settings.REQUESTS_PER_TOKEN = PER_USER, PER_TOKEN
    settings.REQUESTS_PER_ADDRESS = PER_ADDRESS
    monkeypatch.setattr("webui.accounts.rate_limits.time.time", lambda: 1_000_000_005.0)  # 15 s of a minute are left


def header(user: User, name: str = "ci") -> dict[str, str]:
    return {"Authorization": f"Bearer {create_token(user=user, name=name, scopes=['read', 'audio'])[1]}"}


def test_a_limited_token_gets_429_with_retry_headers(client: Client, other: User) -> None:
    sent = header(other)
    answers = [client.get("/api/v1/jobs", headers=sent) for _ in range(PER_TOKEN + 1)]
    assert [answer.status_code for answer in answers] == [200] * PER_TOKEN + [429]
    assert [answer["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    refused = answers[-1]
    assert refused["Retry-After"] == refused["RateLimit-Reset"] == "15"
    assert refused["RateLimit-Limit"] == refused["X-RateLimit-Limit"] == str(PER_TOKEN)
    assert refused["X-RateLimit-Remaining"] == "0" and refused["X-RateLimit-Reset"] == "1000000020"
    assert refused["Content-Type"] == "application/problem+json"
    assert refused.json()["status"] == 429 and "Wait 15 s," in refused.json()["what_to_do"]


def test_a_users_tokens_and_sessions_are_counted_together(others: Client, owner: User, other: User) -> None:
    one, two = header(other, "one"), header(other, "two")
    answers = [others.get("/api/v1/jobs", headers=sent) for sent in (one, one, two, two)]
    answers += [others.get("/inbox"), others.get("/inbox")]
    assert [answer.status_code for answer in answers] == [200] * PER_USER + [429]
    assert b"Too many requests." in answers[-1].content and answers[-1]["Content-Type"].startswith("text/html")
    assert Client().get("/api/v1/jobs", headers=header(owner)).status_code == 200  # another user, the same address


def test_a_limited_token_does_not_limit_the_users_other_tokens(client: Client, other: User) -> None:
    greedy, modest = header(other, "greedy"), header(other, "modest")
    answers = [client.get("/api/v1/jobs", headers=greedy) for _ in range(3 * PER_USER)]
    assert [answer.status_code for answer in answers].count(200) == PER_TOKEN
    assert client.get("/api/v1/jobs", headers=modest).status_code == 200


def test_unauthenticated_requests_are_limited_by_ip(client: Client, other: User) -> None:
    nobody = {"Authorization": "Bearer hark_nobody"}
    answers = [client.get("/api/v1/jobs", headers=nobody), client.get("/api/v1/jobs"), client.get("/account/login")]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert client.get("/account/login", REMOTE_ADDR="192.0.2.7").status_code == 200
    assert client.get("/api/v1/jobs", headers=header(other)).status_code == 200  # not for valid tokens


def test_each_api_reports_limits_in_its_own_format(client: Client, other: User) -> None:
    sent = header(other)
    for _ in range(PER_TOKEN):
        client.get("/v1/models", headers=sent)
    refused = client.get("/v1/models", headers=sent)
    assert refused.status_code == 429 and refused["Retry-After"] == "15"
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused["x-ratelimit-limit-requests"] == "3" and refused["x-ratelimit-reset-requests"] == "15s"
    refused = client.get("/progress", headers=sent)  # an endpoint of a compatible API
    assert refused.status_code == 429 and refused["Content-Type"] == "application/problem+json"


def test_cors_exposes_the_rate_limit_headers(client: Client, other: User, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.org"]
    answer = client.get("/v1/models", headers={**header(other), "Origin": "https://app.example.org"})
    exposed = answer["Access-Control-Expose-Headers"].lower().split(", ")
    told = [name.lower() for name in answer.headers if "ratelimit" in name.lower()]
    assert len(told) == 9 and set(told) <= set(exposed) and "retry-after" in exposed


def test_counts_restart_each_minute_and_0_disables_the_limit(client: Client, settings: Any) -> None:
    key = {"address x": 1}
    assert [rate_limits.count(key, now).n for now in (0.0, 59.9, 60.0, 61.0)] == [1, 2, 1, 2]
    assert rate_limits.count({"address x": 0}) is None
    settings.REQUESTS_PER_ADDRESS = 0
    answers = [client.get("/health") for _ in range(PER_ADDRESS + 1)]
    assert {answer.status_code for answer in answers} == {200} and "RateLimit-Limit" not in answers[0]


def test_no_request_is_limited_while_redis_is_down(client: Client, settings: Any) -> None:
    address = f"redis://127.0.0.1:{free_port()}"
    unreachable_redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": address}
    settings.CACHES, settings.REDIS = {**settings.CACHES, "requests": unreachable_redis}, True
    assert [client.get("/health").status_code for _ in range(PER_ADDRESS + 1)] == [200] * (PER_ADDRESS + 1)


def test_counting_a_request_is_fast() -> None:
    rate_limits.count({"user 1": 1})
    started = time.perf_counter()
    for _ in range(200):
        rate_limits.count({"user 1": 1, "token 1": 1})
    assert (time.perf_counter() - started) / 200 < 0.01  # an idle machine needs a fiftieth of that
