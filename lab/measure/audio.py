"""Recognition of recordings: speed, memory and word errors of each engine that is ready here.

Each engine is measured in its own process. ``times_real_time`` is wall-clock time, on all cores that the process may
use.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import Figures, shared_folder
from core.audio_file import SAMPLE_RATE, read_audio
from core.errors import HarkError
from core.events import Reporter
from lab import BenchOptions, PeakMemory
from model.asr.decoding import error_rate
from phrase_augmentation.normalize import normalize
from pipeline.recordings.transcription.engine import RecognitionEngine
from pipeline.speech_service.client import PATIENT_THREADS
from tests.support.processes import resident_kib
from tests.support.read_speech import dev_clean, other_people

PIECES = 4  # pieces of about half a minute, for the speed
UTTERANCES = 40  # utterances of each corpus, for the word errors

Row = tuple[Path, str]  # a recording and its transcript


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Measure each engine that is ready; return figures by engine and model."""
    from pipeline.recordings.transcription.engine import described
    from pipeline.recordings.transcription.registry import ready

    speech = shared_folder() / "speech"
    reporter.stage("bench", "Reading recordings")
    rows = {"librispeech-dev-clean": dev_clean(speech), "librispeech-test-other": other_people(speech)}
    corpora = {name: utterances[:UTTERANCES] for name, utterances in rows.items()}
    audios = _pieces(corpora["librispeech-dev-clean"])
    # A hosted engine is left out: its figures would be those of another machine.
    measured = [
        engine
        for engine in ready()
        if not engine.hosted
        and (engine.languages() is None or "en" in (engine.languages() or ()))
        and (not options.engines or engine.name in options.engines)
    ]
    if not measured:
        raise HarkError("There is nothing to measure.", "None of the chosen engines is ready.", "See ./hark doctor.")
    figures: Figures = {"pieces_s": round(sum(map(len, audios)) / SAMPLE_RATE, 1)}
    for engine in measured:
        label = described(engine).replace(" ", "_")
        reporter.stage("bench", f"Measuring {label}")
        figures[label] = _in_its_own_process(_measured, engine.name, audios, corpora)
    return figures


def _pieces(rows: Sequence[Row]) -> list[np.ndarray]:
    """Join utterances into pieces, each a little below half a minute."""
    pieces: list[np.ndarray] = []
    waiting: list[np.ndarray] = []
    for path, _ in rows:
        audio = read_audio(path)
        if sum(map(len, waiting)) + len(audio) > 29 * SAMPLE_RATE and waiting:
            pieces.append(np.concatenate(waiting))
            waiting = []
        waiting.append(audio)
        if len(pieces) == PIECES:
            break
    return pieces


def _in_its_own_process(measure: Callable[..., dict[str, Any]], engine: str, *given: object) -> dict[str, Any]:
    os.environ.update({"HARK_SPEECH_SERVICE": "0", **PATIENT_THREADS})  # the thread settings of the speech service
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(measure, engine, *given).result()
    except BrokenProcessPool as error:
        raise HarkError(
            f"{engine} could not be measured.",
            f"Its process ended: {error}.",
            "If memory ran out, close other programs; then run the same command again.",
        ) from error


def _measured(name: str, audios: Sequence[np.ndarray], corpora: dict[str, list[Row]]) -> dict[str, Any]:
    from pipeline.recordings.transcription import registry

    engine = registry.engine(name)
    with PeakMemory(os.getpid()) as memory:
        before = resident_kib(os.getpid())
        started = time.monotonic()
        engine.recognize(audios[0], "en")
        loading_s = time.monotonic() - started
        memory.peak_kib = 0
        seconds = sum(map(len, audios)) / SAMPLE_RATE
        at = time.monotonic()
        words = sum(len(segment.words) for audio in audios for segment in engine.recognize(audio, "en"))
        took = time.monotonic() - at
        figures: dict[str, Any] = {
            "times_real_time": round(seconds / took, 1),
            "words_a_second": round(words / seconds, 2),
            "first_piece_s": round(loading_s, 1),
            "memory_mib": round(memory.peak_kib / 1024),
            "memory_of_model_mib": round((memory.peak_kib - before) / 1024),
        }
    for corpus, rows in corpora.items():
        figures[corpus] = _errors(engine, rows)
    engine.close()
    return figures


def _errors(engine: RecognitionEngine, rows: Sequence[Row]) -> dict[str, Any]:
    references = [normalize(text, "en").split() for _, text in rows]
    transcripts = [" ".join(segment.text for segment in engine.recognize(read_audio(path), "en")) for path, _ in rows]
    texts = [normalize(text, "en").split() if text else [] for text in transcripts]
    return {"utterances": len(rows), "wer": round(error_rate(references, texts), 3)}
