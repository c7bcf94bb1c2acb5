"""The export of an account: its contents, its readers, and its life."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from datetime import timedelta
from pathlib import Path

import numpy as np
from django.test import Client
from django.utils import timezone

from core.data_folder import REPOSITORY
from core.events import silent_reporter
from db.checking import check_library
from db.database import MARKER
from db.db_api import Library
from db.records import NewClip
from pipeline.backup import check
from pipeline.job_process import finished_file
from tests.support.library_server import LibraryServer
from webui.account_data.exporting import RETENTION_S, export_file, remove_old_exports
from webui.accounts.models import User
from webui.accounts.services import create_token
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.jobs.quota import Limits, set_quota, take_job
from webui.recordings.models import Recording


def run_as_a_worker(job: Job, data: Path, installation: Path) -> None:
    """Run the job's child process as a worker does."""
    sent = json.dumps({"kind": job.kind, "spec": job.spec, "data": str(data)})
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.job_process", str(job.pk)], input=sent, cwd=REPOSITORY, capture_output=True,
        text=True, timeout=120, env={**os.environ, "HARK_DATA": str(installation)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_export_contains_only_the_users_own_data(others: Client, owner: User, other: User, portal: Path) -> None:
    token, text = create_token(user=other, name="ci", scopes=["read"])
    Recording.objects.create(user=other, name="my talk", folder="audio/x")
    Recording.objects.create(user=owner, name="of olivia", folder="audio/y")
    folder = portal / "users" / str(other.pk)
    for path in (folder / "audio" / "x" / "audio.flac", portal / "audio" / "y" / "audio.flac"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"sound")
    assert others.get("/account/export.zip").status_code == 404
    answer = others.post("/account/export")
    job = Job.objects.get(kind="export")
    assert answer.status_code == 302 and answer["Location"] == f"/jobs/{job.pk}"
    for _ in range(2):  # a worker killed at the end is followed by another
        run_as_a_worker(job, folder, portal)
        assert not (folder / "account.json").exists()
        finished_file(folder, str(job.pk)).unlink()
    assert "/account/export.zip" in others.get("/account/").text
    fetched = others.get("/account/export.zip")
    assert fetched.status_code == 200 and 'filename="hark-oscar.zip"' in fetched["Content-Disposition"]
    content = fetched.getvalue()
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert {"audio/x/audio.flac", "account.json"} <= set(opened.namelist())
        assert not any("y/" in name for name in opened.namelist())
        rows = json.loads(opened.read("account.json"))
    assert rows["account"]["username"] == "oscar" and rows["account"]["email"] == "oscar@example.org"
    assert [row["name"] for row in rows["recordings"]] == ["my talk"]
    assert [row["name"] for row in rows["tokens"]] == ["ci"]
    assert "token_made" in {row["action"] for row in rows["audit_log"]}
    for secret in (text, token.digest, other.password):
        assert secret not in json.dumps(rows)
    assert check(export_file(other), silent_reporter()).files  # it is a complete backup

    visitor = Client()
    assert visitor.get("/account/export.zip").status_code == 302
    visitor.force_login(owner)
    assert visitor.get("/account/export.zip").status_code == 404

    remove_old_exports()
    assert export_file(other).exists()
    old = time.time() - RETENTION_S - 1
    os.utime(export_file(other), (old, old))
    remove_old_exports()
    assert others.get("/account/export.zip").status_code == 404


def test_an_export_contains_a_server_library_as_an_sqlite_file(
    others: Client, other: User, portal: Path, on_server: LibraryServer
) -> None:
    folder = portal / "users" / str(other.pk)
    with Library(folder) as library:
        library.add_clips([NewClip(np.full(160, 0.1), "hey compass", "hey compass", "en", "fake")])
    others.post("/account/export")
    run_as_a_worker(Job.objects.get(kind="export"), folder, portal)
    with zipfile.ZipFile(export_file(other)) as opened:
        opened.extractall(portal / "unpacked")
    assert not (portal / "unpacked" / MARKER).exists()
    with Library(portal / "unpacked") as library:
        assert [clip.text_original for clip in library.search("hey compass", 9)] == ["hey compass"]
        assert check_library(library, left_over_after_s=0).problems == ()


def test_the_owner_is_advised_to_make_a_backup(owners: Client) -> None:
    answer = owners.post("/account/export")
    assert answer.status_code == 422 and "./hark backup" in answer.text
    assert "Create the export" not in owners.get("/account/").text


def test_a_used_up_quota_does_not_block_an_export(others: Client, other: User, portal: Path) -> None:
    take_job(other)
    (portal / "users" / str(other.pk)).mkdir(parents=True)
    (portal / "users" / str(other.pk) / "clip.flac").write_bytes(bytes(2000))
    set_quota(other, Limits(1000, 1, None))
    assert others.post("/account/export").status_code == 302
    assert Job.objects.get().kind == "export"


def test_exports_are_limited_to_one_per_day(others: Client, other: User) -> None:
    first = others.post("/account/export")
    assert others.post("/account/export")["Location"] == first["Location"], "an export is already running"
    Job.objects.update(state=Job.State.DONE, finished_at=timezone.now() - timedelta(hours=23))
    (user_data(other) / "account.json").unlink()
    answer = others.post("/account/export")
    assert answer.status_code == 429 and "once a day" in answer.text and Job.objects.count() == 1
    assert not (user_data(other) / "account.json").exists()
    Job.objects.update(finished_at=timezone.now() - timedelta(hours=25))
    assert others.post("/account/export").status_code == 302
