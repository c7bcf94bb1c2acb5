"""Every URL: nothing for anonymous visitors or about another user's things, and nothing from other origins."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from pipeline.training.configuration.specification import as_spec
from tests.support.detector_versions import make_report
from tests.support.portal_users import PASSWORD, browser_of
from tests.support.programs import run_python
from tests.support.urls import URLS, filled
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.listening.models import Sample
from webui.recordings.models import Recording, Share, UploadInProgress
from webui.trainer.models import Detector, Version
from webui.trainer.services import configuration

SHARED = {f"recordings:shared{rest}" for rest in ("", "_audio", "_waveform", "_words")}  # with an unguessable token
OPEN = {":live", ":metrics", *(f"compatibility:{name}" for name in ("docs", "health", "nothing", "token"))}
# And allauth's pages, which are under sign-in/.
PUBLIC = {"accounts:login", ":account_login", "accounts:setup", "trainer:device_file"} | SHARED | OPEN

SUMMARY = make_report()["summary"]


@pytest.fixture
def things(owner: User) -> dict[str, str]:
    """A thing of the owner's for every kind of id."""
    spec = as_spec(configuration(phrase="hey compass"))
    job = Job.objects.create(user=owner, kind="plan", queue="general", title="p", state=Job.State.DONE, spec=spec)
    detector = Detector.objects.create(user=owner, phrase="hey compass", language="en")
    Version.objects.create(detector=detector, number=1, folder="models/x", bundle="x.zip", summary=SUMMARY)
    sample = Sample.objects.create(user=owner, detector=detector, verdict="missed", file="x", seconds=1.0, version=1)
    recording = Recording.objects.create(user=owner, name="hey compass.wav", folder="audio/x", job=job)
    share = Share.objects.create(recording=recording, digest="x", expires_at=timezone.now())
    upload = UploadInProgress.objects.create(user=owner, name="hey compass.wav", size=1)
    ids = {"job_id": job, "detector_id": detector, "sample_id": sample, "recording_id": recording, "share_id": share}
    return {name: str(thing.pk) for name, thing in {**ids, "upload_id": upload}.items()}


@pytest.mark.parametrize(("name", "route"), URLS)
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_anonymous_visitor_is_asked_to_sign_in(
    client: Client, things: dict[str, str], name: str, route: str, method: str
) -> None:
    answer = getattr(client, method)(filled(route, things))
    if name == ":ready":
        assert answer.status_code in (200, 405, 503)
    elif name in PUBLIC:
        assert answer.status_code in (200, 400, 404, 405, 410, 422)
    else:
        asked = answer.status_code in (302, 303) and answer["Location"].startswith("/account/login")
        for_programs = name.startswith("compatibility:") and answer.status_code == 401
        assert asked or for_programs or answer.status_code == 405


def test_pages_have_no_inline_code_and_no_external_sources(owners: Client, things: dict[str, str]) -> None:
    for _, route in URLS:
        answer = owners.get(filled(route, things))
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        if answer["Content-Type"].startswith("text/html"):
            page = answer.text
            assert not re.search(r"<(script|style)(?![^>]*(src=|application/json))[^>]*>", page), route
            assert not re.search(r"\s(on\w+|style)=", page), route
            assert not re.search(r"(src|href)=\"(https?:)?//", page), route
            assert len(answer.content) < 100_000


def test_foreign_hosts_and_frames_are_rejected(owners: Client, client: Client) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "evil.example:8000"):
        assert client.get("/account/login", headers={"Host": host}).status_code == 400
    for address in ("/", "/account/login"):
        answer = owners.get(address)
        assert answer["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
    cookie = Client().post("/account/login", {"name": "olivia", "password": PASSWORD}).cookies["sessionid"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"


@pytest.mark.parametrize("number", [1, 30])
def test_the_number_of_queries_of_lists_is_constant(
    owners: Client, owner: User, number: int, django_assert_max_num_queries: Any
) -> None:
    for index in range(number):
        detector = Detector.objects.create(user=owner, phrase=f"phrase {index}", language="en")
        job = Job.objects.create(user=owner, kind="train", queue="training", title="p", state=Job.State.DONE, spec={})
        Version.objects.create(detector=detector, job=job, number=1, folder="f", bundle="b", summary=SUMMARY)
        Sample.objects.create(user=owner, detector=detector, verdict="missed", file="x", seconds=1.0, version=1)
        Recording.objects.create(user=owner, name="r", folder="f", job=job)
    for address in ("/", "/jobs/", "/inbox", "/recordings/"):
        with django_assert_max_num_queries(10):
            assert owners.get(address).status_code == 200


def test_cross_site_forms_are_rejected(owner: User, things: dict[str, str]) -> None:
    strict = browser_of(owner, enforce_csrf_checks=True)
    for name, route in URLS:
        if name not in ("compatibility:token", "compatibility:nothing"):  # which use no session
            for send in (strict.post, strict.put, strict.patch, strict.delete):
                assert send(filled(route, things)).status_code in (403, 405), name
    assert Job.objects.count() == 1 and Recording.objects.count() == 1 and User.objects.count() == 1


def test_a_phrase_is_escaped_on_every_page(owners: Client, owner: User) -> None:
    bad = "<script>alert(1)</script>"
    Job.objects.create(user=owner, kind="train", queue="training", title=bad, message=bad, spec={}, state="running")
    for address in ("/", "/jobs/"):
        page = owners.get(address).text
        assert bad not in page and "&lt;script&gt;" in page
    answer = owners.post("/new", {"phrase": bad + " \x00\u202e", "language": "en", "effort": "trial"}, follow=True)
    assert bad not in answer.text


def test_the_urls_import_no_slow_package() -> None:
    check = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'webui.settings'; import django; django.setup();"
        "import webui.urls; from django.urls import resolve; resolve('/');"
        "from webui.api.api import api; api.get_openapi_schema();"
        "slow = {'torch', 'matplotlib', 'transformers', 'pyroomacoustics', 'pandas', 'scipy.fft', 'onnxruntime'};"
        "slow &= set(sys.modules);"
        "sys.exit(str(slow) if slow else 0)"
    )
    ended = run_python(check)
    assert ended.returncode == 0, ended.stderr
