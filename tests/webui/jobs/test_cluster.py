"""A queue's workers end with the process that started them, even if they cannot do so in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY
from tests.support.servers import wait_for

STARTER = """
import subprocess, sys, time
from functools import partial
import signal
from core.child_process import end_with_parent
started = subprocess.Popen([sys.executable, "-m", "webui.jobs.cluster"], start_new_session=True,
                           preexec_fn=partial(end_with_parent, signal.SIGTERM))
print(started.pid, flush=True)
time.sleep(600)
"""


def _group(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == leader:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_hung_workers_are_killed_after_their_server_was_killed(portal: Path) -> None:
    environment = {**os.environ, "HARK_DATA": str(portal), "HARK_JOBS_LEASE_S": "2", "Q_CLUSTER_NAME": "general"}
    migrated = [sys.executable, "webui/manage.py", "migrate", "-v0"]
    (portal / "portal").mkdir()
    subprocess.run(migrated, cwd=REPOSITORY, env=environment, check=True, timeout=120)
    starter = subprocess.Popen([sys.executable, "-c", STARTER], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE)
    leader = int(starter.stdout.readline())
    try:
        wait_for(lambda: len(_group(leader)) >= 5, 60)  # cluster, sentinel, monitor, pusher, workers
        for process in set(_group(leader)) - {leader}:
            os.kill(process, signal.SIGSTOP)  # like a process that waits for a lock held by a killed one
        starter.kill()
        starter.wait()
        wait_for(lambda: not _group(leader), 30)
    finally:
        starter.kill()
        for process in _group(leader):
            os.kill(process, signal.SIGKILL)
