"""``detect`` on every kind of recording and on every kind of broken bundle."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support.command_line_samples import REPOSITORY, Run, assert_mendable, babble, error_of, write_bundle
from tests.support.hostile_bundles import loop_bundle

Main = Callable[..., int]
Shown = pytest.CaptureFixture[str]


def detect(main: Main, capsys: Shown, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main("detect", *arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def recording(tmp_path: Path) -> str:
    path = tmp_path / "recording.wav"
    soundfile.write(path, babble(10), 16_000)
    return str(path)


def test_detections_and_scores(main: Main, capsys: Shown, bundle: Path, recording: str) -> None:
    code, result = detect(main, capsys, str(bundle), recording, "--threshold", "0", "--scores")
    assert code == 0
    assert result["frame_s"] == 0.08 and result["seconds"] == {recording: 10.0}
    scores = result["scores"][recording]
    assert len(scores) >= 125 and all(0 <= score <= 1 for score in scores)
    first = result["detections"][0]
    assert first == {"file": recording, "time_s": 0.08, "score": scores[0]}
    code, result = detect(main, capsys, str(bundle), recording, "--threshold", "1")
    assert code == 0 and result["detections"] == [] and "scores" not in result


def test_a_model_that_never_ends_is_stopped(
    main: Main, capsys: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recording: str
) -> None:
    monkeypatch.setattr("model.runtime.detector.CALL_S", 1.0)
    monkeypatch.setattr("model.runtime.detector.CALL_TIMES", 0.1)
    for level in (-1.0, 0.0):  # when it is opened; when it hears something
        assert main("detect", str(loop_bundle(tmp_path / f"at {level}", from_level=level)), recording) == 2
        said = capsys.readouterr().err
        assert "The detector was stopped." in said and "more than" in said


def test_the_threshold_follows_the_false_alarms(main: Main, capsys: Shown, bundle: Path, recording: str) -> None:
    assert detect(main, capsys, str(bundle), recording)[1]["threshold"] == 0.999
    assert detect(main, capsys, str(bundle), recording, "--fa-per-day", "100")[1]["threshold"] == 0.001
    assert detect(main, capsys, str(bundle), recording, "--fa-per-day", "10")[1]["threshold"] == pytest.approx(0.5)


def test_the_small_model_and_an_unpacked_bundle(
    main: Main, capsys: Shown, bundle: Path, recording: str, tmp_path: Path
) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    _, full = detect(main, capsys, str(tmp_path / "unpacked"), recording, "--scores")
    _, small = detect(main, capsys, str(bundle), recording, "--scores", "--int8")
    assert np.allclose(full["scores"][recording], small["scores"][recording], atol=0.05)


def test_what_people_see(main: Main, capsys: Shown, bundle: Path, recording: str) -> None:
    assert main("detect", str(bundle), recording, "--threshold", "0") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{recording}  0:00.08  score 0.")
    assert lines[-1].startswith('"hey compass" heard ') and lines[-1].endswith(" in 0:10 of audio, threshold 0.000")
    assert main("detect", str(bundle), recording, "--threshold", "1") == 0
    assert capsys.readouterr().out == '"hey compass" not heard in 0:10 of audio, threshold 1.000\n'


def written(path: Path, audio: np.ndarray, rate: int = 16_000, **settings: str) -> str:
    soundfile.write(path, audio, rate, **settings)
    return str(path)


def test_odd_recordings_are_read(main: Main, capsys: Shown, bundle: Path, tmp_path: Path) -> None:
    files = [
        written(tmp_path / "8bit.wav", babble(2), subtype="PCM_U8"),
        written(tmp_path / "96k.wav", babble(2, 96_000), 96_000),
        written(tmp_path / "stereo.wav", np.stack([babble(2), babble(2)], axis=1)),
        written(tmp_path / "clipped.wav", np.clip(babble(2, level=50.0), -1, 1)),
        written(tmp_path / "short.wav", babble(0.001)),
        written(tmp_path / "opus.ogg", babble(2, 48_000), 48_000, format="OGG", subtype="OPUS"),
        written(tmp_path / "a [strange] näme.flac", babble(2)),
    ]
    code, result = detect(main, capsys, str(bundle), *files, "--scores")
    assert code == 0 and list(result["scores"]) == files
    assert all(result["seconds"][file] == pytest.approx(2.0, abs=0.02) for file in files if "short" not in file)


def test_a_silent_recording_is_pointed_out(main: Main, capsys: Shown, bundle: Path, tmp_path: Path) -> None:
    silent = written(tmp_path / "silent.wav", np.zeros(16_000, np.float32))
    assert main("detect", str(bundle), silent) == 0
    assert "is silent" in capsys.readouterr().err


def bad_recordings(folder: Path) -> dict[str, str]:
    whole = Path(written(folder / "whole.wav", babble(3)))
    (folder / "truncated.wav").write_bytes(whole.read_bytes()[:50_000])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "no-samples.wav").write_bytes(Path(written(folder / "none.wav", babble(0))).read_bytes())
    (folder / "document.wav").write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 50)
    (folder / "folder.wav").mkdir()
    flac = Path(written(folder / "whole.flac", babble(3))).read_bytes()
    (folder / "damaged.flac").write_bytes(flac[:20_000] + bytes(5_000) + flac[25_000:])
    names = (
        "truncated.wav",
        "empty.wav",
        "no-samples.wav",
        "document.wav",
        "folder.wav",
        "damaged.flac",
        "missing.wav",
    )
    return {name: str(folder / name) for name in names}


def test_bad_recordings_are_explained_and_the_others_read(
    main: Main, capsys: Shown, bundle: Path, recording: str, tmp_path: Path
) -> None:
    bad = bad_recordings(tmp_path)
    code, result = detect(main, capsys, str(bundle), *bad.values(), recording, "--threshold", "0")
    assert code == 2
    assert {error["file"] for error in result["errors"]} == set(bad.values())
    assert all(error[name] for error in result["errors"] for name in ("what", "why", "what_to_do"))
    assert result["error"]["what"] == result["errors"][0]["what"]
    heard = {hit["file"] for hit in result["detections"]}
    assert recording in heard and bad["truncated.wav"] in heard, "what could be read was listened to"


@pytest.mark.parametrize("name", ["truncated.wav", "empty.wav", "document.wav", "missing.wav"])
def test_a_bad_recording_alone(hark: Run, bundle: Path, tmp_path: Path, name: str) -> None:
    done = hark("detect", str(bundle), bad_recordings(tmp_path)[name])
    assert_mendable(done)
    assert name in done.stderr and done.stdout == ""


def damaged_bundles(bundle: Path, folder: Path) -> dict[str, Path]:
    with zipfile.ZipFile(bundle) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(contents.pop("manifest.json"))
    model = bytearray(contents["model.onnx"])
    model[len(model) // 2] ^= 1
    changed = {**contents, "model.onnx": bytes(model)}
    no_onnx = {**contents, "model.onnx": b"this is no model"}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in no_onnx.items()}
    (folder / "text.zip").write_text("this is no zip")
    (folder / "empty.zip").write_bytes(b"")
    (folder / "cut.zip").write_bytes(bundle.read_bytes()[:-100])
    (folder / "empty-folder").mkdir()

    def write(name: str, manifest: Any, contents: dict[str, bytes]) -> Path:
        return write_bundle(folder / f"{name}.zip", manifest, contents)

    return {
        "changed byte": write("changed", manifest, changed),
        "wrong schema": write("schema", {**manifest, "schema": 99}, contents),
        "no schema": write("no-schema", {k: v for k, v in manifest.items() if k != "schema"}, contents),
        "missing file": write("missing", manifest, {"model.int8.onnx": contents["model.int8.onnx"]}),
        "no manifest": write("no-manifest", None, contents),
        "a list": write("list", [1, 2], contents),
        "no phrase": write("phrase", {k: v for k, v in manifest.items() if k != "phrase"}, contents),
        "no thresholds": write("thresholds", {**manifest, "thresholds": []}, contents),
        "words for numbers": write("words", {**manifest, "sample_rate": "fast"}, contents),
        "no model": write("no-model", {**manifest, "files": digests}, no_onnx),
        "wrong state": write("state", {**manifest, "state_size": 3}, contents),
        "no zip": folder / "text.zip",
        "empty": folder / "empty.zip",
        "cut off": folder / "cut.zip",
        "empty folder": folder / "empty-folder",
        "nothing": folder / "nothing.zip",
    }


def test_damaged_bundles(main: Main, capsys: Shown, bundle: Path, recording: str, tmp_path: Path) -> None:
    for name, damaged in damaged_bundles(bundle, tmp_path).items():
        assert main("detect", str(damaged), recording, "--json") == 2, name
        shown = capsys.readouterr()
        error = error_of(shown.out)
        assert str(damaged) in error["what"] or "model" in error["what"], name
        assert "Traceback" not in shown.err


def test_any_changed_byte(main: Main, capsys: Shown, bundle: Path, tmp_path: Path) -> None:
    """Wherever a byte changes: either it does not matter (a date in the zip), or it is refused and explained."""
    recording = written(tmp_path / "recording.wav", babble(0.5))
    whole = bundle.read_bytes()
    rng = np.random.default_rng(0)
    places = [*range(0, 40, 3), *rng.integers(0, len(whole), 24), *range(len(whole) - 120, len(whole), 8)]
    damaged = tmp_path / "damaged.zip"
    refused = 0
    for place in places:
        content = bytearray(whole)
        content[place] ^= 0x55
        damaged.write_bytes(content)
        code = main("detect", str(damaged), recording, "--json")
        output = capsys.readouterr().out
        assert code in (0, 2), f"byte {place}: {output}"
        refused += code == 2
        if code == 2:
            error_of(output)
    assert refused > len(places) / 2


PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.slow(reason="reads 20 minutes of audio")
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_memory_does_not_grow_with_the_length(bundle: Path, tmp_path: Path) -> None:
    """20 minutes at 44.1 kHz stereo (212 MB as samples) cost no more memory than one: 3 hours will not either."""
    assert resource.getpagesize() > 0
    peaks = {}
    for minutes in (1, 20):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 44_100, 2, subtype="PCM_16") as target:
            minute = np.stack([babble(60, 44_100)] * 2, axis=1)
            for _ in range(minutes):
                target.write(minute)
        command = [sys.executable, str(REPOSITORY / "main.py"), "detect", str(bundle), str(path), "--scores", "--json"]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *command],
            env={**os.environ, "HARK_DATA": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        code, peak = done.stdout.split()
        assert code == "0", done.stderr
        peaks[minutes] = int(peak) / 1024
    assert peaks[20] < peaks[1] + 60, f"MiB: {peaks}"
