"""Malformed requests and full disks are explained everywhere, and do not fill the log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.support.api_calls import a_token
from tests.support.detector_versions import make_version
from tests.support.earlier_recordings import token_text
from tests.support.failing_database import FULL, LOCKED, database_fails
from tests.support.portal_users import PASSWORD
from tests.support.sounds import noise, upload
from webui.accounts.models import User
from webui.http.errors import OneLineLogFilter
from webui.jobs.models import Job

pytestmark = pytest.mark.django_db

DEEP = "[" * 200_000
JSON = {"Accept": "application/json"}
NO_BOUNDARY = "multipart/form-data"


@pytest.fixture
def browser(client: Client, owner: User) -> Client:
    """A browser with a session; answers 500 instead of raising."""
    client.raise_request_exception = False
    client.force_login(owner)
    return client


@pytest.mark.parametrize("body", [DEEP, '{"text": 1e999, "input": 1e999, "size": 1e999, "phrase": 1e999}'])
@pytest.mark.parametrize(
    "address",
    ["/interact", "/api/nlp/summarize", "/train-real", "/v1/audio/speech", "/recordings/uploads", "/api/v1/plans"],
)
def test_too_deep_json_and_infinite_numbers_are_rejected(browser: Client, owner: User, address: str, body: str) -> None:
    headers = {**JSON, "Authorization": f"Bearer {token_text(owner)}"}
    answer = browser.post(address, body, content_type="application/json", headers=headers)
    assert answer.status_code in (400, 422), answer.content


def test_an_unknown_host_name_is_explained(browser: Client) -> None:
    answer = browser.get("/", headers={**JSON, "Host": "<b>kitchen.local"})
    assert answer.status_code == 400 and "malformed" not in answer.text
    page = browser.get("/", headers={"Host": "kitchen.local"}).text
    assert "opened as “kitchen.local”, which is not one of its host names" in page


def test_forms_without_a_boundary_and_very_long_names_are_handled(browser: Client, owner: User, portal: Path) -> None:
    make_version(owner, portal)
    for address in ("/api/v1/detectors/1/versions/1/detect", "/recordings/upload", "/upload"):
        headers = {**JSON, "Authorization": a_token(owner)["Authorization"]}
        answer = browser.post(address, b"x", content_type=NO_BOUNDARY, headers=headers)
        assert answer.status_code == 400 and answer.json()["what"], address
        sent = {"audio": SimpleUploadedFile("a" * 2000 + ".wav", b"RIFF")}
        answer = browser.post(address, sent, headers=headers)
        assert answer.status_code < 500, address


@pytest.mark.parametrize(("start", "end"), [("1e308", "1"), ("0", "1e308"), ("inf", "1"), ("-1e308", "1e308")])
def test_out_of_range_times_are_handled(browser: Client, owner: User, portal: Path, start: str, end: str) -> None:
    version = make_version(owner, portal)
    sent = {"audio": upload(noise(1.0)), "start_s": start, "end_s": end, "verdict": "missed"}
    answer = browser.post(f"/detectors/{version.detector_id}/1/try/mark", sent, headers=JSON)
    assert answer.status_code in (200, 422), answer.content


def test_a_number_of_5000_digits_is_ignored(browser: Client, owner: User) -> None:
    job = Job.objects.create(user=owner, kind="plan", queue="general", title="t", spec={}, state="done")
    for after in ("9" * 5000, "9" * 19, "٣", "-1"):
        assert browser.get(f"/jobs/{job.id}/events?after={after}").json()["last"] == 0


@pytest.mark.parametrize("address", ["/", "/recordings/", "/api/v1/jobs", "/api/meetings"])
def test_a_full_disk_under_the_database_gets_507(browser: Client, owner: User, address: str) -> None:
    headers = {**JSON, **a_token(owner)}
    browser.get("/")  # one-time work is done
    with database_fails(FULL, "SELECT"):
        answer = browser.get(address, headers=headers)
    assert answer.status_code == 507 and answer.json()["what"] == "The disk of this server is full."


SIGN_IN = {"name": "olivia", "password": PASSWORD}
NEW_SESSION = 'INSERT INTO "django_session"'


def test_a_full_disk_under_a_session_gets_507(client: Client, owner: User) -> None:
    client.raise_request_exception = False
    with database_fails(FULL, NEW_SESSION):
        answer = client.post("/account/login", SIGN_IN, headers=JSON)
    assert answer.status_code == 507, answer.content


@pytest.mark.parametrize("address", ["/account/login", "/api/v1/jobs", "/recordings/"])
def test_a_locked_database_gets_503_with_retry_after(
    client: Client, owner: User, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    client.raise_request_exception = False
    if address == "/account/login":
        with database_fails(LOCKED, NEW_SESSION):
            answer = client.post(address, SIGN_IN, headers=JSON)
    else:
        client.force_login(owner)
        headers = {**JSON, **a_token(owner)}
        with database_fails(LOCKED, "SELECT"):
            answer = client.get(address, headers=headers)
    assert answer.status_code == 503 and answer.headers["Retry-After"] == "30", answer.content
    assert all(OneLineLogFilter().filter(record) and record.exc_info is None for record in caplog.records)
    assert "ERROR" not in {record.levelname for record in caplog.records}


def test_an_upload_without_disk_space_gets_507(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("webui.http.uploads.tempfile.NamedTemporaryFile", full)
    sent = {"audio": SimpleUploadedFile("a.wav", b"RIFF")}
    assert browser.post("/recordings/upload", sent, headers=JSON).status_code == 507


def test_malformed_requests_are_logged_in_one_line(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    (record,) = [one for one in caplog.records if one.name == "django.security.DisallowedHost"]
    (stderr,) = (handler for handler in logging.getLogger().handlers if handler.name == "stderr")
    assert stderr.filter(record)
    text = logging.Formatter("{message}", style="{").format(record)
    assert "evil.example" in text and "Traceback" not in text and "\n" not in text
    client.get("/", headers={"Host": "evil.example" * 1000})
    assert stderr.filter(caplog.records[-1]) and len(caplog.records[-1].getMessage()) <= 500


def test_an_internal_error_is_logged_with_its_traceback() -> None:
    try:
        raise RuntimeError("a bug")
    except RuntimeError as error:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed", (), (type(error), error, error.__traceback__))
    assert OneLineLogFilter().filter(record) and record.exc_info
