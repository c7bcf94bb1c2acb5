"""Detectors as a wake-word service in the Wyoming protocol, which Home Assistant uses.

A client asks for the wake words (``describe``), may choose some (``detect``), and sends a stream of audio. It gets a
``detection`` for each utterance of a phrase, with the timestamp of the audio chunk in which it was detected (of a long
chunk: of the half second), or ``not-detected`` at the end of a stream without detections.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

import numpy as np
import soxr
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Attribution, Describe, Info, WakeModel, WakeProgram
from wyoming.server import AsyncEventHandler, AsyncServer, AsyncStdioServer
from wyoming.wake import Detect, Detection, NotDetected

from core.audio_file import SAMPLE_RATE, whole_samples
from core.errors import HarkError
from model.runtime.detector import FLUSH_S, BundleError, Detector, pcm_samples
from model.runtime.detector import Detection as Hit
from pipeline.serving.detection import open_detector
from pipeline.serving.wakes import WakeSender, WakeWatch

RATES = range(4_000, 192_001)  # accepted samples per second
CHANNELS = range(1, 17)
PART_SAMPLES = SAMPLE_RATE // 2  # a longer chunk is processed in parts, each with its own timestamp


class Activation(NamedTuple):
    """A detected wake word: its end, in seconds from the stream's start, and its score there."""

    name: str
    time_s: float
    score: float


OnActivation = Callable[[Activation], None]


def open_wake_words(bundles: Sequence[Path], fa_per_day: float | None = None) -> dict[str, Detector]:
    """Load detectors; return them by their names for clients: the phrase with underscores, and a number if taken.

    Raises HarkError if a bundle is missing, damaged or of a different kind.
    """
    detectors: dict[str, Detector] = {}
    for path in bundles:
        detector = open_detector(path, fa_per_day)
        if detector.sample_rate != SAMPLE_RATE:
            raise HarkError(
                f"{path} cannot be served.",
                f"Its sample rate is {detector.sample_rate} Hz, not {SAMPLE_RATE} Hz.",
                "Train the phrase again.",
            )
        stem = re.sub(r"\W+", "_", detector.phrase.lower()).strip("_") or "wake_word"
        name, number = stem, 1
        while name in detectors:
            number += 1
            name = f"{stem}_{number}"
        detectors[name] = detector
    return detectors


def information(detectors: Mapping[str, Detector]) -> Info:
    maker = Attribution(name="Hark", url="")  # the protocol requires a URL, but Hark has none
    models = [
        WakeModel(
            name=name,
            description=detector.phrase,
            phrase=detector.phrase,
            attribution=maker,
            installed=True,
            languages=[str(detector.bundle.manifest.get("language", "en"))],
            version=str(detector.bundle.manifest.get("run") or detector.bundle.manifest.get("created") or "1"),
        )
        for name, detector in detectors.items()
    ]
    about = "Wake words trained with Hark"
    return Info(
        wake=[
            WakeProgram(name="hark", description=about, attribution=maker, installed=True, version="1", models=models)
        ]
    )


class Stream:
    """One stream of audio and its detectors. Streams share models."""

    def __init__(self, detectors: Mapping[str, Detector], sender: WakeSender | None = None) -> None:
        """Begin after silence, without changing ``detectors``. ``sender`` gets activations and near misses."""
        self._detectors = {name: detector.on_a_new_stream() for name, detector in detectors.items()}
        self._sender = sender
        self._watches = {
            name: WakeWatch(detector.threshold, detector.score_period_s)
            for name, detector in (detectors.items() if sender else ())
        }

    def process(self, samples: np.ndarray) -> list[Activation]:
        """Return the detections in the next samples (float32, 16 kHz), ordered by time.

        Raises BundleError if a detector fails.
        """
        activations = [
            Activation(name, hit.time_s, hit.score)
            for name, detector in self._detectors.items()
            for hit in self._detected(name, detector, samples)
        ]
        return sorted(activations, key=lambda activation: activation.time_s)

    def _detected(self, name: str, detector: Detector, samples: np.ndarray) -> list[Hit]:
        scores = detector.scores(samples)
        hits = detector.detections(scores)
        if self._sender is not None:
            for wake in self._watches[name].process(samples, scores, hits):
                self._sender.send(wake)
        return hits

    def finish(self) -> list[Activation]:
        """Process silence after the end of the stream, which completes the last utterance."""
        return self.process(np.zeros(round(FLUSH_S * SAMPLE_RATE), np.float32))


