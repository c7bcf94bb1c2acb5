"""Recordings converted to 16 kHz FLAC, joined and drawn; names, limits, failures of decoding."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.confinement.confined import MEMORY_BYTES
from core.errors import HarkError
from core.events import Reporter
from pipeline.recordings.files import media
from pipeline.recordings.files.media import (
    MediaFacts,
    MediaLimits,
    clean_name,
    merge,
    normalize,
    peaks,
    probe,
    suffix_of,
    waveform,
)
from tests.support.programs import needs_ffmpeg
from tests.support.sounds import tone


@pytest.fixture
def fake_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Replace ffmpeg or another program with a shell script; the others stay the real ones."""

    def make(script: str, name: str = "ffmpeg") -> None:
        folder = tmp_path / "programs"
        folder.mkdir()
        program = folder / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return make


def normalized(folder: Path, sound: np.ndarray, rate: int = 16_000) -> tuple[MediaFacts, np.ndarray]:
    """Write a recording and normalize it; return its facts and the resulting samples."""
    soundfile.write(folder / "in.wav", sound, rate)
    facts = normalize(folder / "in.wav", folder / "a.flac", MediaLimits())
    return facts, soundfile.read(folder / "a.flac")[0]


def test_mono_audio_stays_mono_and_is_resampled(decoder: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", tone(2, rate=44_100), 44_100)
    facts = normalize(tmp_path / "in.wav", tmp_path / "out" / "audio.flac", MediaLimits())
    found, rate = soundfile.read(tmp_path / "out" / "audio.flac")
    assert (rate, found.ndim, facts.channels) == (16_000, 1, 1)
    assert facts.duration_s == pytest.approx(2.0, abs=0.01) and len(found) == pytest.approx(32_000, abs=160)
    spectrum = np.abs(np.fft.rfft(found[:16_000]))
    assert int(spectrum.argmax()) == 440
    assert np.abs(found[1000:-1000]).max() == pytest.approx(0.3, abs=0.02)
    assert soundfile.info(tmp_path / "out" / "audio.flac").subtype == "PCM_16"


def test_two_channels_stay_separate(decoder: str, tmp_path: Path) -> None:
    facts, found = normalized(tmp_path, np.stack([tone(1, hertz=300), tone(1, hertz=700)], axis=1))
    assert facts.channels == 2
    assert [int(np.abs(np.fft.rfft(found[:, side])).argmax()) for side in (0, 1)] == [300, 700]


@pytest.mark.parametrize("channels", [3, 7, 11])
def test_more_channels_are_mixed_evenly(decoder: str, tmp_path: Path, channels: int) -> None:
    sounds = np.zeros((16_000, channels))
    sounds[:, channels - 1] = tone(1, level=0.9)  # ffmpeg's own mixing would leave some channels out
    facts, found = normalized(tmp_path, sounds)
    assert facts.channels == 1
    assert np.abs(found).max() == pytest.approx(0.9 / channels, rel=0.05)


def test_audio_shorter_than_one_sample_is_rejected(decoder: str, tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="no samples"):
        normalized(tmp_path, np.full(1, 0.5), 48_000)


def test_normalization_progress_is_reported(decoder: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.flac", tone(20), 16_000)
    seen: list[dict[str, object]] = []
    normalize(tmp_path / "in.flac", tmp_path / "a.flac", MediaLimits(), Reporter(seen.append))
    progress = [event for event in seen if event["event"] == "progress"]
    assert progress[-1]["done"] == pytest.approx(progress[-1]["total"], rel=0.01)


@needs_ffmpeg
def test_the_audio_of_a_video_is_extracted(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", tone(1), 16_000)
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=duration=1:size=64x64:rate=5"]
    command += ["-i", str(tmp_path / "in.wav"), "-shortest", str(tmp_path / "in.mkv")]
    subprocess.run(command, check=True, timeout=60)
    found = probe(tmp_path / "in.mkv")
    assert found.channels == 1
    assert normalize(tmp_path / "in.mkv", tmp_path / "a.flac", MediaLimits()).duration_s == pytest.approx(1, abs=0.1)


def test_probe_reads_duration_rate_and_channels(decoder: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.flac", np.stack([tone(1, rate=48_000)] * 2, axis=1), 48_000)
    assert probe(tmp_path / "in.flac") == MediaFacts(1.0, 48_000, 2)


def test_the_length_limit_admits_meetings_and_advises_by_role(monkeypatch: pytest.MonkeyPatch) -> None:
    MediaLimits.from_environment().check_seconds(3 * 3600)
    for limits, remedy in (
        (MediaLimits.from_environment(), "set HARK_UPLOAD_MAX_SECONDS to more seconds"),
        (MediaLimits.from_environment(owner=False), "ask the owner"),
    ):
        with pytest.raises(HarkError, match="The limit here is 4 hours") as error:
            limits.check_seconds(4 * 3600 + 1)
        assert remedy in error.value.what_to_do and ("HARK_" in error.value.what_to_do) == limits.owner
        with pytest.raises(HarkError, match="The limit here is 1000 MB") as error:
            limits.check_bytes(1_000_000_001)
        assert ("HARK_UPLOAD_MAX_BYTES" in error.value.what_to_do) == limits.owner
    monkeypatch.setenv("HARK_UPLOAD_MAX_SECONDS", "2700")
    with pytest.raises(HarkError, match="The limit here is 45 minutes"):
        MediaLimits.from_environment().check_seconds(2701)


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decoder: str) -> None:
    monkeypatch.setenv("HARK_UPLOAD_MAX_SECONDS", "2")
    monkeypatch.setenv("HARK_UPLOAD_MAX_BYTES", "100000")
    assert MediaLimits.from_environment() == MediaLimits(100_000, 2.0)
    soundfile.write(tmp_path / "in.flac", tone(3), 16_000)
    with pytest.raises(HarkError, match="too long") as error:
        normalize(tmp_path / "in.flac", tmp_path / "a.flac", MediaLimits.from_environment())
    assert "HARK_UPLOAD_MAX_SECONDS" in error.value.what_to_do
    soundfile.write(tmp_path / "in.wav", tone(4, rate=32_000), 32_000)
    with pytest.raises(HarkError, match="too large"):
        normalize(tmp_path / "in.wav", tmp_path / "a.flac", MediaLimits.from_environment())
    assert not (tmp_path / "a.flac").exists()
    monkeypatch.setenv("HARK_UPLOAD_MAX_SECONDS", "for ever")
    assert MediaLimits.from_environment().max_seconds == MediaLimits.max_seconds, "serve and doctor report it"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


@needs_ffmpeg
@pytest.mark.parametrize("script", ["kill -9 $$", "exec sleep 60"])
def test_a_killed_or_hung_ffmpeg_is_reported(
    tmp_path: Path, fake_ffmpeg: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    fake_ffmpeg(script)
    monkeypatch.setattr(media, "DECODE_TIMEOUT_S", 0.3)
    started = time.monotonic()
    with pytest.raises(HarkError, match="SIGKILL"):
        normalized(tmp_path, tone(1))
    assert time.monotonic() - started < 10
    assert files_in(tmp_path) == ["in.wav"]


@needs_ffmpeg
def test_a_probe_timeout_blames_the_busy_machine(
    tmp_path: Path, fake_ffmpeg: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ffmpeg("exec sleep 60", "ffprobe")
    monkeypatch.setattr(media, "PROBE_TIMEOUT_S", 0.3)
    with pytest.raises(HarkError, match="not read in time") as refused:
        normalized(tmp_path, tone(1))
    assert "ffprobe" in refused.value.why and "machine is busy" in refused.value.why


@pytest.mark.parametrize(
    "says", ['{"streams": [1]}', '{"streams": [{"codec_type": "audio"}], "format": []}', "5", "[1]"]
)
def test_answers_of_the_probe_process_are_validated(
    decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    monkeypatch.setattr(media, "_run_probe", lambda command, path: (json.loads(says), ""))
    with pytest.raises(HarkError, match="gave an invalid answer"):
        normalized(tmp_path, tone(1))


@needs_ffmpeg
def test_ffmpeg_runs_with_limited_memory(tmp_path: Path, fake_ffmpeg: Callable[[str], None]) -> None:
    limits = "resource.getrlimit(resource.RLIMIT_AS)[0], resource.getrlimit(resource.RLIMIT_CORE)[0]"
    fake_ffmpeg(f"exec {sys.executable} -I -c 'import resource, sys; sys.exit(f\"Cannot allocate, of {{{limits}}}\")'")
    with pytest.raises(HarkError, match=rf"Cannot allocate, of \({MEMORY_BYTES}, 0\)"):
        normalized(tmp_path, tone(1))


def test_a_full_disk_is_reported_and_leaves_no_file(decoder: str, tmp_path: Path, small_disk: Path) -> None:
    soundfile.write(tmp_path / "in.wav", np.random.default_rng(0).uniform(-1, 1, 1_000_000), 16_000)
    with pytest.raises(HarkError, match="disk is full"):
        normalize(tmp_path / "in.wav", small_disk / "a.flac", MediaLimits())
    assert list(small_disk.iterdir()) == []


def test_files_are_joined_into_one_session(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "1.flac", np.stack([tone(1), 0 * tone(1)], axis=1), 16_000)
    soundfile.write(tmp_path / "2.flac", np.stack([tone(2), tone(2)], axis=1), 16_000)
    merge([tmp_path / "1.flac", tmp_path / "2.flac"], tmp_path / "s.flac", MediaLimits())
    found, rate = soundfile.read(tmp_path / "s.flac")
    assert found.shape == (56_000, 2) and rate == 16_000
    assert np.abs(found[16_000:24_000]).max() == 0 and np.abs(found[:16_000, 0]).max() > 0.25
    soundfile.write(tmp_path / "3.flac", tone(1), 16_000)
    merge([tmp_path / "1.flac", tmp_path / "3.flac"], tmp_path / "t.flac", MediaLimits())
    mixed, _ = soundfile.read(tmp_path / "t.flac")
    assert mixed.ndim == 1
    assert np.abs(mixed[:16_000]).max() == pytest.approx(0.15, abs=0.01)  # the mean of the two channels


def test_too_long_or_unreadable_files_are_not_joined(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "1.flac", tone(1), 16_000)
    with pytest.raises(HarkError, match="too long"):
        merge([tmp_path / "1.flac"] * 3, tmp_path / "s.flac", MediaLimits(max_seconds=3.5))
    (tmp_path / "2.flac").write_bytes(b"no sound")
    with pytest.raises(HarkError, match="cannot be read"):
        merge([tmp_path / "1.flac", tmp_path / "2.flac"], tmp_path / "s.flac", MediaLimits())
    assert files_in(tmp_path) == ["1.flac", "2.flac"]


def test_a_waveform_has_the_peaks_of_the_audio(tmp_path: Path) -> None:
    sound = np.concatenate([0 * tone(10), tone(10, level=0.25), tone(10, level=0.75)])
    soundfile.write(tmp_path / "a.flac", np.stack([0 * sound, sound], axis=1), 16_000)
    found = waveform(tmp_path / "a.flac", 30)
    assert found == [0.0] * 10 + [0.25] * 10 + [0.75] * 10
    assert len(waveform(tmp_path / "a.flac")) <= 1600
    assert peaks(-sound, 30) == found and peaks(sound[:5], 2) == [0.0, 0.0] and peaks(sound[:0], 30) == []
    soundfile.write(tmp_path / "b.flac", sound[:5], 16_000)
    assert len(waveform(tmp_path / "b.flac", 100)) == 5
    with pytest.raises(HarkError, match="cannot be read"):
        waveform(tmp_path / "nothing.flac")


@pytest.mark.parametrize(
    ("name", "shown", "suffix"),
    [
        ("call.WAV", "call.WAV", ".wav"),
        ("../../etc/passwd", "passwd", ""),
        ("C:\\Users\\me\\Meeting 1.m4a", "Meeting 1.m4a", ".m4a"),
        ("a\x00b\x1b[31m\nc.mp3", "ab[31m c.mp3", ".mp3"),
        ("in\u202evoice\u200b.ogg", "invoice.ogg", ".ogg"),
        ("/", "recording", ""),
        (" \t", "recording", ""),
        ("..", "recording", ""),
        ("Besprechung\u00a0Zürich.flac", "Besprechung Zürich.flac", ".flac"),
        ("x.tar;rm -rf", "x.tar;rm -rf", ""),
    ],
)
def test_file_names_are_cleaned(name: str, shown: str, suffix: str) -> None:
    assert (clean_name(name), suffix_of(name)) == (shown, suffix)


def test_a_long_name_keeps_its_suffix() -> None:
    found = clean_name("n" * 5000 + ".flac")
    assert len(found) == 120 and found.endswith("n.flac")
