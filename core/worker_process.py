"""A worker process that answers requests in lines of JSON."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from typing import IO, Any

from core.data_folder import REPOSITORY
from core.processors import crowding

MAX_LINE_LENGTH = 1 << 24  # bytes per answer; a worker that writes a longer line is considered broken
LOG_TAIL = 400  # characters of a worker's stderr that go into ``why``


class WorkerGone(Exception):
    """Raised if the worker died, hung or gave an invalid answer. The message states which."""


class CannotStart(WorkerGone):
    """Raised if the worker did not become ready."""


class WorkerProcess:
    """One worker process, with methods to send a request, read its answer within a time limit, and kill it."""

    def __init__(self, name: str, command: list[str], extra: Mapping[str, str], start_timeout_s: float) -> None:
        self._name = name
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - stays open as long as the process
        self._unread = b""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # The worker leaves no files in the caller's folder, and imports none from the temporary one.
            cwd=tempfile.gettempdir(),
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1", **extra},
        )
        try:
            self.facts = self._read(start_timeout_s)
            if self.facts.get("event") != "ready":
                raise WorkerGone(str(self.facts.get("why") or f"{name} gave an invalid answer when it was started"))
        except WorkerGone as reason:
            self.kill()
            raise CannotStart(str(reason)) from None
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, message: dict[str, Any]) -> None:
        """Send a request. A dead worker raises an error only when its answer is read."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            pass

    def answer(self, number: str, timeout_s: float) -> dict[str, Any]:
        """Return the answer to request ``number``, which must be the next one.

        Raises WorkerGone if a valid answer does not arrive in time. ``timeout_s`` applies to an idle machine; on a busy
        one it is extended, as are all time limits here.
        """
        message = self._read(timeout_s)
        if message.get("id") != number or message.get("event") not in ("done", "failed"):
            raise WorkerGone(f"{self._name} gave an invalid answer: {json.dumps(message)[:80]}")
        return message

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass  # the worker is dead and bytes were not sent

    def _read(self, timeout_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        begun, allowed = time.monotonic(), timeout_s
        while b"\n" not in self._unread:
            ready, _, _ = select.select([pipe], [], [], max(0.0, begun + allowed - time.monotonic()))
            if not ready:
                if (longer := timeout_s * crowding()) > allowed:
                    allowed = longer
                    continue
                busy = f" ({allowed:.3g} s, as the machine is busy)" if allowed > timeout_s else ""
                raise WorkerGone(f"{self._name} did not answer within {timeout_s:g} s{busy} and was stopped")
            block = os.read(pipe, 65536)
            if not block:
                raise WorkerGone(self._epitaph())
            self._unread += block
            if len(self._unread) > MAX_LINE_LENGTH:
                raise WorkerGone(f"{self._name} sent endless output")
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise WorkerGone(f"{self._name} gave an invalid answer: {line[:80]!r}")
        return message

    def _epitaph(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return f"{self._name} closed its output without ending"
        how = f"with signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - LOG_TAIL))
        tail = self._log.read().decode(errors="replace").strip()
        return f"{self._name}'s worker ended {how}" + (f": {tail}" if tail else "")
