"""Byte ranges of files. Browsers need them to play from the middle of a recording."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from email.utils import formatdate
from pathlib import Path

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

BLOCK = 64 * 1024  # bytes in memory
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def file_or_part(request: HttpRequest, path: Path, content_type: str) -> HttpResponseBase:
    """Handle GET or HEAD of a file (RFC 9110, section 14) with 200, 206, 304 or 416.

    Raises OSError if it cannot be read. If several ranges are requested, or the file has changed (If-Range), the whole
    file is sent.
    """
    facts = path.stat()
    size = facts.st_size
    tag = f'"{size:x}-{facts.st_mtime_ns:x}"'
    headers = {
        "Accept-Ranges": "bytes", "ETag": tag, "Last-Modified": formatdate(facts.st_mtime, usegmt=True),
        "Cache-Control": "private, no-cache",
    }  # fmt: skip
    if request.headers.get("If-None-Match") == tag:
        return HttpResponse(status=304, headers=headers)
    wanted = _RANGE.fullmatch(request.headers.get("Range", ""))
    if wanted is None or (wanted[1] == wanted[2] == "") or request.headers.get("If-Range", tag) != tag:
        first, last, status = 0, size - 1, 200
    else:
        if wanted[1]:
            first, last = int(wanted[1]), min(int(wanted[2] or size), size - 1)
        else:
            first, last = max(0, size - int(wanted[2])), size - 1
        status = 206
        if wanted[2] and wanted[1] and int(wanted[2]) < int(wanted[1]):
            first, last, status = 0, size - 1, 200  # ignore an invalid range
        elif first >= size or first > last:
            return HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"})
    length = last - first + 1
    headers["Content-Length"] = str(length)
    if status == 206:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    if request.method == "HEAD":
        return HttpResponse(status=status, content_type=content_type, headers=headers)
    blocks = _blocks_later(path, first, length) if isinstance(request, ASGIRequest) else _blocks(path, first, length)
    return StreamingHttpResponse(blocks, status=status, content_type=content_type, headers=headers)


def _blocks(path: Path, first: int, length: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(first)
        while length > 0 and (block := file.read(min(BLOCK, length))):
            length -= len(block)
            yield block


async def _blocks_later(path: Path, first: int, length: int) -> AsyncIterator[bytes]:
    """Yield blocks without blocking other requests or collecting the whole response first."""
    blocks = _blocks(path, first, length)
    while block := await asyncio.to_thread(next, blocks, b""):
        yield block
