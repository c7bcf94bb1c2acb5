"""POST /detectors/<id>/delete."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from tests.support.detector_versions import RUN, address, make_version
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.trainer.models import Detector, Version


def test_deleting_asks_first_and_keeps_clips_and_jobs(
    owners: Client, owner: User, version: Version, portal: Path
) -> None:
    make_version(owner, portal, 2)
    kept = make_version(owner, portal, 3, phrase="smart mirror")
    running = Job.objects.create(
        user=owner, kind="train", lane="training", title="hey compass", state=Job.State.RUNNING
    )
    (portal / "clips").mkdir()
    assert owners.get(address("delete", version)).status_code == 405
    assert "<details" in owners.get(address("version", version)).content.decode()
    answer = owners.post(address("delete", version))
    assert answer.status_code == 302 and answer["Location"] == reverse("trainer:home")
    assert list(Detector.objects.all()) == [kept.detector]
    assert [path.name for path in (portal / "models").iterdir()] == [kept.path.name]
    assert (portal / "clips").is_dir() and Job.objects.filter(id=running.id, state=Job.State.RUNNING).exists()
    assert owners.get(reverse("jobs:detail", args=[version.job_id])).status_code == 200


# All within the test's own folder: should the guard be lost one day, nothing else is.
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
