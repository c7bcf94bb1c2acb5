"""Recognition of recordings: speed, memory and, of what is trained, word errors, for each engine that is ready here.

Whisper's engines are measured on checkpoints of exactly the dimensions of "tiny" and "base" with random weights too,
which are made on the spot (``made_whisper``): what an engine costs depends on dimensions, on the audio (always taken as
30 s) and on the number of tokens written, which is that of a real transcript; not on the weights. What such a model
writes says nothing, so it has no word errors here.

Everything is measured in a process of its own, through the engine itself. ``times_real_time`` is by the clock, on all
cores that the process may use; ``core_s_a_second`` counts the work of all of them, and does not suffer from others.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import BenchOptions, Figures
from benchmark.asr import _dev_clean, _test_other
from benchmark.training import resident_kib
from benchmark.wakeword import shared_folder
from core.audio_file import SAMPLE_RATE, read_audio
from core.errors import HarkError
from core.events import Reporter
from model.asr.decoding import error_rate
from phrase_augmentation.normalize import normalize
from pipeline.recordings.model_client import PATIENT_THREADS

PIECES = 4  # of about half a minute, for the speed
UTTERANCES = 40  # of each corpus, for the word errors
LONG_S = 1800.0  # the longest upload
MADE = ("faster-whisper", "whisper-timestamped")  # engines whose checkpoints are made here, if they have none
MADE_SIZES = ("tiny", "base")
MADE_NOTE = "random weights of exactly these dimensions: cost only"
SAMPLE_EVERY_S = 0.1  # of memory

Row = tuple[str, str]  # a recording and its transcript


@dataclass(frozen=True)
class _Task:
    """One engine in one process: what it hears."""

    engine: str
    model: str  # "" the one that it takes by itself
    pieces: str  # a .npz of pieces
    corpora: dict[str, list[Row]]  # empty: no word errors
    long_file: str = ""  # a whole recording, for the memory


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Figures by engine and model; ``vad`` and ``half_an_hour`` for the parts that all engines share."""
    speech = shared_folder() / "speech"
    reporter.stage("bench", "Reading recordings")
    rows = {"librispeech-dev-clean": _dev_clean(speech)[:UTTERANCES], "librispeech-test-other": _test_other(speech)}
    corpora = {name: [(str(path), text) for path, text in found[:UTTERANCES]] for name, found in rows.items()}
    with tempfile.TemporaryDirectory(prefix="hark-bench-") as temporary:
        folder = Path(temporary)
        audios, text = _pieces(corpora["librispeech-dev-clean"])
        np.savez(folder / "pieces.npz", *audios)
        figures: Figures = {"pieces_s": round(sum(map(len, audios)) / SAMPLE_RATE, 1), "vad": _vad(audios)}
        tasks = _ready(folder, corpora, options.engines) + _made(folder, text, options.engines, reporter)
        for label, task in tasks:
            reporter.stage("bench", f"Measuring {label}")
            figures[label] = _in_its_own_process(task)
            if task.model.startswith(temporary):
                figures[label]["weights"] = MADE_NOTE
        label, task = _cheapest(tasks)
        reporter.stage("bench", f"Transcribing {LONG_S / 60:.0f} minutes with {label}")
        _write_long(folder / "long.flac", audios)
        figures["half_an_hour"] = {"engine": label, **_in_its_own_process(_long(task, folder))}
    return figures


def _pieces(rows: Sequence[Row]) -> tuple[list[np.ndarray], str]:
    """Pieces of utterances one after the other, each a little below half a minute, and what the first one says."""
    pieces: list[np.ndarray] = []
    texts: list[str] = []
    waiting: list[np.ndarray] = []
    said: list[str] = []
    for path, text in rows:
        audio = read_audio(path)
        if sum(map(len, waiting)) + len(audio) > 29 * SAMPLE_RATE and waiting:
            pieces.append(np.concatenate(waiting))
            texts.append(" ".join(said))
            waiting, said = [], []
        waiting.append(audio)
        said.append(text)
        if len(pieces) == PIECES:
            break
    return pieces, texts[0]


