"""Requests to a server on this machine that misbehaves in every known way."""

from __future__ import annotations

import email.utils
import json
import logging
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.http import HttpError, Server
from tests.support.http_server import Recorder, Reply, do_not_wait, serving

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def double() -> Iterator[Recorder]:
    double = Recorder()
    with serving(double) as double.url:
        yield double


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts [s]."""
    return do_not_wait(monkeypatch)


def server(url: str, **more: Any) -> Server:
    return Server(url, "The other side", "Check it.", KEY, **{"timeout_s": 0.5, "attempts": 4, **more})


def test_a_request_sends_json_and_the_key(double: Recorder) -> None:
    double.replies = [(200, {"X-More": "yes"}, b'{"a": 1}')]
    answer = server(double.url).ask("POST", "/v1/x", {"Accept": "application/json"}, json={"b": 2})
    assert answer.json() == {"a": 1} and answer.headers["x-more"] == "yes"
    (path, headers, body) = double.asked[0]
    assert path == "/v1/x" and json.loads(body) == {"b": 2}
    assert headers["Authorization"] == f"Bearer {KEY}" and headers["Accept"] == "application/json"
    Server(double.url, "It", "Check.").ask("GET", "/")
    assert "Authorization" not in double.asked[1][1]


def test_rate_limits_and_server_errors_are_retried_after_a_wait(double: Recorder, waits: list[float]) -> None:
    double.replies = [
        (429, {"Retry-After": "7"}, b""), (503, {"Retry-After": "soon"}, b"<html>"), (500, {"Retry-After": "inf"}, b""),
        (200, {}, b"done"),
    ]  # fmt: skip
    assert server(double.url).ask("GET", "/").body == b"done"
    assert waits == [7.0, 2.0, 4.0]


def test_a_lasting_rate_limit_fails_after_four_attempts(double: Recorder, waits: list[float]) -> None:
    double.replies = [(429, {}, b'{"error": {"message": "Rate limit\\nreached."}}')]
    with pytest.raises(HttpError, match=r"answered 429 \(Too Many Requests: Rate limit") as caught:
        server(double.url).ask("GET", "/")
    assert len(double.asked) == 4 and len(waits) == 3 and caught.value.again and caught.value.answered == 429
    double.replies = [(429, {"Retry-After": "3600"}, b"")]
    with pytest.raises(HttpError, match="3600 s"):
        server(double.url).ask("GET", "/")
    assert len(double.asked) == 5, "the wait is limited"


def test_retry_after_may_be_a_date_and_is_never_negative(double: Recorder, waits: list[float]) -> None:
    soon = email.utils.formatdate(time.time() + 20, usegmt=True)
    double.replies = [(503, {"Retry-After": said}, b"") for said in (soon, "-5")]
    double.replies += [(503, {"Retry-After": ""}, b""), (200, {}, b"")]
    server(double.url).ask("GET", "/")
    assert 15 < waits[0] <= 20 and waits[1:] == [0.0, 4.0]


def test_a_server_that_hangs_is_retried_once(double: Recorder, waits: list[float]) -> None:
    double.hangs_s = 1.0
    started = time.monotonic()
    with pytest.raises(HttpError, match=r"did not answer within 0\.2 s"):
        server(double.url, timeout_s=0.2).ask("GET", "/")
    assert time.monotonic() - started < 2 and len(double.asked) == 2


def test_a_slow_drip_response_times_out(waits: list[float]) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            connection.recv(65536)
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                for _ in range(100):
                    connection.sendall(b" ")
                    time.sleep(0.05)
            except OSError:
                connection.close()

    threading.Thread(target=drip, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(HttpError, match="did not answer within"):
        server(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.3).ask("GET", "/")
    assert time.monotonic() - started < 3
    listener.close()


def test_oversized_responses_are_not_read(double: Recorder, tmp_path: Path) -> None:
    double.replies = [(200, {}, b"x" * 5000)]
    with pytest.raises(HttpError, match="more than 1,000 bytes"):
        server(double.url, max_bytes=1000).ask("GET", "/")
    with pytest.raises(HttpError, match="more than 1,000 bytes"):
        server(double.url, max_bytes=1000).download("/", tmp_path / "x")


def test_a_download_is_whole_or_fails(double: Recorder, tmp_path: Path) -> None:
    double.replies = [(200, {}, b"x" * 3_000_000)]
    server(double.url).download("/", tmp_path / "x")
    assert (tmp_path / "x").stat().st_size == 3_000_000
    double.replies = [(200, {"Content-Length": "100"}, b"x")]
    with pytest.raises(HttpError, match="cannot be reached"):
        server(double.url).download("/", tmp_path / "x")


@pytest.mark.parametrize("status", [400, 401, 404, 413, 499])
def test_a_client_error_is_not_retried(double: Recorder, status: int) -> None:
    double.replies = [(status, {}, json.dumps({"message": f"Incorrect API key {KEY} or sk-ver*****789."}).encode())]
    with pytest.raises(HttpError, match=str(status)) as caught:
        server(double.url).ask("GET", "/")
    assert len(double.asked) == 1 and not caught.value.again and "sk-" not in str(caught.value)


def test_redirects_are_followed_only_if_enabled(double: Recorder) -> None:
    moved: Reply = (307, {"Location": f"{double.url}/elsewhere"}, b"")
    double.replies = [moved]
    with pytest.raises(HttpError, match=r"answered 307 \(to .*/elsewhere"):
        server(double.url).ask("GET", "/")
    assert len(double.asked) == 1, "the key is not sent to another host"
    double.replies = [moved, (200, {}, b"there")]
    assert Server(double.url, "It", "Check.", redirects=True).ask("GET", "/").body == b"there"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://a\nb", "https://", "nothing"])
def test_an_unreachable_server_is_reported(url: str, waits: list[float]) -> None:
    with pytest.raises(HttpError, match="cannot be reached") as caught:
        server(url).ask("GET", "/")
    assert caught.value.answered == 0 and caught.value.what_to_do == "Check it."


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "nonsense://x"])
def test_an_unusable_proxy_is_reported(proxy: str, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(HttpError, match="cannot be reached"):
        server("http://example.invalid").ask("GET", "/")


def test_the_key_is_in_no_error_or_log(double: Recorder, waits: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert KEY not in repr(server(double.url))
    shown = []
    for reply in ((401, {}, json.dumps({"message": f"bad {KEY}"}).encode()), (500, {}, KEY.encode())):
        double.replies = [reply]
        with pytest.raises(HttpError):
            try:
                server(double.url).ask("GET", "/")
            finally:
                shown.append(traceback.format_exc())
    with pytest.raises(HttpError) as caught:
        Server(double.url, "It", "Check.", f"{KEY}\nX: y").ask("GET", "/")
    assert KEY not in str(caught.value) + "".join(shown) and len(shown) == 2
    assert KEY not in caplog.text
    server(double.url.replace("http://", f"http://user:{KEY}@")).host.index("127.0.0.1")
    double.replies = [(200, {}, b"{}")]
    server(double.url.replace("http://", "http://user:a-password@")).ask("GET", "/")
    assert "a-password" not in caplog.text


def test_a_response_that_is_not_json_is_reported(double: Recorder) -> None:
    for body in (b"", b"<html>", b"\xff\xfe", b"[" * 100_000):
        double.replies = [(200, {}, body)]
        with pytest.raises(ValueError):
            server(double.url).ask("GET", "/").json()
