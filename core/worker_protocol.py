"""The protocol of a worker process and its host: JSON lines on the worker's stdin and stdout.

This file runs inside the workers, in whatever interpreter an engine needs, so it needs the standard library only.

The worker speaks first::

    {"event": "ready", ...facts about the engine}          or
    {"event": "unavailable", "why": "..."}                 and ends

Then the host asks, and the worker answers in the same order::

    {"id": "7", "text": "hey compass", "voice": "slt", "language": "en", "settings": {...}, "path": "/tmp/x/7.wav"}
    {"event": "done", "id": "7"} or (and any further fields)
    {"event": "failed", "id": "7", "why": "...", "errno": 28} (errno only if there is one)

A worker ends when its stdin is closed or its parent is gone.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
import wave
from collections.abc import Callable
from typing import Any

from core.child_process import take_stdout

PARENT_CHECK_S = 1.0  # seconds between checks whether the parent still runs


class Refused(Exception):
    """Raised by ``speak`` for a request that it cannot serve. The message becomes ``why``."""


class Unavailable(Exception):
    """Raised during set-up if the engine cannot run here."""


Speak = Callable[[dict[str, Any]], dict[str, Any] | None]  # maps a request to the additional fields of its answer


def serve(set_up: Callable[[], tuple[dict[str, Any], Speak]]) -> None:
    """Run a worker: ``set_up`` returns the facts for "ready" and the function that synthesizes a request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal group; the host decides
    answers = take_stdout()
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        facts, speak = set_up()
    except Unavailable as reason:
        answer({"event": "unavailable", "why": str(reason)})
        return
    except Exception as error:
        traceback.print_exc()
        answer({"event": "unavailable", "why": f"{type(error).__name__}: {error}"})
        return
    answer({**facts, "event": "ready"})
    while True:
        request = json.loads(requests.get())
        try:
            more = speak(request)
        except Refused as reason:
            answer({"event": "failed", "id": request["id"], "why": str(reason)})
        except Exception as error:
            traceback.print_exc()
            why = f"{type(error).__name__}: {error}"
            answer({"event": "failed", "id": request["id"], "why": why, "errno": getattr(error, "errno", None)})
        else:
            answer({**(more or {}), "event": "done", "id": request["id"]})


def write_wav(path: str, samples: bytes, sample_rate: int) -> None:
    """Write mono 16-bit samples (little-endian bytes)."""
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples)


def _read_requests(requests: queue.Queue[str]) -> None:
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)  # the host closed the pipe or ended, so the present request is useless


def _end_with_parent(parent: int) -> None:
    # A process forked from the host may hold the other end of stdin open after the host has ended.
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    os._exit(0)
