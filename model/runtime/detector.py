#!/usr/bin/env python3
"""Run a Hark detector: `python detect.py --wav recording.wav` or `python detect.py --mic`.

This one file is the whole runtime. It needs NumPy and onnxruntime (soundfile to read anything but PCM WAV, sounddevice
for the microphone) and a bundle: the zip that Hark made, or the unpacked folder (by default, the folder that contains
this file). The model takes raw 16 kHz audio, 80 ms at a time, and returns a score for each 80 ms.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import sys
import wave
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as OutOfTime
from copy import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime 1.31 and later report usage to Microsoft

SCHEMA = 1
REARM = 1.0  # logits by which a score must rise above its lowest value since a detection to count as another
WINDOW_FRAMES = 35  # frames in a large detector's window: an utterance stays in it for 2.8 s after its detection
SMOOTHING_FRAMES = 2  # a score is the mean of this many model outputs, so that a single spike does not fire
FLUSH_S = 0.32  # silence added after the end of a recording, so that a phrase at its very end is scored
BLOCK_S = 30.0  # seconds of a recording that are read at a time
BLOCK_CHUNKS = 375  # chunks per call of the model when audio is not live: 30 s
ROLL_OFF = 0.95  # fraction of the lower Nyquist frequency where resampling starts to fade out (the features' limit)
MODEL_MEMORY = 2 << 30  # bytes that all models of a process may use together; a large one uses a tenth
CALL_S = 60.0  # seconds that a call of a model may take, in addition to CALL_TIMES the duration of its audio
CALL_TIMES = 10.0
STOP_S = 5.0  # seconds to wait for a model that was asked to stop
MANIFEST_BOUNDS = {  # a manifest with values beyond these could exhaust memory or time
    "sample_rate": (8_000, 192_000),
    "chunk_samples": (1, 1_000_000),
    "score_period_s": (0.001, 60.0),
    "smoothing_frames": (1, 1_000),
    "refractory_s": (0.0, 3_600.0),
    "receptive_samples": (1, 20_000_000),
    "state_size": (1, 50_000_000),
    "default_fa_per_day": (1e-9, 1e9),
}
ROW_BOUNDS = {"fa_per_day": (1e-9, 1e9), "threshold": (0.0, 1.0)}  # bounds of each row of "thresholds"
MAX_ROWS = 100
MANIFEST_KEYS = ("phrase", *MANIFEST_BOUNDS, "thresholds", "files")  # keys that this program reads
MAX_PHRASE_LENGTH = 200  # maximum characters of a phrase
MAX_MANIFEST_BYTES, MAX_FILE_BYTES = 4 << 20, 1 << 30  # maximum bytes


class BundleError(ValueError):
    """A bundle or a recording that cannot be used: what happened, why, what to do."""

    def __init__(self, what: str, why: str, what_to_do: str) -> None:
        # Text from a bundle may contain terminal control characters.
        self.what, self.why, self.what_to_do = map(_printable, (what, why, what_to_do))
        super().__init__(f"{self.what} {self.why} {self.what_to_do}")


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


@dataclass(frozen=True)
class Detection:
    """An occurrence of the phrase.

    Attributes:
        time_s: end of the 80 ms in which the score passed the threshold, seconds from the start of the stream.
        score: the score there, 0 to 1.
    """

    time_s: float
    score: float


def smooth_scores(
    raw: np.ndarray, before: np.ndarray | None = None, smoothing_frames: int = SMOOTHING_FRAMES
) -> np.ndarray:
    """Average causally over ``smoothing_frames`` model outputs [n]; ``before`` holds the preceding outputs."""
    head = np.zeros(smoothing_frames - 1, np.float32) if before is None else before
    padded = np.concatenate([head, np.asarray(raw, dtype=np.float32)])
    parts = [padded[i : len(padded) - smoothing_frames + 1 + i] for i in range(smoothing_frames)]
    return np.asarray(np.mean(parts, axis=0, dtype=np.float64), np.float32)


def logit(score: np.ndarray | float) -> np.ndarray:
    clipped = np.clip(np.asarray(score, dtype=np.float64), 1e-9, 1 - 1e-9)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def sigmoid(level: np.ndarray | float) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.asarray(level))))


class Trigger:
    """Turns the scores of a stream into detections: one for each utterance.

    The first score at or above the threshold is the detection. Later scores belong to the same utterance until a
    refractory time has passed since the highest of them: an encoder sees the end of a phrase in two windows, often
    better in the second. The refractory time ends at the latest when the window no longer contains the utterance;
    otherwise, a second utterance 3 s later would be missed. After that, a score must exceed the lowest one since by
    :data:`REARM`, so that a score that stays high, as when a speaker stops within the phrase, is one detection.
    """

    def __init__(self, threshold: float, refractory_frames: int) -> None:
        self.threshold = threshold
        self.refractory_frames = refractory_frames
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        self.frames = 0  # scores processed so far
        self._quiet_until = 0
        self._quiet_at_most = 0
        self._highest = np.inf  # level of the last detection
        self._lowest = -np.inf  # lowest level since then

    def fired(self, scores: np.ndarray) -> list[int]:
        """Return the indices of detections in these scores [n], which continue the stream."""
        above = np.flatnonzero(scores >= self.threshold)
        levels = logit(scores)
        parts = [0, *(above + 1).tolist()]  # each ends with a score at or above the threshold; the last contains none
        lows = np.minimum.reduceat(levels[: parts[-1]], parts[:-1]).tolist() if len(above) else []
        indices: list[int] = []
        for index, level, low in zip(above.tolist(), levels[above].tolist(), lows):
            self._lowest = min(self._lowest, low)
            quiet = self.frames + index < self._quiet_until
            if not quiet and level >= self._lowest + REARM:
                indices.append(index)
                self._quiet_at_most = self.frames + index + max(self.refractory_frames, WINDOW_FRAMES)
            elif not (quiet and level > self._highest):
                continue
            self._highest, self._lowest = level, np.inf
            self._quiet_until = min(self.frames + index + self.refractory_frames, self._quiet_at_most)
        self._lowest = min(self._lowest, float(levels[parts[-1] :].min(initial=np.inf)))
        self.frames += len(scores)
        return indices

    def detections(self, scores: np.ndarray, score_period_s: float) -> list[Detection]:
        """Return detections with times in the stream; a score covers ``score_period_s`` seconds."""
        before = self.frames
        return [
            Detection(round((before + index + 1) * score_period_s, 3), float(scores[index]))
            for index in self.fired(scores)
        ]


def manifest_digest(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest without its own digest, in canonical form."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _beyond(values: Any, bounds: dict[str, tuple[float, float]]) -> str:
    """Return the first name whose value is not a number within its bounds, "" if there is none."""
    for name, (least, most) in bounds.items():
        value = values.get(name) if isinstance(values, dict) else None
        if not isinstance(value, int | float) or not least <= value <= most:
            return name
    return ""


class Bundle:
    """A bundle's manifest and files, each verified against its digest when read."""

    def __init__(self, path: Path | str) -> None:
        """Open the zip or folder at ``path``. Raises BundleError if it is not a bundle or has a different schema."""
        self.path = Path(path)
        if not self.path.exists():
            raise BundleError(
                f"The bundle {self.path} cannot be found.",
                "The path does not exist.",
                "Give the path of a bundle's zip or unpacked folder.",
            )
        try:
            self.manifest: dict[str, Any] = json.loads(self._read("manifest.json", MAX_MANIFEST_BYTES))
            schema = self.manifest.get("schema")
        except BundleError:
            raise
        except (ValueError, AttributeError, RecursionError) as error:
            raise self._broken("has a damaged manifest.", f"manifest.json: {error}.") from error
        if schema != SCHEMA:
            raise BundleError(
                f"{self.path} cannot be used by this program.",
                f"Its manifest has schema {schema!r}; this program knows schema {SCHEMA}.",
                "Use the detect.py inside that bundle, or train the phrase again.",
            )
        content = {key: value for key, value in self.manifest.items() if key != "digest"}
        if "digest" in self.manifest and manifest_digest(content) != self.manifest["digest"]:
            raise self._broken("was changed or damaged.", "manifest.json does not have the digest that it gives.")
        lacking = [key for key in MANIFEST_KEYS if key not in self.manifest]
        if lacking or not isinstance(self.manifest["files"], dict):
            raise self._broken("has a damaged manifest.", f"manifest.json lacks {', '.join(lacking) or 'digests'}.")
        if wrong := self._nonsense():
            raise self._broken("has a damaged manifest.", f"manifest.json has an implausible value of {wrong}.")

    def _broken(self, how: str, why: str) -> BundleError:
        return BundleError(f"{self.path} {how}", why, "Download the bundle again.")

    def _nonsense(self) -> str:
        """Return the name of an implausible value, "" if all are plausible."""
        phrase = self.manifest["phrase"]
        if not isinstance(phrase, str) or not 0 < len(phrase) <= MAX_PHRASE_LENGTH or not phrase.isprintable():
            return "phrase"
        rows = self.manifest["thresholds"]
        if not isinstance(rows, list) or not 0 < len(rows) <= MAX_ROWS:
            return "thresholds"
        if any(_beyond(row, ROW_BOUNDS) for row in rows):
            return "thresholds"
        return _beyond(self.manifest, MANIFEST_BOUNDS)

    def _read(self, name: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
        try:
            if self.path.is_dir():
                with (self.path / name).open("rb") as file:
                    data = file.read(max_bytes + 1)
            else:
                with zipfile.ZipFile(self.path) as archive, archive.open(name) as packed:
                    data = packed.read(max_bytes + 1)
        except (FileNotFoundError, KeyError) as error:
            raise self._broken("is not a complete bundle.", f"{name} is missing from it.") from error
        # Damage shows in many ways: in the directory, the compressed bytes, or a header with an unsupported method.
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
            raise self._broken("is not a bundle that can be read.", f"{name}: {error}.") from error
        if len(data) > max_bytes:
            raise self._broken("is not a bundle that can be read.", f"{name} has more than {max_bytes >> 20} MB.")
        return data

    def read(self, name: str) -> bytes:
        """Read a file of the bundle. Raises BundleError if it is missing or was changed."""
        data = self._read(name)
        wanted = self.manifest["files"].get(name)
        if hashlib.sha256(data).hexdigest() != wanted:
            raise self._broken("was changed or damaged.", f"{name} does not have the digest that the manifest gives.")
        return data

    def threshold(self, fa_per_day: float | None = None) -> float:
        """Return the threshold for a target number of false alarms a day (default: the bundle's own choice).

        Between the manifest's entries, the logit of the threshold is linear in the logarithm of the rate.

        Raises BundleError for a target beyond the entries.
        """
        table = sorted(self.manifest["thresholds"], key=lambda row: float(row["fa_per_day"]))
        lowest, highest = (float(row["fa_per_day"]) for row in (table[0], table[-1]))
        if fa_per_day is None:
            fa_per_day = float(self.manifest["default_fa_per_day"])
        elif not lowest <= fa_per_day <= highest:
            raise BundleError(
                f"The bundle has no threshold for {fa_per_day:g} false alarms per day.",
                f"It was calibrated for {lowest:g} to {highest:g} per day.",
                "Choose a rate in that range.",
            )
        rates = np.log([float(row["fa_per_day"]) for row in table])
        levels = np.clip([float(row["threshold"]) for row in table], 1e-9, 1 - 1e-9)
        return float(sigmoid(np.interp(np.log(fa_per_day), rates, np.log(levels / (1 - levels)))))


@cache
def _limit_memory() -> None:
    """Register one allocator with a limit, shared by the models that ask for it."""
    import onnxruntime

    where = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg({"max_mem": MODEL_MEMORY}))


