"""Small hostile files: audio whose header lies, archives with links, playlists that name other files."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import soundfile

SECONDS = 2.0  # seconds of audio in a file to damage
PLAYLISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{there}\n#EXT-X-ENDLIST\n",
    "list.mp3": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{there}\n#EXT-X-ENDLIST\n",
    "list.wav": "ffconcat version 1.0\nfile '{there}'\n",
    "dash.mp4": '<?xml version="1.0"?><MPD><Period><BaseURL>{there}</BaseURL></Period></MPD>',
    "list.pls": "[playlist]\nFile1={there}\n",
    "late.mp3": "# a comment\nffconcat version 1.0\nfile '{there}'\n",
}


def noise(seconds: float, rate: int = 16_000, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return noise as loud as speech, float64 [samples] or, with several channels, [samples, channels]."""
    return np.random.default_rng(seed).uniform(-0.3, 0.3, (int(seconds * rate), channels)).squeeze()


def encoded(format_name: str, seconds: float = SECONDS, seed: int = 0, subtype: str | None = None) -> bytes:
    """Return noise at 16 kHz in one of libsndfile's formats."""
    written = io.BytesIO()
    soundfile.write(written, noise(seconds, seed=seed), 16_000, format=format_name, subtype=subtype)
    return written.getvalue()


def wav_that_lies(channels: int = 1, rate: int = 16_000) -> bytes:
    """Return a WAV of 2 s with wrong numbers in its header."""
    content = bytearray(encoded("WAV"))
    struct.pack_into("<H", content, 22, channels)
    struct.pack_into("<I", content, 24, rate)
    return bytes(content)


def flac_that_lies(seconds: int, claimed_s: int) -> bytes:
    """Return silence in a FLAC whose header claims a different length."""
    written = io.BytesIO()
    soundfile.write(written, np.zeros(seconds * 8000, np.int16), 8000, format="FLAC", subtype="PCM_16")
    content = bytearray(written.getvalue())
    numbers = int.from_bytes(content[18:26], "big")  # rate, channels, bits, and 36 bits of samples
    content[18:26] = ((numbers >> 36 << 36) | claimed_s * 8000).to_bytes(8, "big")
    return bytes(content)


def as_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a zip with these files and an empty folder."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("corpus/", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def as_tar(mode: str) -> Callable[[Path, Mapping[str, bytes]], Path]:
    """Return a function that writes a tar with files and an empty folder, in ``tarfile``'s ``mode``."""

    def make(path: Path, files: Mapping[str, bytes]) -> Path:
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            folder = tarfile.TarInfo("corpus")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    return make


PACKERS = {"zip": as_zip, "tar": as_tar("w"), "tar.gz": as_tar("w:gz"), "tar.bz2": as_tar("w:bz2")}


def tar_with(kind: bytes, path: Path) -> Path:
    """Write a tar with a link or special file, and a file below its path."""
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("corpus")
        member.type, member.linkname = kind, "/etc"
        archive.addfile(member)
        archive.addfile(tarfile.TarInfo("corpus/passwd"))
    return path
