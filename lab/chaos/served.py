"""A portal for benchmarks: ``serve`` with its workers, in its own data folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from core.data_folder import REPOSITORY
from core.errors import HarkError
from tests.support.processes import answers, free_port

ENDS_S = 60.0  # seconds that ``serve`` may take to end
STARTS_S = 300.0


class Server:
    """``serve``, which may be killed and started again.

    Args:
        settings: environment variables in addition to the data folder.
    """

    def __init__(self, data: Path, **settings: str) -> None:
        self._environment = {**os.environ, **settings, "HARK_DATA": str(data)}
        self.log = (data / "serve.log").open("a")
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Start on a new port each time: the previous one may not be free yet."""
        self.starts += 1
        self.port = free_port()
        command = [sys.executable, "main.py", "serve", "--port", str(self.port)]
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, env=self._environment, stdout=self.log, stderr=self.log
        )

    def wait(self) -> None:
        """Wait until it answers. Raises HarkError if it ends or does not answer in time."""
        until = time.monotonic() + STARTS_S
        while time.monotonic() < until and self.process.poll() is None:
            if answers(self.port):
                return
            time.sleep(0.2)
        raise HarkError(
            "The portal did not start.", f"{self.log.name} has its output.", "Fix the error at its end, then try again."
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        time.sleep(1.0)
        self.start()

    def look(self) -> None:
        """Restart ``serve`` if it has ended, as systemd does. It ends if its web server is killed while starting."""
        if self.process.poll() is not None:
            self.start()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(ENDS_S)
        self.log.close()
