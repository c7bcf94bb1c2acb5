"""A server on this machine for the tests of clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

Reply = tuple[int, dict[str, str], bytes]  # status, headers, body


class Recorder:
    """Returns ``replies``, one a request, the last one repeatedly; records the requests."""

    def __init__(self) -> None:
        self.replies: list[Reply] = [(200, {}, b"{}")]
        self.asked: list[tuple[str, dict[str, str], bytes]] = []  # path, headers, body
        self.hangs_s = 0.0
        self.url = ""

    def __call__(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        self.asked.append((path, headers, body))
        time.sleep(self.hangs_s)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def serving(
    answer: Callable[[str, dict[str, str], bytes], Reply], at: tuple[str, int] = ("127.0.0.1", 0)
) -> Iterator[str]:
    """Yield the server's URL. ``answer`` gets a request's path, headers and body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = answer(self.path, dict(self.headers), body)
            try:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)
            except OSError:
                pass  # the client has gone

        do_GET = do_HEAD = do_POST

        def log_message(self, *unused: object) -> None:
            pass

    server = ThreadingHTTPServer(at, Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def do_not_wait(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the next attempts of a client follow immediately; return the waits that it wanted [s]."""
    waits: list[float] = []
    monkeypatch.setattr("core.http.sleep", waits.append)
    return waits