class MonoAudio:
    """Converts chunks of any rate, width and number of channels to one stream of float32 at 16 kHz."""

    def __init__(self) -> None:
        self._form = (SAMPLE_RATE, 2, 1)
        self._resampler: soxr.ResampleStream | None = None
        self._partial_frame = b""  # the last bytes of a chunk that ended within a frame

    def take(self, chunk: AudioChunk) -> np.ndarray:
        """Return the samples that a chunk adds to the stream. Raises ValueError if the audio is not supported."""
        form = (chunk.rate, chunk.width, chunk.channels)
        if form != self._form:
            if chunk.rate not in RATES or chunk.channels not in CHANNELS or chunk.width not in (1, 2, 3, 4):
                raise ValueError(f"unsupported rate {chunk.rate}, width {chunk.width} or channels {chunk.channels}")
            self._form, self._partial_frame = form, b""
            other = chunk.rate != SAMPLE_RATE
            self._resampler = soxr.ResampleStream(chunk.rate, SAMPLE_RATE, 1, dtype="float32") if other else None
        audio, self._partial_frame = whole_samples(self._partial_frame + chunk.audio, chunk.width * chunk.channels)
        frames = pcm_samples(audio, chunk.width).reshape(-1, chunk.channels)
        samples = np.ascontiguousarray(frames.mean(axis=1, dtype=np.float32))
        return samples if self._resampler is None else self._resampler.resample_chunk(samples)

    def rest(self) -> np.ndarray:
        """Return the samples left in the resampler at the end of the stream."""
        if self._resampler is None:
            return np.zeros(0, np.float32)
        return self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)


class WakeClient(AsyncEventHandler):
    """A client. No other client can access its stream."""

    def __init__(
        self,
        detectors: Mapping[str, Detector],
        info: Info,
        on_activation: OnActivation,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        sender: WakeSender | None = None,
    ) -> None:
        super().__init__(reader, writer)
        self._sender = sender
        self._detectors, self._info, self._on_activation = detectors, info, on_activation
        self._wanted = detectors  # those that it requested
        self._begin(0)

    async def run(self) -> None:
        """Serve the client until it disconnects; its errors end only this connection."""
        try:
            await super().run()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # it disconnected
        except Exception:
            logging.getLogger(__name__).warning("a client was dropped", exc_info=True)

    async def handle_event(self, event: Event) -> bool:
        """Handle one event; return False to end the connection."""
        try:
            await self._answer(event)
        except BundleError as error:
            logging.getLogger(__name__).warning("a detector failed: %s", error)
            await self._complain(str(error), "model-failed")
            return False
        except (KeyError, TypeError, ValueError) as error:
            await self._complain(f"The {event.type} event cannot be understood: {error}.", "bad-event")
            return False
        return True

    async def _answer(self, event: Event) -> None:
        if Describe.is_type(event.type):
            await self.write_event(self._info.event())
        elif Detect.is_type(event.type):
            await self._listen_for(Detect.from_event(event).names)
        elif AudioStart.is_type(event.type):
            self._begin(AudioStart.from_event(event).timestamp or 0)
        elif AudioChunk.is_type(event.type):
            await self._hear(AudioChunk.from_event(event))
        elif AudioStop.is_type(event.type):
            await self._end()

    def _begin(self, timestamp: float) -> None:
        self._audio = MonoAudio()
        self._stream: Stream | None = None
        self._now_ms = float(timestamp)  # start of the next chunk, unless it has its own timestamp
        self._chunk_ms = round(timestamp)  # start of the last chunk, or of its last part
        self._has_detected = False

    async def _listen_for(self, names: Sequence[str] | None) -> None:
        wanted = {_plain(name) for name in names or ()}
        self._wanted = {
            name: detector for name, detector in self._detectors.items() if not names or _plain(name) in wanted
        }
        if not self._wanted:
            choices = ", ".join(self._detectors)
            await self._complain(f"This server detects {choices}, not {', '.join(map(str, names or ()))}.", "no-model")
        self._stream = None

    async def _hear(self, chunk: AudioChunk) -> None:
        # Runs in threads, so that a long chunk of one client does not block others.
        samples = await asyncio.to_thread(self._audio.take, chunk)
        begins_ms = self._now_ms if chunk.timestamp is None else float(chunk.timestamp)
        seconds = len(chunk.audio) / (chunk.width * chunk.channels * chunk.rate)
        self._chunk_ms, self._now_ms = round(begins_ms), begins_ms + 1000 * seconds
        if self._stream is None:
            self._stream = Stream(self._wanted, self._sender)
        for start in range(0, len(samples), PART_SAMPLES):
            self._chunk_ms = round(begins_ms + 1000 * start / SAMPLE_RATE)
            part = samples[start : start + PART_SAMPLES]
            await self._tell(await asyncio.to_thread(self._stream.process, part))

    async def _end(self) -> None:
        if self._stream is not None:
            rest = self._audio.rest()
            activations = await asyncio.to_thread(self._stream.process, rest)
            await self._tell(activations + await asyncio.to_thread(self._stream.finish))
        if not self._has_detected:
            await self.write_event(NotDetected().event())
        self._begin(0)

    async def _tell(self, activations: Sequence[Activation]) -> None:
        for activation in activations:
            self._has_detected = True
            self._on_activation(activation)
            await self.write_event(Detection(name=activation.name, timestamp=self._chunk_ms).event())

    async def _complain(self, text: str, code: str) -> None:
        await self.write_event(Error(text=text, code=code).event())


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", str(name).lower()).strip("_")


