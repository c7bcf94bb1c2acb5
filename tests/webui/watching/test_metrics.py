"""The figures of /metrics are those of the database; the dashboard and the alerts name existing ones."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from typing import Any

import pytest
import yaml
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from core.data_folder import REPOSITORY
from pipeline.job_process import Bug
from pipeline.jobs import QUEUES
from webui.accounts.models import User
from webui.jobs.heartbeat import beat
from webui.jobs.models import Job, JobEvent
from webui.jobs.services import retry
from webui.recordings.models import Recording, UploadInProgress
from webui.watching.observing import PARTS


def figures(client: Client) -> dict[str, float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200 and answer["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.type != "unknown", family.name
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.fixture
def history(owner: User) -> None:
    """Waiting, ended and failed jobs, an upload, and stages."""
    for queue in QUEUES:
        beat(queue)
    now = timezone.now()
    began, ended = now - timedelta(seconds=100), now - timedelta(seconds=40)
    job = Job(user=owner, kind="transcribe", queue="general", title="secret title", spec={})
    done = Job.objects.create(**{**fields(job), "state": "done", "started_at": began, "finished_at": ended})
    Job.objects.filter(pk=done.pk).update(result={"engine": "moonshine", "duration_s": 90.0})
    for size in (3_000_000, 2_000_000):
        JobEvent.objects.create(job=done, event={"event": "memory", "time": 1.0, "bytes": size})
    at = began.timestamp()
    for stage, after in (("normalize", -50), ("normalize", 0), ("transcribe", 10), ("summarize", 40)):
        JobEvent.objects.create(job=done, event={"event": "stage", "name": stage, "message": "", "time": at + after})
    bug = Bug("The job stopped because of a bug in Hark.", "", "").parts()
    fixable = {"what": "secret file.wav has no sound.", "why": "", "what_to_do": ""}
    for state, error, stage in (
        ("failed", bug, "transcribe"),
        ("failed", fixable, "normalize"),
        ("interrupted", bug, ""),
    ):
        values = {"state": state, "error": error, "stage": stage, "started_at": began, "finished_at": ended}
        Job.objects.create(**{**fields(job), **values})
    for age in (300, 20):
        Job.objects.create(**{**fields(job), "queued_at": now - timedelta(seconds=age)})
    Recording.objects.create(user=owner, name="secret.wav", folder="f", job=done, bytes=1000, duration_s=90.0)
    UploadInProgress.objects.create(user=owner, name="secret.wav", size=1)


def fields(job: Job) -> dict[str, Any]:
    return {"user": job.user, "kind": job.kind, "queue": job.queue, "title": job.title, "spec": job.spec}


def test_metrics_match_the_database(owners: Client, history: None) -> None:
    found = figures(owners)
    assert found["hark_queue_depth{queue=general}"] == 2 and found["hark_queue_depth{queue=training}"] == 0
    assert found["hark_queue_oldest_seconds{queue=general}"] == pytest.approx(300, abs=20)
    assert found["hark_queue_oldest_seconds{queue=webhooks}"] == 0
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
    assert found["hark_recognized_seconds{engine=moonshine}"] == 90
    assert found["hark_job_memory_bytes{kind=transcribe}"] == 3_000_000
    assert 0 < found["hark_disk_free_bytes"] <= found["hark_disk_bytes"]
    assert found["hark_worker_seen_seconds{queue=general}"] < 30
    if sys.platform == "linux":
        assert found["process_resident_memory_bytes"] > 1_000_000
    assert "secret" not in owners.get("/metrics").text


def test_a_requeued_job_counts_as_waiting(owners: Client, owner: User) -> None:
    job = Job.objects.create(user=owner, kind="train", queue="training", title="p", state="failed", spec={})
    long_ago = timezone.now() - timedelta(days=3)
    Job.objects.update(created_at=long_ago, queued_at=long_ago)
    retry(job=job)
    assert figures(owners)["hark_queue_oldest_seconds{queue=training}"] < 60


def test_no_metric_is_counted_per_process(owners: Client, history: None) -> None:
    before, after = figures(owners), figures(owners)
    moving = re.compile(r"process_|hark_\w+_(seconds|free_bytes)\b")
    assert {name: value for name, value in before.items() if not moving.match(name)} == {
        name: value for name, value in after.items() if not moving.match(name)
    }
    assert not [name for name in after if name.startswith("hark_http")]


def metrics_named(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:hark|process)_\w+", expression))


def test_dashboard_and_alerts_use_existing_metrics(owners: Client, history: None) -> None:
    existing = {name.partition("{")[0] for name in figures(owners)}
    dashboard = json.loads((REPOSITORY / "deploy" / "dashboard.json").read_text())
    drawn = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    groups = yaml.safe_load((REPOSITORY / "deploy" / "alerts.yml").read_text())["groups"]
    rules = [rule["expr"] for group in groups for rule in group["rules"]]
    for expression in drawn + rules:
        assert metrics_named(expression) or expression.startswith("up{"), expression
        assert metrics_named(expression) <= existing, expression
    # Dashboards show every metric.
    assert {name for name in existing if name.startswith("hark_")} <= set().union(*map(metrics_named, drawn))


def test_alerts_use_existing_parts_queues_and_reasons() -> None:
    text = (REPOSITORY / "deploy" / "alerts.yml").read_text()
    for parts in re.findall(r'part=~?"([^"]+)"', text):
        for part in parts.split("|"):
            assert [name for name in (*PARTS, "queue") if re.fullmatch(part, name)], part
    for queues in re.findall(r'queue=~?"([^"]+)"', text):
        assert set(queues.split("|")) <= set(QUEUES)
    reasons = {"bug", "disk_full", "interrupted", "limit", "refused", "storage"}
    assert set(re.findall(r'reason="(\w+)"', text)) <= reasons
