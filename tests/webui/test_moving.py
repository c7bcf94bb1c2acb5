"""Backups move from SQLite to a server and back: all data of users is there, opens, and is unchanged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from core.data_folder import REPOSITORY
from db.database import DATABASE_NAME, MARKER
from tests.support.servers import Server, mysql_server, postgresql_server
from tests.support.small_data import make_data

pytestmark = pytest.mark.topology

BEGIN = """
import json, sys, time
from webui.setup import ready; ready()
from webui.accounts.models import User
from webui.jobs.models import Job, JobEvent
"""

# A second user, a recording with what was said in it, and values that the two databases store in different ways.
FILL = f"""{BEGIN}
import datetime, uuid
from pathlib import Path
from django.contrib.auth.models import Group
from pipeline.recordings.transcripts.transcript import Segment, Transcript
from webui.accounts.models import ApiToken
from webui.recordings.models import Recording
from webui.recordings.reading.search import index
from webui.accounts.storage import user_data
user = User.objects.create_user("oscar", "oscar@example.org", "a-good-long-password")
user.groups.add(Group.objects.create(name="Küche"))
spec = {{"b": 1, "a": [0.5, 1e300, 2**60, None, True], "text": "\\U0001f600 \\\\u0000", "empty": {{}}}}
job = Job.objects.create(user=user, kind="plan", queue="general", title="ärger \\n", spec=spec, state="done")
Job.objects.filter(pk=job.pk).update(created_at=datetime.datetime(2020, 2, 29, 1, 2, 3, 456789, datetime.UTC))
JobEvent.objects.bulk_create(JobEvent(job=job, event={{"number": number}}) for number in range(2500))
recording = Recording.objects.create(user=user, name="Sitzung", folder="audio/r", state="ready", originals=["a.wav"])
folder = user_data(user) / "audio" / "r"
folder.mkdir(parents=True)
(folder / "a.wav").write_bytes(b"RIFF of a recording")
from webui.organization_management import services as organizations
made = organizations.create(user=user, name="Häfen & Co")
organizations.invite(organization=made, by=user, role="viewer", base_url="http://localhost")
organizations.share(thing=recording, organization=made, by=user)
index(recording, Transcript(2.0, "de", "x", (Segment(0.0, 1.0, "Die Brücke öffnet um neun", 0.9, (), "de"),)))
print(recording.pk)
"""

# Goes on until it is ended; a job and its event are one transaction.
WRITE = f"""{BEGIN}
from webui.transactions import serialized
user = User.objects.get(username="oscar")
while True:
    with serialized():
        job = Job.objects.create(user=user, kind="plan", queue="general", title="meanwhile", state="done")
        JobEvent.objects.create(job=job, event={{}})
    print("wrote", flush=True)
    time.sleep(0.05)
"""

ROWS = f"""{BEGIN}
from django.apps import apps
from django.core import serializers
models = [model for model in apps.get_models() if model._meta.label_lower != "django_q.task"]
rows = [json.loads(serializers.serialize("json", model.objects.all())) for model in models]
print(json.dumps([sorted(of_table, key=lambda row: str(row["pk"])) for of_table in rows]))
"""

VISIT = f"""{BEGIN}
import hashlib
from django.db import connection
from django.test import Client
from webui.trainer.models import Version
def body(response):
    assert response.status_code == 200, response.status_code
    return response.getvalue()
