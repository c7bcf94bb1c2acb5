"""Checkpoints: load returns what save wrote, or explains the refusal of a damaged file."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import HarkError
from model.asr.network import shipped_recognizer
from model.checkpoint import config_from_dict, load_checkpoint, save_checkpoint
from model.dataset import store_soft_logits
from model.devices.micro_network import shipped_micro_network
from model.large.encoder_detector import EncoderDetectorConfig
from model.large.phone_head import shipped_head
from model.large.verifier import shipped_verifier
from model.standard.backbone import EmbeddingBackboneConfig, shipped_backbone
from model.standard.backbone_detector import BackboneDetectorConfig
from model.tiny_crnn import BackboneConfig, TinyCRNN
from tests.support.small_crnn import lively_model, small_crnn

WAYS = ((5, 12, 30, 8), (5, 12, 31, 8))


@pytest.mark.parametrize(
    "config",
    [
        replace(small_crnn(1.1), backbone=BackboneConfig(dilations=(1, 3)), dropout=0.25),
        BackboneDetectorConfig(
            pronunciations=WAYS,
            backbone=EmbeddingBackboneConfig(states=True),
            anti_keywords=WAYS[:1],
            anti_keyword_margin=0.05,
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


def test_a_checkpoint_stores_weights_config_and_manifest(tmp_path: Path) -> None:
    model = lively_model()
    save_checkpoint(model, str(tmp_path / "model.pt"), {"manifest": {"phrase": "hey compass"}})
    loaded, extra = load_checkpoint(str(tmp_path / "model.pt"))
    assert isinstance(loaded, TinyCRNN) and loaded.config == model.config and not loaded.training
    assert extra == {"manifest": {"phrase": "hey compass"}}
    features = torch.randn(2, model.config.receptive_frames, 40)
    with torch.no_grad():
        assert torch.equal(loaded(features), model(features))


@pytest.mark.parametrize("injury", ["cut off", "other bytes", "no zip", "other values", "no configuration"])
def test_a_damaged_checkpoint_is_rejected_with_a_message(tmp_path: Path, injury: str) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(lively_model(), str(path))
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


@pytest.mark.parametrize(
    "shipped", [shipped_backbone, shipped_head, shipped_micro_network, shipped_verifier, shipped_recognizer]
)
def test_shipped_weights_name_the_licence_of_each_corpus(shipped: Callable[[], tuple[Any, dict[str, Any]]]) -> None:
    about = shipped()[1]
    assert about["training_corpora"] and set(about["training_corpora"]) <= set(about["licences"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
def test_a_full_disk_is_an_os_error_with_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("fit", "dataset"):
        monkeypatch.setattr(f"model.{module}.atomic_path", lambda path: nullcontext(Path("/dev/full")))
    for write in (
        lambda: save_checkpoint(lively_model(), str(tmp_path / "model.pt")),
        lambda: store_soft_logits(tmp_path, np.zeros(100_000)),
    ):
        with pytest.raises(OSError) as raised:
            write()
        assert raised.value.errno == errno.ENOSPC
