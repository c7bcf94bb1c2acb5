"""The runtime alone: damaged bundles, recordings of every kind, and its command line."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
import sys
import wave
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from model.runtime import detector as runtime
from model.runtime.detector import Bundle, BundleError, Detector, read_wav_blocks
from tests.support.sounds import speech

OwnBundle = Callable[..., Path]
RATE = 16_000


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return target


def refused(path: Path, int8: bool = False) -> BundleError:
    with pytest.raises(BundleError) as raised:
        Detector(path, int8=int8)
    error = raised.value
    assert error.what and error.why and error.what_to_do
    return error


# Bundles.


def test_a_zip_and_its_folder_give_the_same_scores(bundle: Path, tmp_path: Path) -> None:
    audio = speech(2.0)
    scores = [Detector(path).scores(audio) for path in (bundle, zipped(bundle, tmp_path / "b.zip"), str(bundle))]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])
    assert Detector(bundle).phrase == "hey compass"


def test_a_missing_path_is_reported(tmp_path: Path) -> None:
    assert "cannot be found" in refused(tmp_path / "none.zip").what


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"%PDF-1.4 no zip", bytes(5000)])
def test_a_file_that_is_not_a_zip_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.zip"
    path.write_bytes(content)
    assert "not a bundle" in refused(path).what


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
def test_a_missing_file_of_the_bundle_is_named(own_bundle: OwnBundle, tmp_path: Path, name: str) -> None:
    folder = own_bundle()
    (folder / name).unlink()
    for path in (folder, zipped(folder, tmp_path / "b.zip")):
        error = refused(path)
        assert "not a complete bundle" in error.what and name in error.why


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_a_different_schema_version_is_rejected(own_bundle: OwnBundle, schema: Any) -> None:
    assert repr(schema) in refused(own_bundle(schema=schema)).why


@pytest.mark.parametrize("text", ["", "{", "[]", '"schema"', '{"schema": 1}', "\x00\xff"])
def test_a_damaged_manifest_is_rejected(own_bundle: OwnBundle, text: str) -> None:
    folder = own_bundle()
    (folder / "manifest.json").write_text(text)
    assert "damaged manifest" in refused(folder).what


@pytest.mark.parametrize("changes", [{"files": []}, {"thresholds": []}])
def test_a_manifest_without_digests_or_thresholds_is_rejected(own_bundle: OwnBundle, changes: dict[str, Any]) -> None:
    assert "damaged manifest" in refused(own_bundle(**changes)).what


@pytest.mark.parametrize("int8", [False, True])
def test_a_changed_byte_in_a_model_is_rejected(own_bundle: OwnBundle, tmp_path: Path, int8: bool) -> None:
    folder = own_bundle()
    path = folder / ("model.int8.onnx" if int8 else "model.onnx")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for damaged in (folder, zipped(folder, tmp_path / "b.zip")):
        error = refused(damaged, int8)
        assert "changed or damaged" in error.what and path.name in error.why
        Detector(damaged, int8=not int8)  # the other model is intact


def test_a_file_unknown_to_the_manifest_is_rejected(own_bundle: OwnBundle) -> None:
    folder = own_bundle()
    (folder / "more.txt").write_text("x")
    with pytest.raises(BundleError, match="changed or damaged"):
        Bundle(folder).read("more.txt")


def test_a_damaged_zip_never_gives_a_traceback(bundle: Path, tmp_path: Path) -> None:
    whole = zipped(bundle, tmp_path / "whole.zip").read_bytes()
    path = tmp_path / "damaged.zip"
    rng = np.random.default_rng(0)
    read = 0
    for number in range(150):
        content = bytearray(whole)
        if number % 3 == 0:
            content = content[: rng.integers(len(content))]
        else:
            content[rng.integers(len(content)) if number % 3 == 1 else -1 - rng.integers(400)] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            opened = Bundle(path)
            for name in ("model.pt", "model.onnx", "model.int8.onnx"):
                assert hashlib.sha256(opened.read(name)).hexdigest() == opened.manifest["files"][name]
            read += 1
        except BundleError:
            pass
    assert read < 120


def test_a_model_that_onnxruntime_cannot_load_is_reported(own_bundle: OwnBundle) -> None:
    nonsense = b"no model"
    folder = own_bundle(files={"model.onnx": hashlib.sha256(nonsense).hexdigest()})
    (folder / "model.onnx").write_bytes(nonsense)
    assert "cannot be loaded" in refused(folder).what


def test_thresholds_are_interpolated_from_the_manifest(bundle: Path) -> None:
    opened = Bundle(bundle)
    assert opened.threshold() == pytest.approx(0.6) == opened.threshold(12.0)
    assert opened.threshold(48) == pytest.approx(0.4)
    assert opened.threshold(1.0) == pytest.approx(0.9)
    rates = np.geomspace(1, 48, 20)
    levels = [opened.threshold(float(rate)) for rate in rates]
    assert (np.diff(levels) < 0).all()
    for beyond in (0.0, -1.0, float("nan"), 0.99, 48.1, float("inf")):
        with pytest.raises(BundleError, match="calibrated for 1 to 48 per day"):
            opened.threshold(beyond)
    assert Detector(bundle, fa_per_day=48).threshold == pytest.approx(0.4)
    assert Detector(bundle, fa_per_day=48, threshold=0.7).threshold == 0.7


# Recordings.


def sound(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 1500 * time)


def write_pcm(path: Path, audio: np.ndarray, width: int, rate: int = RATE) -> Path:
    """PCM WAV of [samples] or [samples, channels] in bytes a sample."""
    frames = audio if audio.ndim == 2 else audio[:, None]
    whole = np.rint(frames * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    if width == 1:
        data = (whole + 128).astype(np.uint8).tobytes()
    else:
        data = b"".join(int(v).to_bytes(width, "little", signed=True) for v in whole.reshape(-1))
    with wave.open(str(path), "wb") as target:
        target.setnchannels(frames.shape[1])
        target.setsampwidth(width)
        target.setframerate(rate)
        target.writeframes(data)
    return path


def read(path: Path, rate: int = RATE) -> np.ndarray:
    return np.concatenate(list(read_wav_blocks(path, rate)))


@pytest.fixture(params=["soundfile", "wave"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With soundfile, and with NumPy and onnxruntime only."""
    if request.param == "wave":
        monkeypatch.setitem(sys.modules, "soundfile", None)
    return str(request.param)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_every_pcm_sample_width_is_read(reader: str, tmp_path: Path, width: int) -> None:
    audio = sound(0.5)
    heard = read(write_pcm(tmp_path / "a.wav", audio, width))
    assert heard.dtype == np.float32 and heard.shape == audio.shape
    np.testing.assert_allclose(heard, audio, atol=0.012 if width == 1 else 1e-4)
    extremes = read(write_pcm(tmp_path / "b.wav", np.array([1.0, -1.0, 0.0]), width))
    np.testing.assert_allclose(extremes, [1, -1, 0], atol=0.012 if width == 1 else 1e-4)


