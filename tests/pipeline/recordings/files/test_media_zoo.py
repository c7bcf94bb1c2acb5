"""Every kind of bad upload: each is refused in three sentences, quickly, and leaves nothing behind."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.errors import HarkError
from pipeline.recordings.files import media
from pipeline.recordings.files.media import MediaLimits, normalize
from tests.support.hostile_files import PLAYLISTS, flac_that_lies, noise, wav_that_lies
from tests.support.programs import needs_ffmpeg


def zipped(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", bytes(20_000_000))
    return path.read_bytes()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flac(path: Path) -> bytes:
    soundfile.write(path, noise(4), 16_000, format="FLAC")
    return path.read_bytes()


HALF_AN_HOUR = MediaLimits(max_seconds=1800)

# (name of the upload, its content, pattern of the error)
ZOO: list[tuple[str, Callable[[Path], bytes], str]] = [
    ("empty.wav", lambda path: b"", "empty"),
    ("header.wav", lambda path: wav_that_lies()[:44], "no audio|not a recording|ends prematurely"),
    ("truncated.wav", lambda path: half(wav_that_lies()), "ends prematurely after"),
    ("truncated.flac", lambda path: half(flac(path)), "ends prematurely after|damaged"),
    ("zip.wav", zipped, "ZIP archive"),
    ("bomb.mp3", lambda path: flac_that_lies(31 * 60, 0), "too long"),
    ("promise.flac", lambda path: flac_that_lies(2, 60), "ends prematurely after|damaged"),
    ("endless.flac", lambda path: flac_that_lies(2, 8_000_000), "too long|breaks off|damaged"),
    ("31min.flac", lambda path: flac_that_lies(31 * 60, 31 * 60), "too long"),
    ("none.wav", lambda path: wav_that_lies(channels=0), "not a recording"),
    ("crowd.wav", lambda path: wav_that_lies(channels=65_535), "not a recording|no sound"),
    ("400Hz.wav", lambda path: wav_that_lies(rate=400), "400 Hz"),
    ("fast.wav", lambda path: wav_that_lies(rate=400_000), "400000 Hz"),
    ("noise.mp3", lambda path: np.random.default_rng(1).bytes(50_000), "not a recording|damaged|no sound"),
    ("paper.wav", lambda path: b"%PDF-1.7\n" + bytes(1000), "PDF"),
    ("page.mp3", lambda path: b"<!doctype html><title>404</title>", "markup"),
    ("text.wav", lambda path: b"This is no sound. " * 100, "not a recording"),
]


@pytest.mark.parametrize(("name", "make", "says"), ZOO, ids=[name for name, _, _ in ZOO])
def test_bad_uploads_are_rejected(
    decoder: str, tmp_path: Path, name: str, make: Callable[[Path], bytes], says: str
) -> None:
    import re

    content = make(tmp_path / "made")
    source, target = tmp_path / "in" / name, tmp_path / "out" / "audio.flac"
    source.parent.mkdir()
    source.write_bytes(content)
    started = time.monotonic()
    with pytest.raises(HarkError) as error:
        normalize(source, target, HALF_AN_HOUR)
    assert re.search(says, f"{error.value.what} {error.value.why}"), error.value.as_dict()
    assert error.value.what_to_do
    assert str(tmp_path) not in str(error.value)  # no path of the server is revealed
    assert time.monotonic() - started < 20
    assert not target.parent.exists() or not list(target.parent.iterdir())


@pytest.mark.parametrize("looked_at", [True, False], ids=["by its beginning", "by the programs alone"])
@pytest.mark.parametrize("where", ["path", "url"])
@pytest.mark.parametrize("name", list(PLAYLISTS))
def test_playlists_open_no_file_or_connection(
    decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, where: str, looked_at: bool
) -> None:
    soundfile.write(tmp_path / "secret.wav", noise(2), 16_000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        there = str(tmp_path / "secret.wav") if where == "path" else f"http://127.0.0.1:{port}/secret.wav"
        (tmp_path / name).write_text(PLAYLISTS[name].format(there=there))
        if not looked_at:
            monkeypatch.setattr(media, "_OTHER_KINDS", ())
        with pytest.raises(HarkError, match="not a recording"):
            normalize(tmp_path / name, tmp_path / "a.flac", HALF_AN_HOUR)
        with pytest.raises(BlockingIOError):  # nothing connected
            server.accept()
    assert not (tmp_path / "a.flac").exists()


def test_a_flac_that_understates_its_length_is_limited(decoder: str, tmp_path: Path) -> None:
    (tmp_path / "bomb.flac").write_bytes(flac_that_lies(31 * 60, 1))
    if decoder == "ffmpeg":  # reads on, and is stopped at the limit
        with pytest.raises(HarkError, match="too long"):
            normalize(tmp_path / "bomb.flac", tmp_path / "a.flac", HALF_AN_HOUR)
    else:  # libsndfile stops where the header says
        assert normalize(tmp_path / "bomb.flac", tmp_path / "a.flac", HALF_AN_HOUR).duration_s == pytest.approx(1)


@needs_ffmpeg
def test_a_video_without_audio_is_rejected(tmp_path: Path) -> None:
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=duration=1:size=64x64:rate=5"]
    subprocess.run([*command, str(tmp_path / "mute.mp4")], check=True, timeout=60)
    with pytest.raises(HarkError, match="video without audio"):
        normalize(tmp_path / "mute.mp4", tmp_path / "a.flac", HALF_AN_HOUR)


@needs_ffmpeg
def test_a_truncated_mp4_is_rejected(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(2), 16_000)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.wav"), str(tmp_path / "a.m4a")], check=True, timeout=60
    )
    (tmp_path / "b.m4a").write_bytes(half((tmp_path / "a.m4a").read_bytes()))
    with pytest.raises(HarkError, match="not a recording"):
        normalize(tmp_path / "b.m4a", tmp_path / "a.flac", HALF_AN_HOUR)
    assert normalize(tmp_path / "a.m4a", tmp_path / "a.flac", HALF_AN_HOUR).duration_s == pytest.approx(2, abs=0.1)


def test_unusual_but_valid_files_are_accepted(decoder: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "wrong.pdf", noise(1), 16_000, format="FLAC")
    soundfile.write(tmp_path / "seven.wav", noise(1, channels=7), 16_000)
    soundfile.write(tmp_path / "-i concat:x.wav", noise(1), 16_000, format="WAV")
    (tmp_path / "piped.wav").write_bytes(wav_that_lies().replace(struct.pack("<I", 64_000), b"\xff\xff\xff\xff", 1))
    expected = {"wrong.pdf": 1, "seven.wav": 1, "-i concat:x.wav": 1, "piped.wav": 2}
    for name, seconds in expected.items():
        facts = normalize(tmp_path / name, tmp_path / "a.flac", HALF_AN_HOUR)
        assert (facts.duration_s, facts.channels) == (pytest.approx(seconds, abs=0.01), 1), name


def test_a_folder_and_a_missing_file_are_rejected(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.wav"):
        with pytest.raises(HarkError, match="no such recording"):
            normalize(path, tmp_path / "a.flac", HALF_AN_HOUR)
