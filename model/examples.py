"""Training and test examples: clips between other speech, augmented, as features. Several processes build them.

Positives and aligned negatives go through exactly the same steps, so that only the words distinguish them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

from audio_augmentation import codec
from audio_augmentation.augment import AugmentationConfig, Augmenter
from audio_augmentation.compose import compose_stream, surround
from audio_augmentation.gain_speed import change_voice, limit_peak
from audio_augmentation.noise import load_noise_folder
from audio_augmentation.reverb import room_pool
from audio_augmentation.silence import speech_bounds, trim_silence
from core.audio_file import SAMPLE_RATE, read_audio
from core.onnx import CPU
from core.processors import usable_cores
from model.features import HOP
from model.front_end import Compute, Computed, FrontEnd
from model.gpu import providers

GPU_BLOCK = 256  # examples per block whose audio is in memory when a GPU computes
BITRATE = 10_000  # bit/s of Opus in the speech that ships: the lowest at which it encodes frequencies above 6 kHz
SLACK_FRAMES = 30  # frames stored before the earliest window of an aligned example
MAX_PREFIX = 2 * SAMPLE_RATE  # maximum samples before the phrase's end at which a window may end
# Seconds of audio after the phrase; tests wait this long for a hit.
TAIL_S = {"train": 0.4, "clean": 1.4, "noisy": 1.4, "far": 1.4}
FASTEST = 1.35  # highest product of speed and tempo in training, by which audio may shrink
BEFORE_FRACTION = 0.6  # fraction of aligned examples with speech before the phrase
AFTER_FRACTION = 0.4
VOICE_FRACTION = (
    0.6  # fraction of training clips with a changed voice (pitch and formants), because there are few voices
)
VOICE_FACTOR = (0.85, 1.2)

CONDITIONS: dict[str, AugmentationConfig] = {
    # Milder than the augmenter's defaults, with which a detector of this size had learned almost nothing after 500
    # steps: reverberation, filters and noise together left no phones in many positives.
    "train": AugmentationConfig(
        speed_share=0.6, speed=(0.88, 1.12), tempo_share=0.2, talker_equalizer_share=0.2, room_share=0.4,
        noise_share=0.8, snr_db=(0.0, 30.0), usual_snr_db=(5.0, 25.0), equalizer_share=0.5, equalizer_db=5.0,
        tilt_db=1.2, microphone_share=0.2, gain_db=(-20.0, 6.0),
    ),
    # A close microphone in a quiet room, with only its own noise.
    "clean": AugmentationConfig(
        speed_share=0.0, tempo_share=0.0, talker_equalizer_share=0.0, room_share=0.0, noise_share=0.0,
        equalizer_share=0.0, overload_share=0.0, telephone_share=0.0, opus_share=0.0, gain_db=(-6.0, 0.0),
    ),
    # The same with noise at 10 dB SNR.
    "noisy": AugmentationConfig(
        speed_share=0.0, tempo_share=0.0, talker_equalizer_share=0.0, room_share=0.0, noise_share=1.0,
        snr_db=(10.0, 10.0), usual_snr_db=(10.0, 10.0), equalizer_share=0.0, overload_share=0.0, telephone_share=0.0,
        opus_share=0.0, gain_db=(-12.0, 0.0),
    ),
    # The same noise, across a room.
    "far": AugmentationConfig(
        speed_share=0.0, tempo_share=0.0, talker_equalizer_share=0.0, room_share=1.0, noise_share=1.0,
        snr_db=(10.0, 10.0), usual_snr_db=(10.0, 10.0), equalizer_share=0.3, overload_share=0.0, telephone_share=0.0,
        opus_share=0.0, gain_db=(-12.0, 0.0),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ExampleSpec:
    """Specification of an example, small enough to send to another process.

    Attributes:
        clips: audio files; one for an aligned example, several for a stream of general speech, none for noise.
        aligned: True if the clip's end matters (the phrase, a confusable); False for a stream.
        before, after: neighbours of an aligned clip; empty for none.
        place_s: start and end [seconds] of the words in an aligned clip that was mined; None: its first and last sound.
        condition: a key of :data:`CONDITIONS`.
        receptive_samples: samples that a detector needs before the clip's end.
        last_seconds: duration of the phrase at the end of an aligned clip (a carrier sentence); 0 for the whole clip.
        bitrate: of Opus [bit/s], which is applied first to an aligned clip; 0 for none.
        quiet: without room, noise and microphone, for a teacher; the words are where the example has them.
        columns: the other columns of the segment's row in the feature store.
    """

    clips: tuple[str, ...]
    aligned: bool
    condition: str
    seed: int
    receptive_samples: int
    last_seconds: float = 0.0
    before: str = ""
    after: str = ""
    place_s: tuple[float, float] | None = None
    bitrate: int = 0
    quiet: bool = False
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SoundSources:
    """Audio for augmentation: a folder of noises (or None), simulated rooms, clips for babble."""

    noise_folder: str = ""
    rooms: int = 80
    rooms_seed: int = 0
    babble: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sound:
    """An example's audio or features before its front end runs, with the range and the phrase in log-mel frames.

    Attributes:
        given: the result of :meth:`model.front_end.FrontEnd.sound`.
        low, high: range of frames that are stored.
        start, end: range of the phrase, relative to ``low``; -1 for none.
    """

    given: np.ndarray
    low: int
    high: int
    start: int
    end: int


class ExampleBuilder:
    """Builds examples. Each process has one."""

    def __init__(self, sources: SoundSources, front_end: FrontEnd) -> None:
        self._sources = sources
        self._noises = load_noise_folder(Path(sources.noise_folder)) if sources.noise_folder else None
        # By condition and whether quiet, created on first use, because many runs never train.
        self._augmenters: dict[tuple[str, bool], Augmenter] = {}
        self._front_end, self._store = front_end, front_end.storer()
        self._compute: Compute | None = None  # not loaded if another process computes

    @cached_property
    def _unheard_rooms(self) -> list[np.ndarray]:
        return room_pool(self._sources.rooms // 3, self._sources.rooms_seed + 1)

    def _augmenter(self, spec: ExampleSpec) -> Augmenter:
        key = spec.condition, spec.quiet
        if key not in self._augmenters:
            config, sources = CONDITIONS[spec.condition], self._sources
            if spec.quiet:
                self._augmenters[key] = Augmenter(config.quiet())
            elif spec.condition == "train":
                rooms = room_pool(sources.rooms, sources.rooms_seed)
                voices = [read_audio(path) for path in sources.babble]
                self._augmenters[key] = Augmenter(config, self._noises, rooms, voices)
            else:
                self._augmenters[key] = Augmenter(config, self._noises, self._unheard_rooms)
        return self._augmenters[key]

    def build(self, spec: ExampleSpec) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the example's stored frames [frames, width] float16, and its row with phrase_start and phrase_end."""
        self._compute = self._compute or self._front_end.computer()
        sound = self.sound(spec)
        return self.stored(spec, sound, self._compute([sound.given])[0])

    def sound(self, spec: ExampleSpec) -> Sound:
        rng = np.random.default_rng(spec.seed)
        start = end = -1
        if spec.aligned:
            audio, low, high, start, end = self._aligned(spec, rng)
        else:
            audio = self._stream(spec, rng)
            low, high = 0, len(audio)
        return Sound(self._front_end.sound(audio, low, high), low, high, start, end)

    def stored(self, spec: ExampleSpec, sound: Sound, computed: Computed) -> tuple[np.ndarray, dict[str, Any]]:
        """Return an example's stored frames and row from the front end's output for its sound."""
        frames = self._store(computed, sound.low, sound.high)
        start, end = sound.start, sound.end
        if end >= 0:
            start, end = (self._front_end.stored.position(frame) for frame in (start, end))
        row = {**spec.columns, "condition": spec.condition, "phrase_start": start, "phrase_end": end}
        return frames.astype(np.float16), row

    @staticmethod
    def _voiced(audio: np.ndarray, spec: ExampleSpec, rng: np.random.Generator) -> np.ndarray:
        if spec.condition != "train" or rng.random() >= VOICE_FRACTION:
            return audio
        return change_voice(audio, rng.uniform(*VOICE_FACTOR))

    def _aligned(self, spec: ExampleSpec, rng: np.random.Generator) -> tuple[np.ndarray, int, int, int, int]:
        """Return audio, the first and last log-mel frame to store, and the phrase's position relative to the first."""
        audio = read_audio(spec.clips[0])
        if spec.bitrate:
            audio = codec.opus(limit_peak(audio), spec.bitrate)
        clip = self._voiced(audio if spec.place_s else _spoken(audio), spec, rng)
        before = _spoken(read_audio(spec.before)) if spec.before else None
        after = _spoken(read_audio(spec.after)) if spec.after else None
        audio, start, end = surround(clip, before, after, rng)
        if spec.place_s:
            start, end = (min(end, start + round(place * SAMPLE_RATE)) for place in spec.place_s)
        if spec.last_seconds:
            start = max(start, end - int(spec.last_seconds * SAMPLE_RATE))
        slack = SLACK_FRAMES * HOP
        if spec.condition == "train" and spec.columns.get("label"):
            slack += min(end - start, MAX_PREFIX)  # windows that end early in the phrase are negatives
        fastest = FASTEST if spec.condition == "train" else 1.0
        lead = int((spec.receptive_samples + slack) * fastest)
        tail = int((TAIL_S[spec.condition] + 0.2) * fastest * SAMPLE_RATE)
        shift = lead - end  # moves the end of the phrase to sample ``lead``
        audio = np.pad(audio[max(0, -shift) :], (max(0, shift), tail))[: lead + tail]
        start, end = start + shift, lead
        audio, places = self._augmenter(spec).apply_with_positions(audio, (max(0, start), end), rng)
        start_frame, end_frame = int(places[0]) // HOP, int(places[1]) // HOP
        need = (spec.receptive_samples - 400) // HOP + 1
        low = max(0, end_frame - need - slack // HOP)
        high = end_frame + round(TAIL_S[spec.condition] * 100)
        return audio, low, high, start_frame - low, end_frame - low

    def _stream(self, spec: ExampleSpec, rng: np.random.Generator) -> np.ndarray:
        audio = compose_stream(
            [self._voiced(read_audio(path), spec, rng) for path in spec.clips],
            rng,
            gap_s=(0.1, 0.8),
            lead_s=0.3 if spec.clips else 12.0,  # without clips, the example is noise
            tail_s=0.3,
            level_db=(-32.0, -20.0),
        )
        if not spec.clips:
            # The noise level is relative to this faint signal.
            audio = (rng.standard_normal(len(audio)) * 1e-3).astype(np.float32)
        shortest = int(spec.receptive_samples * FASTEST) + HOP * 8
        if len(audio) < shortest:
            audio = np.pad(audio, (shortest - len(audio), 0))
        return self._augmenter(spec)(limit_peak(audio), rng)


def _spoken(audio: np.ndarray) -> np.ndarray:
    trimmed = trim_silence(audio, margin_s=0.02)
    return trimmed if len(trimmed) else audio


def spoken_seconds(path: str) -> float:
    start, end = speech_bounds(read_audio(path))
    return (end - start) / SAMPLE_RATE


_builder: ExampleBuilder | None = None


def _start_worker(sources: SoundSources, front_end: FrontEnd) -> None:
    global _builder
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    _builder = ExampleBuilder(sources, front_end)


def _end_with_the_parent() -> None:
    """End this process when its parent is killed; otherwise it would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _each(method: str, *rows: Sequence[Any]) -> list[Any]:
    return [getattr(_builder, method)(*row) for row in zip(*rows)]


def build_examples(
    specs: Sequence[ExampleSpec], sources: SoundSources, front_end: FrontEnd
) -> Generator[tuple[np.ndarray, dict[str, Any]], None, None]:
    """Build examples in order, on all cores. Each depends only on its seed, not on the number of processes.

    The caller must close the generator, which ends the processes if a run is stopped.
    """
    count = usable_cores()
    where = providers() if front_end.network else (CPU,)
    compute = front_end.computer(where) if where != (CPU,) else None  # this process uses the GPU
    if count <= 1 or len(specs) < 64:
        builder = ExampleBuilder(sources, front_end)
        yield from _built(specs, compute, lambda method, *rows: map(getattr(builder, method), *rows))
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker, initargs=(sources, front_end))
    try:
        with _inherited_by_processes():
            for _ in range(count):
                pool.submit(int)  # each task starts a process if none is idle

        def in_pool(method: str, *rows: Sequence[Any]) -> Iterator[Any]:
            parts = zip(*(_blocks(row, 16) for row in rows))
            for done in [pool.submit(_each, method, *part) for part in parts]:
                yield from done.result()

        yield from _built(specs, compute, in_pool)
    finally:
        # The pool's own thread cancels the remaining tasks. If they were cancelled here, as `map` does, that thread
        # would fail if the processes have ended too: SIGTERM often reaches all of them.
        pool.shutdown(cancel_futures=True)


def _built(
    specs: Sequence[ExampleSpec], compute: Compute | None, each: Callable[..., Iterable[Any]]
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Yield the examples of specs.

    ``each`` applies a builder's method to every row, and ``compute`` runs on the GPU.
    """
    if compute is None:
        for block in _blocks(specs, 512):
            yield from each("build", block)
        return
    for block in _blocks(specs, GPU_BLOCK):
        sounds = list(each("sound", block))
        yield from each("stored", block, sounds, compute([sound.given for sound in sounds]))


@contextmanager
def _inherited_by_processes() -> Iterator[None]:
    """Make processes that start in the block ignore Ctrl-C and use one thread for linear algebra.

    Ctrl-C reaches every process of the terminal, and this one handles it. There is a process for each core; with more
    threads, which wait for each other, the log-mel of short clips took three times as long.
    """
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    resource_tracker.ensure_running()  # otherwise it would start in the block, which allows Ctrl-C again
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _blocks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