def test_stereo_is_mixed_and_block_sizes_do_not_matter(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = sound(1.0), -0.5 * sound(1.0)
    path = write_pcm(tmp_path / "a.wav", np.stack([left, right], axis=1), 2)
    whole = read(path)
    np.testing.assert_allclose(whole, (left + right) / 2, atol=1e-4)
    monkeypatch.setattr("model.runtime.detector.BLOCK_S", 0.1)
    blocks = list(read_wav_blocks(path, RATE))
    assert len(blocks) == 10
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_other_sample_rates_are_resampled(reader: str, tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(1.5, rate), rate, subtype="PCM_16")
    heard = read(path)
    assert len(heard) == round(int(1.5 * rate) * RATE / rate)
    inner = slice(800, 23_000)  # a tone that begins abruptly rings at its ends
    np.testing.assert_allclose(heard[inner], sound(1.5)[: len(heard)][inner], atol=1e-3)


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_blocks_are_resampled_without_seams(rate: int) -> None:
    time = np.arange(int(75.3 * rate)) / rate
    audio = (0.5 * np.sin(2 * np.pi * 1000 * time + 1) + 0.2 * np.sin(2 * np.pi * 3000 * time)).astype(np.float32)
    wanted = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(int(75.3 * RATE)) / RATE + 1)
    wanted = wanted + 0.2 * np.sin(2 * np.pi * 3000 * np.arange(len(wanted)) / RATE)
    whole = np.concatenate(list(runtime._resample([audio], rate, RATE)))
    parts = np.concatenate(list(runtime._resample(np.array_split(audio, 11), rate, RATE)))
    np.testing.assert_array_equal(parts, whole)
    assert len(whole) == round(len(audio) * RATE / rate)
    assert np.abs(whole - wanted[: len(whole)])[1000:-1000].max() < 1e-4, "the error is below -80 dBFS, also at seams"
    assert np.abs(whole).max() < 0.75


def test_resampling_removes_frequencies_above_nyquist() -> None:
    time = np.arange(48_000 * 2) / 48_000
    high = np.sin(2 * np.pi * 9000 * time).astype(np.float32)
    heard = np.concatenate(list(runtime._resample([high], 48_000, RATE)))
    assert np.abs(heard[1000:-1000]).max() < 1e-3, "9 kHz is not aliased to 7 kHz"
    kept = np.concatenate(list(runtime._resample([np.sin(2 * np.pi * 7500 * time).astype(np.float32)], 48_000, RATE)))
    assert np.abs(kept[1000:-1000]).max() == pytest.approx(1.0, abs=0.01)


def test_an_empty_recording_is_rejected(reader: str, tmp_path: Path) -> None:
    for rate in (RATE, 44_100):
        with pytest.raises(BundleError, match="contains no audio"):
            read(write_pcm(tmp_path / "a.wav", np.zeros(0), 2, rate))


def test_a_recording_of_one_sample_is_accepted(reader: str, tmp_path: Path) -> None:
    assert len(read(write_pcm(tmp_path / "a.wav", np.zeros(1), 2))) == 1


