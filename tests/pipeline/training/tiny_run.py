"""A whole training run, tiny, in a process of its own that can be told to die: `tiny_run.py DATA ENGINES [KILL_AT]`.

Each event is a JSON line on stdout. KILL_AT is `STAGE:N`: at the N-th event after that stage has begun (of synthesis:
after 40 clips) the process kills itself, as `kill -9` would; or `zip:N`: while the N-th file of the bundle is written.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.events import Event, Reporter
from pipeline.training import config
from pipeline.training.config import BucketSize, RunConfig

TINY = replace(
    config.EFFORTS["quick"],
    name="tiny",
    positive=BucketSize(5, 24),
    confuser=BucketSize(40, 1),
    inbetween=BucketSize(12, 1),
    plain_negative=BucketSize(70, 1),
    negative_hours=0.3,
    variants=1,
    steps=60,
    batch_size=16,
    test_clips=24,
)


# Of the sound sources: no noise, four rooms, as simulating them takes longer than all the rest.
FEW_ROOMS = ("", 4, 0, ())


class Killer:
    """Counts towards the moment to die."""

    def __init__(self, kill_at: str) -> None:
        self.stage, _, number = kill_at.partition(":")
        self.left = int(number or 0)
        self.begun = False

    def step(self, stage: str | None = None) -> None:
        """Something happened; ``stage`` names the stage that it begins."""
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
    db_api.BATCH_CLIPS = 16  # so that a kill in the middle of synthesis leaves something to be kept
    config.EFFORTS["tiny"] = TINY
    SoundSources.__init__.__defaults__ = FEW_ROOMS
    killer = Killer(kill_at)

    def sink(event: Event) -> None:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
        if event["event"] == "progress" and event["total"] > 40 and event["done"] < 40 and killer.stage == "synthesize":
            return  # nothing is kept yet: events come by the clock, however slow the machine is
        killer.step(event.get("name") if event["event"] == "stage" else None)

    if killer.stage == "zip":
        honest = zipfile.ZipFile.writestr

        def writestr(*arguments: Any, **keywords: Any) -> None:
            honest(*arguments, **keywords)
            killer.step("zip")

        zipfile.ZipFile.writestr = writestr  # type: ignore[method-assign]
    run_config = RunConfig(
        "hey compass", effort="tiny", size="micro", engines=tuple(engines.split(",")), growth_constant=5
    )
    result = run_training(run_config, data, Reporter(sink))
    sys.stdout.write(json.dumps({"event": "result", **result}) + "\n")


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "")
