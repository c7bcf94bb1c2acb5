"""Streams for measuring detectors: clips joined with pauses.

Clips are decoded once, stored as 16-bit samples under ``<data>/cache/wakeword/<digest>/`` (115 MB per hour), and read
through a memory map, block by block. Noise is added on reading: storing a quiet and a noisy stream would take twice
the space.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audio_augmentation.noise import add_noise, colored_noise
from core.audio_file import SAMPLE_RATE, read_audio
from core.data_folder import atomic_path, storing
from core.errors import HarkError

VERSION = 2  # part of the digest; increase it with each change of code that affects a stream
SNR_DB = 10.0  # dB by which speech exceeds kitchen noise
CLEAN_FLOOR_DB = 50.0  # level of a microphone's self-noise below the speech
GAP_S = 1.5  # seconds before, between and after clips
SPOKEN_GAP_S = 4.0  # the same for clips of a phrase; longer than the refractory time after a detection
BLOCK_S = 60.0  # seconds; a block ends with the clip that reaches this length
CONDITIONS = ("clean", "kitchen")
FULL_SCALE = 32767.0


class StreamClip(NamedTuple):
    """A clip [samples] for a stream, and its metadata (JSON values)."""

    audio: np.ndarray
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Stream:
    """A stream of joined clips.

    Attributes:
        folder: folder of its files; ``speech.s16`` holds the samples.
        digest: digest of everything that it was made from.
        spans: [first, end) of each clip [samples].
        about: metadata of each clip.
        block_ends: end of each block [samples]; a block begins where the previous one ends.
    """

    folder: Path
    digest: str
    spans: tuple[tuple[int, int], ...]
    about: tuple[Mapping[str, Any], ...]
    block_ends: tuple[int, ...]

    def speech(self, first: int, end: int) -> np.ndarray:
        """Return samples [first, end), int16, as a memory map of only these, so that read parts are released."""
        return np.memmap(self.folder / "speech.s16", dtype="<i2", mode="r", offset=2 * first, shape=(end - first,))

    @property
    def hours(self) -> float:
        """Duration in hours, pauses included."""
        return self.block_ends[-1] / SAMPLE_RATE / 3600

    @property
    def mebibytes(self) -> float:
        return self.block_ends[-1] * 2 / 2**20

    def blocks(self, condition: str, kitchen: np.ndarray, seed: int) -> Iterator[np.ndarray]:
        """Yield the stream as consecutive blocks of about a minute, float32, in one of :data:`CONDITIONS`.

        "clean" adds pink noise 50 dB below each clip, and "kitchen" a part of ``kitchen`` [samples] 10 dB below each
        clip, because levels of speech differ between clips.
        """
        if condition not in CONDITIONS:
            raise ValueError(f"{condition!r} is not one of {CONDITIONS}")
        rng = np.random.default_rng(seed)
        borders = [(end + first) // 2 for (_, end), (first, _) in pairwise(self.spans)]
        start = 0
        for end in self.block_ends:
            speech = self.speech(start, end).astype(np.float32) / np.float32(FULL_SCALE)
            if condition == "kitchen":
                first = int(rng.integers(0, len(kitchen)))
                repeats = -(-(first + len(speech)) // len(kitchen))
                noise, snr_db = np.tile(kitchen, repeats)[first : first + len(speech)], SNR_DB
            else:
                noise, snr_db = colored_noise(len(speech), 1.0, rng), CLEAN_FLOOR_DB
            edges = [0, *(border - start for border in borders if start < border < end), end - start]
            yield np.concatenate([add_noise(speech[a:b], noise[a:b], snr_db) for a, b in pairwise(edges)])
            start = end


def stream_of_files(files: Sequence[Path], folder: Path, cache: Path, gap_s: float = GAP_S) -> Stream:
    """Return the stream of recordings ``files`` (under ``folder``) in their order; decode it unless it is cached.

    Raises:
        HarkError: there are no files, a file is unreadable, or the cache is not writable.
    """
    listed = []
    for path in files:
        status = path.stat()
        listed.append([path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns])

    def clips() -> Iterator[StreamClip]:
        for path, (name, *_) in zip(files, listed):
            yield StreamClip(read_audio(path), {"file": name})

    return stream_of(clips, {"files": listed}, cache, gap_s)


def stream_of(
    clips: Callable[[], Iterable[StreamClip]], made_from: Mapping[str, Any], cache: Path, gap_s: float = GAP_S
) -> Stream:
    """Return the stream of the clips from ``clips()``, which is called only if the cache has none of ``made_from``.

    Args:
        clips: returns the clips in order.
        made_from: JSON values that distinguish this stream from all others.
        cache: folder of all streams.
        gap_s: seconds of silence before, between and after clips.

    Raises:
        HarkError: there are no clips, or the cache is not writable.
    """
    identity = {"version": VERSION, "gap_s": gap_s, "block_s": BLOCK_S, **made_from}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:20]
    folder = cache / digest
    stream = _open(folder, digest)
    if stream is None:
        with storing("decoding the streams of the benchmark"):
            stream = _write(clips(), folder, digest, gap_s)
    return stream


def _open(folder: Path, digest: str) -> Stream | None:
    """Return the stream in a folder, or None if it is missing or incomplete."""
    try:
        description = json.loads((folder / "stream.json").read_text())
        ends = tuple(int(end) for end in description["block_ends"])
        if not ends or (folder / "speech.s16").stat().st_size != 2 * ends[-1]:
            return None
        spans = tuple((int(first), int(end)) for first, end in description["spans"])
        return Stream(folder, digest, spans, tuple(description["about"]), ends)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(clips: Iterable[StreamClip], folder: Path, digest: str, gap_s: float) -> Stream:
    gap = np.zeros(int(gap_s * SAMPLE_RATE), "<i2")
    spans: list[tuple[int, int]] = []
    about: list[Mapping[str, Any]] = []
    ends: list[int] = []
    length = block_start = 0
    # The speech is written before its description, which marks it as complete.
    with atomic_path(folder / "speech.s16") as temporary:
        with temporary.open("wb") as file:
            for clip in clips:
                samples = np.round(np.clip(clip.audio, -1.0, 1.0) * FULL_SCALE).astype("<i2")
                file.write(gap.tobytes())
                file.write(samples.tobytes())
                spans.append((length + len(gap), length + len(gap) + len(samples)))
                about.append(clip.about)
                length = spans[-1][1]
                if length - block_start >= BLOCK_S * SAMPLE_RATE:
                    file.write(gap.tobytes())
                    length += len(gap)
                    ends.append(length)
                    block_start = length
            if length > block_start:
                file.write(gap.tobytes())
                ends.append(length + len(gap))
        if not spans:
            raise HarkError(
                "The benchmark has no audio.",
                "No clip was found or made for a stream.",
                "Set HARK_SHARED to the real audio.",
            )
    with atomic_path(folder / "stream.json") as temporary:
        temporary.write_text(json.dumps({"spans": spans, "about": about, "block_ends": ends}))
    return Stream(folder, digest, tuple(spans), tuple(about), tuple(ends))