client = Client(HTTP_HOST="127.0.0.1")
client.force_login(User.objects.get(is_owner=True), backend="django.contrib.auth.backends.ModelBackend")
version = Version.objects.get()
bundle = body(client.get(f"/detectors/{{version.detector_id}}/{{version.number}}/bundle"))
clips = body(client.get("/library/", follow=True)).decode()
client.logout()
assert client.login(username="oscar", password="a-good-long-password")
original = body(client.get(f"/recordings/{{sys.argv[1]}}/original"))
found = body(client.get("/recordings/search", {{"q": "bruecke", "words": "brücke"}})).decode()
job = Job.objects.create(user=User.objects.get(username="oscar"), kind="plan", queue="general", title="new")
event = JobEvent.objects.create(job=job, event={{}})
print(json.dumps({{
    "vendor": connection.vendor, "bundle": hashlib.sha256(bundle).hexdigest(), "original": original.decode(),
    "clips": "hey compass" in clips, "events": JobEvent.objects.filter(pk__lte=event.pk).count(),
    "meanwhile": Job.objects.filter(title="meanwhile").count(),
    "pairs": JobEvent.objects.filter(job__title="meanwhile").count(),
}}))
JobEvent.objects.filter(pk=event.pk).delete(); job.delete()
"""


class Installation:
    """A data folder, and a database or none."""

    def __init__(self, data: Path, database: str = "") -> None:
        self.data = data
        self.settings = {**os.environ, "HARK_DATA": str(data), "DATABASE_URL": database}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command], cwd=REPOSITORY, env=self.settings, capture_output=True, text=True, timeout=300
        )

    def python(self, source: str, *arguments: str) -> str:
        done = self.run("-c", source, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def hark(self, *words: str) -> dict[str, Any]:
        done = self.run("main.py", *words, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)

    def refused(self, *words: str) -> str:
        done = self.run("main.py", *words)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        return done.stderr

    def visit(self, recording: str) -> dict[str, Any]:
        return json.loads(self.python(VISIT, recording))


def files_of(data: Path) -> dict[str, bytes]:
    found = (path for path in data.rglob("*") if path.is_file() and path.suffix in (".flac", ".zip", ".wav", ".json"))
    return {path.relative_to(data).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("started", [postgresql_server, mysql_server])
def test_a_portal_in_use_moves_to_a_server_and_back(
    tmp_path: Path, started: Callable[[], AbstractContextManager[tuple[str, Server]]]
) -> None:
    holds_libraries = started is postgresql_server
    first = Installation(tmp_path / "first")
    make_data(first.data)
    with started() as (database, _process):
        first.hark("backup", str(tmp_path / "old.zip"))
        recording = first.python(FILL)
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE], cwd=REPOSITORY, env=first.settings, stdout=subprocess.PIPE, text=True
        )
        try:
            assert writer.stdout.readline() == "wrote\n"
            made = first.hark("backup", str(tmp_path / "used.zip"))
        finally:
            writer.kill()  # SIGTERM may be ignored where tests have run before
            writer.communicate()
        assert made["ok"] and not made["left_out"]
        before = first.visit(recording)

        second = Installation(tmp_path / "second", database)
        second.hark("restore", str(tmp_path / "old.zip"))
        assert second.python(f"{BEGIN}print(User.objects.get().is_owner)") == "True"
        shutil.move(second.data, tmp_path / "forgotten")
        assert "The database is not empty." in second.refused("restore", str(tmp_path / "used.zip"))
        (second.data / ".env").parent.mkdir()
        (second.data / ".env").write_text(f"DATABASE_URL={database}\n")
        replaced = second.run("main.py", "restore", str(tmp_path / "used.zip"), "--replace", "--json")
        restored = json.loads(replaced.stdout)
        assert "does not name the restored database" in replaced.stderr
        aside = Installation(Path(restored["before"]))
        assert aside.python(f"{BEGIN}print(User.objects.count())") == "1", (
            "the replaced database is saved as an SQLite file"
        )

        assert not (second.data / "portal" / "portal.sqlite3").exists()
        assert (second.data / MARKER).is_file() == holds_libraries != (second.data / DATABASE_NAME).exists()
        after = second.visit(recording)
        assert (
            after.pop("vendor") == ("postgresql" if holds_libraries else "mysql") and before.pop("vendor") == "sqlite"
        )
        for name in ("bundle", "original", "clips"):
            assert after[name] == before[name], name
        assert after["original"] == "RIFF of a recording" and after["clips"]
        assert 0 < after["meanwhile"] == after["pairs"] <= before["meanwhile"]
        assert after["events"] == 2500 + after["pairs"] + 1, "new ids continue the old ones"
        assert files_of(second.data) == files_of(first.data)

        second.hark("backup", str(tmp_path / "back.zip"))
        third = Installation(tmp_path / "third")
        third.hark("restore", str(tmp_path / "back.zip"))
        rows = json.loads(second.python(ROWS))
        assert sum(map(len, rows)) > 2500
        assert json.loads(third.python(ROWS)) == rows
        assert third.visit(recording)["bundle"] == before["bundle"] and (third.data / DATABASE_NAME).is_file()
        counts = [one.hark("library", "stats")["by_engine"] for one in (first, second, third)]
        assert counts[0] and counts[0] == counts[1] == counts[2]
        assert second.hark("library", "check")["ok"]

        # A backup that cannot be put there changes nothing.
        damaged = tmp_path / "damaged.zip"
        with zipfile.ZipFile(tmp_path / "back.zip") as source, zipfile.ZipFile(damaged, "w") as target:
            for name in source.namelist():
                content = source.read(name)
                target.writestr(name, content[:-1] if name.endswith("portal.sqlite3") else content)
        assert "The backup is damaged." in second.refused("restore", str(damaged), "--replace")
        newer = Installation(tmp_path / "newer")
        newer.hark("restore", str(tmp_path / "back.zip"))
        newer.python(
            f"{BEGIN}from django.db.migrations.recorder import MigrationRecorder as R;"
            "from django.db import connection; R(connection).record_applied('jobs', '9999_of_a_newer_hark')"
        )
        newer.hark("backup", str(tmp_path / "newer.zip"))
        assert "The backup was made by a newer Hark." in second.refused(
            "restore", str(tmp_path / "newer.zip"), "--replace"
        )
        third.python(f"{BEGIN}Job.objects.filter(title='meanwhile').update(title='long' * 1000)")
        third.hark("backup", str(tmp_path / "long.zip"))
        said = second.refused("restore", str(tmp_path / "long.zip"), "--replace")
        assert "A row of the table jobs_job does not fit: " in said and "too long" in said
        assert json.loads(second.python(ROWS)) == rows
        assert files_of(second.data) == files_of(first.data) and not list(tmp_path.glob(".second*"))
