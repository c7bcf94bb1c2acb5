"""The workers of one queue, started by ``serve``: ``python -m webui.jobs.cluster``, with the queue in Q_CLUSTER_NAME.

django-q's cluster ends on a signal, unless one of its processes was killed while it held a lock of their queue: in that
case, it waits forever. If ``serve`` was killed too, no other process can end it, so it ends itself.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

from core.child_process import parent_is_gone, signal_group
from core.data_folder import REPOSITORY
from webui.jobs.queue import CLUSTER

LOOK_EVERY_S = 1.0


def main() -> None:
    """Work until the process that started this ends; runs in its own process group."""
    from django.core.management import execute_from_command_line

    sys.path[:0] = [str(REPOSITORY)]
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webui.settings")
    os.environ[CLUSTER] = f"{socket.gethostname()[:80]}:{os.getpid()}"
    threading.Thread(target=_end_after, args=(os.getppid(),), daemon=True).start()
    execute_from_command_line(["manage.py", "qcluster", "--skip-checks"])  # checks would load every page


def _end_after(parent: int) -> None:
    from django.conf import settings

    while not parent_is_gone(parent):
        time.sleep(LOOK_EVERY_S)
    # The kernel's signal has told the workers to end. After the time of a lease, others take their jobs.
    time.sleep(settings.JOBS_LEASE_S)
    signal_group(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
