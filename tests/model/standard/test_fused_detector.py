"""A keyword HMM and a network on one backbone: the network learns what the HMM cannot, and streams use both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import load_checkpoint
from model.dataset import AudioDataset, BatchRecipe, FeatureStore, FeatureWriter, open_store
from model.detector import score_segments
from model.features import CHUNK_SAMPLES, FFT, HOP
from model.phones import PHONE_OUTPUTS, phone_indices
from model.standard.backbone import shipped_backbone
from model.standard.backbone_detector import BackboneDetector
from model.standard.fused_detector import NETWORK_WEIGHT, SUREST, FusedDetector, network_match
from model.train import TrainConfig, train
from tests.support.sounds import speech

SNOWBOY = tuple(phone_indices(("s", "n", "oʊ", "b", "ɔɪ")))
FRAMES = 120  # of 20 ms in a segment


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    return speech(8.0, 5)[: 90 * CHUNK_SAMPLES]


@pytest.fixture
def detector() -> FusedDetector:
    torch.manual_seed(0)
    return FusedDetector.of_phrase(shipped_backbone()[0], (SNOWBOY,), 1.2)


@torch.no_grad()
def test_frames_hold_phone_posteriors_and_backbone_states(detector: FusedDetector, audio: np.ndarray) -> None:
    backbone = detector.backbone
    heard = torch.from_numpy(detector.encode(audio))[None]
    sound = torch.from_numpy(audio[CHUNK_SAMPLES - (FFT - HOP) :])[None]  # frames of a stream end where chunks end
    states = backbone.states(backbone.convolved(backbone.mel(sound)))  # type: ignore[operator]
    assert heard.shape[2] == detector.config.stored.width == PHONE_OUTPUTS + states.shape[2] // 2
    np.testing.assert_allclose(heard[..., :PHONE_OUTPUTS].square().sum(2), 1.0, atol=1e-4)
    plain = BackboneDetector.of_phrase(shipped_backbone()[0], (SNOWBOY,), 1.2)
    np.testing.assert_allclose(heard[..., :PHONE_OUTPUTS], plain.encode(audio)[None], atol=1e-5)
    again = detector.states(heard)
    assert states.std() > 0.5
    np.testing.assert_allclose(again[0, -states.shape[1] :], states[0], atol=1e-4)


def test_all_export_forms_agree(detector: FusedDetector, audio: np.ndarray, forms_agree: Callable[..., None]) -> None:
    for parameter in detector.network.parameters():
        parameter.data.mul_(3.0)  # the scores of an untrained network hardly vary
    detector.centre(-2.4)
    assert detector.stream_scores(audio).std() > 0.05
    forms_agree(detector, audio)


@torch.no_grad()
def test_the_match_is_the_hmm_match_plus_the_network_score(detector: FusedDetector, audio: np.ndarray) -> None:
    stored = detector.encode(audio)[None]
    plain = BackboneDetector.matches(detector, stored)
    logits = detector(torch.from_numpy(stored))
    assert logits.shape == (*plain.shape, detector.config.network.members)
    expected = plain + NETWORK_WEIGHT * logits.mean(2).numpy()
    np.testing.assert_allclose(super(FusedDetector, detector).matches(stored), plain)
    np.testing.assert_allclose(detector.matches(stored), expected, atol=1e-5)
    assert network_match(torch.full((1, 1, 3), 100.0)).item() == pytest.approx(NETWORK_WEIGHT * SUREST)


@pytest.fixture
def store(tmp_path: Path, detector: FusedDetector) -> FeatureStore:
    """Frames with meaningless phones; a phrase ends in the middle of half of them, where some states are high."""
    writer = FeatureWriter(tmp_path / "store")
    rng = np.random.default_rng(0)
    width = detector.config.stored.width
    for number in range(160):
        frames = rng.normal(0.0, 1.0, (FRAMES, width)).astype(np.float32)
        frames[:, :PHONE_OUTPUTS] = np.sqrt(1.0 / PHONE_OUTPUTS)
        said = number % 2
        if said:
            frames[FRAMES // 2 - 20 : FRAMES // 2, PHONE_OUTPUTS : PHONE_OUTPUTS + 6] += 3.0
        writer.append(
            frames, split="train" if number < 120 else "validation", label=said, condition="clean",
            bucket="positive" if said else "plain_negative", engine="e", voice="v", speaker="s", clip_id=number,
            text="", phrase_start=FRAMES // 2 - 30 if said else -1, phrase_end=FRAMES // 2 if said else -1,
        )  # fmt: skip
    writer.close()
    return open_store(tmp_path / "store", width)


def test_training_changes_the_network_and_not_the_backbone(
    detector: FusedDetector, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.train.best_device", lambda: "cuda")  # the model is too small for a GPU
    steps = TrainConfig(60, 48, 3e-3, ema_decay=0.9, evaluations=2, recipe=BatchRecipe(prefix=0.0))
    train(store, detector, steps, tmp_path, lambda progress: None)
    learned, _ = load_checkpoint(str(tmp_path / "best.pt"))
    assert isinstance(learned, FusedDetector)
    assert learned.front_end_id == detector.front_end_id
    held = store.where(split="validation")
    peak = {
        label: np.mean([stream.scores.max() for stream in score_segments(learned, store, held[held["label"] == label])])
        for label in (0, 1)
    }
    assert peak[1] > 50 * peak[0], "the network has learned what the HMM cannot"
    first = [member[1].weight for member in learned.network.members]  # type: ignore[index]
    assert not torch.allclose(first[0], first[1]), "the members of the ensemble differ"


def test_windows_begin_at_a_step(detector: FusedDetector, store: FeatureStore) -> None:
    dataset = AudioDataset(store.segments, store.frames, detector.config.stored)
    ends = np.asarray([100, 101])
    even, odd = dataset.windows(np.asarray([3, 3]), ends)
    np.testing.assert_array_equal(even, odd)
    alone = replace(detector.config.stored, at_once=1)
    even, odd = AudioDataset(store.segments, store.frames, alone).windows(np.asarray([3, 3]), ends)
    np.testing.assert_array_equal(even[1:], odd[:-1])
