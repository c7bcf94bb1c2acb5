"""HARK_LOG_JSON=1: every line is a JSON object with the ids of its request and job."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import NoReturn

import pytest
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest
from django.test import Client
from django.urls import clear_url_caches, path

from tests.support.programs import run_python
from webui import urls
from webui.accounts.services import owner_link
from webui.telemetry.logs import JsonLines, about_job, request_id

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_request() -> None:
    """Forget the last request of another test."""
    request_id.set("")


@pytest.fixture
def ids(caplog: pytest.LogCaptureFixture) -> Iterator[list[tuple[str, str]]]:
    """Return the logger of each record, and the request's id as written."""
    found: list[tuple[str, str]] = []

    def look(record: logging.LogRecord) -> bool:
        found.append((record.name, request_id.get()))
        return True

    caplog.handler.addFilter(look)
    yield found
    caplog.handler.removeFilter(look)


def line(**fields: object) -> dict[str, object]:
    record = logging.LogRecord("webui.x", logging.WARNING, "x.py", 1, "said\n%s", ("this",), None)
    record.__dict__.update(fields)
    text = JsonLines().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_json_line_has_message_context_and_exception() -> None:
    plain = line()
    assert plain["level"] == "WARNING" and plain["logger"] == "webui.x" and plain["message"] == "said\nthis"
    assert "request_id" not in plain and "job_id" not in plain
    with about_job("a-job"):
        assert line()["job_id"] == "a-job"
    assert "job_id" not in line()
    assert line(fields={"status": 200})["status"] == 200
    try:
        raise ValueError("bad")
    except ValueError:
        assert "ValueError: bad" in str(line(exc_info=sys.exc_info())["exception"])


def test_each_request_has_an_id(client: Client, caplog: pytest.LogCaptureFixture, ids: list[tuple[str, str]]) -> None:
    caplog.set_level(logging.INFO, "webui.telemetry.logs")
    assert client.get("/live", headers={"X-Request-ID": "from-a.proxy_1"})["X-Request-ID"] == "from-a.proxy_1"
    assert ids == [("webui.telemetry.logs", "from-a.proxy_1")]
    for bad in ("", "a b", "x" * 65, "a\tb", '"'):
        own = client.get("/live", headers={"X-Request-ID": bad})["X-Request-ID"]
        assert own != bad and len(own) == 32
    fields = caplog.records[0].__dict__["fields"]
    assert (fields["view"], fields["status"], fields["method"]) == ("live", 200, "GET")


def test_djangos_messages_have_the_request_id(client: Client, ids: list[tuple[str, str]]) -> None:
    assert client.get("/ready", headers={"X-Request-ID": "probe-7"}).status_code == 503
    assert ("django.request", "probe-7") in ids


def test_the_request_line_contains_no_url(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "webui.telemetry.logs")
    client.get("/recordings/shared/a-secret-token")
    assert "a-secret-token" not in "".join(str(record.__dict__) for record in caplog.records)


@pytest.mark.parametrize("formatter", [logging.Formatter(), JsonLines()])
def test_no_secret_of_a_url_is_logged(monkeypatch: pytest.MonkeyPatch, formatter: logging.Formatter) -> None:
    @login_not_required
    def fails(request: HttpRequest, secret: str) -> NoReturn:
        raise RuntimeError("a bug")

    monkeypatch.setattr(urls, "urlpatterns", [path("live/<secret>", fails, name="fails"), *urls.urlpatterns])
    clear_url_caches()
    (handler,) = (one for one in logging.getLogger().handlers if one.name == "stderr")
    assert isinstance(handler, logging.StreamHandler)
    monkeypatch.setattr(handler, "formatter", formatter)
    said = io.StringIO()
    before = handler.setStream(said)
    try:
        link = owner_link(base_url="")
        browser = Client(enforce_csrf_checks=True, raise_request_exception=False)
        assert browser.post(link).status_code == 403
        assert browser.get("/live/a-secret-token").status_code == 500
    finally:
        handler.setStream(before)
        clear_url_caches()
    secret = link.rpartition("/")[2]
    assert len(secret) > 20 and secret not in said.getvalue() and "a-secret-token" not in said.getvalue()
    assert "Forbidden" in said.getvalue() and "accounts:setup" in said.getvalue()
    assert "Internal Server Error: fails" in said.getvalue() and "a bug" in said.getvalue()


SAY = """
import logging, django
django.setup()
from webui import urls
from webui.accounts.services import owner_link
from webui.telemetry.logs import about_job
with about_job("17"):
    logging.getLogger("webui.jobs.supervise").info("begins")
logging.getLogger("uvicorn.error").warning("of the web server")
"""


@pytest.mark.parametrize("as_json", ["1", ""])
def test_hark_log_json_selects_the_format(as_json: str) -> None:
    done = run_python(SAY, HARK_LOG_JSON=as_json, DJANGO_SETTINGS_MODULE="webui.settings")
    said = done.stderr.splitlines()
    if not as_json:
        assert len(said) == 1 and "of the web server" in said[0]
        return
    job, server = map(json.loads, said)
    assert (job["message"], job["job_id"]) == ("begins", "17")
    assert server["logger"] == "uvicorn.error" and "job_id" not in server
