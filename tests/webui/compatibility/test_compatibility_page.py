"""docs/compatibility.md: every URL in it answers its method, and no URL is missing."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import resolve

from db.database import DATABASE_NAME
from pipeline.jobs import QUEUES
from pipeline.recordings.transcription.registry import ENGINES
from tests.support.compatibility_page import PAGE, ROWS, expected_of_nobody, filled
from tests.support.earlier_recordings import program_of, token_text
from tests.support.portal_users import browser_of
from tests.support.sounds import sound
from webui.accounts.models import User
from webui.accounts.services import SCOPES
from webui.accounts.storage import user_data
from webui.compatibility.urls import urlpatterns
from webui.jobs.heartbeat import beat
from webui.jobs.models import Job
from webui.jobs.quota import Limits, set_quota, take_minutes
from webui.recordings.models import Recording
from webui.upload_limits import MAX_FORM_BYTES, largest_body

pytestmark = pytest.mark.django_db

SENT = re.findall(r"^\| `(POST) (/\S+)` \| [\w ,-]+ \| ([^|]*)\|", PAGE, flags=re.MULTILINE)
NOT_LISTED = {"reply", "nothing"}  # a response names the first; the other only rejects requests


@pytest.mark.parametrize(("method", "address", "scopes"), ROWS)
def test_every_listed_endpoint_requires_the_listed_scopes(
    client: Client, owner: User, method: str, address: str, scopes: str
) -> None:
    for queue in QUEUES:
        beat(queue)  # or it is not ready
    ask = partial(getattr(client, method.lower()), filled(address))
    expected = expected_of_nobody(method, scopes)
    assert ask().status_code == expected
    if expected == 401:
        others = [scope for scope in SCOPES if scope not in re.findall(r"\w+", scopes)]
        refused = ask(headers={"Authorization": f"Bearer {token_text(owner, *others)}"})
        assert refused.status_code == 403 and (address.startswith("/v1/") or scopes[:5] in refused.json()["why"])
        strict = browser_of(owner, enforce_csrf_checks=True)
        form = getattr(strict, method.lower())(filled(address))
        assert (form.status_code == 403) == (method != "GET"), "a cross-site form"


TAKEN = {  # endpoints that a recording is sent to, and in which field
    "/upload": "file", "/api/meetings": "audio", "/api/v1/transcribe": "file", "/api/asr/transcribe": "audio",
    "/api/voice-to-notes": "audio", "/v1/audio/transcriptions": "file",
}  # fmt: skip
FULL = {
    "minutes": (429, "recording minutes"), "room": (507, "storage quota"), "queue": (429, "the limit is"),
    "size": (413, "too large"),
}  # fmt: skip


@pytest.mark.parametrize(("address", "field"), TAKEN.items())
@pytest.mark.parametrize("full", FULL)
def test_every_upload_endpoint_enforces_quotas_and_limits(
    other: User, portal: Path, by_job: None, settings: Any, monkeypatch: pytest.MonkeyPatch, full: str,
    address: str, field: str,
) -> None:  # fmt: skip
    def heard(*asked: object, **more: object) -> None:
        raise AssertionError("nothing may be transcribed")

    monkeypatch.setattr("pipeline.speech_service.client.call", heard)
    if full == "minutes":
        set_quota(other, Limits(None, None, 1))
        take_minutes(other, 60)
    elif full == "room":
        (user_data(other) / "much").parent.mkdir(parents=True)
        (user_data(other) / "much").write_bytes(bytes(2000))
        settings.USER_MAX_BYTES = 1000
    elif full == "queue":
        settings.JOBS_WAITING = 0
    else:
        monkeypatch.setenv("HARK_UPLOAD_MAX_BYTES", "1000")
    sent = {field: sound(channels=2), **({"model": "whisper-1"} if address.startswith("/v1/") else {})}
    answer = program_of(other, "audio").post(address, sent)
    status, words = FULL[full]
    assert answer.status_code == status and words in answer.text, answer.content
    assert full != "queue" or address.startswith("/v1/") or answer["Retry-After"]
    assert not Recording.objects.exists() and not list((portal / "users").rglob("*.wav"))


def test_only_upload_endpoints_accept_large_bodies() -> None:
    with_files = {address for _method, address, sent in SENT if "form:" in sent}
    assert len(with_files) == 8
    assert {largest_body(address) for address in (*with_files, "/api/v1/recordings")} == {1_002_500_000}
    assert {largest_body(address) for _, address, _ in ROWS if address not in with_files} == {MAX_FORM_BYTES}


def test_the_page_names_recognizers_and_the_library_file() -> None:
    assert [kind.name for kind in ENGINES if f"`{kind.name}`" not in PAGE.partition("\n## ")[0]] == []
    assert f"`data/{DATABASE_NAME}`" in PAGE


def test_all_endpoints_are_listed() -> None:
    listed = {resolve(filled(address)).url_name for _method, address, _scopes in ROWS}
    tabs = {resolve(address).url_name for address in re.findall(r"`(/workspace\S*)`", PAGE)}
    assert listed | tabs | NOT_LISTED == {pattern.name for pattern in urlpatterns}


JSON = ("/api/nlp/summarize", "/v1/audio/speech")
FORMS = (
    "/api/asr/transcribe", "/api/voice-to-notes", "/upload", "/train-real", "/interact", "/api/meetings",
    "/api/v1/transcribe", "/v1/audio/transcriptions", "/v1/audio/translations",
)  # fmt: skip


@pytest.mark.parametrize("address", [*FORMS, *JSON])
def test_an_unknown_option_is_rejected_by_name(program: Client, recording_file: Path, address: str) -> None:
    if address in JSON:
        text = "input" if address.startswith("/v1/") else "text"
        sent = {text: "Hello.", "num_speakers": "3"}
        answer = program.post(address, sent, content_type="application/json")
    else:
        with recording_file.open("rb") as audio:
            field = {"/v1": "file", "/tr": "epochs"}.get(address[:3], "audio")
            answer = program.post(address, {field: audio, "num_speakers": "3"})
    assert answer.status_code == (400 if address.startswith("/v1/") else 422), answer.content
    shown = answer.text
    assert "'num_speakers' does not exist" in shown and "this URL takes" in shown
    assert not Recording.objects.exists() and not Job.objects.exists()


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("/api/meetings", {"summary": "llm"}),
        ("/api/meetings", {"diarize": "pyannote"}),
        ("/api/meetings", {"polish": "gpt"}),
        ("/api/meetings", {"diarize": "0", "speakers": "2"}),
        ("/v1/audio/transcriptions", {"model": "whisper-1", "stream": "events"}),
    ],
)
def test_a_value_without_effect_is_rejected(
    program: Client, recording_file: Path, address: str, sent: dict[str, str]
) -> None:
    with recording_file.open("rb") as audio:
        field = "file" if address.startswith("/v1/") else "audio"
        answer = program.post(address, {field: audio, **sent})
    assert answer.status_code in (400, 422) and [*sent][-1] in answer.text, answer.content
    assert not Recording.objects.exists()
