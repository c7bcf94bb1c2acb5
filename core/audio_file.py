"""Reading and writing audio files. Everything inside Hark is mono float32 at 16 kHz in [-1, 1]."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr

from core.confinement.decoding import NotDecoded, decoded, have_ffmpeg
from core.errors import HarkError
from core.worded import worded

SAMPLE_RATE = 16_000  # Hz; the rate of all audio inside Hark
SILENCE_PEAK = 1e-3  # -60 dBFS; audio whose peak is lower counts as silence
READ_BLOCK_S = 30.0  # seconds per block, so that memory does not grow with a file's length
MIN_RATE, MAX_RATE = 1_000, 768_000  # Hz; a header with any other rate is corrupt, or malicious
MAX_BLOCK_VALUES = 8_000_000  # samples times channels per block, whatever the header claims

# A program that writes a WAV to a pipe does not know its length, so its header states at least about this size.
WAV_PLACEHOLDER_BYTES = 0x7FFF_0000
# A FLAC that claims more frames per byte was written to a pipe or has a false header: even digital silence has only
# half as many.
FLAC_FRAMES_A_BYTE = 600


def read_audio(path: Path | str, max_seconds: float | None = None, start_s: float = 0.0) -> np.ndarray:
    """Read a file, or a part of it, as mono float32 [samples] at 16 kHz; a part that begins after the end is empty.

    Raises the errors of :func:`read_audio_blocks`, but not for damage after ``max_seconds``.
    """
    block_s = READ_BLOCK_S if max_seconds is None else min(READ_BLOCK_S, max_seconds + 0.1)
    return joined(read_audio_blocks(path, block_s, start_s), max_seconds)


def joined(blocks: Iterable[np.ndarray], max_seconds: float | None) -> np.ndarray:
    """Join the blocks of one recording into a vector [samples]; read only as many as ``max_seconds`` needs."""
    max_samples = None if max_seconds is None else int(max_seconds * SAMPLE_RATE)
    parts, length = [np.zeros(0, np.float32)], 0
    for block in blocks:
        parts.append(block)
        length += len(block)
        if max_samples is not None and length >= max_samples:
            break
    return np.concatenate(parts)[:max_samples]


def seconds_of_audio(path: Path) -> float:
    """Return a file's duration [s], from its header if that is plausible, otherwise by decoding.

    Raises HarkError if it is not audio.
    """
    try:
        info = soundfile.info(str(path))
        if 0 < info.frames <= path.stat().st_size * FLAC_FRAMES_A_BYTE:
            return float(info.frames / info.samplerate)
    except soundfile.LibsndfileError:
        pass
    return sum(len(block) for block in read_audio_blocks(path)) / SAMPLE_RATE


def read_audio_blocks(path: Path | str, block_s: float = READ_BLOCK_S, start_s: float = 0.0) -> Iterator[np.ndarray]:
    """Yield a file from ``start_s`` on as consecutive blocks of mono float32 at 16 kHz, in constant memory.

    All blocks are resampled as one stream. libsndfile reads WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF and more. Other
    formats (M4A, WebM ...) are decoded by the ffmpeg program if it is installed. Raises HarkError if the file does not
    exist, is not audio, has no samples or an implausible sample rate. It also raises HarkError, after the readable
    blocks, if the file is truncated: decoding failed, or a WAV, FLAC or AIFF is shorter than its header states. (MP3
    and Ogg do not state their length reliably; truncated ones are read to their end.)
    """
    path = Path(path)
    check_file(path)
    yield from mono_blocks(path, _by_libsndfile(path, block_s, start_s), start_s)


def whole_samples(content: bytes, size: int = 2) -> tuple[bytes, bytes]:
    """Split samples or frames of ``size`` bytes from a partial last one, which begins the next part of a stream."""
    end = len(content) // size * size
    return content[:end], content[end:]


def check_file(path: Path) -> None:
    """Raise HarkError if the file does not exist or is empty."""
    if not path.is_file():
        raise HarkError(
            worded("There is no audio file %(path)s.", path=str(path)),
            worded("The path does not exist, or is not a regular file."),
            worded("Give the path of an audio file."),
        )
    if path.stat().st_size == 0:
        raise HarkError(
            worded("%(path)s contains no audio.", path=str(path)),
            worded("The file is empty (0 bytes)."),
            worded("Choose another file."),
        )


def _by_libsndfile(path: Path, block_s: float, start_s: float) -> Iterator[tuple[int, np.ndarray]]:
    """Decode with libsndfile, or with :func:`core.confinement.decoding.decoded` if libsndfile cannot read the file."""
    try:
        source = soundfile.SoundFile(str(path))
        if source.format == "FLAC" and source.frames > path.stat().st_size * FLAC_FRAMES_A_BYTE:
            source.close()
            raise NotDecoded(worded("Its header does not give its length"))
    except (soundfile.LibsndfileError, NotDecoded) as error:
        if not have_ffmpeg():
            raise NotDecoded(f"libsndfile: {str(error).rstrip('.')}") from error
        yield from decoded(path, start_s)
        return
    with source:
        frames = max(1, min(int(block_s * source.samplerate), MAX_BLOCK_VALUES // source.channels))
        done = 0
        try:
            source.seek(min(round(start_s * source.samplerate), source.frames))
            while len(block := source.read(frames, dtype="float32", always_2d=True)):
                done += len(block)
                yield source.samplerate, block
        except soundfile.LibsndfileError as error:
            raise _broken_off(
                path, done / source.samplerate, worded("Decoding failed: %(error)s.", error=str(error).rstrip("."))
            ) from error


def mono_blocks(
    path: Path, parts: Iterator[tuple[int, np.ndarray]], start_s: float, max_seconds: float | None = None
) -> Iterator[np.ndarray]:
    """Yield the decoded parts of a file (sample rate, float32 [frames, channels]) as blocks of mono at 16 kHz.

    The length is checked against the header, unless the parts begin after the start or were cut at ``max_seconds``.
    Raises the errors of :func:`read_audio_blocks`.
    """
    decoded_s = 0.0
    try:
        for block, seconds in resampled(parts, 1):
            decoded_s = seconds
            for piece in np.array_split(block[:, 0], max(1, round(len(block) / (READ_BLOCK_S * SAMPLE_RATE)))):
                if len(piece):
                    yield piece
    except NotDecoded as error:
        if decoded_s:
            raise _broken_off(path, decoded_s, error.why) from error
        raise not_audio(path, error.why) from error
    if not decoded_s and not start_s:
        raise HarkError(
            worded("%(path)s contains no audio.", path=str(path)),
            worded("Its header is valid, but it has no samples."),
            worded("Choose another file."),
        )
    if start_s or (max_seconds is not None and decoded_s > max_seconds - 0.01):
        return
    missing_s = missing_seconds(path, decoded_s)
    if missing_s > 0.01:
        raise _broken_off(
            path, decoded_s, worded("Its header promises %(missing_s)s s more.", missing_s=round(missing_s, 1))
        )


def resampled(parts: Iterator[tuple[int, np.ndarray]], max_channels: int) -> Iterator[tuple[np.ndarray, float]]:
    """Yield decoded parts at 16 kHz [frames, channels], each with the seconds that were decoded up to its end.

    Audio with more than ``max_channels`` channels is mixed to mono. Raises NotDecoded if the sample rate is
    implausible.
    """
    first = next(parts, None)
    if first is None:
        return
    rate, channels, parts = first[0], first[1].shape[1], chain([first], parts)
    del first  # otherwise it would stay in memory until the whole file has been read
    if not MIN_RATE <= rate <= MAX_RATE:
        raise NotDecoded(worded("Its header gives a sample rate of %(rate)s Hz", rate=rate))
    mixed = channels > max_channels
    channels = 1 if mixed else channels
    resampler = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, channels, dtype="float32")
    frames = 0
    for _, block in parts:
        frames += len(block)
        # Done before resampling, which would spread a NaN.
        block = in_range(block.mean(axis=1, dtype=np.float32, keepdims=True) if mixed else block)
        yield block if resampler is None else in_range(resampler.resample_chunk(block)), frames / rate
    if resampler is not None:
        yield in_range(resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True)), frames / rate


def missing_seconds(path: Path, decoded_s: float) -> float:
    """Return how many seconds a WAV, AIFF or FLAC is shorter than its header states; 0 if the header states nothing."""
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
            present = size - file.tell()
            if head[:4] in (b"data", b"SSND"):
                cut = present < promised < WAV_PLACEHOLDER_BYTES
                return (promised - present) / max(1, present) * decoded_s if cut else 0.0
            file.seek(promised + promised % 2, 1)
    return 0.0


def in_range(audio: np.ndarray) -> np.ndarray:
    """Make float32 finite and within [-1, 1]: float files may hold any value, and resampling overshoots at edges."""
    finite = np.nan_to_num(np.ascontiguousarray(audio, dtype=np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
    return np.clip(finite, -1.0, 1.0, out=finite)


def _broken_off(path: Path, after_s: float, why: str) -> HarkError:
    return HarkError(
        worded("%(path)s ends prematurely after %(after_s)s s.", path=str(path), after_s=round(after_s, 1)),
        why,
        worded("The file is damaged or cut off: convert it again from the original."),
    )


def not_audio(path: Path, why: str) -> HarkError:
    """Return the error for a file that no available decoder can read."""
    to_do = (
        worded("Convert it to WAV, FLAC or Ogg.")
        if have_ffmpeg()
        else worded(
            "Convert it to WAV, FLAC or Ogg, or install ffmpeg (apt-get install ffmpeg), which reads more formats."
        )
    )
    return HarkError(worded("%(path)s is not audio that Hark can read.", path=str(path)), why, to_do)


def write_audio(path: Path, audio: np.ndarray, sample_rate: int = SAMPLE_RATE) -> None:
    """Write mono float audio [samples] in [-1, 1] as 16-bit PCM, in the format of the suffix (.wav, .flac, .aiff).

    Raises OSError with an errno if the file system fails (:func:`core.data_folder.storage_error`), and ValueError if
    the suffix does not name a format with 16-bit PCM.
    """
    # Encoded in memory first: libsndfile reports a full disk as "System error" or "decoder problem", without an errno.
    encoded = io.BytesIO()
    format_name = path.suffix.removeprefix(".").upper()
    if not soundfile.check_format(format_name, "PCM_16"):
        raise ValueError(f"{path.suffix or 'no suffix'!r} is not the suffix of a format for 16-bit PCM")
    soundfile.write(encoded, in_range(audio), sample_rate, subtype="PCM_16", format=format_name)
    path.write_bytes(encoded.getbuffer())
