"""Made-up scores of a validation or test split."""

from __future__ import annotations

import numpy as np
import pandas as pd

from model.metrics import ScoredStream
from pipeline.training.measuring.scored_split import ScoredSplit

MINUTE = 750  # scores in a minute (one per 80 ms)


def split_of(seed: int, minutes: int = 240) -> ScoredSplit:
    """Positives of two engines (espeak scores higher), confusables, and ordinary speech with false peaks."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    streams: list[ScoredStream] = []

    def add(scores: np.ndarray, ends: list[float], **row: object) -> None:
        rows.append({"text": "", "voice": "v", "speaker": "s", "clip_id": len(rows), **row})
        streams.append(ScoredStream(scores.astype(np.float32), np.array(ends)))

    for number in range(80):
        scores = rng.uniform(0, 0.05, 40)
        engine = ("espeak", "flite")[number % 2]
        scores[20:22] = 1 / (1 + np.exp(-rng.normal(6 if engine == "espeak" else 2, 1)))
        condition = ("clean", "noisy")[number // 2 % 2]
        add(
            scores,
            [1.7],
            label=1,
            bucket="positive",
            engine=engine,
            condition=condition,
            speaker=f"{engine}{number % 4}",
        )
    for number in range(40):
        scores = rng.uniform(0, 0.05, 40)
        scores[20:22] = (0.998, 0.999)[number % 2] if number < 6 else 0.1
        text = ("hay compass", "hey compost")[number % 2]
        bucket = ("confusable", "inbetween")[number // 20]
        add(scores, [], label=0, bucket=bucket, engine="espeak", condition="clean", text=text)
    for number in range(minutes):
        scores = 1 / (1 + np.exp(4 - rng.exponential(0.6, MINUTE)))
        condition = ("clean", "noisy")[number % 2]
        engine, bucket = (("corpus", "plain_negative"), ("noise", "noise"))[number % 4 == 3]
        add(scores, [], label=0, bucket=bucket, engine=engine, condition=condition)
    return ScoredSplit(pd.DataFrame(rows), streams)
