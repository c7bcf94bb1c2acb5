"""Requests to other servers: limits on size and time, retries where they can help, and no keys in messages."""

from __future__ import annotations

import email.utils
import logging
import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx2

from core.confinement.untrusted_json import untrusted_json
from core.errors import HarkError
from core.worded import number, worded

AGAIN = frozenset({408, 409, 429, 500, 502, 503, 504})  # statuses after which a retry can succeed
MAX_WAIT_S = 30.0  # maximum seconds of a pause before a retry
BLOCK = 1 << 20  # bytes per read of a download
ERROR_BYTES = 20_000  # maximum bytes read of an error's body

sleep = time.sleep
logging.getLogger("httpx2").setLevel(logging.WARNING)  # at INFO it logs full URLs, which can hold a password


class HttpError(HarkError):
    """Raised if a server cannot be reached, or responds with an error.

    Attributes:
        answered: HTTP status of the response; 0 if there was none.
        again: whether a retry can succeed.
        wait_s: seconds that the server asks to wait (``Retry-After``).
    """

    answered = 0
    again = False
    wait_s: float | None = None


@dataclass(frozen=True)
class Answer:
    """A complete response with a status below 300."""

    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Parse the body as JSON. Raises ValueError if it is invalid."""
        return untrusted_json(self.body)


@dataclass(frozen=True)
class Server:
    """A server that requests go to.

    Attributes:
        url: its base URL, to which the path of a request is appended.
        name: its name in messages, at the beginning of a sentence.
        check: advice to the user in messages.
        key: a bearer token. It is sent to ``url`` alone, so a server with a key must not have ``redirects``.
        timeout_s: time limit of the whole response; in a download, of each block.
        max_bytes: maximum bytes of a response or a download.
        attempts: maximum number of requests if the server is busy, fails or cannot be reached.
        redirects: whether they are followed, even to other hosts.
    """

    url: str
    name: str
    check: str
    key: str = field(default="", repr=False)
    timeout_s: float = 30.0
    max_bytes: int = 50_000_000
    attempts: int = 1
    redirects: bool = False

    @property
    def host(self) -> str:
        """The part of the URL that may be shown. The rest can hold a password."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    def ask(self, method: str, path: str, headers: Mapping[str, str] | None = None, **content: Any) -> Answer:
        """Send a request and read the response.

        Args:
            content: ``json``, or ``data`` and ``files`` of a form, as httpx2 takes them.

        Raises:
            HttpError: the response is missing, late or too large, or has a status of 300 or more.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                ends = time.monotonic() + self.timeout_s
                with self.open(method, path, headers, **content) as response:
                    body = b""
                    for block in response.iter_bytes():
                        body += block
                        if len(body) > self.max_bytes:
                            raise self._endless()
                        if time.monotonic() > ends:
                            raise httpx2.ReadTimeout("")
                    return Answer(response.headers, body)
            except HttpError as error:
                # A server that timed out once may do so again: retry only once.
                last = 2 if isinstance(error.__cause__, httpx2.TimeoutException) else self.attempts
                wait_s = 2.0 ** (attempt - 1) if error.wait_s is None else error.wait_s
                if not error.again or attempt >= last or wait_s > MAX_WAIT_S:
                    raise
                sleep(wait_s)
        raise AssertionError("unreachable")

    def download(self, path: str, file: Path) -> None:
        """Write the body of a response to a file.

        Raises HttpError if the request fails or the body is too large, and OSError if the file cannot be written.
        """
        done = 0
        with self.open("GET", path) as response, file.open("wb") as out:
            for block in response.iter_bytes(BLOCK):
                done += len(block)
                if done > self.max_bytes:
                    raise self._endless()
                out.write(block)

    @contextmanager
    def open(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **content: Any
    ) -> Iterator[httpx2.Response]:
        """Yield a response whose body has not been read yet.

        Raises HttpError if the request, or reading the body in the block, fails.
        """
        sent = {"User-Agent": "hark", "Accept-Encoding": "identity", **(headers or {})}
        if not (self.key.isascii() and self.key.isprintable()):  # httpx would reject it with a message that repeats it
            raise HttpError(
                worded("No request was sent to %(name)s.", name=self.name),
                worded("The key has characters other than printable ASCII (perhaps a line break)."),
                self.check,
            )
        if self.key:
            sent["Authorization"] = f"Bearer {self.key}"
        try:
            with (
                httpx2.Client(timeout=self.timeout_s, follow_redirects=self.redirects) as client,
                client.stream(method, f"{self.url}{path}", headers=sent, **content) as response,
            ):
                if response.status_code >= 300:
                    raise self._refused(response)
                yield response
        except httpx2.TimeoutException as error:
            raise self._away(
                worded("%(host)s did not answer within %(seconds)s s.", host=self.host, seconds=number(self.timeout_s))
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, ImportError, ValueError) as error:  # the last two: proxy settings
            said = self._without_key(str(error) or type(error).__name__)[:200].rstrip(".")
            raise self._away(f"{self.host}: {said}.") from error

    def _away(self, why: str) -> HttpError:
        error = HttpError(worded("%(name)s cannot be reached.", name=self.name), why, self.check)
        error.again = True
        return error

    def _endless(self) -> HttpError:
        most = f"{self.max_bytes:,}"
        why = worded("%(host)s sent more than %(n)s bytes.", host=self.host, n=most)
        return HttpError(worded("The answer of %(name)s was too long.", name=self.name), why, self.check)

    def _refused(self, response: httpx2.Response) -> HttpError:
        status, body = response.status_code, b""
        for block in response.iter_bytes():
            body += block
            if len(body) > ERROR_BYTES:
                break
        wait_s = _seconds(response.headers.get("Retry-After", ""))
        if status < 400:
            what = worded("%(name)s has moved.", name=self.name)
            reason = f"to {response.headers.get('Location', 'another URL')[:200]}"
        else:
            message = re.search(r'"message"\s*:\s*"((?:[^"\\]|\\.)*)"', body.decode(errors="replace"))
            meaning = HTTPStatus(status).phrase if status in set(HTTPStatus) else "an unknown status"
            detail = " ".join(message[1].split())[:200].rstrip(".") if message else ""
            reason = f"{meaning}: {detail}" if detail else meaning
            what = worded("%(name)s answered with an error.", name=self.name)
        answered = {"host": self.host, "status": status, "said": self._without_key(reason)}
        why = worded("%(host)s answered %(status)s (%(said)s).", **answered)
        if wait_s is not None and wait_s > MAX_WAIT_S:
            why = worded("%(why)s Retry after %(seconds)s s.", why=why, seconds=round(wait_s))
        error = HttpError(what, why, self.check)
        error.answered, error.again, error.wait_s = status, status in AGAIN, wait_s
        return error

    def _without_key(self, text: str) -> str:
        # Servers repeat a rejected key in their message, in full or abbreviated ("sk-ab****yz").
        text = text.replace(self.key, "…") if self.key else text
        return re.sub(r"\b(sk|key|pk)-[\w*.-]{4,}", "…", text)


def web_address(text: str) -> SplitResult | None:
    """Split an http or https URL without password, query or fragment; return None for any other text."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 (raises if it is not a number)
    except ValueError:
        return None
    plain = parts.hostname and not (parts.username or parts.query or parts.fragment)
    return parts if plain and parts.scheme in ("http", "https") else None


def _seconds(retry_after: str) -> float | None:
    """Return the seconds to wait by ``Retry-After``: a number or a date. Return None if it is neither."""
    try:
        seconds = float(retry_after)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