def _within(seconds: float, work: Callable[[], Any], stop: Callable[[], None]) -> Any:
    """Run ``work`` in a thread and return its result, so that the caller can be interrupted and can stop it.

    Raises TimeoutError if it takes longer than ``seconds``. A running operator cannot be stopped: its thread ends when
    the operator or the process does.
    """
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # raised where the result is awaited
            done.set_exception(error)

    Thread(target=run, daemon=True, name="detector").start()
    try:
        return done.result(seconds)
    finally:
        if not done.done():  # out of time, or interrupted
            stop()
            wait([done], STOP_S)


class Model:
    """A graph from a bundle on onnxruntime, with limits on memory and time. Thread-safe."""

    def __init__(self, content: bytes, threads: int = 1) -> None:
        """Load the graph in ``content``. Raises BundleError if loading fails."""
        try:
            import onnxruntime
        except ImportError as error:
            raise BundleError("The detector cannot run.", f"{error}.", "pip install onnxruntime") from error
        _limit_memory()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its messages are in the exception, too
        options.add_session_config_entry("session.use_env_allocators", "1")
        # A bundle's weights are in the model itself; a model that names external files must not read any.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        try:
            self._session = _within(
                CALL_S,
                lambda: onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]),
                lambda: options.set_load_cancellation_flag(True),
            )
        except OutOfTime as error:
            raise BundleError(
                "The detector was stopped.",
                f"Its model took more than {CALL_S:.0f} s to load.",
                "Use a detector from a source that you trust.",
            ) from error
        except Exception as error:  # onnxruntime has many errors and no common base class
            raise BundleError(
                "The detector's model cannot be loaded.",
                f"onnxruntime {onnxruntime.__version__}: {error}",
                "Run pip install --upgrade onnxruntime.",
            ) from error
        self.inputs: list[tuple[str, list[Any]]] = [(one.name, one.shape) for one in self._session.get_inputs()]

    def run(self, inputs: Mapping[str, np.ndarray], seconds: float) -> list[np.ndarray]:
        """Return the outputs for ``seconds`` of audio.

        Raises BundleError if the model fails, or takes too much time or memory.
        """
        import onnxruntime

        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        allowed = CALL_S + CALL_TIMES * seconds
        try:
            outputs: list[np.ndarray] = _within(
                allowed, lambda: self._session.run(None, inputs, options), lambda: setattr(options, "terminate", True)
            )
            return outputs
        except OutOfTime as error:
            raise BundleError(
                "The detector was stopped.",
                f"Its model took more than {allowed:.0f} s for {seconds:.2f} s of audio.",
                "Use a detector from a source that you trust.",
            ) from error
        except Exception as error:
            raise BundleError(
                "The detector's model failed.",
                f"onnxruntime: {str(error)[:300].rstrip('.')}. It may have {MODEL_MEMORY >> 20} MB of memory.",
                "Use a detector from a source that you trust.",
            ) from error


