"""Clips per second of each speech engine that is ready."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from audio_generation.engine import Engine, GeneratedClip, SpeechRequest
from audio_generation.registry import default_engines
from benchmark import Figures
from core.errors import HarkError
from core.events import Reporter
from lab import BenchOptions
from pipeline.training.planning.plan import ready_engines

TEXTS = ("hey compass", "hey campus", "compass", "the compass is on the table", "hey, tom passed it on")
CLIPS = 200
MAX_DURATION_S = 20.0  # maximum seconds per measurement; a slow engine speaks fewer clips


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Measure each engine that is ready (or those of the options), with random voices and settings.

    A clip counts only if it passes the host's checks.

    Returns:
        For each engine: clips_per_s, and speech_s_per_s (seconds of speech per second).
    """
    if options.engines:
        ready_engines(options.engines, "en")  # reports unknown engines and those that are not ready
    reporter.stage("bench", "Measuring the speech engines (some minutes each)")
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="hark-bench-") as folder:
        for name, engine in default_engines().items():
            if engine.voices("en") and (not options.engines or name in options.engines):
                figures[name] = _measure(engine, options.seed, Path(folder))
    if not figures:
        raise HarkError(
            "There is nothing to measure.",
            "No engine that is used by default is ready.",
            "See ./hark engines list.",
        )
    return figures


def _measure(engine: Engine, seed: int, folder: Path) -> dict[str, float]:
    requests = _requests(engine, seed)
    engine.close()
    _spoken(engine, requests[:1], folder)  # starts the worker and loads a voice before the clock starts
    clips_per_s, speech_s_per_s = _spoken(engine, requests, folder)
    engine.close()
    return {"clips_per_s": round(clips_per_s, 2), "speech_s_per_s": round(speech_s_per_s, 1)}


def _requests(engine: Engine, seed: int) -> list[SpeechRequest]:
    rng = np.random.default_rng(seed)
    voices = engine.voices("en")
    drawn = [voices[index] for index in rng.integers(0, len(voices), CLIPS)]
    return [
        SpeechRequest(str(number), TEXTS[number % len(TEXTS)], voice.name, "en", engine.draw_settings(voice, rng))
        for number, voice in enumerate(drawn)
    ]


def _spoken(engine: Engine, requests: Sequence[SpeechRequest], folder: Path) -> tuple[float, float]:
    """Return the usable clips per second, and the seconds of speech in them per second."""
    clips, speech_s = 0, 0.0
    start = time.perf_counter()
    for result in islice(engine.synthesize(requests, folder), len(requests)):
        if isinstance(result, GeneratedClip):
            clips += 1
            speech_s += result.duration_s
            result.path.unlink()
        if time.perf_counter() - start > MAX_DURATION_S:
            break
    elapsed = time.perf_counter() - start
    return clips / elapsed, speech_s / elapsed
