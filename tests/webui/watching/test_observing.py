"""/live, /ready and /metrics: a stopped part is named, and figures are those of the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from pipeline.jobs import QUEUES
from webui.accounts.models import User
from webui.jobs.heartbeat import beat
from webui.jobs.models import Heartbeat, Job
from webui.watching import observing

TOKEN = "scraper's own 0123456789"  # of these tests
Stop = Callable[[Path, Any, pytest.MonkeyPatch], None]


@pytest.fixture
def at_work(db: None) -> None:
    """Give every queue a recent heartbeat."""
    for queue in QUEUES:
        beat(queue)


def late(queue: str) -> Stop:
    def stop(portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        Heartbeat.objects.filter(queue=queue).update(seen_at=timezone.now() - timedelta(seconds=60))

    return stop


def read_only(portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("closes SQLite to writing")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")


def no_folder(portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATA = portal / "unmounted"


def no_room(portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "MIN_FREE_BYTES", 10**18)


def deaf(portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.recordings.transcription.registry.engines", lambda: [])


def stuck(portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    user = User.objects.create_user("olga", "olga@example.org", "x")
    long_ago = timezone.now() - timedelta(hours=1)
    Job.objects.create(user=user, kind="plan", queue="general", title="p", sent_at=long_ago)


@pytest.fixture
def writable_again() -> Iterator[None]:
    yield
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = OFF")


def test_live_always_answers(client: Client, db: None) -> None:
    for address in ("/live", "/api/v1/live", "/api/v1/health/live"):
        answer = client.get(address)
        assert answer.status_code == 200 and answer.json() == {"status": "alive"}


def test_ready_reports_every_part(client: Client, at_work: None) -> None:
    for address in ("/ready", "/api/v1/ready", "/api/v1/health/ready"):
        answer = client.get(address)
        assert answer.status_code == 200 and answer.json()["status"] == "ready"
        assert {"database", "storage", "workers_training", "workers_general", "workers_webhooks"} <= set(
            answer.json()["parts"]
        )
        assert all(answer.json()["parts"][name] == "ok" for name in observing.NEEDED)
        assert answer.json()["checks"]["database"]
    assert client.get("/api/v1/health").json()["status"] == "healthy"


@pytest.mark.parametrize("path", ["/live", "/ready", "/metrics"])
def test_probes_may_use_any_host_name(owners: Client, at_work: None, path: str) -> None:
    """Prometheus requests pods by IPs that are not known in advance."""
    host = {"Host": "10.42.0.17:8000"}
    assert owners.get(path, headers=host).status_code == 200
    assert owners.get("/", headers=host).status_code == 400


@pytest.mark.parametrize(
    ("part", "stop", "why"),
    [
        ("database", read_only, "read and written"),
        ("storage", no_folder, "cannot be written"),
        ("storage", no_room, "MB left"),
        ("recognition", deaf, "No recognizer"),
        ("workers_general", stuck, "take no jobs"),
        *((f"workers_{queue}", late(queue), "for 60 seconds") for queue in QUEUES),
    ],
)
def test_ready_names_the_failing_part(
    client: Client, at_work: None, writable_again: None, portal: Path, settings: Any, monkeypatch: pytest.MonkeyPatch,
    part: str, stop: Stop, why: str,
) -> None:  # fmt: skip
    stop(portal, settings, monkeypatch)
    answer = client.get("/ready")
    said = answer.json()["parts"]
    assert answer.status_code == 503 and answer.json()["status"] == "not ready"
    assert {name for name in observing.NEEDED if said[name] != "ok"} == {part}
    assert why in said[part] and answer.json()["checks"][part] is False
    assert str(portal) not in answer.text
    assert client.get("/live").status_code == 200
    assert client.get("/api/v1/health").json()["status"] == "degraded"


def test_an_unresponsive_database_is_reported(client: Client, at_work: None) -> None:
    def broken(*arguments: object) -> None:
        raise OperationalError("disk I/O error: /secret/place")

    with connection.execute_wrapper(broken):
        answer = client.get("/ready")
        assert client.get("/live").status_code == 200
    assert answer.status_code == 503 and "secret" not in answer.text
    said = answer.json()["parts"]
    assert "database" in said["database"] and all("database" in said[f"workers_{queue}"] for queue in QUEUES)
    assert said["storage"] == "ok"


def test_workers_that_never_ran_are_reported(client: Client, db: None) -> None:
    assert "ever" in client.get("/ready").json()["parts"]["workers_training"]


@pytest.mark.parametrize("address", ["/metrics", "/api/v1/metrics", "/api/v1/health/metrics"])
def test_metrics_are_off_by_default_and_need_the_token(
    client: Client, owner: User, other: User, settings: Any, address: str
) -> None:
    settings.METRICS_TOKEN = ""
    assert client.get(address).status_code == 404
    assert client.get(address, headers={"Authorization": "Bearer "}).status_code == 404
    client.force_login(other)
    assert client.get(address).status_code == 404
    client.force_login(owner)
    assert client.get(address).status_code == 200
    settings.METRICS_TOKEN = TOKEN
    visitor = Client()
    for header in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer \xe9"):
        answer = visitor.get(address, headers={"Authorization": header})
        assert answer.status_code == 401 and TOKEN not in answer.text
    answer = visitor.get(address, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200 and 'hark_check{part="database"} 1.0' in answer.text


def test_metrics_report_an_unusable_database(owners: Client, at_work: None, writable_again: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")
    said = owners.get("/metrics").text
    assert 'hark_check{part="database"} 0.0' in said and "hark_disk_free_bytes" in said and "hark_jobs" not in said
