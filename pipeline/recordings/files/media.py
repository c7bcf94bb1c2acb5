"""Uploaded recordings: checks, conversion to 16 kHz FLAC, joining, and waveforms.

An upload is untrusted until it has been decoded. Headers are not trusted: only the output of the decoder counts
(``core.confinement.decoding``), which is stopped at a limit.
"""

from __future__ import annotations

import errno
import re
import signal
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from core.audio_file import SAMPLE_RATE, missing_seconds, resampled
from core.confinement.call import invalid_answer
from core.confinement.decoding import NotDecoded, by_libsndfile, decoded, have_ffmpeg, input_of, last_words, run_decoder
from core.confinement.untrusted_json import untrusted_json
from core.data_folder import atomic_path, storing
from core.errors import HarkError
from core.events import Reporter, silent_reporter
from core.settings.rules import setting
from core.worded import number, worded

MIN_RATE, MAX_RATE = 8_000, 192_000  # Hz; speech with less than a telephone's rate is unintelligible
MAX_CHANNELS = 64  # maximum that ffmpeg can mix
MERGE_PAUSE_S = 0.5  # seconds of silence between joined files, so long that no segment spans two files
PROBE_TIMEOUT_S = 300.0  # seconds; it usually takes a fraction of a second, but longer on a busy machine or a slow disk
DECODE_TIMEOUT_S = 900.0  # seconds; half an hour of audio takes about 10 s, a large video on a slow disk minutes
BLOCK_FRAMES = 1 << 16
UNKNOWN_FRAMES = 1 << 48  # minimum number that means unknown: a FLAC without samples does not state its number
UPLOAD = worded("Upload a recording: WAV, FLAC, MP3, Ogg, M4A, WebM, MP4 ...")
NO_SAMPLES = worded("Decoding it gave no samples.")

# ffmpeg knows the duration of these containers: a file that decodes to less is truncated.
_KNOWN_LENGTH = frozenset({"flac", "caf", "mov", "mp4", "m4a"})
# The headers of these containers, as ffmpeg reads them, state the true length of the content.
_TRUE_LENGTH = _KNOWN_LENGTH | {"wav", "aiff"}
_OTHER_KINDS = (
    (b"%PDF", worded("a PDF document")),
    (b"PK\x03\x04", worded("a ZIP archive or an office document")),
    (b"\x1f\x8b", worded("a gzip archive")),
    (b"#EXTM3U", worded("a playlist")),
    (b"ffconcat", worded("a playlist")),
    (b"[playlist]", worded("a playlist")),
    (b"<", worded("a text with markup")),
)


@dataclass(frozen=True)
class MediaLimits:
    """Limits of an upload."""

    max_bytes: int = 1_000_000_000
    max_seconds: float = 4 * 3600.0  # diarizing this much takes about 2 GB of memory
    owner: bool = True  # whether the user is the server's owner: errors then name the variable that raises the limit
    left_s: float | None = None  # seconds left in the month's quota; None for unlimited

    @classmethod
    def from_environment(cls, *, owner: bool = True) -> MediaLimits:
        """Read HARK_UPLOAD_MAX_BYTES and HARK_UPLOAD_MAX_SECONDS."""
        return cls(
            int(float(setting("HARK_UPLOAD_MAX_BYTES") or cls.max_bytes)),
            float(setting("HARK_UPLOAD_MAX_SECONDS") or cls.max_seconds),
            owner,
        )

    def check_bytes(self, size: int) -> None:
        """Raise HarkError if ``size`` bytes exceed the limit."""
        if size > self.max_bytes:
            raise HarkError(
                worded("The file is too large."),
                worded("The limit here is %(max_bytes)s MB.", max_bytes=number(self.max_bytes / 1e6)),
                worded(
                    "Upload it compressed (MP3, Opus) or split, or %(raised)s.",
                    raised=self._raised("HARK_UPLOAD_MAX_BYTES", worded("bytes")),
                ),
            )

    def check_seconds(self, seconds: float) -> None:
        """Raise HarkError if a recording of ``seconds`` exceeds the limit, or what is left in the quota."""
        if self.left_s is not None and seconds > self.left_s:
            raise HarkError(
                worded("You do not have enough recording minutes left."),
                worded("The recording is longer than what is left (%(n)s min).", n=number(self.left_s / 60)),
                worded("Wait for the first of the month (UTC), or ask the owner for more."),
            )
        if seconds > self.max_seconds:
            raise HarkError(
                worded("The recording is too long."),
                worded("The limit here is %(longest)s.", longest=self.longest),
                worded(
                    "Split it, then upload the parts, or %(raised)s.",
                    raised=self._raised("HARK_UPLOAD_MAX_SECONDS", worded("seconds")),
                ),
            )

    @property
    def longest(self) -> str:
        if self.max_seconds >= 7200:
            return worded("%(n)s hours", n=number(self.max_seconds / 3600))
        return worded("%(n)s minutes", n=number(self.max_seconds / 60))

    def _raised(self, setting: str, unit: str) -> str:
        if self.owner:
            return worded(
                "raise the limit: set %(setting)s to more %(unit)s and restart Hark", setting=setting, unit=unit
            )
        return worded("ask the owner to raise the limit")