class Detector:
    """Scores a stream of audio and reports occurrences of the phrase. One instance is one stream."""

    def __init__(
        self,
        bundle: Path | str | Bundle,
        fa_per_day: float | None = None,
        threshold: float | None = None,
        int8: bool = False,
        threads: int = 1,
    ) -> None:
        """Load a bundle.

        Args:
            bundle: the zip, the folder, or an opened Bundle.
            fa_per_day: accepted false alarms per day (default: the bundle's choice); ``threshold`` overrides it.
            threshold: score from 0 to 1 that triggers a detection.
            int8: use the small model (8-bit weights) if the bundle has one.
            threads: of onnxruntime.
        """
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
        manifest = self.bundle.manifest
        self.phrase = str(manifest["phrase"])
        self.sample_rate = int(manifest["sample_rate"])
        self.chunk = int(manifest["chunk_samples"])
        self.score_period_s = float(manifest["score_period_s"])
        wanted = self.bundle.threshold(fa_per_day) if threshold is None else float(threshold)
        if not 0.0 <= wanted <= 1.0:
            raise BundleError(
                "That threshold cannot be used.", f"{wanted} is not from 0 to 1.", "Give a number such as 0.5."
            )
        self._smoothing = int(manifest["smoothing_frames"])
        self._trigger = Trigger(wanted, round(float(manifest["refractory_s"]) / self.score_period_s))
        small = int8 and "model.int8.onnx" in manifest["files"]  # a large one has 8-bit weights already
        self._model = Model(self.bundle.read("model.int8.onnx" if small else "model.onnx"), threads)
        silence = np.zeros(-(-int(manifest["receptive_samples"]) // self.chunk) * self.chunk, np.float32)
        # After one receptive field of silence any state has become the state of silence.
        score, self._silent_state = self._run(silence, np.zeros((1, int(manifest["state_size"])), np.float32))
        self._silent_scores = np.full(self._smoothing - 1, score[-1], np.float32)
        self.reset()

    @property
    def threshold(self) -> float:
        return self._trigger.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._trigger.threshold = value

    def reset(self) -> None:
        """Begin a new stream, preceded by silence."""
        self._state = self._silent_state
        self._pending = np.zeros(0, np.float32)
        self._before = self._silent_scores
        self._trigger.reset()

    def on_a_new_stream(self) -> Detector:
        """Return a detector with its own stream and the same loaded model. The model may run in several threads."""
        other = copy(self)
        other._trigger = copy(self._trigger)
        other.reset()
        return other

    def _run(self, samples: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        score, new_state = self._model.run({"audio": samples[None], "state": state}, len(samples) / self.sample_rate)
        return score[0], new_state

    def scores(self, samples: np.ndarray) -> np.ndarray:
        """Return smoothed scores [n] of the 80 ms chunks that ``samples`` (float32 in [-1, 1], 16 kHz) complete."""
        # NaN (a broken driver or file) counts as silence: the model would compute a score from it.
        new = np.nan_to_num(np.asarray(samples, dtype=np.float32).reshape(-1), nan=0.0, posinf=1.0, neginf=-1.0)
        self._pending = np.concatenate([self._pending, new])
        usable = len(self._pending) // self.chunk * self.chunk
        raw = [self._before]
        for start in range(0, usable, self.chunk * BLOCK_CHUNKS):
            block = self._pending[start : min(usable, start + self.chunk * BLOCK_CHUNKS)]
            score, self._state = self._run(block, self._state)
            raw.append(score)
        self._pending = self._pending[usable:]
        joined = np.concatenate(raw)
        past = self._smoothing - 1
        self._before = joined[len(joined) - past :]
        return smooth_scores(joined[past:], joined[:past], self._smoothing)

    def detections(self, scores: np.ndarray) -> list[Detection]:
        """Return the detections among scores that continue the stream (see :class:`Trigger`)."""
        return self._trigger.detections(scores, self.score_period_s)

    def process(self, samples: np.ndarray) -> list[Detection]:
        """Process the next samples of a live stream; return the detections in them."""
        return self.detections(self.scores(samples))

    def score_recording(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield a recording's scores, block by block; trailing silence completes the last ones."""
        self.reset()
        for block in blocks:
            yield self.scores(block)
        flush = round(FLUSH_S * self.sample_rate)
        yield self.scores(np.zeros(flush + (-(len(self._pending) + flush)) % self.chunk, np.float32))


def read_wav_blocks(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """Yield a recording as blocks of mono float32 at ``sample_rate``; without soundfile only PCM WAV is supported.

    Raises BundleError if it cannot be read or contains no samples.
    """
    if not path.is_file():
        raise BundleError(
            f"The recording {path} cannot be found.",
            "The path does not exist, or is not a regular file.",
            "Give the path of an audio file.",
        )
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: installed, but without its library
        soundfile = None
    samples = 0
    try:
        opened: Any = soundfile.SoundFile if soundfile is not None else wave.open
        with opened(str(path)) as source:
            blocks: Iterable[np.ndarray]
            rate = source.samplerate if soundfile is not None else source.getframerate()
            frames = int(BLOCK_S * rate)
            if soundfile is not None:
                blocks = (part.mean(axis=1) for part in source.blocks(frames, dtype="float32", always_2d=True))
            else:
                blocks = _wave_blocks(source, frames)
            for block in _resample(blocks, rate, sample_rate):
                samples += len(block)
                yield block
    except Exception as error:  # whatever the decoder reports, the user gets it in one sentence
        raise BundleError(
            f"{path} is not a recording that can be read.",
            f"{str(error) or type(error).__name__}.",
            "Give a PCM WAV file" + (", or pip install soundfile." if soundfile is None else " or another format."),
        ) from error
    if not samples:
        raise BundleError(f"{path} contains no audio.", "It has no samples.", "Give another recording.")


def _wave_blocks(source: wave.Wave_read, frames: int) -> Iterator[np.ndarray]:
    channels, width = source.getnchannels(), source.getsampwidth()
    while data := source.readframes(frames):
        whole = len(data) // (channels * width) * channels * width  # a truncated file may end within a frame
        yield pcm_samples(data[:whole], width).reshape(-1, channels).mean(axis=1, dtype=np.float32)


def pcm_samples(data: bytes, width: int) -> np.ndarray:
    """Convert integer PCM of ``width`` bytes a sample, as in WAV files, to float32 in [-1, 1]."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    if width == 2:
        return np.frombuffer(data, "<i2").astype(np.float32) / 32768
    if width == 3:
        raw = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        return ((raw[:, 0] << 8 | raw[:, 1] << 16 | raw[:, 2] << 24) >> 8).astype(np.float32) / 8388608
    if width == 4:
        return (np.frombuffer(data, "<i4").astype(np.float64) / 2147483648).astype(np.float32)
    raise ValueError(f"{width * 8}-bit PCM is unknown")


def _resample(blocks: Iterable[np.ndarray], rate: int, wanted: int) -> Iterator[np.ndarray]:
    """Resample a stream without aliasing; yield its blocks unchanged if the rates are equal.

    Half a minute is transformed at a time, with a second on each side that is then cut off, so that seams are
    inaudible. Whole seconds have an integer number of samples at both rates.
    """
    if rate == wanted:
        yield from blocks
        return
    step = 30 * rate
    before, waiting = np.zeros(rate, np.float32), np.zeros(0, np.float32)
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= step + rate:
            yield _fourier(np.concatenate([before, waiting[: step + rate]]), rate, wanted)[wanted : wanted * 31]
            before, waiting = waiting[step - rate : step], waiting[step:]
    seconds = -(-len(waiting) // rate)
    ending = np.concatenate([before, waiting, np.zeros((seconds + 1) * rate - len(waiting), np.float32)])
    yield _fourier(ending, rate, wanted)[wanted : wanted + round(len(waiting) * wanted / rate)]


def _fourier(audio: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Resample whole seconds from ``rate`` to ``wanted``.

    The highest frequencies fade out, so that the filter rings for milliseconds only and not across the whole block.
    """
    length = len(audio) // rate * wanted
    spectrum = np.fft.rfft(audio.astype(np.float64))
    bins = min(len(spectrum), length // 2 + 1)
    nearness = np.arange(bins) / len(audio) * rate / (min(rate, wanted) / 2)  # 1 at the lower Nyquist frequency
    fade = 0.5 + 0.5 * np.cos(np.pi * np.clip((nearness - ROLL_OFF) / (1 - ROLL_OFF), 0.0, 1.0))
    fitted = np.zeros(length // 2 + 1, np.complex128)
    fitted[:bins] = spectrum[:bins] * fade
    return (np.fft.irfft(fitted, length) * (length / len(audio))).astype(np.float32)


def _microphone(sample_rate: int, chunk: int) -> Iterator[np.ndarray]:
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise BundleError(
            "The microphone cannot be used.",
            f"{error}.",
            "Run pip install sounddevice (and apt-get install libportaudio2).",
        ) from error
    try:
        with sounddevice.InputStream(samplerate=sample_rate, channels=1, dtype="float32", blocksize=chunk) as stream:
            while True:
                block, _ = stream.read(chunk)
                yield block[:, 0]
    except sounddevice.PortAudioError as error:
        raise BundleError(
            "The microphone cannot be used.", f"{error}.", "Plug one in, or choose another as the system's default."
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Run a bundle's command line. Exit code 0: done, 2: an error that the user can fix, 130: interrupted.

    A recording that cannot be read does not stop the others.
    """
    parser = argparse.ArgumentParser(description="Detect a keyphrase in a recording or from the microphone.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--wav", nargs="+", type=Path, metavar="FILE", help="recordings")
    source.add_argument("--mic", action="store_true", help="listen to the microphone until Ctrl-C")
    parser.add_argument("--bundle", type=Path, default=Path(__file__).resolve().parent, help="zip or folder")
    parser.add_argument("--fa-per-day", type=float, help="accepted false alarms per day")
    parser.add_argument(
        "--threshold", type=float, help="score from 0 to 1 that triggers a detection (overrides --fa-per-day)"
    )
    parser.add_argument("--int8", action="store_true", help="use the model with 8-bit weights, if there is one")
    parser.add_argument("--json", action="store_true", help="print one JSON object; with --mic, one per detection")
    options = parser.parse_args(arguments)
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(encoding="utf-8", line_buffering=True)
    errors: list[BundleError] = []
    try:
        detector = Detector(options.bundle, options.fa_per_day, options.threshold, options.int8)
        if options.mic:
            sys.stderr.write(f"Listening for {detector.phrase!r} (threshold {detector.threshold:.3f}); Ctrl-C ends.\n")
            for block in _microphone(detector.sample_rate, detector.chunk):
                for hit in detector.process(block):
                    if options.json:
                        out.write(json.dumps({"time_s": hit.time_s, "score": round(hit.score, 4)}) + "\n")
                    else:
                        out.write(f"{hit.time_s:9.2f} s  {detector.phrase}  score {hit.score:.3f}\n")
        detections: list[dict[str, Any]] = []
        for path in options.wav or []:
            try:
                for scores in detector.score_recording(read_wav_blocks(path, detector.sample_rate)):
                    for hit in detector.detections(scores):
                        detections.append({"file": str(path), "time_s": hit.time_s, "score": round(hit.score, 4)})
                        if not options.json:
                            out.write(f"{path}: {hit.time_s:.2f} s  {detector.phrase}  score {hit.score:.3f}\n")
            except BundleError as error:
                errors.append(error)
        if options.json:
            out.write(json.dumps({"detections": detections, "frame_s": detector.score_period_s}) + "\n")
        elif not detections and not errors:
            out.write(f"{detector.phrase!r} was not detected.\n")
    except BundleError as error:
        errors.append(error)
    except KeyboardInterrupt:
        return 130
    for problem in errors:
        sys.stderr.write(f"{problem.what}\n  Why: {problem.why}\n  What to do: {problem.what_to_do}\n")
    return 2 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
