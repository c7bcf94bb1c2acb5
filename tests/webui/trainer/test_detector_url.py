"""GET /detectors/<id>, and properties of all pages of a detector."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.support.detector_versions import RUN, address, make_version
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.trainer.models import Detector, Version

EVERY_PAGE = ("detector", "version", "compare", "use", "bundle")


def test_a_detector_redirects_to_its_newest_version(
    owners: Client, owner: User, version: Version, portal: Path
) -> None:
    newer = make_version(owner, portal, 2)
    response = owners.get(address("detector", version))
    assert response.status_code == 302 and response["Location"] == address("version", newer)


@pytest.mark.parametrize("name", [*EVERY_PAGE, "delete"])
def test_unknown_ids_get_404(owners: Client, name: str) -> None:
    numbers = [99] if name in ("detector", "compare", "delete") else [99, 1]
    send = owners.post if name == "delete" else owners.get
    assert send(reverse(f"trainer:{name}", args=numbers)).status_code == 404


def test_the_phrase_is_escaped(owners: Client, owner: User, portal: Path) -> None:
    odd = make_version(owner, portal, phrase="</script><img src=x onerror=alert(1)>")
    for name in ("version", "compare", "use"):
        page = owners.get(address(name, odd)).text
        assert "<img src=x" not in page and "&lt;img src=x" in page


def test_pages_have_no_inline_script_or_style(owners: Client, version: Version) -> None:
    for name in ("version", "compare", "use"):
        page = owners.get(address(name, version)).text
        assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:", page)
        data = '<script id="det-data" type="application/json">'
        assert set(re.findall(r"<script(?![^>]* src=)[^>]*>", page)) <= {data}


def test_missing_files_get_410(owners: Client, version: Version) -> None:
    (version.path / version.bundle).unlink()
    bundle = address("bundle", version)
    for gone in (bundle, f"{bundle}?fa_per_day=2", address("use", version), address("file", version, "model.onnx")):
        answer = owners.get(gone)
        assert answer.status_code == 410 and "is missing" in answer.text
    page = owners.get(address("version", version)).text
    assert "model.onnx" not in page and address("file", version, "report.json") in page
    shutil.rmtree(version.path.parents[1] / "jobs")
    assert owners.get(address("file", version, "dataset.jsonl")).status_code == 410
    shutil.rmtree(version.path)
    for name in ("version", "bundle"):
        answer = owners.get(address(name, version))
        assert answer.status_code in (410, 422) and "again" in answer.text
    assert "its report is missing" in owners.get(address("compare", version)).text


def test_a_damaged_bundle_gets_an_explained_error(owners: Client, version: Version) -> None:
    (version.path / version.bundle).write_bytes(b"PK no zip")
    assert owners.get(address("file", version, "model.onnx")).status_code == 410
    assert owners.get(address("bundle", version), {"fa_per_day": "2"}).status_code == 422
    assert owners.get(address("version", version)).status_code == 200


@pytest.mark.parametrize("name", ["version", "compare"])
def test_the_number_of_queries_is_constant(
    owners: Client, owner: User, version: Version, portal: Path, django_assert_num_queries: Any, name: str
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    make_version(owner, portal, 2)
    owners.get(address(name, version))  # what is done once
    with CaptureQueriesContext(connection) as few:
        owners.get(address(name, version))
    for number in range(3, 21):
        make_version(owner, portal, number)
    with django_assert_num_queries(len(few)):
        owners.get(address(name, version))


def test_deleting_a_detector_preserves_clips_and_jobs(
    owners: Client, owner: User, version: Version, portal: Path
) -> None:
    make_version(owner, portal, 2)
    kept = make_version(owner, portal, 3, phrase="smart mirror")
    running = Job.objects.create(
        user=owner, kind="train", queue="training", title="hey compass", state=Job.State.RUNNING
    )
    (portal / "clips").mkdir()
    assert owners.get(address("delete", version)).status_code == 405
    assert "<details" in owners.get(address("version", version)).text
    answer = owners.post(address("delete", version))
    assert answer.status_code == 302 and answer["Location"] == reverse("home")
    assert list(Detector.objects.all()) == [kept.detector]
    assert [path.name for path in (portal / "models").iterdir()] == [kept.path.name]
    assert (portal / "clips").is_dir() and Job.objects.filter(id=running.id, state=Job.State.RUNNING).exists()
    assert owners.get(reverse("jobs:detail", args=[version.job_id])).status_code == 200


# All within the test's own folder: if the guard is ever removed, nothing else is lost.
@pytest.mark.parametrize(
    "folder", [".", "models", "models/..", "clips", "models/../clips", "{portal}/clips", "deep/er"]
)
def test_deleting_removes_no_other_folder(owners: Client, version: Version, portal: Path, folder: str) -> None:
    (portal / "clips").mkdir()
    (portal / "deep" / "er").mkdir(parents=True)
    (portal / "portal").mkdir()  # the portal's own, which its first request makes
    before = sorted(path.name for path in portal.iterdir())
    Version.objects.update(folder=folder.format(portal=portal))
    assert owners.post(address("delete", version)).status_code == 302
    assert sorted(path.name for path in portal.iterdir()) == before
    assert (portal / "models" / RUN).is_dir() and (portal / "deep" / "er").is_dir()
