"""Checkpoints: what is written is read, and what earlier versions of Hark have written, too."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import HarkError
from model.backbone import BackboneConfig
from model.backbone_detector import BackboneDetector, BackboneDetectorConfig
from model.checkpoint import config_from_dict, load_checkpoint, save_checkpoint
from model.detector import scores_of_many
from model.encoder_detector import EncoderDetector, EncoderDetectorConfig
from model.phones import PHONE_OUTPUTS
from model.second_pass import RESCORED_WEIGHT
from model.tiny_crnn import TinyCRNN, TinyCRNNConfig

# Made when one class was all three kinds, with their scores of what sound() and phones() give.
OLD = Path(__file__).with_name("old_checkpoints")
WAYS = ((5, 12, 30, 8), (5, 12, 31, 8))


def sound(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * 16_000)) / 16_000
    tone = np.sin(2 * np.pi * (300 * t + 400 * np.sin(3 * t)))
    return (0.2 * tone * (1 + np.sin(2 * np.pi * 2.3 * t)) / 2).astype(np.float32)


def phones(frames: int, rescored: bool) -> np.ndarray:
    """Stored frames [frames, 41], or with a column that says how they were rescored."""
    k = np.arange(frames)[:, None] * 0.37 + np.arange(41)[None] * 1.7
    p = np.exp(3 * np.sin(k) + 2 * np.cos(0.11 * k * k))
    roots = np.sqrt(p / p.sum(1, keepdims=True))
    column = np.clip(np.sin(np.arange(frames) / 9), 0, 1)[:, None]
    return np.concatenate([roots, column], 1).astype(np.float32)[:, : 42 if rescored else 41]


@pytest.mark.parametrize(
    ("name", "kind"), [("crnn", TinyCRNN), ("backbone", BackboneDetector), ("encoder", EncoderDetector)]
)
def test_a_checkpoint_of_before_gives_the_scores_of_before(name: str, kind: type[Any], tmp_path: Path) -> None:
    old, extra = load_checkpoint(str(OLD / f"{name}.pt"))
    assert type(old) is kind
    save_checkpoint(old, str(tmp_path / "new.pt"))
    new, _ = load_checkpoint(str(tmp_path / "new.pt"))
    assert type(new) is kind and new.config == old.config
    for detector in (old, new):
        if "stream" in extra["expected"]:
            scores = detector.stream_scores(sound(3.0))
            assert np.std(extra["expected"]["stream"]) > 0.02
            np.testing.assert_allclose(scores, extra["expected"]["stream"], atol=1e-4)
        if "stored" in extra["expected"]:
            frames = phones(100 if name == "encoder" else 60, name == "encoder")
            frames[:, PHONE_OUTPUTS:] *= RESCORED_WEIGHT  # what it stored had this for a unit
            (scores,) = scores_of_many(detector, [frames])
            np.testing.assert_allclose(scores, extra["expected"]["stored"], atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        replace(TinyCRNNConfig.of_size("micro", 1.1), backbone=BackboneConfig(dilations=(1, 3)), dropout=0.25),
        BackboneDetectorConfig(
            pronunciations=WAYS, backbone=BackboneConfig(phones=41), anti_keywords=WAYS[:1], anti_keyword_margin=0.05
        ),
        EncoderDetectorConfig(
            pronunciations=WAYS, encoder="some encoder", spellings=((3, 4), (5,)), rescore_above=-3.25
        ),
    ],
)
def test_a_configuration_survives_json(config: Any) -> None:
    values = json.loads(json.dumps(config.as_dict()))
    assert config_from_dict(values) == config
    assert config_from_dict({**values, "of_a_later_version": 1}) == config


def test_a_configuration_of_before_anti_keywords_and_rescoring_is_read() -> None:
    values = torch.load(OLD / "backbone.pt", weights_only=True)["config"]
    for name in ("decoys", "decoy_margin", "spellings", "rescore_above"):  # as they were called
        del values[name]
    config = config_from_dict(values)
    assert isinstance(config, BackboneDetectorConfig) and config.anti_keywords == () and config.window_frames == 28


def test_a_checkpoint_holds_what_belongs_to_it(tmp_path: Path, make_model: Callable[..., TinyCRNN]) -> None:
    model = make_model()
    save_checkpoint(model, str(tmp_path / "model.pt"), {"manifest": {"phrase": "hey compass"}})
    loaded, extra = load_checkpoint(str(tmp_path / "model.pt"))
    assert isinstance(loaded, TinyCRNN) and loaded.config == model.config and not loaded.training
    assert extra == {"manifest": {"phrase": "hey compass"}}
    features = torch.randn(2, model.config.receptive_frames, 40)
    with torch.no_grad():
        assert torch.equal(loaded(features), model(features))


@pytest.mark.parametrize("injury", ["cut off", "other bytes", "no zip", "other values", "no configuration"])
def test_a_damaged_checkpoint_is_refused_in_words(
    tmp_path: Path, make_model: Callable[..., TinyCRNN], injury: str
) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(make_model(), str(path))
    content = path.read_bytes()
    if injury == "no configuration":
        torch.save({"weights": {}}, path)
    elif injury == "other values":
        torch.save({"config": {"kind": "crnn", "window_s": "x"}, "weights": {}}, path)
    else:
        damaged = {
            "cut off": content[:5000],
            "other bytes": content[:700] + bytes(300) + content[1000:],
            "no zip": b"x",
        }
        path.write_bytes(damaged[injury])
    with pytest.raises(HarkError) as refused:
        load_checkpoint(str(path))
    assert refused.value.what.startswith("The detector's checkpoint") and str(refused.value).isprintable()
    assert len(refused.value.why) < 400
