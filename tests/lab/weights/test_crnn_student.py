"""The trunk of TinyCRNN learns the outputs of both teachers for the same speech."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import HarkError
from lab.weights import crnn_student
from lab.weights.crnn_student import CrnnTrainConfig, train_crnn
from lab.weights.heard_speech import TABLE
from model.features import log_mel
from model.tiny.tiny_crnn import TrunkConfig
from model.tiny.trunk import CrnnTrunk
from tests.support.constants import replace_in
from tests.support.packed_speech import babble, packed_of

SMALL = TrunkConfig(stem=(4, 8), channels=24, dilations=(1, 2), recurrent=32)
SHORT = CrnnTrainConfig(hours=0.02, renderings=2, steps=60, batch=8, stretch=50, warmup_steps=5, shape=SMALL)


def test_a_killed_training_resumes_and_has_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_in(crnn_student, monkeypatch, CHECKPOINT_EVERY=20, VALIDATE_EVERY=20, VALIDATED=10)
    packed = packed_of(tmp_path, 6)
    told: list[int] = []
    measured: list[dict[str, float]] = []

    def train(killed_at: int = 0) -> CrnnTrunk:
        def tell(done: int, total: int, loss: float) -> None:
            told.append(done)
            if done == killed_at and loss == loss:
                raise KeyboardInterrupt

        trunk, errors = train_crnn(
            packed, SHORT, tmp_path / "crnn", tell, on_measured=lambda _, one: measured.append(one)
        )
        assert errors == measured[-1]
        return trunk

    with pytest.raises(KeyboardInterrupt):
        train(40)
    monkeypatch.setattr(crnn_student, "log_mel", lambda audio: pytest.fail("features are computed again"))
    told.clear()
    trunk = train()
    assert told == [60] and not trunk.training
    for name in ("noise/unexplained/phones", "quiet/unexplained/encoder"):
        assert measured[-1][name] < 0.9 * measured[0][name], name
    assert 0.0 <= measured[-1]["noise/agreement/phones"] <= 1.0


def test_interrupted_hearing_resumes_from_its_last_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.weights.heard_speech.BATCHES_A_TABLE", 1)
    monkeypatch.setattr("lab.weights.heard_speech.BATCH_SECONDS", 20.0)
    packed = packed_of(tmp_path, 6)
    once = replace(SHORT, steps=1)
    train_crnn(packed, once, tmp_path / "whole", lambda done, total, loss: None)
    calls = 0

    def killed(done: int, total: int, loss: float) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_crnn(packed, once, tmp_path / "parts", killed)
    with (tmp_path / "parts" / "features").open("ab") as file:
        file.write(b"half a piece")
    train_crnn(packed, once, tmp_path / "parts", lambda done, total, loss: None)
    for name in ("features", "encoder", TABLE):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_training_without_held_out_speakers_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="too little"):
        train_crnn(packed_of(tmp_path, 1), SHORT, tmp_path / "crnn", lambda done, total, loss: None)


def test_a_stream_in_pieces_has_the_outputs_of_the_whole() -> None:
    torch.manual_seed(0)
    trunk = CrnnTrunk().eval()
    frames = torch.from_numpy(log_mel(babble(np.random.default_rng(0), 4.0)))[None, :384]
    with torch.no_grad():
        whole, _ = trunk(frames, trunk.beginning())
        state, parts = trunk.beginning(), []
        for first, end in ((0, 8), (8, 100), (100, 104), (104, 384)):
            part, state = trunk(frames[:, first:end], state)
            parts.append(part)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)
    assert 150_000 < sum(value.numel() for value in trunk.parameters()) < 500_000