@dataclass(frozen=True)
class MediaFacts:
    """Facts on the first audio stream of a file."""

    duration_s: float  # 0 if unknown
    sample_rate: int  # Hz
    channels: int


def clean_name(name: str) -> str:
    """Return a file's name for display: without folders, control and invisible characters; 1 to 120 characters."""
    shown = shown_text(re.split(r"[/\\]", name.strip())[-1]).strip(". ") or "recording"
    if len(shown) <= 120:
        return shown
    suffix = suffix_of(shown)
    return shown[: 120 - len(suffix)].rstrip() + suffix


def shown_text(text: str) -> str:
    """Return a text on one line, without control and invisible characters."""
    spaced = "".join(" " if character.isspace() else character for character in unicodedata.normalize("NFC", text))
    return " ".join("".join(one for one in spaced if not unicodedata.category(one).startswith("C")).split())


def suffix_of(name: str) -> str:
    """Return the suffix to store a file under: a dot and at most 8 lower-case letters or digits, or nothing."""
    match = re.search(r"\.([A-Za-z0-9]{1,8})$", name.strip())
    return f".{match[1].lower()}" if match else ""


def probe(path: Path) -> MediaFacts:
    """Read a file's header, for display, not for limits. Raises HarkError if the file has no audio."""
    return _probe(path)[0]


def check_header(path: Path, limits: MediaLimits) -> MediaFacts:
    """Check a header without decoding. Raises HarkError if it has no audio, or clearly exceeds the limits."""
    return _within(path, limits)[0]


def _within(path: Path, limits: MediaLimits) -> tuple[MediaFacts, frozenset[str]]:
    facts, container = _probe(path, limits)
    if container & _TRUE_LENGTH:
        limits.check_seconds(facts.duration_s)
    return facts, container


def normalize(source: Path, target: Path, limits: MediaLimits, reporter: Reporter | None = None) -> MediaFacts:
    """Convert any recording to ``target`` (.flac, 16 kHz, 16 bits, one or two channels; more are mixed to one).

    The target is written atomically. Returns facts on the written file, so the duration is measured.

    Raises HarkError if ``source`` is not a recording, exceeds the limits or is truncated, or ``target`` cannot be
    written.
    """
    facts, container = _within(source, limits)
    with storing("preparing the recording"), atomic_path(target) as temporary:
        _write_normalized(source, temporary, facts, limits, reporter or silent_reporter())
        if not temporary.stat().st_size:  # not a single sample at 16 kHz
            raise _no_sound(NO_SAMPLES)
        written = soundfile.info(str(temporary))
        if not 0 < written.frames < UNKNOWN_FRAMES:
            raise _no_sound(NO_SAMPLES)
        _check_whole(source, container, facts.duration_s, written.duration)
    return MediaFacts(written.duration, SAMPLE_RATE, written.channels)


