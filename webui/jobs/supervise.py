"""A worker's supervision of a job: runs a child process, stores its events in the database, and renews the lease."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from core.child_process import signal_group
from core.data_folder import REPOSITORY, storage_error
from core.worded import worded
from pipeline.job_process import finished_file
from webui.accounts.storage import user_data
from webui.jobs import services
from webui.jobs.models import Job, stage_times
from webui.telemetry import tracing
from webui.telemetry.logs import about_job
from webui.transactions import is_locked

T = TypeVar("T")
log = logging.getLogger(__name__)

EVERY_S = 0.5  # seconds between writes of events, and between checks for cancellation
MAX_LOG_BYTES = 10_000_000  # bytes; a larger log keeps its beginning and its end
GRACE_S = 10.0  # seconds for a child to end on its own
CHILD = (sys.executable, "-m", "pipeline.job_process")


class _Stopping(Exception):
    """Raised if the worker itself must end."""


def run(job_id: str) -> None:
    """Run a job, unless it has been taken, cancelled or deleted. Called by django-q2."""
    job = services.claim(job_id)
    if job is None:
        return
    old = signal.signal(signal.SIGTERM, _stop) if threading.current_thread() is threading.main_thread() else None
    try:
        with about_job(job_id), _span(job):
            _watched(job)
    finally:
        if old is not None:
            signal.signal(signal.SIGTERM, old)


@contextmanager
def _span(job: Job) -> Iterator[None]:
    """Trace the work on a job as a span. Spans of its stages are added when it has ended."""
    if not tracing.wanted():
        yield
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode

    tracer = tracing.provider().get_tracer(__name__)
    attributes = {"hark.job.id": str(job.pk), "hark.job.kind": job.kind, "hark.job.queue": job.queue}
    parent = tracing.context_of(job.traceparent)
    with tracer.start_as_current_span(f"job {job.kind}", parent, SpanKind.CONSUMER, attributes) as span:
        yield
        job.refresh_from_db(fields=["state"])
        span.set_attribute("hark.job.state", job.state)
        if job.state in (Job.State.FAILED, Job.State.INTERRUPTED):
            span.set_status(Status(StatusCode.ERROR))
        for _job, stage, began, end in stage_times(Job.objects.filter(pk=job.pk)):
            tracer.start_span(f"stage {stage}", start_time=_ns(began)).end(_ns(end))
    tracing.provider().force_flush()  # because a worker may be ended at any time


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


def _watched(job: Job) -> None:
    log.info("job begins", extra={"fields": {"kind": job.kind, "queue": job.queue}})
    try:
        _supervise(job)
    except _Stopping:
        services.give_back(job)
        log.info("job returned to the queue", extra={"fields": {"kind": job.kind, "queue": job.queue}})
    else:
        ended = {"kind": job.kind, "queue": job.queue, "state": job.state, "seconds": job.seconds}
        log.info("job ends", extra={"fields": ended})


def _stop(number: int, frame: object) -> None:
    raise _Stopping


def _supervise(job: Job) -> None:
    data = user_data(job.user)
    try:
        log_file = services.log_of(job)
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log_stream = log_file.open("ab")
    except OSError as error:
        services.finish(job, Job.State.FAILED, storage_error(error, "the job"))
        return
    with log_stream:
        process = subprocess.Popen(
            [*CHILD, str(job.id)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log_stream, cwd=REPOSITORY, start_new_session=True,
        )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        mine = Job.objects.filter(id=job.id, lease=job.lease)
        # Stored so that the child can be ended if this process is killed.
        _retry_on_disconnect(partial(mine.update, process_group=process.pid))
        try:
            asked = {"kind": job.kind, "spec": job.spec, "data": str(data)}
            process.stdin.write(json.dumps(asked).encode())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has already ended; its exit code gives the reason
        event_queue: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(process.stdout, event_queue), daemon=True)
        reader.start()
        asked_at = 0.0
        while process.poll() is None:
            _retry_on_disconnect(partial(services.record, job, _drain(event_queue)))
            _keep_small(log_file)
            state = _retry_on_disconnect(partial(services.renew, job))
            if state == "":
                _end(process)
                return  # another worker has it
            if state == Job.State.CANCELLING:
                if not asked_at:
                    asked_at = time.monotonic()
                    process.send_signal(signal.SIGINT)
                elif time.monotonic() - asked_at > GRACE_S:
                    _end(process)
            try:
                process.wait(EVERY_S)
            except subprocess.TimeoutExpired:
                pass
        reader.join(GRACE_S)
        _retry_on_disconnect(partial(services.record, job, _drain(event_queue)))
    finally:
        _end(process)
        _keep_small(log_file)
    _retry_on_disconnect(partial(_conclude, job, process.returncode))


def _retry_on_disconnect(act: Callable[[], T]) -> T:
    """Retry a database action while the database is locked; if the server is unreachable, until the lease ends.

    A lock needs no time limit, because it also prevents other workers from taking the job.
    """
    until = time.monotonic() + settings.JOBS_LEASE_S
    while True:
        used = connection.connection
        try:
            return act()
        except (OperationalError, InterfaceError) as error:
            # The same working connection means that the error was not a disconnect. After one, Django may have
            # reconnected on leaving the transaction, but then the connection is a different one.
            is_connected = _answers() and connection.connection is used
            if not is_locked(error) and (time.monotonic() > until or is_connected):
                raise
            log.warning("the database does not respond; trying again: %s", error)
            if not _answers():
                connection.close()
            time.sleep(EVERY_S)


def _answers() -> bool:
    return connection.connection is not None and connection.is_usable()


def _keep_small(log: Path) -> None:
    """Cut the middle out of a long log. The job's process appends to it, so it continues at the new end."""
    try:
        if log.stat().st_size > MAX_LOG_BYTES:
            with log.open("rb") as file:
                file.seek(-MAX_LOG_BYTES // 4, os.SEEK_END)
                end = file.read()
            os.truncate(log, MAX_LOG_BYTES // 4)
            with log.open("ab") as file:
                file.write(b"\n... the middle of this log was cut ...\n" + end)
    except OSError:
        pass  # it has been removed


def _conclude(job: Job, exit_code: int) -> None:
    # The lease is not reloaded, because it must remain this worker's: another worker may have the job by now.
    job.refresh_from_db(fields=["state", "result", "error"])
    finished = finished_file(user_data(job.user), str(job.id))
    # A finished result is kept even if the job was cancelled at the last moment.
    result = job.result if exit_code == 0 or job.state == Job.State.CANCELLING else None
    if result is not None:
        services.finish(job, Job.State.DONE)
        if job.state == Job.State.DONE:  # kept after a failure, because a retry applies it
            finished.unlink(missing_ok=True)
    elif job.state == Job.State.CANCELLING:
        services.finish(job, Job.State.CANCELLED)
    elif job.error is not None:
        services.finish(job, Job.State.FAILED)
    elif exit_code == -signal.SIGKILL:
        killed = worded("Its process was killed, most likely because memory ran out.")
        if not services.take_up_again(job, killed):
            services.finish(job, Job.State.INTERRUPTED, services.interrupted(killed))
    else:
        why = worded("The process ended with code %(code)d and gave no reason.", code=exit_code)
        services.finish(job, Job.State.INTERRUPTED, services.interrupted(why))


def _read(stream: IO[bytes], event_queue: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in stream:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # the last line of a process that was killed
        if isinstance(event, dict):
            event_queue.put(event)


def _drain(event_queue: queue.SimpleQueue[dict[str, Any]]) -> list[dict[str, Any]]:
    events = []
    while not event_queue.empty():
        events.append(event_queue.get())
    return events


def _end(process: subprocess.Popen[bytes]) -> None:
    signal_group(process.pid)
    process.wait()
