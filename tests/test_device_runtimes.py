"""A command's files in their devices' runtimes detect an unseen engine's voice, and are silent in other speech."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.data_folder import REPOSITORY
from db.db_api import Library
from pipeline.training.negatives.negative_speech import NEGATIVE_SPEECH, RESERVED_FOR_MEASURING
from tests.support.device_runtimes import detections

PHRASE = "hey compass"
HELD_OUT = "piper"  # speaks only in the run's test
OTHER_SPEECH_S = 600.0
HEARD_SHARE = {"esphome": 0.5, "openwakeword": 0.7}
RUN_S = 3600.0  # on two busy cores
pytestmark = [
    pytest.mark.devices,
    pytest.mark.timeout(RUN_S + 600),
]


def other_speech() -> np.ndarray:
    """Return real people of the file's test split, who neither train a detector nor set its threshold."""
    sounds, seconds = [], 0.0
    with zipfile.ZipFile(NEGATIVE_SPEECH) as archive:
        for row in json.loads(archive.read("table.json")):
            if row["split"] == "test" and row["corpus"] not in RESERVED_FOR_MEASURING and seconds < OTHER_SPEECH_S:
                sound, rate = soundfile.read(io.BytesIO(archive.read(row["file"])), dtype="float32")
                assert rate == 16_000
                sounds.append(sound)
                seconds += len(sound) / rate
    return np.concatenate(sounds)


def test_device_files_detect_a_new_voice_without_false_alarms(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HARK_NO_DOWNLOAD"}
    command = ["train", PHRASE, "--effort", "quick", "--size", "standard", "--hold-out", HELD_OUT, "--yes"]
    command += ["--for", "esphome", "--for", "openwakeword", "--data", str(tmp_path / "data"), "--json"]
    ran = subprocess.run(
        [sys.executable, str(REPOSITORY / "main.py"), *command],
        env=environment | {"HARK_SHARED": str(tmp_path / "none")}, capture_output=True, text=True, timeout=RUN_S,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    with zipfile.ZipFile(json.loads(ran.stdout)["bundle"]) as bundle:
        files = {name: bundle.read(name) for name in bundle.namelist() if name.endswith((".tflite", ".json"))}
    with Library(tmp_path / "data") as library:
        said = [clip for clip in library.clips_with_texts([PHRASE], "en") if clip.engine == HELD_OUT]
        voices = [library.read_audio(clip) for clip in said]
    assert len(voices) >= 5
    pause = np.zeros(32_000, np.float32)
    phrases = np.concatenate([pause, *(part for voice in voices for part in (voice, pause))])
    rng = np.random.default_rng(0)
    phrases += (1e-3 * rng.standard_normal(len(phrases))).astype(np.float32)
    others = other_speech()
    for device, share in HEARD_SHARE.items():
        own = {name: content for name, content in files.items() if name.startswith(f"{device}/")}
        heard, false = (detections(device, own, audio, tmp_path) for audio in (phrases, others))
        print(f"{device}: {heard} of {len(voices)} heard, {false} false alarms in ten minutes")
        assert heard >= share * len(voices) and not false
