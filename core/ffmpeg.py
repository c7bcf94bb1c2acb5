"""The ffmpeg programs on files of strangers: they open that file alone, in limited memory and time."""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

# What ffmpeg may open. Playlists (HLS, concat, DASH) are left out: they can name other files of this machine.
FFMPEG_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,ac3,eac3,asf,avi,flac,mp3,ogg,wav,w64,amr,amrnb,amrwb,caf,aiff,au,"
    "flv,mpeg,mpegts,mpegvideo,ape,wv,tta,dts,gsm,voc,nistsphere"
)
MEMORY_BYTES = 2**30  # address space of the ffmpeg programs; they need about 200 MB
CPU_S = 900  # that one of them may work; an hour of sound takes some 10 s
LARGEST_LOG = 1 << 20  # bytes of what one of them says, and of any file but the one that it is to write
BLOCK_BYTES = 1 << 22
AU_HEADER = struct.Struct(">4s5I")  # ".snd", offset of the sound, its size, encoding, sample rate, channels


def have_ffmpeg() -> bool:
    """Whether both programs are installed."""
    return shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None


def input_of(path: Path) -> list[str]:
    """The arguments by which an ffmpeg program opens one file and nothing else."""
    # "file:" keeps a name that begins with a dash or looks like a protocol from being read as one.
    return ["-protocol_whitelist", "file,pipe", "-format_whitelist", FFMPEG_FORMATS, "-i", f"file:{path.resolve()}"]


def _limits(largest_file: int | None) -> list[str]:
    """What stands before an ffmpeg command: limited memory, time and files, no core file, and an end with this process.

    A shell sets them, not ``preexec_fn``: that would copy the page tables of this process, which may hold gigabytes.
    """
    limits = {"c": 0, "t": CPU_S, "v": MEMORY_BYTES // 1024}
    if largest_file is not None:
        limits["f"] = largest_file // 512
    # A limit that cannot be set is below ours already.
    script = "".join(f"ulimit -{letter} {most} 2>/dev/null; " for letter, most in limits.items()) + 'exec "$@"'
    # setpriv is Linux's; elsewhere nothing ends with its parent.
    ends = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    return ["/bin/sh", "-c", script, "sh", *ends]


@contextmanager
def limited(
    command: Sequence[str], timeout_s: float | None = None, text: bool = True, largest_file: int | None = LARGEST_LOG
) -> Iterator[tuple[subprocess.Popen[Any], IO[bytes]]]:
    """A running ffmpeg program and what it says (a file); killed at the end of the block or of its time."""
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "AV_LOG_FORCE_NOCOLOR": "1"}
    with (
        tempfile.TemporaryFile() as said,  # a pipe could fill up and stop ffmpeg
        subprocess.Popen(
            [*_limits(largest_file), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=text,
            errors="replace" if text else None,
            env=environment,
        ) as process,
    ):
        timer = threading.Timer(timeout_s or CPU_S, process.kill)
        timer.daemon = True
        if timeout_s is not None:
            timer.start()
        try:
            yield process, said
        finally:
            timer.cancel()
            process.kill()


def last_words(said: IO[bytes]) -> str:
    """The last line that ffmpeg wrote, without our paths."""
    said.seek(max(0, said.seek(0, os.SEEK_END) - 4000))
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    text = re.sub(r"(file:)?/\S*?: |\[\w+ @ 0x\w+\] ", "", lines[-1]) if lines else ""
    return text[:200].rstrip(".")


class NotDecoded(Exception):
    """No sound was found, or decoding stopped: what the decoder said, without a full stop."""


def decoded(
    path: Path, start_s: float = 0.0, seconds: float | None = None, timeout_s: float | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """The first stream of sound of a file, or a part of it: its sample rate and float32 [frames, channels], in blocks.

    Nothing comes from a part that begins after the end.

    Raises:
        NotDecoded: no sound, or, after the blocks that could be decoded, it was stopped.
    """
    command = ["ffmpeg", "-nostdin", "-v", "error", "-threads", "1", *(["-ss", f"{start_s:.6f}"] if start_s else [])]
    command += [*input_of(path), "-map", "0:a:0", "-map_metadata", "-1", "-vn", "-sn", "-dn"]
    command += [*(["-t", f"{seconds:.6f}"] if seconds is not None else []), "-threads", "1"]
    # Sun's format has the simplest header that tells rate and channels.
    command += ["-c:a", "pcm_f32be", "-f", "au", "-"]
    with limited(command, timeout_s, text=False) as (process, said):
        assert process.stdout is not None
        header = process.stdout.read(AU_HEADER.size)
        if len(header) == AU_HEADER.size:
            _, offset, _, _, rate, channels = AU_HEADER.unpack(header)
            process.stdout.read(offset - AU_HEADER.size)
            frame = 4 * channels
            while raw := process.stdout.read(max(1, BLOCK_BYTES // frame) * frame):
                whole = raw[: len(raw) // frame * frame]
                yield rate, np.frombuffer(whole, ">f4").astype(np.float32).reshape(-1, channels)
        code = process.wait()
        if code != 0:
            stopped = f"it was stopped ({signal.Signals(-code).name})" if code < 0 else "it said nothing"
            raise NotDecoded(f"ffmpeg: {last_words(said) or stopped}")
