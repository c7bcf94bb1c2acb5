"""A process that ``serve`` keeps going: the web server, or the workers of a lane."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from functools import partial

from core.child_process import end_with_parent, signal_group
from core.data_folder import REPOSITORY

SETTLED_S = 5.0  # a process that lives this long was started well
LONG_S = 60.0  # a process that lived this long is started again after the first, short wait
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0


class Part:
    """One process, started again when it ends; where that happens again and again, after longer and longer waits."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name, self.command = name, command
        self.has_settled = False
        self._wait_s = FIRST_WAIT_S
        self._start_at: float | None = None
        self.start()

    def start(self) -> None:
        """Start it.

        It has a session of its own: Ctrl-C in the terminal reaches ``serve`` alone, which ends the others in order.
        Should ``serve`` be killed, they end by themselves; workers finish their job first.
        """
        environment = {
            **os.environ,
            "Q_CLUSTER_NAME": self.name,  # which queue the workers take from
            # Else glibc has an arena a thread, and what a burst of requests took is never given back.
            "MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2"),
        }
        self.process = subprocess.Popen(
            self.command, cwd=REPOSITORY, env=environment, start_new_session=True,
            preexec_fn=partial(end_with_parent, signal.SIGTERM),
        )  # fmt: skip
        self.began, self._start_at = time.monotonic(), None

    @property
    def age_s(self) -> float:
        """Since it was last started."""
        return time.monotonic() - self.began

    def look(self) -> str:
        """See to it; what there is to say about it, "" for nothing."""
        if self._start_at is not None:
            if time.monotonic() >= self._start_at:
                self.start()
            return ""
        if self.process.poll() is None:
            self.has_settled = self.has_settled or self.age_s > SETTLED_S
            return ""
        self.kill()  # its children
        self._wait_s = FIRST_WAIT_S if self.age_s > LONG_S else self._wait_s
        wait_s = self._wait_s
        self._start_at, self._wait_s = time.monotonic() + wait_s, min(2 * wait_s, LONGEST_WAIT_S)
        when = "" if wait_s == FIRST_WAIT_S else f" in {wait_s:.0f} s"
        return f"The process for {self.name} has ended and is started again{when}."

    def kill(self) -> None:
        """End it and its children, now."""
        signal_group(self.process.pid)
        self.process.wait()
