"""A portal whose processes are killed at random: a share of the benchmark's jobs, and its counts."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lab.chaos import job_makers, kills
from tests.support.benchmark_program import figures_of
from tests.support.servers import postgresql, redis_server
from webui.accounts.models import User
from webui.jobs.models import Job

PROGRAM = """
import json, sys
from pathlib import Path
from lab.chaos import kills
from core.events import silent_reporter
kills.SHARES = {"import": 2, "minable": 1, "summarize": 1, "train": 1}
kills.KILLS = {"job": 2, "worker": 2, "web": 1}
kills.PAUSE_S = (1.0, 2.0)
print(json.dumps(kills.killed(Path(sys.argv[1]), 1, 6, silent_reporter())))
"""


IN_EACH_STAGE = """
import json, sys, time
from collections import Counter
from pathlib import Path
from lab.chaos import kills
from lab.chaos.job_makers import MAKERS, library_problems
from tests.support.processes import kill_process, orphans_become_children
from lab.chaos.served import Server
from db.db_api import Library
from webui.setup import ready
ready()
from webui.accounts.models import User
from webui.jobs import services
from webui.jobs.models import Job
data = Path(sys.argv[1])
owner = User.objects.create_user("owner", password="a-good-long-password", is_owner=True)
made, stages = MAKERS["train"](owner, 0), []
with orphans_become_children():
    server = Server(data, HARK_JOBS_LEASE_S=str(kills.LEASE_S))
    try:
        while (job := Job.objects.get(pk=made.job)).state in (*Job.GOING, Job.State.INTERRUPTED):
            if job.state == Job.State.INTERRUPTED:
                services.retry(job=job)
            elif job.process_group and job.stage not in ("", "plan", *stages):
                stages += [job.stage] * kill_process(job.process_group)
            time.sleep(0.02)
    finally:
        server.stop()
with Library(data) as library:
    clips = Counter(clip.request_id for clip in library.iter_clips())
print(json.dumps({
    "stages": stages, "state": job.state, "results": made.results(), "problems": library_problems(data),
    "doubled": [request for request, count in clips.items() if count > 1],
}))
"""


def test_a_training_run_killed_in_each_stage_finishes_once(tmp_path: Path) -> None:
    found = figures_of(IN_EACH_STAGE, tmp_path)
    assert {"synthesize", "features", "bundle"} <= set(found.pop("stages"))  # other stages may end before the kill
    assert found == {
        "state": "done", "results": {"version": 1, "bundle": 1, "clips": 1}, "problems": [], "doubled": [],
    }  # fmt: skip
    (bundle,) = tmp_path.glob("models/*/*.zip")
    assert zipfile.ZipFile(bundle).testzip() is None


def test_killed_jobs_finish_exactly_once(tmp_path: Path) -> None:
    figures = figures_of(PROGRAM, tmp_path)
    said = kills.table(figures)
    assert sum(figures["kills"].values()) >= 1, said
    assert all(one["jobs"] == one["done"] >= 1 and one["wrong"] == [] for one in figures["kinds"].values()), said
    assert figures["library_problems"] == [] and figures["processes_left"] == 0, said


@pytest.mark.topology
def test_a_killed_training_finishes_once_on_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    with postgresql() as database_url, redis_server(tmp_path / "redis") as redis_url:
        monkeypatch.setenv("DATABASE_URL", database_url)
        monkeypatch.setenv("REDIS_URL", redis_url)
        test_a_training_run_killed_in_each_stage_finishes_once(tmp_path / "data")


@pytest.mark.topology
def test_killed_jobs_finish_once_on_servers_and_a_used_database_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgresql_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgresql_url)
    for name in ("data", "other"):
        (tmp_path / name).mkdir()
    with redis_server(tmp_path / "redis") as redis_url:
        monkeypatch.setenv("REDIS_URL", redis_url)
        test_killed_jobs_finish_exactly_once(tmp_path / "data")
        with pytest.raises(AssertionError, match="the database is in use"):
            figures_of(PROGRAM, tmp_path / "other")


@pytest.fixture
def owner(db: None, tmp_path: Path, settings: Any) -> User:
    """Return the owner of the portal in that folder."""
    settings.DATA = tmp_path
    return User.objects.create_user("olivia", password="a-good-long-password", is_owner=True)


@pytest.mark.parametrize(
    ("state", "error", "found", "counted"),
    [
        (Job.State.DONE, None, {"a": 1, "b": 1}, {}),
        (Job.State.DONE, None, {"a": 1, "b": 0}, {"lost": 1}),
        (Job.State.DONE, None, {"a": 2, "b": 3}, {"doubled": 2}),
        (Job.State.CANCELLED, None, {"a": 0, "b": 1}, {}),
        (Job.State.CANCELLED, None, {"a": 2}, {"doubled": 1}),
        (Job.State.RUNNING, None, {"a": 1}, {"lost": 1}),
        (Job.State.FAILED, {"what": "A.", "why": "B.", "what_to_do": "C."}, {}, {"lost": 1}),
    ],
)  # fmt: skip
def test_lost_and_duplicated_jobs_are_counted(
    owner: User, state: Job.State, error: dict[str, str] | None, found: dict[str, int], counted: dict[str, int]
) -> None:
    job = Job.objects.create(user=owner, kind="import", queue="general", title="x", state=state, error=error)
    counts = kills._counts([job_makers.Submission(str(job.pk), "import", lambda: found)], Counter())
    count = vars(counts["import"])
    assert {name: count[name] for name in ("lost", "doubled", "left") if count[name]} == counted
    assert bool(count["wrong"]) == bool(counted)


def test_orphaned_files_are_counted(owner: User, tmp_path: Path) -> None:
    spec = {"archive": "uploads/imports/1/a.zip", "folder": "audio/1"}
    job = Job.objects.create(user=owner, kind="import", queue="general", title="x", state=Job.State.DONE, spec=spec)
    assert job_makers.left_of(job) == []
    for name in (f"jobs/finished-{job.pk}.json", "uploads/imports/1/a.zip", "audio/1/.audio-half.flac"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("x")
    assert len(job_makers.left_of(job)) == 3