def _vad(audios: Sequence[np.ndarray]) -> dict[str, float]:
    from core.voice_activity import speech_probabilities
    from pipeline.recordings.transcription.pieces import pieces

    speech_probabilities([np.zeros(SAMPLE_RATE, np.float32)])
    audio = np.concatenate(audios)
    started = time.process_time()
    pieces(speech_probabilities([audio]), len(audio))
    return {"times_real_time_a_core": round(len(audio) / SAMPLE_RATE / (time.process_time() - started))}


def _ready(folder: Path, corpora: dict[str, list[Row]], only: Sequence[str]) -> list[tuple[str, _Task]]:
    """Engines with their own, trained models. A hosted one would measure somebody else's machine."""
    from pipeline.recordings.transcription.engine import described
    from pipeline.recordings.transcription.registry import engines

    return [
        (described(engine).replace(" ", "_"), _Task(engine.name, engine.model, str(folder / "pieces.npz"), corpora))
        for engine in engines()
        if engine.available().ok
        and not engine.hosted
        and (engine.languages() is None or "en" in (engine.languages() or ()))
        and (not only or engine.name in only)
    ]


def _made(folder: Path, text: str, only: Sequence[str], reporter: Reporter) -> list[tuple[str, _Task]]:
    """Whisper's engines on checkpoints that are made here."""
    from pipeline.recordings.transcription.registry import CHOOSABLE

    found: list[tuple[str, _Task]] = []
    wanted = [name for name in MADE if not only or name in only]
    for size in MADE_SIZES if wanted else ():
        try:
            from benchmark.made_whisper import make_whisper

            made = make_whisper(size, text, 28.0)
        except ImportError as error:
            reporter.log(f"No Whisper checkpoint can be made here: {error}", "warning")
            return []
        models = {
            "faster-whisper": lambda size=size, made=made: made.save_converted(folder / f"made-{size}"),
            "whisper-timestamped": lambda size=size, made=made: made.save_checkpoint(folder / f"made-{size}.pt"),
        }
        for name in wanted:
            try:
                model = str(models[name]())
            except ImportError as error:
                reporter.log(f"{name} is not measured: {error}", "warning")
                continue
            if CHOOSABLE[name](model).available().ok:
                found.append((f"{name}_made_{size}", _Task(name, model, str(folder / "pieces.npz"), {})))
    return found


def _cheapest(tasks: Sequence[tuple[str, _Task]]) -> tuple[str, _Task]:
    if not tasks:
        raise HarkError("There is nothing to measure.", "None of these engines is ready.", "See ./hark doctor.")
    return next(((label, task) for label, task in tasks if label.endswith("_made_tiny")), tasks[0])


def _write_long(path: Path, audios: Sequence[np.ndarray]) -> None:
    import soundfile

    with soundfile.SoundFile(str(path), "w", SAMPLE_RATE, 1, "PCM_16") as target:
        done = 0
        while done < LONG_S * SAMPLE_RATE:
            for audio in audios:
                target.write(audio[: int(LONG_S * SAMPLE_RATE) - done])
                done += len(audio)


def _long(task: _Task, folder: Path) -> _Task:
    return _Task(task.engine, task.model, task.pieces, {}, str(folder / "long.flac"))


def _in_its_own_process(task: _Task) -> dict[str, Any]:
    for name, value in PATIENT_THREADS.items():  # as the speech service has it
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(task, there))
    process.start()
    there.close()
    try:
        found: dict[str, Any] = json.loads(here.recv())
    except EOFError:
        process.join()
        raise HarkError(
            f"{task.engine} could not be measured.",
            f"Its process ended with code {process.exitcode}.",
            "Run the same command again; where memory is short, close other programs.",
        ) from None
    finally:
        process.join()
    if "error" in found:
        raise HarkError(**found["error"])
    return found


