"""A queue has heartbeats as long as one of its workers lives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from core.data_folder import REPOSITORY
from tests.support.servers import wait_for
from webui.jobs.heartbeat import ages, beat
from webui.jobs.models import Heartbeat


def test_a_queue_has_a_heartbeat_age_after_the_first_beat(db: None) -> None:
    assert ages(["general"]) == {}
    beat("general")
    assert ages(["general", "training"])["general"] < 10 and "training" not in ages(["general", "training"])


@pytest.mark.parametrize("by", [-3600, 60])
def test_a_beat_is_written_unless_one_is_recent(db: None, by: int) -> None:
    Heartbeat.objects.create(
        queue="general", seen_at=timezone.now() - timedelta(seconds=by)
    )  # -3600: the clock was set
    beat("general")
    seen = Heartbeat.objects.get(queue="general").seen_at
    assert abs((timezone.now() - seen).total_seconds()) < 10
    beat("general")
    assert Heartbeat.objects.get(queue="general").seen_at == seen


def test_workers_killed_before_a_clock_change_do_not_seem_alive(db: None) -> None:
    Heartbeat.objects.create(queue="general", seen_at=timezone.now() + timedelta(hours=1))
    assert ages(["general"])["general"] > 3000
    beat("general")
    assert ages(["general"])["general"] < 10


@pytest.mark.skipif(sys.platform != "linux", reason="process groups")
def test_workers_send_heartbeats_until_they_are_killed(portal: Path) -> None:
    environment = {**os.environ, "HARK_DATA": str(portal), "HARK_JOBS_LEASE_S": "6", "Q_CLUSTER_NAME": "webhooks"}
    (portal / "portal").mkdir()
    migrate = [sys.executable, "webui/manage.py", "migrate", "-v0"]
    subprocess.run(migrate, cwd=REPOSITORY, env=environment, check=True, timeout=120)
    ask = (
        "import django; django.setup(); from webui.jobs import heartbeat; import json;"
        "print(json.dumps(heartbeat.ages(['general', 'webhooks'])))"
    )

    def heard_of() -> dict[str, float]:
        asking = {**environment, "DJANGO_SETTINGS_MODULE": "webui.settings", "Q_CLUSTER_NAME": ""}
        said = subprocess.run([sys.executable, "-c", ask], cwd=REPOSITORY, env=asking, capture_output=True, check=True)
        return json.loads(said.stdout)

    workers = subprocess.Popen(
        [sys.executable, "-m", "webui.jobs.cluster"], cwd=REPOSITORY, env=environment, start_new_session=True
    )
    try:
        wait_for(lambda: "webhooks" in heard_of(), 60)
        time.sleep(8)
        assert heard_of()["webhooks"] < 6 and "general" not in heard_of()
    finally:
        os.killpg(workers.pid, signal.SIGKILL)
        workers.wait()
    time.sleep(6.5)
    assert heard_of()["webhooks"] > 6
