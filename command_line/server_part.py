"""A process that ``serve`` keeps running: the web server, or the workers of a queue."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from functools import partial

from core.child_process import end_with_parent, signal_group
from core.data_folder import REPOSITORY

SETTLED_S = 5.0  # seconds; a process that lives this long has started successfully
LONG_S = 60.0  # seconds; a process that lived this long resets the pause before a restart
FIRST_WAIT_S, MAX_WAIT_S = 1.0, 60.0


class Part:
    """A process that is restarted when it ends, with increasing pauses after repeated failures."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name, self.command = name, command
        self.has_settled = False
        self._wait_s = FIRST_WAIT_S
        self._start_at: float | None = None
        self.start()

    def start(self) -> None:
        """Start the process.

        It has its own session, so Ctrl-C in the terminal reaches only ``serve``, which ends the others in order. If
        ``serve`` is killed, they end automatically, workers after their job.
        """
        environment = {
            **os.environ,
            "Q_CLUSTER_NAME": self.name,  # the queue that the workers serve
            # Otherwise glibc has an arena for each thread, and memory from a burst of requests is never released.
            "MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2"),
        }
        self.process = subprocess.Popen(
            self.command, cwd=REPOSITORY, env=environment, start_new_session=True,
            preexec_fn=partial(end_with_parent, signal.SIGTERM),
        )  # fmt: skip
        self.began, self._start_at = time.monotonic(), None

    @property
    def age_s(self) -> float:
        """Seconds since the last start."""
        return time.monotonic() - self.began

    def look(self) -> str:
        """Check the process, and restart it when its pause is over; return a message for the log, or ""."""
        if self._start_at is not None:
            if time.monotonic() >= self._start_at:
                self.start()
            return ""
        if self.process.poll() is None:
            self.has_settled = self.has_settled or self.age_s > SETTLED_S
            return ""
        self.kill()  # kills its children
        self._wait_s = FIRST_WAIT_S if self.age_s > LONG_S else self._wait_s
        wait_s = self._wait_s
        self._start_at, self._wait_s = time.monotonic() + wait_s, min(2 * wait_s, MAX_WAIT_S)
        when = "" if wait_s == FIRST_WAIT_S else f" in {wait_s:.0f} s"
        return f"The process for {self.name} has ended and is restarted{when}."

    def kill(self) -> None:
        """End the process and its children immediately."""
        signal_group(self.process.pid)
        self.process.wait()
