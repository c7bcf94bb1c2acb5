"""Audio that somebody else made, as one opens it who need not trust it.

No decoder works in this process: the limited ffmpeg does, and what it says goes nowhere. No header is believed either:
what counts is what comes out of the decoder. Without ffmpeg libsndfile reads what it reads quietly, which MP3 is not.
Hark's own files are read by :mod:`core.audio_file`, which is faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import soxr

from core.audio_file import (
    FLAC_FRAMES_A_BYTE,
    HIGHEST_RATE,
    LOWEST_RATE,
    READ_BLOCK_S,
    SAMPLE_RATE,
    WAV_PLACEHOLDER_BYTES,
    broken_off,
    in_range,
    read_audio_blocks,
)
from core.errors import HarkError
from core.ffmpeg import NotDecoded, decoded, have_ffmpeg

QUIET_FORMATS = re.compile(rb"RIFF|RIFX|fLaC|OggS|FORM|\.snd|caff|riff|NIST")


def read_foreign_audio(path: Path | str, max_seconds: float | None = None, start_s: float = 0.0) -> np.ndarray:
    """A file, or a part of it, as mono float32 [samples] at 16 kHz; nothing where the part begins after the end.

    Errors as in :func:`foreign_audio_blocks`; what breaks off after ``max_seconds`` is none.
    """
    most = None if max_seconds is None else int(max_seconds * SAMPLE_RATE)
    kept: list[np.ndarray] = []
    length = 0
    for block in foreign_audio_blocks(path, start_s=start_s, max_seconds=max_seconds):
        kept.append(block)
        length += len(block)
        if most is not None and length >= most:
            break
    audio = np.concatenate(kept) if kept else np.zeros(0, np.float32)
    return audio if most is None else audio[:most]


def foreign_audio_blocks(
    path: Path | str, start_s: float = 0.0, max_seconds: float | None = None
) -> Iterator[np.ndarray]:
    """A file as consecutive blocks of mono float32 at 16 kHz; memory stays constant.

    Raises:
        HarkError: no such file, not audio, no samples, a sample rate that makes no sense; or, after the blocks that
            could be read, broken off: a WAV, FLAC or AIFF that was read to its end holds less than its header says.
    """
    path = Path(path)
    _check_file(path)
    if not have_ffmpeg():
        yield from _quietly(path, start_s)
        return
    produced, decoded_s = 0, 0.0
    try:
        for block, taken, rate in _mono(decoded(path, start_s, max_seconds)):
            decoded_s += taken / rate
            for part in np.array_split(block, max(1, round(len(block) / (READ_BLOCK_S * SAMPLE_RATE)))):
                if len(part):
                    produced += len(part)
                    yield part
    except NotDecoded as error:
        if produced:
            raise broken_off(path, produced, f"ffmpeg: {error}.") from error
        raise _not_audio(path, f"ffmpeg: {error}.") from error
    if not produced:
        if start_s:
            return
        raise HarkError(
            f"{path} holds no audio.", "Its header is in order but it has no samples.", "Give another file."
        )
    if start_s or (max_seconds is not None and decoded_s > max_seconds - 0.01):
        return
    missing_s = missing_seconds(path, decoded_s)
    if missing_s > 0.01:
        raise broken_off(path, produced, f"Its header promises {missing_s:.1f} s more.")


def seconds_of(path: Path) -> float:
    """How long a file's sound is, measured by decoding it. Raises HarkError where it is no sound."""
    _check_file(path)
    if not have_ffmpeg():
        return sum(len(block) for block in _quietly(path, 0.0)) / SAMPLE_RATE
    seconds = 0.0
    try:
        for rate, block in decoded(path):
            seconds += len(block) / rate
    except NotDecoded as error:
        if not seconds:
            raise _not_audio(path, f"ffmpeg: {error}.") from error
    return seconds


def missing_seconds(path: Path, decoded_s: float) -> float:
    """How much more the header of a WAV, AIFF or FLAC promises than was decoded (0 where it promises nothing)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        if start.startswith(b"fLaC"):
            info = start[8:] + file.read(22)
            rate = int.from_bytes(info[10:13], "big") >> 4
            frames = int.from_bytes(info[13:18], "big") & ((1 << 36) - 1)
            known = rate and 0 < frames <= size * FLAC_FRAMES_A_BYTE
            return max(0.0, frames / rate - decoded_s) if known else 0.0
        if not (start.startswith((b"RIFF", b"FORM")) and start[8:] in (b"WAVE", b"AIFF", b"AIFC")):
            return 0.0
        order: Literal["little", "big"] = "little" if start.startswith(b"RIFF") else "big"
        while len(head := file.read(8)) == 8:
            promised = int.from_bytes(head[4:], order)
            there = size - file.tell()
            if head[:4] in (b"data", b"SSND"):
                cut = there < promised < WAV_PLACEHOLDER_BYTES
                return (promised - there) / max(1, there) * decoded_s if cut else 0.0
            file.seek(promised + promised % 2, 1)
    return 0.0


def _mono(parts: Iterator[tuple[int, np.ndarray]]) -> Iterator[tuple[np.ndarray, int, int]]:
    """Decoded blocks as mono at 16 kHz, how many frames each was before, and at which rate."""
    first = next(parts, None)
    if first is None:
        return
    rate = first[0]
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise NotDecoded(f"its header gives a sample rate of {rate} Hz")
    resampler = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    for _, block in chain([first], parts):
        mono = in_range(block.mean(axis=1, dtype=np.float32))  # before resampling, which would spread a NaN
        yield mono if resampler is None else in_range(resampler.resample_chunk(mono)), len(block), rate
    if resampler is not None:
        yield in_range(resampler.resample_chunk(np.zeros(0, np.float32), last=True)), 0, rate


def _quietly(path: Path, start_s: float) -> Iterator[np.ndarray]:
    with path.open("rb") as file:
        if not QUIET_FORMATS.match(file.read(4)):
            raise _not_audio(path, "Only WAV, FLAC, Ogg, AIFF and the like are read without ffmpeg.")
    before = round(start_s * SAMPLE_RATE)
    for block in read_audio_blocks(path):
        if before < len(block):
            yield block[before:]
        before = max(0, before - len(block))


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise HarkError(f"There is no audio file {path}.", "The path names no file.", "Check the path.")
    if path.stat().st_size == 0:
        raise HarkError(f"{path} holds no audio.", "The file is empty (0 bytes).", "Give another file.")


def _not_audio(path: Path, why: str) -> HarkError:
    install = "." if have_ffmpeg() else ", or install ffmpeg (apt-get install ffmpeg), which reads more formats."
    return HarkError(f"{path} is not audio that Hark can read.", why, f"Convert it to WAV, FLAC or Ogg{install}")
