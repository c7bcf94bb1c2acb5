"""The progress events of a run, ready for JSON: a command line displays them, and the portal stores them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, TextIO

from core.errors import HarkError
from core.worded import Worded

Event = dict[str, Any]


class Reporter:
    """Emits events to a sink. Each event has ``event`` (its kind) and ``time`` (seconds since the epoch).

    Kinds: ``stage`` (name, message), ``progress`` (done, total, eta_s), ``estimate`` (seconds, done, stage_done),
    ``log`` (message, level), ``metric`` (name, value), ``artifact`` (kind, path), ``error`` (what, why, what_to_do). A
    translatable text is accompanied by ``said``: its template and values (``core.worded``).
    """

    def __init__(self, sink: Callable[[Event], None]) -> None:
        self._sink = sink

    def _emit(self, event: str, /, **fields: Any) -> None:
        self._sink({"event": event, "time": round(time.time(), 3), **fields})

    def stage(self, name: str, message: str) -> None:
        self._emit("stage", name=name, **_message_fields(message))

    def progress(self, done: float, total: float, eta_s: float | None = None) -> None:
        """Report how far the stage is; ``eta_s`` is the number of seconds left, or None if unknown."""
        self._emit("progress", done=done, total=total, eta_s=None if eta_s is None else round(eta_s, 1))

    def estimate(self, seconds: float, done: float, stage_done: float) -> None:
        """Report the seconds left in all stages, and the fraction of the run that is done now and after this stage."""
        self._emit("estimate", seconds=round(seconds), done=round(done, 3), stage_done=round(stage_done, 3))

    def log(self, message: str, level: str = "info") -> None:
        """Report a message for the user; ``level`` is info or warning."""
        self._emit("log", **_message_fields(message), level=level)

    def metric(self, name: str, value: float) -> None:
        self._emit("metric", name=name, value=value)

    def artifact(self, kind: str, path: str) -> None:
        self._emit("artifact", kind=kind, path=path)

    def error(self, error: HarkError) -> None:
        self._emit("error", **error.parts())

    def within(self, stage: str) -> Reporter:
        """Make a reporter for a part of this run.

        All its stages are named ``stage``, and it reports no estimates or metrics.
        """

        def sink(event: Event) -> None:
            if event["event"] not in ("estimate", "metric"):
                self._sink({**event, "name": stage} if event["event"] == "stage" else event)

        return Reporter(sink)


def _message_fields(message: str) -> dict[str, Any]:
    return {"message": str(message), "said": message.parts()} if isinstance(message, Worded) else {"message": message}


class Pace:
    """An estimate of the time left. It ignores the time until the first item is done, which is mostly loading."""

    steady_after_s, steady_after = 5.0, 5
    known_after_s = 30.0  # seconds after which an estimate is given even if few items are done

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._first = 0
        self._first_at = 0.0

    def advance(self, count: int = 1) -> None:
        """Count ``count`` more items as done."""
        if not self.done:
            self._first, self._first_at = count, time.monotonic()
        self.done += count

    def left_s(self) -> float | None:
        """Return the seconds left; None while they would be a guess."""
        if self.done >= self.total:
            return 0.0
        counted, elapsed = self.done - self._first, time.monotonic() - self._first_at
        steady = elapsed >= (self.steady_after_s if counted >= self.steady_after else self.known_after_s)
        return elapsed / counted * (self.total - self.done) if counted and steady else None


class Progress:
    """Progress of a stage of known length: at most a few events per second, with the time left once it is known."""

    def __init__(self, reporter: Reporter, total: int, every_s: float = 0.3) -> None:
        self.reporter, self.every_s = reporter, every_s
        self._pace = Pace(total)
        self._last = 0.0

    def advance(self, count: int = 1, paces: Collection[Pace] = ()) -> None:
        """Count ``count`` more items as done. ``paces`` share the work, and the slowest sets the time left."""
        self._pace.advance(count)
        now = time.monotonic()
        if now - self._last >= self.every_s or self._pace.done >= self._pace.total:
            self._last = now
            left = [pace.left_s() for pace in paces or [self._pace]]
            known = [seconds for seconds in left if seconds is not None]
            left_s = max(known) if len(known) == len(left) else None
            self.reporter.progress(self._pace.done, self._pace.total, left_s)


class RunEta:
    """The duration of a run, estimated from its stages and corrected by the actual time of the finished ones.

    It reports at the beginning and after each stage.

    Args:
        stages: estimated seconds that each stage still takes, in order.
        total_s: estimated seconds of the whole run, which may have been done in part before an interruption.
    """

    settled_s = 60.0  # seconds; shorter stages are unreliable, because models are loaded once

    def __init__(self, reporter: Reporter, stages: Mapping[str, float], total_s: float) -> None:
        self.reporter, self.total_s = reporter, max(total_s, sum(stages.values()), 1.0)
        self._left = dict(stages)
        self._over_s = 0.0
        self._started = time.monotonic()
        self._tell(1.0)

    def over(self, stage: str) -> None:
        """End the stage. The others are expected to exceed their estimate by the same factor as the finished ones."""
        self._over_s += self._left.pop(stage)
        taken_s = time.monotonic() - self._started
        self._tell(max(1.0, (taken_s + self.settled_s) / (self._over_s + self.settled_s)))

    def _tell(self, times: float) -> None:
        left_s, next_s = sum(self._left.values()), next(iter(self._left.values()), 0.0)
        done, stage_done = (1 - seconds / self.total_s for seconds in (left_s, left_s - next_s))
        self.reporter.estimate(times * left_s, done, stage_done)


def json_lines_sink(stream: TextIO) -> Callable[[Event], None]:
    def sink(event: Event) -> None:
        stream.write(json.dumps(event, ensure_ascii=False) + "\n")
        stream.flush()

    return sink


def silent_reporter() -> Reporter:
    logger = logging.getLogger("hark.events")
    return Reporter(lambda event: logger.debug("%s", event))
