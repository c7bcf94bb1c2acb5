"""Untrusted audio: no decoder in this process, none of its metadata in the log, no header trusted."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.audio_file import SAMPLE_RATE, read_audio
from core.confinement.foreign_audio import foreign_audio_blocks, read_foreign_audio, seconds_of
from core.confinement.untrusted_json import untrusted_json
from core.data_folder import REPOSITORY
from core.errors import HarkError
from tests.support.sounds import noise, tone

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
ALL_ONES = (1 << 36) - 1  # the largest value in a FLAC header


def flac_that_promises(path: Path, seconds: float, frames: int) -> Path:
    """Make a FLAC whose header claims that number of samples; 0 is what an encoder writes into a pipe."""
    soundfile.write(path, noise(seconds), SAMPLE_RATE)
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | frames >> 32
    content[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    return path


@needs_ffmpeg
@pytest.mark.parametrize("frames", [0, ALL_ONES])
def test_a_flac_of_unknown_length_is_read_completely(tmp_path: Path, frames: int) -> None:
    path = flac_that_promises(tmp_path / "a.flac", 2.0, frames)
    assert len(read_foreign_audio(path)) == sum(map(len, foreign_audio_blocks(path))) == 2 * SAMPLE_RATE
    assert seconds_of(path) == 2.0 and len(read_audio(path)) == 2 * SAMPLE_RATE
    np.testing.assert_allclose(read_foreign_audio(path, 0.5, 1.0), noise(2.0)[16_000:24_000], atol=1e-4)
    assert len(read_foreign_audio(path, 1.0, 9.0)) == 0


@needs_ffmpeg
def test_a_flac_written_to_a_pipe_is_read_completely(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1.5), SAMPLE_RATE)
    made = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-f", "flac", "-"], check=True, stdout=subprocess.PIPE
    )
    (tmp_path / "a.flac").write_bytes(made.stdout)
    assert len(read_foreign_audio(tmp_path / "a.flac")) == 1.5 * SAMPLE_RATE


@needs_ffmpeg
def test_a_truncated_flac_is_reported(tmp_path: Path) -> None:
    path = flac_that_promises(tmp_path / "a.flac", 1.0, 5 * SAMPLE_RATE)
    with pytest.raises(HarkError, match=r"ends prematurely after 1\.0 s"):
        read_foreign_audio(path)
    with pytest.raises(HarkError, match="ends prematurely"):
        read_foreign_audio(path, 3.0)
    assert len(read_foreign_audio(path, 0.5)) == 0.5 * SAMPLE_RATE


@needs_ffmpeg
def test_endless_id3_tags_do_not_flood_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.mp3"
    path.write_bytes(b"ID3\x04\0\0\0\0\0\0" * 20_000)
    with pytest.raises(HarkError, match="not audio"):
        read_foreign_audio(path)
    with pytest.raises(HarkError, match="not audio"):
        seconds_of(path)
    assert capfd.readouterr() == ("", "")


@needs_ffmpeg
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.ogg"])
def test_foreign_audio_has_the_same_samples_as_read_audio(tmp_path: Path, rate: int, name: str) -> None:
    soundfile.write(tmp_path / name, np.stack([tone(rate=rate), tone(rate=rate) / 2], axis=1), rate)
    fast, foreign = read_audio(tmp_path / name), read_foreign_audio(tmp_path / name)
    assert abs(len(fast) - len(foreign)) <= (400 if name == "a.ogg" else 1)  # Vorbis: where the last block ends
    least = min(len(fast), len(foreign)) - (160 if name == "a.ogg" else 0)
    assert np.abs(fast[:least] - foreign[:least]).max() < (0.02 if name == "a.ogg" else 1e-4)


def test_without_ffmpeg_mp3_is_rejected_and_wav_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "t.mp3").write_bytes(b"ID3\x04\0\0\0\0\0\0" * 20_000)
    with pytest.raises(HarkError, match="install ffmpeg"):
        read_foreign_audio(tmp_path / "t.mp3")
    assert capfd.readouterr() == ("", "")
    soundfile.write(tmp_path / "a.wav", noise(1.0), SAMPLE_RATE)
    assert len(read_foreign_audio(tmp_path / "a.wav", 0.25, 0.5)) == 0.25 * SAMPLE_RATE


def test_pages_and_imports_never_open_uploads_directly() -> None:
    allowed = {
        "webui/speech.py",  # clips that an engine of this machine has just spoken
        "webui/listening/services.py",  # samples of the inbox, which it wrote itself
        "pipeline/corpora/importing.py",  # the user's own folder, by ./hark library import
    }
    own = re.compile(r"^\s*(import soundfile|from core\.audio_file import .*\bread_audio\b)", re.MULTILINE)
    files = [
        *(REPOSITORY / "webui").rglob("*.py"),
        REPOSITORY / "pipeline/corpora/importing.py",
        REPOSITORY / "pipeline/serving/detection.py",
    ]
    found = {path.relative_to(REPOSITORY).as_posix() for path in files if own.search(path.read_text())}
    assert found <= allowed


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 200_000, '{"a":' * 200_000, "1e999", '{"a": -1e999}', "NaN", "[Infinity]", "9" * 5000, b"\xff"],
)
def test_invalid_and_oversized_json_is_rejected(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        untrusted_json(text)


def test_valid_json_is_parsed() -> None:
    assert untrusted_json(b'{"a": [1, -2.5, "\xc3\xa4", null]}') == {"a": [1, -2.5, "ä", None]}