def _write_normalized(
    source: Path, temporary: Path, facts: MediaFacts, limits: MediaLimits, reporter: Reporter
) -> None:
    blocks: Iterator[tuple[np.ndarray, float]] = resampled(decoded(source, timeout_s=DECODE_TIMEOUT_S), 2)
    try:
        first = next(blocks, None)
        if first is None:
            raise _no_sound(NO_SAMPLES)
        channels, blocks = first[0].shape[1], chain([first], blocks)
        del first  # frees the first block, which would stay in memory while the file is read
        with _flac_writer(temporary, channels) as write:
            for block, seconds in blocks:
                limits.check_seconds(seconds)
                write(block)
                if facts.duration_s:
                    reporter.progress(min(seconds, facts.duration_s), facts.duration_s)
    except NotDecoded as error:
        raise _damaged(error.why) from error


def merge(sources: Sequence[Path], target: Path, limits: MediaLimits) -> None:
    """Join normalized files with pauses, in stereo if all are.

    Raises HarkError if one is unreadable, the result is too long, or the disk is full.
    """
    seconds, channels = MERGE_PAUSE_S * (len(sources) - 1), 2
    for path in sources:
        with open_normalized(path) as recording:
            seconds += recording.frames / SAMPLE_RATE
            channels = min(channels, recording.channels)
    limits.check_seconds(seconds)
    pause = np.zeros((int(MERGE_PAUSE_S * SAMPLE_RATE), channels), np.float32)
    with (
        storing("joining the recordings"),
        atomic_path(target) as temporary,
        _flac_writer(temporary, channels) as write,
    ):
        for number, path in enumerate(sources):
            if number:
                write(pause)
            with open_normalized(path) as recording:
                for block in read_blocks(recording):
                    write(block if channels == block.shape[1] else block.mean(axis=1, keepdims=True))