def server_at(uri: str) -> AsyncServer:
    """Return the server for a URI, not listening yet. Raises HarkError if its kind is unknown or it is taken."""
    try:
        address = urlparse(uri)
        if address.scheme == "tcp" and not address.port:
            raise ValueError("It has no port from 1 to 65535")
        if address.scheme == "unix" and (not address.path or address.netloc):
            raise ValueError("It has no absolute path")
        server = AsyncServer.from_uri(uri)
    except ValueError as error:
        raise HarkError(
            f"{uri} is not a URI that Hark can listen on.",
            f"{error}.",
            "Use one such as tcp://127.0.0.1:10400, unix:///run/hark.sock or stdio://.",
        ) from error
    if address.scheme == "unix":
        _refuse_taken_path(uri, Path(address.path))
    if isinstance(server, AsyncStdioServer):
        _refuse_files(uri)
    return server


def _refuse_taken_path(uri: str, path: Path) -> None:
    """Reject an existing path, unless it is a socket that a server has left."""
    if not path.exists():
        return
    why = "It is a file, not a socket"
    if stat.S_ISSOCK(path.stat().st_mode):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                return
        why = "Another program already listens there"
    raise HarkError(f"Hark cannot listen on {uri}.", f"{why}.", "Choose another path.")


def _refuse_files(uri: str) -> None:
    for name, stream in (("stdin", sys.stdin), ("stdout", sys.stdout)):
        try:
            mode = os.fstat(stream.fileno()).st_mode
            usable = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stream.isatty()
        except (AttributeError, OSError, ValueError):  # it is closed
            usable = False
        if not usable:
            raise HarkError(
                f"Hark cannot listen on {uri}.",
                f"Its {name} is neither a pipe nor a terminal.",
                "Connect it to a program.",
            )


async def serve(
    uri: str,
    detectors: Mapping[str, Detector],
    stopping: asyncio.Event,
    ready: Callable[[], None] = lambda: None,
    on_activation: OnActivation = lambda activation: None,
    sender: WakeSender | None = None,
) -> None:
    """Serve clients until ``stopping`` is set (with ``stdio://``, or until stdin ends).

    ``sender``, if given, gets activations and near misses. Raises HarkError if it cannot listen there.
    """
    server = server_at(uri)
    info = information(detectors)

    def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> WakeClient:
        return WakeClient(detectors, info, on_activation, reader, writer, sender)

    try:
        if isinstance(server, AsyncStdioServer):
            ready()
            await _until(asyncio.create_task(server.run(client)), stopping)
            return
        await server.start(client)
    except (OSError, ValueError) as error:  # ValueError: stdin is not a pipe
        reason = getattr(error, "strerror", None) or str(error)
        raise HarkError(
            f"Hark cannot listen on {uri}.",
            f"{reason}: most likely another program or another Hark already does.",
            "Choose another URI: wyoming --uri tcp://127.0.0.1:10401.",
        ) from error
    try:
        ready()
        await stopping.wait()
    finally:
        await server.stop()


async def _until(task: asyncio.Task[None], stopping: asyncio.Event) -> None:
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if task.done():
        task.result()
    else:
        task.cancel()
