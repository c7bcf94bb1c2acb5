from __future__ import annotations

import shutil
import struct
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.audio_file import SAMPLE_RATE, read_audio, read_audio_blocks, write_audio
from core.errors import HarkError
from tests.support.sounds import noise, tone

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def loudest_hz(audio: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(audio))) * SAMPLE_RATE / len(audio))


def sparse_wav(path: Path, seconds: int, rate: int, channels: int, bits: int = 16) -> None:
    """Make a WAV whose zeros take no disk space."""
    size = seconds * rate * channels * bits // 8
    align = channels * bits // 8
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt ")
        file.write(struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * align, align, bits))
        file.write(b"data" + struct.pack("<I", size))
        file.truncate(44 + size)


def assert_three_sentences(error: HarkError, *words: str) -> None:
    assert all(error.as_dict().values())
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff"])
def test_written_audio_is_read_back(tmp_path: Path, suffix: str) -> None:
    audio = tone(1.0)
    write_audio(tmp_path / f"a{suffix}", audio)
    read = read_audio(tmp_path / f"a{suffix}")
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, audio, atol=1.0 / 32_768)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_and_channels_become_16_khz_mono(tmp_path: Path, rate: int, channels: int) -> None:
    audio = tone(1.3, rate=rate)
    soundfile.write(tmp_path / "a.wav", np.stack([audio] * channels, axis=1), rate)
    read = read_audio(tmp_path / "a.wav")
    assert abs(len(read) - 1.3 * SAMPLE_RATE) <= 1
    assert loudest_hz(read) == pytest.approx(440.0, abs=1.0)
    middle = slice(2_000, -2_000)
    np.testing.assert_allclose(read[middle], tone(1.3)[: len(read)][middle], atol=0.003)


def test_channels_are_averaged(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([tone(0.5), -tone(0.5)], axis=1), SAMPLE_RATE)
    assert np.abs(read_audio(tmp_path / "a.wav")).max() < 1e-3


@pytest.mark.parametrize("subtype", ["PCM_U8", "ULAW", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_format_is_read(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.5), SAMPLE_RATE, subtype=subtype)
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), tone(0.5), atol=0.01)


@pytest.mark.parametrize(("suffix", "subtype"), [(".ogg", "VORBIS"), (".ogg", "OPUS"), (".mp3", "MPEG_LAYER_III")])
def test_lossy_formats_are_read(tmp_path: Path, suffix: str, subtype: str) -> None:
    soundfile.write(tmp_path / f"a{suffix}", tone(2.0), SAMPLE_RATE, subtype=subtype)
    read = read_audio(tmp_path / f"a{suffix}")
    assert abs(len(read) - 2 * SAMPLE_RATE) < 0.1 * SAMPLE_RATE
    assert loudest_hz(read) == pytest.approx(440.0, abs=1.0)


@needs_ffmpeg
def test_m4a_is_decoded_by_ffmpeg(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", tone(2.0))
    made = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(tmp_path / "a.wav"), str(tmp_path / "a.m4a")], check=False
    )
    if made.returncode:
        pytest.skip("this ffmpeg has no AAC encoder")
    read = read_audio(tmp_path / "a.m4a")
    assert abs(len(read) - 2 * SAMPLE_RATE) < 0.15 * SAMPLE_RATE
    assert loudest_hz(read) == pytest.approx(440.0, abs=1.0)


@needs_ffmpeg
def test_a_playlist_does_not_make_ffmpeg_open_other_files(tmp_path: Path) -> None:
    write_audio(tmp_path / "private.wav", tone(2.0))
    (tmp_path / "list.m4a").write_text("ffconcat version 1.0\nfile private.wav\n")
    (tmp_path / "hls.m4a").write_text(f"#EXTM3U\n#EXTINF:2,\n{tmp_path}/private.wav\n#EXT-X-ENDLIST\n")
    for name in ("list.m4a", "hls.m4a"):
        with pytest.raises(HarkError, match="not audio that Hark can read"):
            read_audio(tmp_path / name)


def test_silent_and_clipped_audio_is_read_unchanged(tmp_path: Path) -> None:
    write_audio(tmp_path / "silent.wav", np.zeros(SAMPLE_RATE))
    assert not read_audio(tmp_path / "silent.wav").any()
    clipped = np.clip(20 * tone(1.0, rate=44_100), -1, 1)
    soundfile.write(tmp_path / "clipped.wav", clipped, 44_100)
    read = read_audio(tmp_path / "clipped.wav")  # resampling overshoots at the edges
    assert np.abs(read).max() <= 1.0
    assert np.mean(np.abs(read) > 0.95) > 0.8


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 44_100])
def test_nan_and_infinite_samples_do_not_spread(tmp_path: Path, rate: int) -> None:
    audio = tone(1.0, rate=rate)
    audio[1_000], audio[2_000], audio[3_000], audio[4_000] = np.nan, np.inf, -np.inf, 1e30
    soundfile.write(tmp_path / "a.wav", audio, rate, subtype="FLOAT")
    read = read_audio(tmp_path / "a.wav")
    assert np.isfinite(read).all()
    assert np.abs(read).max() <= 1.0
    clean = tone(1.0)
    assert np.mean(np.abs(read[: len(clean)] - clean) > 0.01) < 0.02


