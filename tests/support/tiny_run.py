"""Tiny but complete training runs, each in a process that a test can kill.

For each line `[DATA, ENGINES, KILL_AT, OUTPUT, ERRORS]` of JSON on stdin it forks a process, so that modules and
pronunciations are loaded once, and writes its process id, then its exit code. Each event is a JSON line in OUTPUT.
KILL_AT is `STAGE:N`: at the N-th event after the stage has begun (of synthesis: after 40 clips) the process kills
itself, as `kill -9` would; or `zip:N`: while the N-th file of the bundle is written.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.events import Event, Reporter
from pipeline.training.configuration.efforts import EFFORTS, BucketSize
from pipeline.training.configuration.run_config import RunConfig

TINY = replace(
    EFFORTS["quick"],
    name="tiny",
    positive=BucketSize(5, 24),
    confusable=BucketSize(40, 1),
    inbetween=BucketSize(12, 1),
    plain_negative=BucketSize(70, 1),
    negative_hours=0.05,
    speech_hours=0.05,
    growth=5,
    variants=1,
    steps=60,
    small_buckets=(BucketSize(5, 24), BucketSize(40, 1), BucketSize(12, 1), BucketSize(70, 1)),
    network_steps=60,
    batch_size=16,
    test_clips=24,
)


PHRASE = "hey compass"
# No noise and only four rooms, because simulating rooms takes longer than all the rest.
FEW_ROOMS = ("", 4, 0, ())


class Killer:
    """Counts towards the moment of death."""

    def __init__(self, kill_at: str) -> None:
        self.stage, _, number = kill_at.partition(":")
        self.left = int(number or 0)
        self.begun = False

    def step(self, stage: str | None = None) -> None:
        """Count an event; ``stage`` names the stage that it begins."""
        self.begun = self.begun or stage == self.stage
        if self.begun:
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1


def run(data: Path, engines: str, kill_at: str) -> None:
    """Do the run, or die in it."""
    import torch

    from db import db_api
    from model.examples import SoundSources
    from pipeline.training.run import run_training

    torch.set_num_threads(1)
    db_api.BATCH_CLIPS = 16  # so that a kill in the middle of synthesis leaves stored clips
    EFFORTS["tiny"] = TINY
    SoundSources.__init__.__defaults__ = FEW_ROOMS
    killer = Killer(kill_at)

    def sink(event: Event) -> None:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
        if event["event"] == "progress" and event["total"] > 40 and event["done"] < 40 and killer.stage == "synthesize":
            return  # no clip is stored yet: events come at fixed intervals, also on a slow machine
        killer.step(event.get("name") if event["event"] == "stage" else None)

    if killer.stage == "zip":
        honest = zipfile.ZipFile.writestr

        def writestr(*arguments: Any, **keywords: Any) -> None:
            honest(*arguments, **keywords)
            killer.step("zip")

        zipfile.ZipFile.writestr = writestr  # type: ignore[method-assign]
    run_config = RunConfig(PHRASE, effort="tiny", size="standard", engines=tuple(engines.split(",")))
    result = run_training(run_config, data, Reporter(sink))
    sys.stdout.write(json.dumps({"event": "result", **result}) + "\n")


def serve() -> None:
    """Do the requested runs one after the other."""
    import pipeline.training.run  # noqa: F401 - what takes seconds is loaded before the first fork
    from phrase_augmentation.confusables import confusables
    from phrase_augmentation.keyphrase import Keyphrase

    confusables(Keyphrase(PHRASE), 1, 0)
    for line in sys.stdin:
        data, engines, kill_at, output, errors = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.setsid()
            for stream, path in ((1, output), (2, errors)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
            code = 1
            try:
                run(Path(data), engines, kill_at)
                code = 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(code)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
