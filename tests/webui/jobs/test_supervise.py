"""A worker and its child process, however that ends."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.events import silent_reporter
from pipeline.corpora import jobs as corpora_jobs
from pipeline.job_process import NICENESS, finished_file
from pipeline.jobs import KINDS
from tests.support.constants import replace_in
from tests.support.failing_database import LOCKED
from tests.support.portal_jobs import Child
from tests.support.processes import has_ended
from tests.support.programs import run_python
from tests.support.servers import wait_for
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs import services, supervise
from webui.jobs.models import Job
from webui.telemetry.logs import job_id

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def job(owner: User) -> Job:
    return services.submit(user=owner, kind="plan", title="p", spec={"choices": {"phrase": "hey compass"}})


def run(job: Job) -> Job:
    supervise.run(str(job.id))
    job.refresh_from_db()
    return job


def run_beside(job: Job, act: Callable[[], object]) -> None:
    """Run a job while ``act`` runs in a thread."""
    thread = threading.Thread(target=act)
    thread.start()
    run(job)
    thread.join()


def test_the_childs_events_and_result_are_stored(job: Job, child: Child, portal: Path) -> None:
    child("say('stage', name='plan', message='Planning')\nsay('log', message='m', level='info')\n"
          "print('what a library prints')\nprint('noise', file=sys.stderr)\nsay('result', result=job)")  # fmt: skip
    run(job)
    assert job.state == Job.State.DONE
    assert job.result == {
        "kind": "plan", "spec": {"choices": {"phrase": "hey compass"}}, "data": str(portal)
    }  # fmt: skip
    assert [event.event["event"] for event in job.events.all()] == ["stage", "log"]
    assert "noise" in (portal / "log" / f"job-{job.id}.log").read_text()


def test_a_fixable_failure_is_stored_as_the_jobs_error(job: Job, child: Child) -> None:
    child("say('error', what='A.', why='B.', what_to_do='C.')\nsys.exit(2)")
    run(job)
    assert job.state == Job.State.FAILED
    assert job.error == {"what": "A.", "why": "B.", "what_to_do": "C."}
    child("say('result', result={})")
    services.retry(job=job)
    assert run(job).state == Job.State.DONE
    assert job.error is None


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit(1)", "pass"])
def test_a_child_that_ends_silently_interrupts_the_job(job: Job, child: Child, end: str) -> None:
    child(end)
    if "SIGKILL" in end:  # perhaps a passing lack of memory: once, it continues automatically
        assert run(job).state == Job.State.QUEUED and job.takeovers == 1
    run(job)
    assert job.state == Job.State.INTERRUPTED
    assert job.error["what_to_do"].startswith("Retry")


def test_cancelling_kills_all_processes_of_the_child(
    job: Job, child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(
        "import subprocess\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"other = subprocess.Popen(['sleep', '600'])\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(other.pid))\n"
        "say('stage', name='s', message='m')\ntime.sleep(600)"
    )
    monkeypatch.setattr(supervise, "GRACE_S", 0.5)
    run_beside(job, lambda: (time.sleep(1.5), services.cancel(job=Job.objects.get(id=job.id))))
    assert job.state == Job.State.CANCELLED
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: has_ended(pid), 0.2)


def test_a_terminated_worker_returns_its_job_to_the_queue(job: Job, child: Child, tmp_path: Path) -> None:
    child(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)")

    def tell() -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.05)
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    run_beside(job, tell)
    assert signal.getsignal(signal.SIGTERM) is before
    assert (job.state, job.sent_at, job.lease, job.process_group) == (Job.State.QUEUED, None, "", None)
    assert job.takeovers == 0, "a deliberate stop is not a takeover"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    services.send_waiting()
    child("say('result', result={})")
    assert run(job).state == Job.State.DONE


def test_a_result_finished_before_a_kill_is_reused(job: Job, portal: Path) -> None:
    finished = finished_file(portal, str(job.id))
    finished.parent.mkdir()
    finished.write_text('{"made": "before"}')
    run(job)  # the real child
    assert job.state == Job.State.DONE and job.result == {"made": "before"}
    assert not finished.exists()


@pytest.mark.parametrize("failures", [1, 2])
def test_a_result_that_cannot_be_applied_fails_the_job(
    job: Job, child: Child, portal: Path, owner: User, failures: int
) -> None:
    states = []

    def apply(sender: object, job: Job, **more: Any) -> None:
        states.append(job.state)
        User.objects.filter(pk=owner.pk).update(first_name="changed")
        if len(states) <= failures:
            raise HarkError("The disk is full.", "B.", "C.")

    child("say('result', result=7)")
    finished = finished_file(portal, str(job.id))
    finished.parent.mkdir(exist_ok=True)
    finished.write_text("7")
    services.job_ended.connect(apply)
    try:
        run(job)
        assert (job.state, job.takeovers) == (Job.State.FAILED, 0)
        assert job.error == {"what": "The disk is full.", "why": "B.", "what_to_do": "C."}
        assert states == [Job.State.DONE, Job.State.FAILED], "handlers see the final state"
        owner.refresh_from_db()
        assert owner.first_name == ("changed" if failures == 1 else "")
        services.retry(job=job)
        assert finished.exists() and run(job).state == Job.State.DONE
        assert not finished.exists()
    finally:
        services.job_ended.disconnect(apply)


@pytest.mark.parametrize("then", ["", "time.sleep(30)"])  # the child learns of it after its result
def test_cancelling_after_the_result_does_not_discard_it(
    job: Job, child: Child, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    child(f"say('result', result={{'made': 1}})\n{then}")
    record = services.record

    def cancel_meanwhile(job: Job, events: list[dict[str, object]]) -> None:
        record(job, events)
        if any(event["event"] == "result" for event in events):
            services.cancel(job=job)

    monkeypatch.setattr(services, "record", cancel_meanwhile)
    assert run(job).state == Job.State.DONE


def test_a_worker_without_the_lease_cannot_store_a_result(
    job: Job, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    child("os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(services, "renew", lambda job: Job.State.RUNNING)  # it has slept through its lease
    conclude = supervise._conclude

    def late(mine: Job, exit_code: int) -> None:
        Job.objects.filter(id=mine.id).update(lease="somebody else's")
        conclude(mine, exit_code)

    monkeypatch.setattr(supervise, "_conclude", late)
    run(job)
    assert job.state == Job.State.RUNNING and job.lease == "somebody else's"


def test_a_worker_that_lost_its_lease_stops(job: Job, child: Child, tmp_path: Path) -> None:
    child(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)")

    def steal() -> None:
        time.sleep(1.0)
        Job.objects.filter(id=job.id).update(lease="somebody else's")

    run_beside(job, steal)
    assert job.state == Job.State.RUNNING  # another worker has it now
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_job_that_is_not_waiting_is_not_changed(job: Job, child: Child) -> None:
    child("say('result', result={})")
    services.cancel(job=job)
    assert run(job).state == Job.State.CANCELLED


def test_an_uncreatable_log_folder_fails_the_job(job: Job, child: Child, portal: Path) -> None:
    (portal / "log").write_text("in the way")
    run(job)
    assert job.state == Job.State.FAILED and job.error is not None


def test_a_real_child_reports_its_error(job: Job) -> None:
    Job.objects.filter(id=job.id).update(spec={"choices": {"phrase": "x", "effort": "quick"}})
    run(job)
    assert job.state == Job.State.FAILED
    assert "x" in job.error["what"]


def test_a_child_ends_with_its_supervisor() -> None:
    """Runs ``pipeline.job_process`` from a parent that is killed."""
    parent = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'pipeline.job_process', 'name'], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\ntime.sleep(600)"  # stdin stays open: it waits for its order
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, cwd=REPOSITORY)
    pid = int(process.stdout.readline())
    time.sleep(1.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: has_ended(pid), 5)


def test_a_job_runs_at_low_priority(tmp_path: Path) -> None:
    program = (
        "import os, subprocess, sys\nfrom pipeline import job_process, jobs\n"
        "child = [sys.executable, '-c', 'import os; print(os.nice(0))']\n"
        "nice = lambda *of_job: {'job': os.nice(0), 'its own': int(subprocess.check_output(child))}\n"
        "jobs.KINDS['nice'] = jobs.Kind('nice', jobs.GENERAL, '__main__:nice')\n"
        "sys.argv = ['job_process', 'name']\nsys.exit(job_process.main())"
    )
    job = json.dumps({"kind": "nice", "spec": {}, "data": str(tmp_path)})
    done = run_python(program, job)
    said = json.loads(done.stdout.splitlines()[-1])
    wanted = min(19, os.nice(0) + NICENESS)
    assert said["result"] == {"job": wanted, "its own": wanted}, done.stderr


def test_the_size_of_a_log_is_limited(job: Job, child: Child, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "EVERY_S", 0.05)
    child(
        "sys.stderr.write('it began\\n')\n"
        "for _ in range(20):\n    sys.stderr.write('tag\\n' * 500_000)\n    sys.stderr.flush()\n    time.sleep(0.1)\n"
        "sys.stderr.write('it ended\\n')\nsay('result', result={})\n"
    )
    assert run(job).state == Job.State.DONE
    log = user_data(owner) / "log" / f"job-{job.id}.log"
    assert log.stat().st_size < 1.1 * supervise.MAX_LOG_BYTES, "40 MB were written"
    assert log.read_text().startswith("it began") and "the middle of this log was cut" in log.read_text()


def test_a_long_log_keeps_its_end(job: Job, child: Child, owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "EVERY_S", 30.0)
    child("sys.stderr.write('it began\\n' + 'tag\\n' * 3_000_000 + 'it failed\\n')\nsay('result', result={})\n")
    assert run(job).state == Job.State.DONE
    text = (user_data(owner) / "log" / f"job-{job.id}.log").read_text()
    assert text.startswith("it began") and text.endswith("it failed\n") and "the middle of this log was cut" in text
    assert len(text) < supervise.MAX_LOG_BYTES


def test_an_import_is_limited_to_two_gigabytes(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom dataclasses import replace\nfrom pipeline import job_process, jobs\n"
        "greedy = lambda *of_job: {'bytes': len(bytearray(3 << 30))}\n"
        "jobs.KINDS['import'] = replace(jobs.KINDS['import'], function='__main__:greedy')\n"
        "sys.argv = ['job_process', 'name']\nsys.exit(job_process.main())"
    )
    job = json.dumps({"kind": "import", "spec": {}, "data": str(tmp_path)})
    done = run_python(program, job)
    assert KINDS["import"].memory_bytes == 2 << 30 and done.returncode == 2, done.stderr
    assert "more memory" in json.loads(done.stdout.splitlines()[-1])["why"]


def test_the_time_of_an_import_of_an_upload_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora_jobs, "MAX_IMPORT_S", 1)
    monkeypatch.setattr(corpora_jobs, "unpack_confined", lambda archive, folder: time.sleep(30))
    upload = tmp_path / "uploads" / "1" / "corpus.zip"
    upload.parent.mkdir(parents=True)
    upload.write_bytes(b"PK")
    before = signal.getsignal(signal.SIGALRM)
    try:
        with pytest.raises(HarkError, match="stopped"):
            corpora_jobs.import_job({"archive": "uploads/1/corpus.zip", "language": "en"}, tmp_path, silent_reporter())
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not upload.parent.exists()


def test_log_lines_during_a_job_have_its_id(job: Job, child: Child, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "webui.jobs.supervise")
    about: list[tuple[str, str]] = []

    def look(record: logging.LogRecord) -> bool:
        about.append((record.getMessage(), job_id.get()))
        return True

    child("say('result', result={})\n")
    caplog.handler.addFilter(look)
    try:
        run(job)
    finally:
        caplog.handler.removeFilter(look)
    assert about == [("job begins", str(job.id)), ("job ends", str(job.id))] and job_id.get() == ""
    assert caplog.records[-1].__dict__["fields"]["state"] == "done"


@pytest.mark.parametrize(
    ("why", "waits_s", "gives_up"),
    [("server closed the connection unexpectedly", 90, 0), (LOCKED, -1, None)],
    ids=["as long as the lease if it went away", "beyond the lease if it is locked"],
)
def test_a_job_waits_for_a_locked_database(
    settings: Any, monkeypatch: pytest.MonkeyPatch, why: str, waits_s: int, gives_up: int | None
) -> None:
    tries: list[int] = []

    def write() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError(why)
        return "written"

    replace_in(supervise, monkeypatch, EVERY_S=0.0, connection=SimpleNamespace(connection=None, close=lambda: None))
    settings.JOBS_LEASE_S = waits_s
    assert supervise._retry_on_disconnect(write) == "written" and len(tries) == 3
    if gives_up is not None:
        settings.JOBS_LEASE_S = gives_up
        tries.clear()
        with pytest.raises(OperationalError):
            supervise._retry_on_disconnect(write)
