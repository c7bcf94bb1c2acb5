"""JSON log lines (HARK_LOG_JSON=1) with the ids of the request and of the job.

python-json-logger would write every extra of a record, such as Django's request, whose text is its URL.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from uuid import uuid4

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from webui.http.middleware import Middleware, view_of

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
_USABLE = re.compile(r"[A-Za-z0-9._-]{1,64}")

request_id: ContextVar[str] = ContextVar("request_id", default="")
job_id: ContextVar[str] = ContextVar("job_id", default="")


@contextmanager
def about_job(id_: str) -> Iterator[None]:
    """Log everything in this context with the job's id."""
    before = job_id.set(id_)
    try:
        yield
    finally:
        job_id.reset(before)


class JsonLines(logging.Formatter):
    """A record as a JSON object. The record's ``fields`` (``extra={"fields": {...}}``) are added to it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, variable in (("request_id", request_id), ("job_id", job_id)):
            if variable.get():
                line[name] = variable.get()
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class NoAddress(logging.Filter):
    """Replaces the URL with the view's name in Django's logs of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        request = getattr(record, "request", None)
        if isinstance(request, HttpRequest) and isinstance(record.args, tuple):
            record.args = tuple(view_of(request) if one == request.path else one for one in record.args)
        return True


class RequestIds(Middleware):
    """Gives a request the id from its proxy or a new one, and repeats that id in the response."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get(HEADER, "")
        # Never reset: Django still logs the response after this, and the next request sets its own id.
        request_id.set(given if _USABLE.fullmatch(given) else uuid4().hex)
        began = time.perf_counter()
        response = self.get_response(request)
        response[HEADER] = request_id.get()
        fields = {
            "method": request.method,
            "view": view_of(request),
            "status": response.status_code,
            "seconds": round(time.perf_counter() - began, 4),
        }
        log.info("request answered", extra={"fields": fields})
        return response