def test_a_missing_file_and_a_folder_are_rejected(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.wav", tmp_path):
        with pytest.raises(HarkError) as caught:
            read_audio(path)
        assert_three_sentences(caught.value, "There is no audio file", str(path))


def test_an_empty_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    with pytest.raises(HarkError) as caught:
        read_audio(tmp_path / "a.wav")
    assert_three_sentences(caught.value, "contains no audio", "0 bytes")


def test_a_file_without_samples_is_rejected(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), SAMPLE_RATE)
    with pytest.raises(HarkError, match="no samples"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("ffmpeg", [True, False])
def test_a_pdf_renamed_to_wav_is_rejected(tmp_path: Path, ffmpeg: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not ffmpeg:
        monkeypatch.setenv("PATH", "")
    noise = np.random.default_rng(0).bytes(50_000)
    (tmp_path / "paper.wav").write_bytes(b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n" + noise + b"\n%%EOF")
    with pytest.raises(HarkError) as caught:
        read_audio(tmp_path / "paper.wav")
    assert_three_sentences(caught.value, "not audio that Hark can read")
    if not ffmpeg:
        assert "install ffmpeg" in caught.value.what_to_do


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_reported(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"a{suffix}"
    write_audio(path, tone(3.0) + noise(3.0, level=0.05))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(HarkError) as caught:
        read_audio(path)
    assert_three_sentences(caught.value, "ends prematurely after", "cut off")


def test_a_truncated_file_yields_its_audio_before_the_error(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_audio(path, tone(3.0))
    path.write_bytes(path.read_bytes()[: 44 + 2 * SAMPLE_RATE * 2])
    blocks = read_audio_blocks(path, block_s=0.5)
    received = [next(blocks) for _ in range(4)]
    assert sum(map(len, received)) == 2 * SAMPLE_RATE
    with pytest.raises(HarkError, match=r"promises .* more"):
        next(blocks)


def test_a_truncated_header_is_rejected(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", tone(1.0))
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:30])
    with pytest.raises(HarkError, match="not audio that Hark can read"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("placeholder", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_FFDB])
def test_a_wav_with_a_placeholder_length_is_read_completely(tmp_path: Path, placeholder: int) -> None:
    path = tmp_path / "a.wav"
    write_audio(path, tone(1.0))
    written = bytearray(path.read_bytes())
    written[4:8] = written[40:44] = struct.pack("<I", placeholder)
    path.write_bytes(written)
    assert len(read_audio(path)) == SAMPLE_RATE


@pytest.mark.parametrize("rate", [0, 1, 300, 2_000_000, 2**31 - 1])
def test_an_impossible_sample_rate_is_rejected(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    write_audio(path, tone(1.0))
    written = bytearray(path.read_bytes())
    written[24:28] = struct.pack("<I", rate)
    path.write_bytes(written)
    with pytest.raises(HarkError, match="not audio that Hark can read"):
        read_audio(path)


@pytest.mark.parametrize("rate", [SAMPLE_RATE, 44_100])
@pytest.mark.parametrize("seconds", [0.999, 1.0, 2.0, 2.0001])
def test_blocks_join_to_the_complete_audio(tmp_path: Path, rate: int, seconds: float) -> None:
    soundfile.write(tmp_path / "a.wav", tone(seconds, rate=rate), rate)
    whole = read_audio(tmp_path / "a.wav")
    blocks = list(read_audio_blocks(tmp_path / "a.wav", block_s=0.25))
    assert len(blocks) > 3
    assert all(len(block) for block in blocks)
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-5)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", max_seconds=0.5), whole[:8_000])


@pytest.mark.parametrize(
    ("seconds", "rate", "channels"), [(3 * 3600, SAMPLE_RATE, 1), (600, 44_100, 2), (10, 48_000, 200)]
)
def test_memory_does_not_grow_with_length_or_channels(tmp_path: Path, seconds: int, rate: int, channels: int) -> None:
    sparse_wav(tmp_path / "long.wav", seconds, rate, channels)
    tracemalloc.start()
    try:
        samples = sum(len(block) for block in read_audio_blocks(tmp_path / "long.wav"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert abs(samples - seconds * SAMPLE_RATE) <= 1
    assert peak < 150 * 2**20


def test_writing_clips_samples_and_rejects_unknown_suffixes(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", np.array([-5.0, np.nan, 5.0, np.inf]))
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav"), [-1.0, 0.0, 1.0, 1.0], atol=1e-4)
    for name in ("a.docx", "a", "a.mp3"):
        with pytest.raises(ValueError, match="16-bit PCM"):
            write_audio(tmp_path / name, np.zeros(10))
