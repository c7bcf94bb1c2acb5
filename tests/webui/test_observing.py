"""/live, /ready and /metrics: a part that is stopped is named, and figures are what the database holds."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from core.data_folder import REPOSITORY
from webui import observing
from webui.accounts.models import User
from webui.audio.models import Recording, UploadInProgress
from webui.jobs.heartbeat import beat
from webui.jobs.models import Heartbeat, Job, JobEvent
from webui.jobs.services import LANES

TOKEN = "scraper's own 0123456789"  # of these tests
Stop = Callable[[Path, Any, pytest.MonkeyPatch], None]


@pytest.fixture
def at_work(db: None) -> None:
    """Every queue has a worker that has just been heard of."""
    for lane in LANES:
        beat(lane)


def late(lane: str) -> Stop:
    def stop(portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        Heartbeat.objects.filter(lane=lane).update(seen_at=timezone.now() - timedelta(seconds=60))

    return stop


def read_only(portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")


def no_folder(portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATA = portal / "unmounted"


def no_room(portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "LEAST_FREE", 10**18)


def deaf(portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.recordings.transcription.registry.engines", lambda: [])


def stuck(portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    user = User.objects.create_user("olga", "olga@example.org", "x")
    long_ago = timezone.now() - timedelta(hours=1)
    Job.objects.create(user=user, kind="plan", lane="audio", title="p", sent_at=long_ago)


@pytest.fixture
def writable_again() -> Iterator[None]:
    yield
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = OFF")


def test_live(client: Client, db: None) -> None:
    answer = client.get("/live")
    assert answer.status_code == 200 and answer.json() == {"status": "alive"}


def test_ready(client: Client, at_work: None) -> None:
    for address in ("/ready", "/api/v1/ready", "/api/v1/health/ready"):
        answer = client.get(address)
        assert answer.status_code == 200 and answer.json()["status"] == "ready"
        assert {"database", "storage", "workers_training", "workers_audio", "workers_webhooks"} <= set(
            answer.json()["parts"]
        )
        assert all(answer.json()["parts"][name] == "ok" for name in observing.NEEDED)


@pytest.mark.parametrize(
    ("part", "stop", "why"),
    [
        ("database", read_only, "read and written"),
        ("storage", no_folder, "cannot be written"),
        ("storage", no_room, "MB left"),
        ("recognition", deaf, "No recognizer"),
        ("workers_audio", stuck, "take nothing"),
        *((f"workers_{lane}", late(lane), "for 60 seconds") for lane in LANES),
    ],
)
def test_the_part_that_is_stopped_is_named(
    client: Client, at_work: None, writable_again: None, portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch,
    part: str, stop: Stop, why: str,
) -> None:  # fmt: skip
    stop(portal, settings, monkeypatch)
    answer = client.get("/ready")
    said = answer.json()["parts"]
    assert answer.status_code == 503 and answer.json()["status"] == "not ready"
    assert {name for name in observing.NEEDED if said[name] != "ok"} == {part}
    assert why in said[part] and answer.json()["checks"][part] is False
    assert str(portal) not in answer.content.decode()
    assert client.get("/live").status_code == 200


def test_a_database_that_does_not_answer(client: Client, at_work: None) -> None:
    def broken(*arguments: object) -> None:
        raise OperationalError("disk I/O error: /secret/place")

    with connection.execute_wrapper(broken):
        answer = client.get("/ready")
        assert client.get("/live").status_code == 200
    assert answer.status_code == 503 and "secret" not in answer.content.decode()
    said = answer.json()["parts"]
    assert "database" in said["database"] and all("database" in said[f"workers_{lane}"] for lane in LANES)
    assert said["storage"] == "ok"


def test_workers_that_never_were(client: Client, db: None) -> None:
    assert "ever" in client.get("/ready").json()["parts"]["workers_training"]


@pytest.mark.slow(reason="starts workers")
@pytest.mark.skipif(sys.platform != "linux", reason="process groups")
def test_workers_are_heard_of_until_they_are_killed(portal: Path) -> None:
    environment = {**os.environ, "HARK_DATA": str(portal), "HARK_JOBS_LEASE_S": "6", "Q_CLUSTER_NAME": "webhooks"}
    (portal / "portal").mkdir()
    migrate = [sys.executable, "webui/manage.py", "migrate", "-v0"]
    subprocess.run(migrate, cwd=REPOSITORY, env=environment, check=True, timeout=120)
    ask = (
        "import django; django.setup(); from webui.jobs import heartbeat; import json;"
        "print(json.dumps(heartbeat.ages(['audio', 'webhooks'])))"
    )

    def ages() -> dict[str, float]:
        asking = {**environment, "DJANGO_SETTINGS_MODULE": "webui.settings", "Q_CLUSTER_NAME": ""}
        said = subprocess.run([sys.executable, "-c", ask], cwd=REPOSITORY, env=asking, capture_output=True, check=True)
        found: dict[str, float] = json.loads(said.stdout)
        return found

    workers = subprocess.Popen(
        [sys.executable, "-m", "webui.jobs.cluster"], cwd=REPOSITORY, env=environment, start_new_session=True
    )
    try:
        until = time.monotonic() + 60
        while "webhooks" not in ages():
            assert time.monotonic() < until
        time.sleep(8)
        assert ages()["webhooks"] < 6 and "audio" not in ages()
    finally:
        os.killpg(workers.pid, signal.SIGKILL)
        workers.wait()
    time.sleep(6.5)
    assert ages()["webhooks"] > 6


def figures(client: Client, **headers: str) -> dict[str, float]:
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200 and answer["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(answer.content.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_metrics_are_off_until_they_are_asked_for(client: Client, owner: User, other: User, settings: Any) -> None:
    assert client.get("/metrics").status_code == 404
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404
    client.force_login(other)
    assert client.get("/metrics").status_code == 404
    client.force_login(owner)
    assert client.get("/metrics").status_code == 200
    settings.METRICS_TOKEN = TOKEN
    stranger = Client()
    for header in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer \xe9"):
        answer = stranger.get("/metrics", headers={"Authorization": header})
        assert answer.status_code == 401 and TOKEN not in answer.content.decode()
    assert figures(stranger, Authorization=f"Bearer {TOKEN}")["hark_check{part=database}"] == 1


@pytest.fixture
def history(owner: User, at_work: None) -> None:
    """Jobs that wait, ended and failed, an upload, and what stages there were."""
    now = timezone.now()
    began, ended = now - timedelta(seconds=100), now - timedelta(seconds=40)
    job = Job(user=owner, kind="transcribe", lane="audio", title="secret title", spec={})
    done = Job.objects.create(**{**fields(job), "state": "done", "started_at": began, "finished_at": ended})
    at = began.timestamp()
    for stage, after in (("normalize", -50), ("normalize", 0), ("transcribe", 10), ("summarize", 40)):
        JobEvent.objects.create(job=done, event={"event": "stage", "name": stage, "message": "", "time": at + after})
    bug = {"what": "The job stopped because of a bug in Hark.", "why": "", "what_to_do": ""}
    mendable = {"what": "secret file.wav has no sound.", "why": "", "what_to_do": ""}
    for state, error, stage in (
        ("failed", bug, "transcribe"),
        ("failed", mendable, "normalize"),
        ("interrupted", bug, ""),
    ):
        values = {"state": state, "error": error, "stage": stage, "started_at": began, "finished_at": ended}
        Job.objects.create(**{**fields(job), **values})
    for age in (300, 20):
        Job.objects.create(**{**fields(job), "queued_at": now - timedelta(seconds=age)})
    Recording.objects.create(user=owner, name="secret.wav", folder="f", job=done, bytes=1000, duration_s=90.0)
    UploadInProgress.objects.create(user=owner, name="secret.wav", size=1)


def fields(job: Job) -> dict[str, Any]:
    return {"user": job.user, "kind": job.kind, "lane": job.lane, "title": job.title, "spec": job.spec}


def test_metrics_are_what_the_database_holds(owners: Client, history: None) -> None:
    found = figures(owners)
    assert found["hark_queue_depth{lane=audio}"] == 2 and found["hark_queue_depth{lane=training}"] == 0
    assert found["hark_queue_oldest_seconds{lane=audio}"] == pytest.approx(300, abs=20)
    assert found["hark_queue_oldest_seconds{lane=webhooks}"] == 0
    assert found["hark_jobs_kept{kind=transcribe,state=done}"] == 1
    assert found["hark_jobs_kept{kind=transcribe,state=failed}"] == 2
    stages = {"normalize": 10, "transcribe": 30, "summarize": 20}
    for stage, seconds in stages.items():
        took = found[f"hark_stage_seconds{{kind=transcribe,quantile=0.5,stage={stage}}}"]
        assert took == pytest.approx(seconds, abs=0.1)
    for stage, reason in (("transcribe", "bug"), ("normalize", "refused"), ("none", "interrupted")):
        assert found[f"hark_job_failures{{kind=transcribe,reason={reason},stage={stage}}}"] == 1
    assert (found["hark_uploads"], found["hark_uploaded_bytes"], found["hark_uploads_going"]) == (1, 1000, 1)
    assert found["hark_transcribed_seconds"] == 90 and found["hark_transcribing_seconds"] == pytest.approx(60)
    assert 0 < found["hark_disk_free_bytes"] <= found["hark_disk_bytes"]
    assert found["hark_worker_seen_seconds{lane=audio}"] < 30
    if sys.platform == "linux":
        assert found["process_resident_memory_bytes"] > 1_000_000
    assert "secret" not in owners.get("/metrics").content.decode()


def test_a_job_that_is_queued_again_waits_anew(owners: Client, owner: User) -> None:
    from webui.jobs.services import retry

    job = Job.objects.create(user=owner, kind="train", lane="training", title="p", state="failed", spec={})
    long_ago = timezone.now() - timedelta(days=3)
    Job.objects.update(created_at=long_ago, queued_at=long_ago)
    retry(job=job)
    assert figures(owners)["hark_queue_oldest_seconds{lane=training}"] < 60


def test_no_figure_is_counted_in_this_process(owners: Client, history: None) -> None:
    before, after = figures(owners), figures(owners)
    moving = re.compile(r"process_|hark_\w+_(seconds|free_bytes)\b")
    assert {name: value for name, value in before.items() if not moving.match(name)} == {
        name: value for name, value in after.items() if not moving.match(name)
    }
    assert not [name for name in after if name.startswith("hark_http")]


def metrics_named(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:hark|process)_\w+", expression))


def test_the_dashboard_and_the_alerts_name_metrics_that_exist(owners: Client, history: None) -> None:
    existing = {name.partition("{")[0] for name in figures(owners)}
    dashboard = json.loads((REPOSITORY / "deploy" / "dashboard.json").read_text())
    drawn = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    groups = yaml.safe_load((REPOSITORY / "deploy" / "alerts.yml").read_text())["groups"]
    rules = [rule["expr"] for group in groups for rule in group["rules"]]
    for expression in drawn + rules:
        assert metrics_named(expression) or expression.startswith("up{"), expression
        assert metrics_named(expression) <= existing, expression
    # Whatever /metrics has is drawn.
    assert {name for name in existing if name.startswith("hark_")} <= set().union(*map(metrics_named, drawn))


def test_the_alerts_name_parts_lanes_and_reasons_that_exist() -> None:
    from webui.metrics import REASONS

    text = (REPOSITORY / "deploy" / "alerts.yml").read_text()
    for parts in re.findall(r'part=~?"([^"]+)"', text):
        for part in parts.split("|"):
            assert [name for name in observing.PARTS if re.fullmatch(part, name)], part
    for lanes in re.findall(r'lane=~?"([^"]+)"', text):
        assert set(lanes.split("|")) <= set(LANES)
    assert set(re.findall(r'reason="(\w+)"', text)) <= {*REASONS.values(), "interrupted", "refused"}
