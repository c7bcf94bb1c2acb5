"""How many times faster than real time one core makes log-mel features."""

from __future__ import annotations

import time

import numpy as np

from benchmark import BenchOptions, Figures
from core.events import Reporter
from model.features import SAMPLE_RATE, log_mel

PIECES_S = (2.0, 60.0)  # a clip, a stretch of a stream
MEASURED_S = 2.0  # of processor time, for each


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """``times_real_time_a_core`` for pieces of each length, by the processor time of all threads together."""
    reporter.stage("bench", "Measuring features")
    rng = np.random.default_rng(options.seed)
    figures: Figures = {}
    for seconds in PIECES_S:
        audio = (0.1 * rng.standard_normal(int(seconds * SAMPLE_RATE))).astype(np.float32)
        log_mel(audio)
        done, started = 0, time.process_time()
        while (spent := time.process_time() - started) < MEASURED_S:
            log_mel(audio)
            done += 1
        figures[f"pieces_of_{seconds:g}_s"] = {"times_real_time_a_core": round(done * seconds / spent)}
    return figures