def waveform(path: Path, points: int = 1600) -> list[float]:
    """Return at most ``points`` peaks (0 to 1, of any channel) of a normalized recording.

    Raises HarkError if it cannot be read.
    """
    with open_normalized(path) as recording:
        step = _step(recording.frames, points)
        blocks = read_blocks(recording, step * max(1, BLOCK_FRAMES // step))
        return [peak for block in blocks for peak in _peaks(np.abs(block).max(axis=1), step)]


def peaks(audio: np.ndarray, count: int) -> list[float]:
    """Return the peaks (0 to 1) of at most ``count`` equal parts of audio [samples]."""
    return _peaks(np.abs(audio), _step(len(audio), count))


def _step(samples: int, count: int) -> int:
    return max(1, -(-samples // count))


def _peaks(loud: np.ndarray, step: int) -> list[float]:
    parts = np.pad(loud, (0, -len(loud) % step)).reshape(-1, step)
    return [round(float(peak), 3) for peak in parts.max(axis=1)]


def open_normalized(path: Path) -> soundfile.SoundFile:
    """Open a recording written by :func:`normalize`: 16 kHz, one or two channels.

    Raises HarkError if it has a different format.
    """
    try:
        recording = soundfile.SoundFile(str(path))
    except (soundfile.LibsndfileError, OSError) as error:
        raise HarkError(
            worded("The recording cannot be read."),
            f"{path.name}: {str(error).rstrip('.')}.",
            worded("Upload it again."),
        ) from error
    if recording.samplerate != SAMPLE_RATE or recording.channels > 2:
        recording.close()
        raise HarkError(
            worded("The recording has the wrong format."),
            worded(
                "%(name)s is sampled at %(samplerate)s Hz and has %(channels)s channels; %(sample_rate)s Hz and "
                "one or two channels are needed.",
                name=path.name,
                samplerate=recording.samplerate,
                channels=recording.channels,
                sample_rate=SAMPLE_RATE,
            ),
            worded("Upload it again, or convert it: ffmpeg -i IN -ar 16000 -ac 1 OUT.flac"),
        )
    return recording


def read(recording: soundfile.SoundFile, frames: int) -> np.ndarray:
    """Read the next float32 [frames, channels], made finite. Raises HarkError if decoding fails."""
    try:
        return np.nan_to_num(recording.read(frames, dtype="float32", always_2d=True))
    except soundfile.LibsndfileError as error:
        raise _damaged(f"{str(error).rstrip('.')}.") from error


def read_blocks(recording: soundfile.SoundFile, frames: int = BLOCK_FRAMES) -> Iterator[np.ndarray]:
    while len(block := read(recording, frames)):
        yield block


def read_part(recording: soundfile.SoundFile, start_s: float, end_s: float) -> np.ndarray:
    """Read a part of a normalized recording, clipped to its length: float32 [samples, channels]."""
    first = min(max(0, round(start_s * SAMPLE_RATE)), recording.frames)
    recording.seek(first)
    return read(recording, max(0, round(end_s * SAMPLE_RATE) - first))


def _probe(path: Path, limits: MediaLimits | None = None) -> tuple[MediaFacts, frozenset[str]]:
    if not path.is_file():
        raise HarkError(
            worded("There is no such recording."),
            worded("%(name)s is not a file.", name=path.name),
            worded("Upload it again."),
        )
    size = path.stat().st_size
    if size == 0:
        raise _no_sound(worded("The file is empty (0 bytes)."))
    if limits is not None:
        limits.check_bytes(size)
    with path.open("rb") as file:
        start = file.read(16).lstrip()
    for magic, kind in _OTHER_KINDS:
        if start.startswith(magic):
            raise _not_audio(worded("It is %(kind)s, not audio, whatever its name suggests.", kind=kind))
    try:
        facts, container = _ffprobe(path) if have_ffmpeg() else _libsndfile_facts(path)
    except (AttributeError, TypeError, ValueError) as error:
        raise invalid_answer() from error
    if not 1 <= facts.channels <= MAX_CHANNELS:
        raise _not_audio(worded("Its header gives %(channels)s channels.", channels=facts.channels))
    if not MIN_RATE <= facts.sample_rate <= MAX_RATE:
        raise HarkError(
            worded("The recording's sample rate is not supported."),
            worded(
                "It is %(sample_rate)s Hz; Hark accepts %(lowest_rate)s to %(highest_rate)s Hz.",
                sample_rate=facts.sample_rate,
                lowest_rate=MIN_RATE,
                highest_rate=MAX_RATE,
            ),
            worded("Export it again from the original, at 16000 Hz or more."),
        )
    return facts, container


def _ffprobe(path: Path) -> tuple[MediaFacts, frozenset[str]]:
    entries = (
        "format=format_name,duration:stream=codec_type,sample_rate,channels,duration:stream_disposition=attached_pic"
    )
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", entries, *input_of(path)]
    content, why = _run_probe(command, path)
    streams = content.get("streams") if content is not None else None
    if not streams:
        raise _not_audio(worded("ffmpeg: %(why)s.", why=why) if why else worded("ffmpeg finds no audio in it."))
    sound = next((stream for stream in streams if stream.get("codec_type") == "audio"), None)
    if sound is None:
        pictures = any(
            stream.get("codec_type") == "video" and not stream.get("disposition", {}).get("attached_pic")
            for stream in streams
        )
        raise _no_sound(worded("It is a video without audio.") if pictures else worded("It has no audio stream."))
    container = content.get("format", {})
    facts = MediaFacts(
        _number(sound.get("duration")) or _number(container.get("duration")),
        int(_number(sound.get("sample_rate"))),
        int(_number(sound.get("channels"))),
    )
    return facts, frozenset(str(container.get("format_name", "")).split(","))


def _number(text: object) -> float:
    try:
        value = float(str(text))
    except ValueError:
        return 0.0
    return value if 0 <= value < 1e12 else 0.0


def _run_probe(command: list[str], path: Path) -> tuple[Any, str]:
    """Run a program on a file; return its JSON (None if invalid) and last error line.

    Raises HarkError if it takes too long.
    """
    started = time.monotonic()
    with run_decoder(command, path, PROBE_TIMEOUT_S) as (process, stderr):
        assert process.stdout is not None
        text = process.stdout.read(1_000_000)
        code = process.wait()
        why = last_words(stderr)
    if code == -signal.SIGKILL and time.monotonic() - started >= PROBE_TIMEOUT_S:
        raise HarkError(
            worded("The file was not read in time."),
            worded(
                "%(program)s did not finish within %(seconds)s s: this machine is busy, or its disk is slow.",
                program=command[0], seconds=number(PROBE_TIMEOUT_S),
            ),
            worded("Try again when the machine is less busy."),
        )  # fmt: skip
    try:
        return untrusted_json(text) if code == 0 else None, why
    except ValueError:
        return None, why


def _libsndfile_facts(path: Path) -> tuple[MediaFacts, frozenset[str]]:
    facts, why = _run_probe(by_libsndfile("info", path), path)
    if facts is None:
        raise _not_audio(
            worded("libsndfile: %(why)s.", why=why),
            worded(
                "Convert it to WAV, FLAC, Ogg or MP3, or install ffmpeg (apt-get install ffmpeg), which reads more "
                "formats."
            ),
        )
    # libsndfile corrects the length according to the content.
    seconds, rate, channels = map(_number, facts)
    return MediaFacts(seconds, int(rate), int(channels)), frozenset()


class _Sink:
    """An output file for libsndfile that stores why writing failed, because libsndfile loses the errno."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None
        self.seek, self.tell, self.read, self.flush = file.seek, file.tell, file.read, file.flush

    def write(self, data: bytes) -> int:
        done = 0
        try:
            while done < len(data):  # on a nearly full disk, a write is first short and then fails
                done += self.file.write(data[done:])
        except OSError as error:
            self.error = error
        return done


@contextmanager
def _flac_writer(path: Path, channels: int) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends float [frames, channels] to a 16 kHz FLAC.

    Raises OSError, with its errno, if writing fails.
    """
    with path.open("w+b", buffering=0) as file:
        sink = _Sink(file)
        try:
            with soundfile.SoundFile(sink, "w", SAMPLE_RATE, channels, "PCM_16", format="FLAC") as encoded:

                def write(audio: np.ndarray) -> None:
                    try:
                        encoded.write(np.clip(audio, -1.0, 1.0))
                    except AssertionError:  # soundfile reports a short write by this
                        if sink.error is None:
                            raise
                    if sink.error is not None:
                        raise sink.error

                yield write
        except soundfile.LibsndfileError as error:
            raise sink.error or OSError(errno.EIO, str(error), str(path)) from error
        if sink.error is not None:
            raise sink.error


def _check_whole(source: Path, container: frozenset[str], promised_s: float, duration_s: float) -> None:
    """Raise HarkError if a header promises clearly more than was decoded."""
    missing_s = promised_s - duration_s if container & _KNOWN_LENGTH else missing_seconds(source, duration_s)
    # Encoders round to their frames (up to 0.1 s) and edit lists cut slightly, so the very end is not evidence.
    if missing_s > max(0.5, 0.02 * duration_s):
        raise HarkError(
            worded("The recording ends prematurely after %(duration_s)s s.", duration_s=round(duration_s, 1)),
            worded("Its header promises %(missing_s)s s more.", missing_s=round(missing_s, 1)),
            worded("The upload or the file was cut off: upload it again, or convert it again from the original."),
        )


def _no_sound(why: str) -> HarkError:  # without the path, which users do not know
    return HarkError(worded("The file has no audio."), why, worded("Play it to check, then upload another file."))


def _not_audio(why: str, what_to_do: str = UPLOAD) -> HarkError:
    return HarkError(worded("The file is not a recording that Hark can read."), why, what_to_do)


def _damaged(why: str) -> HarkError:
    return HarkError(
        worded("The recording is damaged."), why, worded("Convert it again from the original and upload that.")
    )
