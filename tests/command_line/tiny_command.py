"""``main.py`` with one more effort, "tiny", so that a whole run takes seconds: ``tiny_command.py ARGUMENTS``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.training.configuration.efforts import EFFORTS, BucketSize

EFFORTS["tiny"] = replace(
    EFFORTS["quick"], name="tiny", positive=BucketSize(6, 12), confusable=BucketSize(20, 1),
    inbetween=BucketSize(10, 1), plain_negative=BucketSize(60, 1), negative_hours=0.05, speech_hours=0.05,
    variants=1, steps=4, batch_size=16,
)  # fmt: skip

if __name__ == "__main__":
    from command_line.application import main

    sys.exit(main())