@pytest.mark.parametrize("content", [b"", b"RIFF", b"%PDF-1.4 " * 100, b"RIFF\x00\x00\x00\x00WAVEfmt "])
def test_a_file_that_is_not_a_recording_is_rejected(reader: str, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(BundleError) as raised:
        read(path)
    assert "not a recording" in raised.value.what and raised.value.why != "." and raised.value.what_to_do
    with pytest.raises(BundleError, match="cannot be found"):
        read(tmp_path / "none.wav")


def test_a_truncated_recording_is_read_up_to_its_end(reader: str, tmp_path: Path) -> None:
    whole = write_pcm(tmp_path / "a.wav", np.stack([sound(1.0)] * 2, axis=1), 2).read_bytes()
    (tmp_path / "b.wav").write_bytes(whole[: len(whole) // 2 + 1])
    heard = read(tmp_path / "b.wav")
    assert 7900 < len(heard) < 8100
    np.testing.assert_allclose(heard, sound(1.0)[: len(heard)], atol=1e-4)


def test_other_formats_need_soundfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, sound(), RATE)
    np.testing.assert_allclose(read(path), sound(), atol=1e-3)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(BundleError, match="pip install soundfile"):
        read(path)


def test_invalid_headers_give_an_error_without_a_traceback(reader: str, tmp_path: Path) -> None:
    whole = write_pcm(tmp_path / "a.wav", sound(0.1), 2).read_bytes()
    for offset, value in ((22, 0), (22, 200), (24, 0), (24, 2**31), (34, 0), (34, 12), (34, 64)):
        content = bytearray(whole)
        content[offset : offset + (4 if offset == 24 else 2)] = struct.pack("<I" if offset == 24 else "<H", value)
        (tmp_path / "b.wav").write_bytes(content)
        try:
            assert np.isfinite(read(tmp_path / "b.wav")).all()
        except BundleError:
            pass


# The command line.


def run(bundle: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``detect.py`` next to the bundle's files, as a user does."""
    script = bundle / "detect.py"
    if not script.exists():
        shutil.copy(runtime.__file__, script)
    return subprocess.run(
        [sys.executable, str(script), *map(str, arguments)], capture_output=True, text=True, cwd=bundle, timeout=60
    )


def test_the_command_line_prints_detections(own_bundle: OwnBundle, tmp_path: Path) -> None:
    folder = own_bundle(phrase="où est-il")
    recording = write_pcm(tmp_path / "a.wav", np.clip(speech(8.0, 5), -1, 1), 2)
    audio = read(recording)
    expected = Detector(folder, threshold=0.5)
    hits = [hit for scores in expected.score_recording([audio]) for hit in expected.detections(scores)]
    assert hits
    done = run(folder, "--wav", recording, "--threshold", "0.5", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [found["time_s"] for found in answer["detections"]] == [hit.time_s for hit in hits]
    assert {found["file"] for found in answer["detections"]} == {str(recording)} and answer["frame_s"] == 0.08
    words = run(folder, "--wav", recording, recording, "--threshold", "0.5", "--int8")
    assert words.returncode == 0 and words.stdout.count("où est-il") >= 2
    none = run(folder, "--wav", recording, "--threshold", "1")
    assert none.returncode == 0 and "was not detected" in none.stdout


def test_detections_at_the_microphone_are_printed_as_json(
    own_bundle: OwnBundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def microphone(rate: int, chunk: int) -> Iterator[np.ndarray]:
        yield speech(8.0, 5)
        raise KeyboardInterrupt

    monkeypatch.setattr(runtime, "_microphone", microphone)
    assert runtime.main(["--mic", "--bundle", str(own_bundle()), "--threshold", "0.5", "--json"]) == 130
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert hits and set(hits[0]) == {"time_s", "score"}


def test_an_error_that_the_user_can_fix_has_exit_code_2(own_bundle: OwnBundle, tmp_path: Path) -> None:
    folder = own_bundle()
    for arguments in (
        ("--wav", tmp_path / "none.wav"),
        ("--wav", folder / "detect.py"),
        ("--bundle", tmp_path / "x", "--wav", "y"),
    ):
        done = run(folder, *arguments)
        assert done.returncode == 2 and "What to do:" in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert run(folder).returncode == 2  # argparse: neither --wav nor --mic


def test_an_unreadable_recording_does_not_stop_the_others(own_bundle: OwnBundle, tmp_path: Path) -> None:
    folder = own_bundle()
    recordings = [write_pcm(tmp_path / name, np.clip(speech(8.0, 5), -1, 1), 2) for name in ("a.wav", "b.wav")]
    given = ("--wav", recordings[0], tmp_path / "none.wav", recordings[1], "--threshold", "0.5")
    done = run(folder, *given, "--json")
    assert done.returncode == 2 and done.stderr.count("What to do:") == 1 and "none.wav" in done.stderr
    assert {found["file"] for found in json.loads(done.stdout)["detections"]} == {str(path) for path in recordings}
    assert str(recordings[1]) in run(folder, *given).stdout


def test_main_leaves_the_callers_output_open(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = write_pcm(tmp_path / "a.wav", sound(0.5), 2)
    for _ in range(2):
        assert runtime.main(["--wav", str(recording), "--bundle", str(bundle), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["frame_s"] == 0.08
    assert not sys.stdout.closed
