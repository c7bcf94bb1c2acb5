"""``detect``: its detections, output and refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support.command_line_samples import REPOSITORY, Main, Shown, babble, error_of


def detect(main: Main, capsys: Shown, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main("detect", *arguments, "--json")
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def recording(tmp_path: Path) -> str:
    path = tmp_path / "a [strange] näme.flac"
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
    assert lines[-1].startswith('"hey compass" detected ') and lines[-1].endswith(" in 0:10 of audio, threshold 0.000")
    assert main("detect", str(bundle), recording, "--threshold", "1") == 0
    assert capsys.readouterr().out == '"hey compass" not detected in 0:10 of audio, threshold 1.000\n'


def test_a_silent_recording_is_pointed_out(main: Main, capsys: Shown, bundle: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000, np.float32), 16_000)
    assert main("detect", str(bundle), str(tmp_path / "silent.wav")) == 0
    assert "is silent" in capsys.readouterr().err


def test_bad_recordings_are_explained_and_the_others_read(
    main: Main, capsys: Shown, bundle: Path, recording: str, tmp_path: Path
) -> None:
    truncated, document, missing = (str(tmp_path / f"{name}.wav") for name in ("truncated", "document", "missing"))
    soundfile.write(truncated, babble(3), 16_000)
    Path(truncated).write_bytes(Path(truncated).read_bytes()[:50_000])
    Path(document).write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 50)
    files = [truncated, document, missing]
    code, result = detect(main, capsys, str(bundle), *files, recording, "--threshold", "0")
    assert code == 2
    assert [error["file"] for error in result["errors"]] == files
    assert all(error[name] for error in result["errors"] for name in ("what", "why", "what_to_do"))
    assert result["error"]["what"] == result["errors"][0]["what"]
    heard = {hit["file"] for hit in result["detections"]}
    assert heard == {recording, truncated}, "what could be read was listened to"
    assert main("detect", str(bundle), missing) == 2
    shown = capsys.readouterr()
    assert missing in shown.err and "  What to do: " in shown.err and shown.out == ""


def test_a_damaged_bundle(main: Main, capsys: Shown, bundle: Path, recording: str, tmp_path: Path) -> None:
    """Refusals are tested where bundles are opened; this tests the command's message."""
    (tmp_path / "cut.zip").write_bytes(bundle.read_bytes()[:-100])
    assert main("detect", str(tmp_path / "cut.zip"), recording, "--json") == 2
    assert str(tmp_path / "cut.zip") in error_of(capsys.readouterr().out)["what"]


PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_memory_does_not_grow_with_the_length(bundle: Path, tmp_path: Path) -> None:
    """20 minutes of 44.1 kHz stereo (212 MB of samples) need no more memory than one, so 3 hours do not either."""
    peaks = {}
    for minutes in (1, 20):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 44_100, 2, subtype="PCM_16") as target:
            minute = np.stack([babble(60, 44_100)] * 2, axis=1)
            for _ in range(minutes):
                target.write(minute)
        command = [sys.executable, str(REPOSITORY / "main.py"), "detect", str(bundle), str(path), "--scores", "--json"]
        environment = {**os.environ, "HARK_DATA": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", PEAK, *command], env=environment, capture_output=True, text=True)
        code, peak = done.stdout.split()
        assert code == "0", done.stderr
        peaks[minutes] = int(peak) / 1024
    assert peaks[20] < peaks[1] + 60, f"MiB: {peaks}"
