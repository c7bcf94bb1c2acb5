"""Reading and writing audio files. Everything inside Hark is mono float32 at 16 kHz in [-1, 1]."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from core.errors import HarkError
from core.ffmpeg import input_of, last_words, limited

SAMPLE_RATE = 16_000  # Hz, of all audio inside Hark
SILENCE_PEAK = 1e-3  # -60 dB of full scale: nothing louder than that is silence
READ_BLOCK_S = 30.0  # seconds read at a time, so that memory does not grow with a file's length
LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # Hz; a header outside of this is nonsense (or made to exhaust memory)
MAX_BLOCK_VALUES = 16_000_000  # samples times channels read at a time, whatever the header claims

# A WAV that was written into a pipe cannot know its length and carries a placeholder from about here upward.
WAV_PLACEHOLDER_BYTES = 0x7FFF_0000
# Beyond these a FLAC's number of frames is none: it was written into a pipe, or lies. Digital silence has half as many.
FLAC_FRAMES_A_BYTE = 600


def read_audio(path: Path | str, max_seconds: float | None = None, start_s: float = 0.0) -> np.ndarray:
    """A file, or a part of it, as mono float32 [samples] at 16 kHz; nothing where the part begins after the end.

    Errors as in :func:`read_audio_blocks`; what breaks off after ``max_seconds`` is none.
    """
    blocks: list[np.ndarray] = []
    length = 0
    block_s = READ_BLOCK_S if max_seconds is None else min(READ_BLOCK_S, max_seconds + 0.1)
    for block in read_audio_blocks(path, block_s, start_s):
        blocks.append(block)
        length += len(block)
        if max_seconds is not None and length >= max_seconds * SAMPLE_RATE:
            break
    audio = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    return audio if max_seconds is None else audio[: int(max_seconds * SAMPLE_RATE)]


def seconds_of_audio(path: Path) -> float:
    """How long a file's sound is: what its header says, and where that cannot be, what comes out of decoding it.

    Raises:
        HarkError: it is no sound.
    """
    try:
        info = soundfile.info(str(path))
        if 0 < info.frames <= path.stat().st_size * FLAC_FRAMES_A_BYTE:
            return float(info.frames / info.samplerate)
    except soundfile.LibsndfileError:
        pass
    return sum(len(block) for block in read_audio_blocks(path)) / SAMPLE_RATE


def read_audio_blocks(path: Path | str, block_s: float = READ_BLOCK_S, start_s: float = 0.0) -> Iterator[np.ndarray]:
    """A file from ``start_s`` on as consecutive blocks of mono float32 at 16 kHz, resampled as one stream; memory stays
    constant.

    Formats: what libsndfile reads (WAV, FLAC, Ogg Vorbis and Opus, MP3, AIFF ...); others (M4A, WebM ...) through the
    ffmpeg program where it is installed.

    Raises:
        HarkError: no such file, not audio, no samples, a sample rate that makes no sense; or, after the blocks that
            could be read, broken off: decoding failed, or a WAV, FLAC or AIFF holds less than its header says. (MP3
            and Ogg do not say their length reliably; one that ends early is read as far as it goes.)
    """
    path = Path(path)
    if not path.is_file():
        raise HarkError(f"There is no audio file {path}.", "The path names no file.", "Check the path.")
    if path.stat().st_size == 0:
        raise HarkError(f"{path} holds no audio.", "The file is empty (0 bytes).", "Give another file.")
    try:
        source = soundfile.SoundFile(str(path))
    except soundfile.LibsndfileError as error:
        yield from _blocks_from_ffmpeg(path, block_s, str(error), start_s)
        return
    if source.format == "FLAC" and source.frames > path.stat().st_size * FLAC_FRAMES_A_BYTE:
        source.close()  # libsndfile cannot read one whose length is unknown
        yield from _blocks_from_ffmpeg(path, block_s, "its header does not give its length", start_s)
        return
    with source:
        if not LOWEST_RATE <= source.samplerate <= HIGHEST_RATE:
            raise HarkError(
                f"{path} is not audio that Hark can read.",
                f"Its header gives a sample rate of {source.samplerate} Hz.",
                "The file is damaged: convert it again from the original.",
            )
        source.seek(min(round(start_s * source.samplerate), source.frames))
        resampler = (
            None
            if source.samplerate == SAMPLE_RATE
            else soxr.ResampleStream(source.samplerate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        )
        frames_read = produced = 0
        frames = max(1, min(int(block_s * source.samplerate), MAX_BLOCK_VALUES // source.channels))
        while True:
            try:
                block = source.read(frames, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise broken_off(path, produced, f"Decoding failed: {str(error).rstrip('.')}.") from error
            last = len(block) < frames
            frames_read += len(block)
            mono = in_range(block.mean(axis=1, dtype=np.float32))  # before resampling, which would spread a NaN
            if resampler is not None:
                mono = in_range(np.asarray(resampler.resample_chunk(mono, last=last)).reshape(-1))
            if len(mono):
                produced += len(mono)
                yield mono
            if last:
                break
        missing = 0 if start_s else missing_frames(source, frames_read)
        if produced and missing:
            raise broken_off(path, produced, f"Its header promises {missing / source.samplerate:.1f} s more.")
    if produced == 0 and not start_s:
        raise HarkError(
            f"{path} holds no audio.", "Its header is in order but it has no samples.", "Give another file."
        )


def in_range(audio: np.ndarray) -> np.ndarray:
    """Float32, finite, within [-1, 1]: float files may hold anything, and resampling overshoots at steep edges."""
    finite = np.nan_to_num(np.ascontiguousarray(audio, dtype=np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
    return np.clip(finite, -1.0, 1.0, out=finite)


def broken_off(path: Path, produced: int, why: str) -> HarkError:
    """What to say of a file that ends after so many samples at 16 kHz, and should not."""
    return HarkError(
        f"{path} breaks off after {produced / SAMPLE_RATE:.1f} s.",
        why,
        "The file is damaged or cut off: convert it again from the original.",
    )


def missing_frames(source: soundfile.SoundFile, frames_read: int) -> int:
    """How many frames the header of a WAV, FLAC or AIFF promises beyond those that were read (0 where unknown)."""
    if source.format == "FLAC":
        known = source.frames <= Path(source.name).stat().st_size * FLAC_FRAMES_A_BYTE
        return max(0, source.frames - frames_read) if known else 0
    if source.format in ("WAV", "WAVEX", "AIFF"):
        # libsndfile corrects the length quietly and leaves both numbers in its log.
        sizes = re.search(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)", source.extra_info, re.MULTILINE)
        if sizes and int(sizes[2]) < int(sizes[1]) < WAV_PLACEHOLDER_BYTES:
            bytes_a_frame = max(1.0, int(sizes[2]) / max(1, source.frames))
            return int((int(sizes[1]) - int(sizes[2])) / bytes_a_frame)
    return 0


def _blocks_from_ffmpeg(path: Path, block_s: float, libsndfile_said: str, start_s: float) -> Iterator[np.ndarray]:
    not_audio = HarkError(
        f"{path} is not audio that Hark can read.",
        f"libsndfile: {libsndfile_said.rstrip('.')}.",
        "Convert it to WAV, FLAC, Ogg or MP3"
        + (
            "." if shutil.which("ffmpeg") else ", or install ffmpeg (apt-get install ffmpeg), which reads more formats."
        ),
    )
    if shutil.which("ffmpeg") is None:
        raise not_audio
    command = ["ffmpeg", "-nostdin", "-v", "error", "-ss", f"{start_s:.6f}", *input_of(path), "-vn"]
    command += ["-f", "f32le", "-ac", "1", "-ar", str(SAMPLE_RATE), "-"]
    produced = 0
    with limited(command, text=False) as (process, said):
        assert process.stdout is not None
        while raw := process.stdout.read(int(block_s * SAMPLE_RATE) * 4):
            samples = np.frombuffer(raw[: len(raw) // 4 * 4], dtype="<f4")
            if len(samples):
                produced += len(samples)
                yield in_range(samples)
        if process.wait() != 0 and produced:
            raise broken_off(path, produced, f"ffmpeg: {last_words(said)}.")
    if produced == 0 and not start_s:
        raise not_audio


def write_audio(path: Path, audio: np.ndarray, sample_rate: int = SAMPLE_RATE) -> None:
    """Write mono float audio [samples] in [-1, 1] as 16-bit PCM; the suffix gives the format (.wav, .flac, .aiff).

    Raises:
        OSError: from the file system (full disk, read-only), with its errno (:func:`core.data_folder.storage_error`).
        ValueError: a suffix that names no format with 16-bit PCM.
    """
    # Encoded in memory first: libsndfile reports a full disk as "System error" or "decoder problem", without an errno.
    encoded = io.BytesIO()
    format_name = path.suffix.removeprefix(".").upper()
    if not soundfile.check_format(format_name, "PCM_16"):
        raise ValueError(f"{path.suffix or 'no suffix'!r} names no format that holds 16-bit PCM")
    soundfile.write(encoded, in_range(audio), sample_rate, subtype="PCM_16", format=format_name)
    path.write_bytes(encoded.getbuffer())
