"""Decoders of untrusted files: the ffmpeg programs, or libsndfile in a process of its own.

They run confined, can open only the file to decode, and have limited memory and time.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from core.confinement.confined import CPU_S, confined
from core.worded import Worded, worded

# Formats that ffmpeg may open. Playlists (HLS, concat, DASH) are excluded, because they can refer to other files.
FFMPEG_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,ac3,eac3,asf,avi,flac,mp3,ogg,wav,w64,amr,amrnb,amrwb,caf,aiff,au,"
    "flv,mpeg,mpegts,mpegvideo,ape,wv,tta,dts,gsm,voc,nistsphere"
)
BLOCK_BYTES = 1 << 22
MAX_CHANNELS = 1024  # libsndfile's limit; ffmpeg's is lower
AU_HEADER = struct.Struct(">4s5I")  # ".snd", offset and size of the data, encoding, sample rate, channels


def have_ffmpeg() -> bool:
    return shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None


def input_of(path: Path) -> list[str]:
    # "file:" prevents a name that begins with a dash or resembles a protocol from being parsed as one.
    return ["-protocol_whitelist", "file,pipe", "-format_whitelist", FFMPEG_FORMATS, "-i", f"file:{path.resolve()}"]


@contextmanager
def run_decoder(
    command: Sequence[str], source: Path, timeout_s: float | None = None, text: bool = True
) -> Iterator[tuple[subprocess.Popen[Any], IO[bytes]]]:
    """Run a confined program on ``source`` for at most ``timeout_s``; yield the process and the file of its stderr."""
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "AV_LOG_FORCE_NOCOLOR": "1"}
    with (
        tempfile.TemporaryFile() as stderr,  # a full pipe would stop ffmpeg
        subprocess.Popen(
            confined(command, reads=[source, Path(__file__).parent]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=text,
            errors="replace" if text else None,
            env={**environment, "OPENBLAS_NUM_THREADS": "1"},  # each thread allocates memory
        ) as process,
    ):
        timer = threading.Timer(timeout_s or CPU_S, process.kill)
        timer.daemon = True
        if timeout_s is not None:
            timer.start()
        try:
            yield process, stderr
        finally:
            timer.cancel()
            process.kill()


def last_words(stderr: IO[bytes]) -> str:
    """Return the last line that ffmpeg wrote, without the paths of this machine."""
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - 4000))
    lines = [line.strip() for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
    text = re.sub(r"(file:)?/\S*?: |\[\w+ @ 0x\w+\] ", "", lines[-1]) if lines else ""
    return text[:200].rstrip(".")


class NotDecoded(Exception):
    """Raised if no audio was found or decoding stopped; holds the decoder's message without a full stop."""

    @property
    def why(self) -> Worded:
        return worded("%(said)s.", said=self.args[0])


def decoded(
    path: Path, start_s: float = 0.0, seconds: float | None = None, timeout_s: float | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first audio stream of a file, or a part of it: sample rate and float32 [frames, channels], in blocks.

    ffmpeg decodes it if it is installed, otherwise libsndfile. A part that begins after the end is empty. Raises
    NotDecoded if there is no audio or, after the readable blocks, if decoding stopped.
    """
    by_ffmpeg = have_ffmpeg()
    command = _by_ffmpeg(path, start_s, seconds) if by_ffmpeg else by_libsndfile("decode", path, start_s, seconds)
    with run_decoder(command, path, timeout_s, text=False) as (process, stderr):
        assert process.stdout is not None
        header = process.stdout.read(AU_HEADER.size)
        if len(header) == AU_HEADER.size:
            _, offset, _, _, rate, channels = AU_HEADER.unpack(header)
            if not 1 <= channels <= MAX_CHANNELS or not AU_HEADER.size <= offset <= BLOCK_BYTES:
                raise NotDecoded(worded("The decoder gave an invalid answer"))  # the file may control the decoder
            process.stdout.read(offset - AU_HEADER.size)
            frame = 4 * channels
            while raw := process.stdout.read(max(1, BLOCK_BYTES // frame) * frame):
                whole = raw[: len(raw) // frame * frame]
                yield rate, np.frombuffer(whole, ">f4").astype(np.float32).reshape(-1, channels)
        code = process.wait()
        if code != 0:
            stopped = (
                worded("it was stopped (%(signal)s)", signal=signal.Signals(-code).name)
                if code < 0
                else worded("it gave no message")
            )
            decoder = "ffmpeg" if by_ffmpeg else "libsndfile"
            raise NotDecoded(worded("%(program)s: %(said)s", program=decoder, said=last_words(stderr) or stopped))


def _by_ffmpeg(path: Path, start_s: float, seconds: float | None) -> list[str]:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-threads", "1", *(["-ss", f"{start_s:.6f}"] if start_s else [])]
    command += [*input_of(path), "-map", "0:a:0", "-map_metadata", "-1", "-vn", "-sn", "-dn"]
    command += [*(["-t", f"{seconds:.6f}"] if seconds is not None else []), "-threads", "1"]
    # Sun's AU format has the simplest header with rate and channels.
    return [*command, "-c:a", "pcm_f32be", "-f", "au", "-"]


def by_libsndfile(what: str, path: Path, start_s: float = 0.0, seconds: float | None = None) -> list[str]:
    """Return the command that runs ``sndfile_program.py``, which replaces ffmpeg; ``what`` is "decode" or "info"."""
    program = str(Path(__file__).with_name("sndfile_program.py"))
    return [sys.executable, "-I", "-B", program, what, str(path.resolve()), str(start_s), json.dumps(seconds)]
