"""A negative set of a small corpus, from the command that makes the shipped one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.audio_file import write_audio
from lab.weights.negative_set import main, negative_utterances
from model.large.encoder import encoder_name
from pipeline.training.negatives.negative_set import about_negatives, negative_segments


def corpus(folder: Path, speakers: int) -> Path:
    rng = np.random.default_rng(len(folder.name))
    for speaker in range(speakers):
        for number in range(2):
            place = folder / f"{folder.name}{speaker}"
            place.mkdir(parents=True, exist_ok=True)
            write_audio(place / f"{number}.wav", (0.1 * rng.standard_normal(32_000)).astype(np.float32))
    (folder / "broken.wav").write_bytes(b"no sound")
    (folder / "LICENSE").write_text("CC0 1.0")
    return folder


def test_each_speaker_is_in_one_split(tmp_path: Path) -> None:
    heard, unheard = corpus(tmp_path / "heard", 5), corpus(tmp_path / "unheard", 12)
    found = negative_utterances([heard], [unheard], 6 / 3600, 0)
    assert [u.split for u in found if u.corpus == "heard"] == ["train"] * 3, "two seconds each"
    by_speaker: dict[str, set[str]] = {}
    for utterance in found:
        by_speaker.setdefault(utterance.speaker, set()).add(utterance.split)
    assert all(len(splits) == 1 for splits in by_speaker.values())
    assert set.union(*by_speaker.values()) == {"train", "validation", "test"}


def test_one_command_builds_a_negative_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard, unheard = corpus(tmp_path / "heard", 2), corpus(tmp_path / "unheard", 6)
    negatives = tmp_path / "negatives.zip"
    assert main([str(heard), "--held-out", str(unheard), "--out", str(negatives)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["licences"] == {"heard": "CC0-1.0", "unheard": "CC0-1.0"} and said["bytes"] == negatives.stat().st_size
    about = about_negatives(negatives)
    assert about["backbone"] == encoder_name() and set(about["hours"]) == {"train", "validation", "test"}
    assert {piece.row["split"] for piece in negative_segments(negatives, np.inf, 0)} == {"validation", "test"}
    assert main([str(tmp_path / "nowhere"), "--out", str(negatives)]) == 1
    assert "nowhere" in capsys.readouterr().err
