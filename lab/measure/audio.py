"""Recognition of recordings: speed, memory and, of what is trained, word errors, for each engine that is ready here.

Everything is measured in a process of its own, through the engine itself. ``times_real_time`` is by the clock, on all
cores that the process may use.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmark import Figures, shared_folder
from core.audio_file import SAMPLE_RATE, read_audio
from core.errors import HarkError
from core.events import Reporter, silent_reporter
from lab import BenchOptions, PeakMemory
from model.asr.decoding import error_rate
from phrase_augmentation.normalize import normalize
from phrase_augmentation.vocabulary import zipf
from pipeline.recordings.model_client import PATIENT_THREADS
from pipeline.recordings.transcription.engine import RecognitionEngine
from pipeline.recordings.vocabulary import COMMON
from tests.support.processes import resident_kib
from tests.support.read_speech import dev_clean, other_people

PIECES = 4  # of about half a minute, for the speed
UTTERANCES = 40  # of each corpus, for the word errors
LONG_S = 1800.0  # the longest upload

# Names that nobody says, expected beside those that somebody does.
UNSAID = (
    "Katie", "Chromecast", "Olivia", "Kubernetes", "Grafana", "Siobhan", "Nguyen", "Vasquez", "Heidelberg", "Tanaka",
    "Wojciech", "Redis", "Django", "Leicester", "Postgres", "Zurich", "Ingrid", "Matteo", "Yusuf", "Annika", "Fatima",
    "Bjorn", "Lucia", "Moonshine", "Raspberry", "Wyoming", "Hannover", "Xavier", "Petronella", "Quentin",
)  # fmt: skip

Row = tuple[Path, str]  # a recording and its transcript


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Figures by engine and model; ``vad`` and ``half_an_hour`` for the parts that all engines share."""
    from pipeline.recordings.transcription.engine import described
    from pipeline.recordings.transcription.registry import ready

    speech = shared_folder() / "speech"
    reporter.stage("bench", "Reading recordings")
    rows = {"librispeech-dev-clean": dev_clean(speech), "librispeech-test-other": other_people(speech)}
    corpora = {name: found[:UTTERANCES] for name, found in rows.items()}
    audios = _pieces(corpora["librispeech-dev-clean"])
    # A hosted one would measure another machine.
    measured = [
        engine
        for engine in ready()
        if not engine.hosted
        and (engine.languages() is None or "en" in (engine.languages() or ()))
        and (not options.engines or engine.name in options.engines)
    ]
    if not measured:
        raise HarkError("There is nothing to measure.", "None of these engines is ready.", "See ./hark doctor.")
    figures: Figures = {"pieces_s": round(sum(map(len, audios)) / SAMPLE_RATE, 1), "vad": _vad(audios)}
    for engine in measured:
        label = described(engine).replace(" ", "_")
        reporter.stage("bench", f"Measuring {label}")
        figures[label] = _in_its_own_process(_measured, engine.name, audios, corpora)
    label = described(measured[0]).replace(" ", "_")
    reporter.stage("bench", f"Transcribing {LONG_S / 60:.0f} minutes with {label}")
    with tempfile.TemporaryDirectory(prefix="hark-bench-") as folder:
        long_file = Path(folder) / "long.flac"
        whole = np.resize(np.concatenate(audios), int(LONG_S * SAMPLE_RATE))
        soundfile.write(str(long_file), whole, SAMPLE_RATE, subtype="PCM_16")
        found = _in_its_own_process(_half_an_hour, measured[0].name, audios[0], long_file)
    figures["half_an_hour"] = {"engine": label, **found}
    return figures


def _pieces(rows: Sequence[Row]) -> list[np.ndarray]:
    """Utterances joined into pieces, each a little below half a minute."""
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


def _vad(audios: Sequence[np.ndarray]) -> dict[str, float]:
    from core.voice_activity import speech_probabilities
    from pipeline.recordings.transcription.pieces import pieces

    speech_probabilities([np.zeros(SAMPLE_RATE, np.float32)])
    audio = np.concatenate(audios)
    started = time.process_time()
    pieces(speech_probabilities([audio]), len(audio))
    return {"times_real_time_a_core": round(len(audio) / SAMPLE_RATE / (time.process_time() - started))}


def _in_its_own_process(measure: Callable[..., dict[str, Any]], engine: str, *given: object) -> dict[str, Any]:
    os.environ.update({"HARK_SPEECH_SERVICE": "0", **PATIENT_THREADS})  # the latter as the speech service has it
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(measure, engine, *given).result()
    except BrokenProcessPool as error:
        raise HarkError(
            f"{engine} could not be measured.",
            f"Its process ended: {error}.",
            "Run the same command again; where memory is short, close other programs.",
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
    """``wer``; and where the engine can expect words, the same (``expecting``) when it expects the rare words that it
    missed, as after corrections, and :data:`UNSAID`: ``found`` of so many ``missed``, and ``unsaid`` that it wrote.
    """
    references = [normalize(text, "en").split() for _, text in rows]
    texts = _texts(engine, rows)
    figures: dict[str, Any] = {"utterances": len(rows), "wer": round(error_rate(references, texts), 3)}
    if engine.expects:
        rare = [{word for word in said if zipf(word) < COMMON} - set(text) for said, text in zip(references, texts)]
        again = _texts(engine, rows, (*UNSAID, *sorted(set().union(*rare))))
        unsaid = [set(map(str.lower, UNSAID)) & (set(text) - set(said)) for said, text in zip(references, again)]
        figures["expecting"] = {
            "wer": round(error_rate(references, again), 3),
            "missed": sum(map(len, rare)),
            "found": sum(len(words & set(text)) for words, text in zip(rare, again)),
            "unsaid": sum(map(len, unsaid)),
        }
    return figures


def _texts(engine: RecognitionEngine, rows: Sequence[Row], words: Sequence[str] = ()) -> list[list[str]]:
    found = [
        " ".join(segment.text for segment in engine.recognize(read_audio(path), "en", words=words)) for path, _ in rows
    ]
    return [normalize(text, "en").split() if text else [] for text in found]


def _half_an_hour(name: str, audio: np.ndarray, long_file: Path) -> dict[str, Any]:
    from pipeline.recordings.transcription import registry
    from pipeline.recordings.transcription.transcribe import TranscribeOptions, transcribe

    engine = registry.engine(name)
    with PeakMemory(os.getpid()) as memory, tempfile.TemporaryDirectory() as work:
        engine.recognize(audio, "en")
        loaded = memory.peak_kib = resident_kib(os.getpid())
        started = time.monotonic()
        transcript = transcribe(long_file, TranscribeOptions(name, "en"), Path(work), silent_reporter())
        took = time.monotonic() - started
        engine.close()
        return {
            "times_real_time": round(transcript.duration_s / took, 1),
            "segments": len(transcript.segments),
            "memory_beyond_the_model_mib": round((memory.peak_kib - loaded) / 1024),
        }
