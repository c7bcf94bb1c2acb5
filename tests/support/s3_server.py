"""A small store that speaks as much of S3 as Hark asks for, with its files in memory: no store is installed where tests
run. Signatures are not checked, the key's name is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest

from core.file_store import STORAGE

BUCKET, KEY, SECRET = "hark", "somebody", "a/secret+of:forty@characters"
WRITTEN = "2026-11-26T11:00:00.000Z"  # all files
PAGE = 3  # keys that a list shows at once, so that its pages are tried


@dataclass
class S3Server:
    """A running store.

    Attributes:
        files: what it has, by key.
        buckets: names of those that are there; all have the same files.
        parts: of files that come in parts, by key and number.
        requests: the method and path of each that came.
        broken: answer with 503.
    """

    port: int
    files: dict[str, bytes] = field(default_factory=dict)
    buckets: set[str] = field(default_factory=lambda: {BUCKET})
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    broken: bool = False

    @property
    def url(self) -> str:
        """For STORAGE_URL."""
        secret = SECRET.replace("/", "%2F").replace("@", "%40")
        return f"s3://{KEY}:{secret}@127.0.0.1:{self.port}/{BUCKET}?tls=off"


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A store that is empty, on a port of its own."""
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    listening.daemon_threads = True
    listening.state = S3Server(listening.server_address[1])  # type: ignore[attr-defined]
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield listening.state  # type: ignore[attr-defined]
    finally:
        listening.shutdown()
        listening.server_close()


@contextmanager
def store_of(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A store that the installation in a data folder uses."""
    with s3_server() as server:
        monkeypatch.setenv("HARK_DATA", str(data))
        monkeypatch.delenv("HARK_INSTALLATION", raising=False)
        monkeypatch.setenv(STORAGE, server.url)
        yield server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self, status: int, body: bytes = b"", code: str = "") -> None:
        if code:
            body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/xml" if code or body[:1] == b"<" else "application/octet-stream")
        self.send_header("ETag", f'"{_tag(body)}"')
        self.send_header("Last-Modified", "Thu, 26 Nov 2026 11:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _serve(self) -> None:
        state: S3Server = self.server.state  # type: ignore[attr-defined]
        state.requests.append(f"{self.command} {self.path}")
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        asked = parse_qs(parts.query, keep_blank_values=True)
        if state.broken:
            self._answer(503, code="SlowDown")
        elif f"Credential={KEY}/" not in self.headers.get("Authorization", ""):
            self._answer(403, code="InvalidAccessKeyId")
        elif self.command == "PUT" and not key:
            state.buckets.add(bucket)
            self._answer(200)
        elif bucket not in state.buckets:
            self._answer(404, code="NoSuchBucket")
        elif "delete" in asked:
            for element in ElementTree.fromstring(sent).iter():
                if element.tag.endswith("Key"):
                    state.files.pop(element.text or "", None)
            self._answer(200, b"<DeleteResult/>")
        elif "list-type" in asked:
            self._answer(200, _listed(state, asked))
        elif not key:
            self._answer(200)
        elif "uploads" in asked:
            self._answer(200, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        elif "partNumber" in asked:
            state.parts[key, int(asked["partNumber"][0])] = sent
            self._answer(200)
        elif "uploadId" in asked:
            numbers = sorted(number for of, number in state.parts if of == key)
            state.files[key] = b"".join(state.parts.pop((key, number)) for number in numbers)
            result = f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><Location>-</Location><ETag>0</ETag>"
            self._answer(200, f"<CompleteMultipartUploadResult>{result}</CompleteMultipartUploadResult>".encode())
        elif self.command == "PUT":
            state.files[key] = sent
            self._answer(200)
        elif self.command == "DELETE":
            state.files.pop(key, None)
            self._answer(204)
        elif key in state.files:
            self._answer(200, state.files[key])
        else:
            self._answer(404, code="NoSuchKey")

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _serve

    def log_message(self, format: str, *values: object) -> None:
        pass


def _tag(content: bytes) -> str:
    return md5(content, usedforsecurity=False).hexdigest()


def _listed(state: S3Server, asked: dict[str, list[str]]) -> bytes:
    prefix, after = asked.get("prefix", [""])[0], asked.get("continuation-token", [""])[0]
    keys = sorted(key for key in state.files if key.startswith(prefix) and key > after)
    rows = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>{WRITTEN}</LastModified>"
        f"<ETag>{_tag(state.files[key])}</ETag><Size>{len(state.files[key])}</Size></Contents>"
        for key in keys[:PAGE]
    )
    more = f"<NextContinuationToken>{escape(keys[PAGE - 1])}</NextContinuationToken>" if len(keys) > PAGE else ""
    truncated = str(len(keys) > PAGE).lower()
    head = f"<Name>{BUCKET}</Name><IsTruncated>{truncated}</IsTruncated>{more}"
    return f"<ListBucketResult>{head}{rows}</ListBucketResult>".encode()
