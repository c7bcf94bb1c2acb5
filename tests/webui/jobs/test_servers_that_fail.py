"""Failures around running jobs: PostgreSQL restarts, Redis loses everything or is unreachable, SIGTERM arrives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from core.data_folder import REPOSITORY
from tests.support.processes import answers, free_port
from tests.support.servers import Server, postgresql_server, redis_and_its_server, wait_for

pytestmark = [pytest.mark.topology, pytest.mark.timeout(1800)]

STARTS_S, DONE_S = 300.0, 900.0  # on two busy cores
LEASE_S = 12
TRAIN = {"phrase": "hey compass", "effort": "trial", "engines": ["flite"], "mining": False}
SUBMIT = """
import json, sys
import django
django.setup()
from webui.accounts.models import User
from webui.jobs.services import submit
user, _made = User.objects.get_or_create(username="olga")
for job in json.load(sys.stdin):
    print(submit(user=user, kind=job["kind"], title="x", spec=job["spec"]).id)
"""


class Portal:
    """``serve`` with a worker for each queue, on servers of its own."""

    def __init__(self, folder: Path, database: tuple[str, Server], redis: tuple[str, Server]) -> None:
        import psycopg

        self.database, self.redis, self.redis_url = database[1], redis[1], redis[0]
        self.port, self.log = free_port(), folder / "serve.log"
        self._settings = {
            **os.environ, "HARK_DATA": str(folder / "data"), "DATABASE_URL": database[0], "REDIS_URL": redis[0],
            "HARK_JOBS_LEASE_S": str(LEASE_S), "HARK_JOBS_RUNNING": "1",
            "HARK_SPEECH_SOCKET": str(folder / "speech.sock"),
        }  # fmt: skip
        self._asks = lambda: psycopg.connect(database[0], autocommit=True)
        self.start()

    def start(self) -> None:
        with self.log.open("a") as log:
            command = [sys.executable, "main.py", "serve", "--port", str(self.port)]
            self.process = subprocess.Popen(command, cwd=REPOSITORY, env=self._settings, stdout=log, stderr=log)
        wait_for(lambda: answers(self.port), STARTS_S)

    def stop(self) -> int:
        """Stop it with SIGTERM; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(180)

    def submit(self, *jobs: dict[str, Any]) -> list[str]:
        """Submit jobs; return their ids."""
        settings = {**self._settings, "DJANGO_SETTINGS_MODULE": "webui.settings"}
        done = subprocess.run(
            [sys.executable, "-c", SUBMIT], cwd=REPOSITORY, env=settings, input=json.dumps(jobs), text=True,
            capture_output=True, timeout=STARTS_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def job(self, identifier: str) -> tuple[str, int | None, int, str]:
        """Return its state, the process that runs it, its number of takeovers, and its lease."""
        with self._asks() as rows:
            query = "SELECT state, process_group, takeovers, lease FROM jobs_job WHERE id = %s"
            found = rows.execute(query, [identifier]).fetchone()
        assert found is not None
        return found

    def at_work(self, identifier: str) -> int | None:
        """Return the process that runs a job."""
        state, process, *_others = self.job(identifier)
        return process if state == "running" else None

    def errors(self, *identifiers: str) -> list[Any]:
        """Return the errors of the jobs."""
        with self._asks() as rows:
            return rows.execute("SELECT state, error FROM jobs_job WHERE id = ANY(%s)", [list(identifiers)]).fetchall()

    def ready(self) -> tuple[int, dict[str, str]]:
        import httpx2

        answer = httpx2.get(f"http://127.0.0.1:{self.port}/ready", timeout=60)
        return answer.status_code, answer.json()["parts"]

    def is_done(self, *identifiers: str) -> bool:
        """Return whether all are done. Fails if one has ended otherwise."""
        states = {self.job(one)[0] for one in identifiers}
        assert states <= {"queued", "running", "done"}, self.errors(*identifiers)
        return states == {"done"}


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    folder = tmp_path_factory.mktemp("portal")
    with ExitStack() as stack:
        database = stack.enter_context(postgresql_server())
        redis = stack.enter_context(redis_and_its_server(folder / "redis"))
        running = Portal(folder, database, redis)
        try:
            yield running
        finally:
            running.stop()
    assert "Traceback" not in running.log.read_text(), running.log.read_text()


def test_a_job_continues_after_postgresql_restarts(portal: Portal) -> None:
    (job,) = portal.submit({"kind": "train", "spec": {"choices": {**TRAIN, "seed": 1}}})
    wait_for(lambda: portal.at_work(job), STARTS_S)
    process = portal.at_work(job)
    portal.database.stop()
    portal.database.start()
    wait_for(lambda: portal.ready()[0] == 200, STARTS_S)
    assert portal.at_work(job) == process, "the same process continues the job"
    wait_for(lambda: portal.is_done(job), DONE_S)
    assert portal.job(job)[2] == 0


def test_tasks_lost_by_redis_are_resent(portal: Portal) -> None:
    import redis

    plans = [{"kind": "plan", "spec": {"choices": {**TRAIN, "seed": number}}} for number in range(3)]
    jobs = portal.submit(*plans)
    redis.from_url(portal.redis_url).flushall()
    wait_for(lambda: portal.is_done(*jobs), DONE_S)
    assert [portal.job(job)[2] for job in jobs] == [0, 0, 0]


def test_ready_reports_a_redis_outage_and_jobs_wait(portal: Portal) -> None:
    assert portal.ready()[1]["queue"] == "ok"
    portal.redis.stop()
    status, parts = portal.ready()
    assert status == 503 and parts["queue"] == "Redis does not answer."
    assert parts["database"] == parts["storage"] == "ok"
    (job,) = portal.submit({"kind": "plan", "spec": {"choices": {**TRAIN, "seed": 9}}})
    assert portal.job(job)[0] == "queued"
    portal.redis.start()
    wait_for(lambda: portal.ready()[0] == 200, STARTS_S)
    wait_for(lambda: portal.is_done(job), DONE_S)


def test_sigterm_returns_jobs_and_the_next_start_continues_them(portal: Portal) -> None:
    (job,) = portal.submit({"kind": "train", "spec": {"choices": {**TRAIN, "seed": 2}}})
    wait_for(lambda: portal.at_work(job), STARTS_S)
    process = portal.at_work(job)
    assert portal.stop() == 130  # as after Ctrl-C
    assert portal.job(job) == ("queued", None, 0, "")
    assert not Path(f"/proc/{process}").exists()
    portal.start()
    wait_for(lambda: portal.is_done(job), DONE_S)
    assert portal.job(job)[2] == 0
