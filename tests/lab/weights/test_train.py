from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.events import silent_reporter
from lab.weights import backbone_in_noise, train
from lab.weights.train import train_weights
from model.asr.packed import open_pack
from model.standard.backbone import EmbeddingBackbone, shipped_backbone
from model.weights import load_weights
from pipeline.asr.training import AcousticRun
from tests.support.acoustic_corpus import corpus, few_rooms

__all__ = ["few_rooms"]


def test_one_command_trains_and_writes_weights(tmp_path: Path) -> None:
    run = AcousticRun((corpus(tmp_path),), epochs=1.0, batch_size=4, synthetic=8)
    result = train_weights("backbone", run, tmp_path / "asr", silent_reporter())
    model, about = load_weights(Path(result["weights"]), EmbeddingBackbone)
    assert about["training_corpora"] == ["words"] and "festival" not in about["training_engines"]
    assert model.config.phones == 41
    real = [utterance.split for utterance in open_pack(tmp_path / "asr" / "speech").utterances if utterance.real]
    assert len(real) == 24 and result["steps"] == round(real.count("train") / 4)
    assert result["loss"] > 0.1


def test_a_fine_tuned_backbone_records_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, first = shipped_backbone()
    asked: list[Any] = []

    def train(*given: Any) -> tuple[Any, dict[str, float]]:
        asked.extend(given)
        return backbone, {}

    monkeypatch.setattr(backbone_in_noise, "train_in_noise", train)
    run = AcousticRun((corpus(tmp_path),), epochs=3.0, batch_size=1, synthetic=0)
    result = train_weights("backbone-in-noise", run, tmp_path / "out", silent_reporter())
    packed, config, folder = asked[:3]
    assert (config.steps, config.batch_size) == (3 * len(packed.where("train")), 1) and result["steps"] == config.steps
    assert folder == tmp_path / "out" / "backbone-in-noise"
    _, about = load_weights(Path(result["weights"]), EmbeddingBackbone)
    assert set(about["training_corpora"]) == {*first["training_corpora"], "words"}
    assert about["licences"] == first["licences"] and about["version"] == first["version"] + 1


def test_the_command_prints_the_result_or_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    asked: list[Any] = []

    def trained(*given: Any) -> dict[str, Any]:
        asked.extend(given[:3])
        return {"weights": "w"}

    monkeypatch.setattr(train, "train_weights", trained)
    assert train.main(["verifier", "speech", "--synthetic", "0", "--seed", "2"]) == 0
    assert asked == ["verifier", AcousticRun((Path("speech"),), synthetic=0, seed=2), tmp_path / "asr"]
    assert json.loads(capsys.readouterr().out) == {"weights": "w"}
    monkeypatch.undo()
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    assert train.main(["micro", str(tmp_path / "gone")]) == 1
    assert str(tmp_path / "gone") in capsys.readouterr().err
