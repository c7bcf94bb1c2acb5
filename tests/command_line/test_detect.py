"""``detect``: its detections, output and refusals."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.command_line_samples import REPOSITORY, Cli
from tests.support.sounds import noise


@pytest.fixture
def recording(tmp_path: Path) -> str:
    path = tmp_path / "a [strange] näme.flac"
    soundfile.write(path, noise(10), 16_000)
    return str(path)


def test_json_has_detections_and_scores(cli: Cli, bundle: Path, recording: str) -> None:
    result = cli.json("detect", str(bundle), recording, "--threshold", "0", "--scores")
    assert result["frame_s"] == 0.08 and result["seconds"] == {recording: 10.0}
    scores = result["scores"][recording]
    assert len(scores) >= 125 and all(0 <= score <= 1 for score in scores)
    first = result["detections"][0]
    assert first == {"file": recording, "time_s": 0.08, "score": scores[0]}
    result = cli.json("detect", str(bundle), recording, "--threshold", "1")
    assert result["detections"] == [] and "scores" not in result


def test_fa_per_day_selects_the_threshold(cli: Cli, bundle: Path, recording: str) -> None:
    for options, threshold in (((), 0.999), (("--fa-per-day", "100"), 0.001), (("--fa-per-day", "10"), 0.5)):
        result = cli.json("detect", str(bundle), recording, *options)
        assert result["threshold"] == pytest.approx(threshold, abs=1e-9)


def test_int8_and_an_unpacked_bundle_score_alike(cli: Cli, bundle: Path, recording: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    full = cli.json("detect", str(tmp_path / "unpacked"), recording, "--scores")
    small = cli.json("detect", str(bundle), recording, "--scores", "--int8")
    assert np.allclose(full["scores"][recording], small["scores"][recording], atol=0.05)


def test_text_output_lists_detections(cli: Cli, bundle: Path, recording: str) -> None:
    lines = cli("detect", str(bundle), recording, "--threshold", "0").splitlines()
    assert lines[0].startswith(f"{recording}  0:00.08  score 0.")
    assert lines[-1].startswith('"hey compass" detected ') and lines[-1].endswith(" in 0:10 of audio, threshold 0.000")
    cli("detect", str(bundle), recording, "--threshold", "1")
    assert cli.out == '"hey compass" not detected in 0:10 of audio, threshold 1.000\n'


def test_a_silent_recording_gives_a_warning(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000, np.float32), 16_000)
    cli("detect", str(bundle), str(tmp_path / "silent.wav"))
    assert "is silent" in cli.err


def test_unreadable_recordings_are_reported_and_the_others_scored(
    cli: Cli, bundle: Path, recording: str, tmp_path: Path
) -> None:
    truncated, document, missing = (str(tmp_path / f"{name}.wav") for name in ("truncated", "document", "missing"))
    soundfile.write(truncated, noise(3), 16_000)
    Path(truncated).write_bytes(Path(truncated).read_bytes()[:50_000])
    Path(document).write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 50)
    files = [truncated, document, missing]
    result = cli.json("detect", str(bundle), *files, recording, "--threshold", "0", code=2)
    assert [error["file"] for error in result["errors"]] == files
    assert all(error[name] for error in result["errors"] for name in ("what", "why", "what_to_do"))
    assert result["error"]["what"] == result["errors"][0]["what"]
    heard = {hit["file"] for hit in result["detections"]}
    assert heard == {recording, truncated}, "the readable recordings were scored"
    cli("detect", str(bundle), missing, code=2)
    assert missing in cli.err and "  What to do: " in cli.err and cli.out == ""


def test_a_damaged_bundle_is_named_in_the_error(cli: Cli, bundle: Path, recording: str, tmp_path: Path) -> None:
    """Refusals are tested where bundles are opened; this tests the command's message."""
    (tmp_path / "cut.zip").write_bytes(bundle.read_bytes()[:-100])
    assert str(tmp_path / "cut.zip") in cli.refused("detect", str(tmp_path / "cut.zip"), recording)["what"]


PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_memory_does_not_grow_with_the_recording(bundle: Path, tmp_path: Path) -> None:
    """20 minutes of 44.1 kHz stereo (212 MB of samples) need no more memory than one, so 3 hours do not either."""
    peaks = {}
    for minutes in (1, 20):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 44_100, 2, subtype="PCM_16") as target:
            minute = np.stack([noise(60, rate=44_100)] * 2, axis=1)
            for _ in range(minutes):
                target.write(minute)
        command = [sys.executable, str(REPOSITORY / "main.py"), "detect", str(bundle), str(path), "--scores", "--json"]
        environment = {**os.environ, "HARK_DATA": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", PEAK, *command], env=environment, capture_output=True, text=True)
        code, peak = done.stdout.split()
        assert code == "0", done.stderr
        peaks[minutes] = int(peak) / 1024
    assert peaks[20] < peaks[1] + 60, f"MiB: {peaks}"
