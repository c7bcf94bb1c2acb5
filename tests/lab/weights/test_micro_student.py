"""The network for microcontrollers learns the standard backbone's outputs for the same speech."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import HarkError
from lab.weights import micro_student
from lab.weights.heard_speech import taught
from lab.weights.micro_student import FEATURE_WINDOW, StudentTrainConfig, train_student
from model.devices.micro_network import STRIDE, MicroNetwork
from model.features import HOP
from model.standard.backbone import shipped_backbone
from tests.support.packed_speech import babble, packed_of

SHORT = StudentTrainConfig(hours=0.05, steps=120, batch=8, stretch=60)


def test_the_student_learns_from_backbone_outputs_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = packed_of(tmp_path, 6)
    told: list[float] = []
    network, errors = train_student(packed, SHORT, tmp_path / "micro", lambda done, total, loss: told.append(loss))
    assert isinstance(network, MicroNetwork) and not network.training
    assert set(errors) == {"unexplained/states", "unexplained/phones"} and told[-1] == told[-1]
    monkeypatch.setattr(micro_student, "micro_features", lambda: pytest.fail("features are computed again"))
    _, at_first = train_student(packed, replace(SHORT, steps=1), tmp_path / "micro", lambda done, total, loss: None)
    assert errors["unexplained/phones"] < 0.5 * at_first["unexplained/phones"]


def test_training_without_held_out_speakers_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="too little"):
        train_student(packed_of(tmp_path, 1), SHORT, tmp_path / "micro", lambda done, total, loss: None)


def test_teacher_outputs_are_aligned_with_the_end_of_each_step() -> None:
    backbone, _ = shipped_backbone()
    audio = torch.from_numpy(babble(np.random.default_rng(1), 3.0))
    later = 12  # steps, a whole number of the backbone's
    ends = STRIDE * HOP * np.arange(90) + (STRIDE - 1) * HOP + FEATURE_WINDOW
    with torch.no_grad():
        states, phones = taught(backbone, audio, ends)
        shifted, _ = taught(backbone, torch.cat([torch.zeros(later * STRIDE * HOP), audio]), ends)
    assert states.shape == (90, 144) and phones.shape == (90, 82)
    spread = states[50:78].std()
    assert np.abs(shifted[62:90] - states[50:78]).mean() < 0.1 * spread
    assert np.abs(shifted[60:88] - states[50:78]).mean() > 0.2 * spread