def _child(task: _Task, answer: Any) -> None:
    os.environ["HARK_SPEECH_SERVICE"] = "0"
    if task.model:
        os.environ["HARK_WHISPER_MODEL"] = task.model
    try:
        result = _half_an_hour(task) if task.long_file else _measured(task)
    except HarkError as error:
        result = {"error": error.as_dict()}
    answer.send(json.dumps(result))


def _measured(task: _Task) -> dict[str, Any]:
    from pipeline.recordings.transcription import registry

    with np.load(task.pieces) as stored:
        audios = [stored[name] for name in stored.files]
    engine = registry.engine(task.engine)
    with _Memory() as memory:
        before = resident_kib(os.getpid())
        started = time.monotonic()
        engine.recognize(audios[0], "en")
        loading_s = time.monotonic() - started
        memory.peak_kib = 0
        seconds = sum(map(len, audios)) / SAMPLE_RATE
        at, work = time.monotonic(), _work_s()
        words = sum(len(segment.words) for audio in audios for segment in engine.recognize(audio, "en"))
        took, worked = time.monotonic() - at, _work_s() - work
        figures: dict[str, Any] = {
            "times_real_time": round(seconds / took, 1),
            "core_s_a_second": round(worked / seconds, 4) if worked else None,
            "words_a_second": round(words / seconds, 2),
            "first_piece_s": round(loading_s, 1),
            "memory_mib": round(memory.peak_kib / 1024),
            "memory_of_model_mib": round((memory.peak_kib - before) / 1024),
        }
    for name, rows in task.corpora.items():
        figures[name] = _errors(lambda audio: engine.recognize(audio, "en"), rows)
    engine.close()
    return figures


def _errors(recognize: Callable[[np.ndarray], list[Any]], rows: Sequence[Row]) -> dict[str, float]:
    references, texts = [], []
    for path, text in rows:
        references.append(normalize(text, "en").split())
        found = " ".join(segment.text for segment in recognize(read_audio(path)))
        texts.append(normalize(found, "en").split() if found else [])
    return {"utterances": len(rows), "wer": round(error_rate(references, texts), 3)}


def _half_an_hour(task: _Task) -> dict[str, Any]:
    from core.events import silent_reporter
    from pipeline.recordings.transcription import registry
    from pipeline.recordings.transcription.transcribe import TranscribeOptions, transcribe

    with np.load(task.pieces) as stored:
        audio = stored[stored.files[0]]
    engine = registry.engine(task.engine)
    with _Memory() as memory, tempfile.TemporaryDirectory() as work:
        engine.recognize(audio, "en")
        loaded = memory.peak_kib = resident_kib(os.getpid())
        started = time.monotonic()
        transcript = transcribe(
            Path(task.long_file), TranscribeOptions(task.engine, "en"), Path(work), silent_reporter()
        )
        took = time.monotonic() - started
        engine.close()
        return {
            "times_real_time": round(transcript.duration_s / took, 1),
            "segments": len(transcript.segments),
            "memory_beyond_the_model_mib": round((memory.peak_kib - loaded) / 1024),
        }


def _work_s() -> float:
    """Processor time of this process and of what it has started and is at work in /proc [s]."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    total = own.ru_utime + own.ru_stime
    ticks = os.sysconf("SC_CLK_TCK")
    for children in Path("/proc/self/task").glob("*/children"):
        for child in children.read_text().split():
            try:
                fields = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += (int(fields[11]) + int(fields[12])) / ticks
    return total


class _Memory:
    """The largest resident memory [KiB] of this process and its workers meanwhile."""

    def __init__(self) -> None:
        self.peak_kib = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_EVERY_S):
            self.peak_kib = max(self.peak_kib, resident_kib(os.getpid()))
