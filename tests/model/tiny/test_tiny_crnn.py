"""TinyCRNN on the pretrained trunk: its forms agree, it learns a pattern, and its program needs PyTorch alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import load_checkpoint, save_checkpoint
from model.dataset import BatchRecipe, FeatureWriter, open_store
from model.detector import score_segments
from model.features import CHUNK_FRAMES, CHUNK_SAMPLES, MELS, SAMPLE_RATE, log_mel
from model.tiny import tiny_crnn, tiny_detector
from model.tiny.tiny_crnn import TrunkConfig
from model.tiny.tiny_detector import WINDOW_FRAMES, TinyCRNN
from model.tiny.trunk import CrnnTrunk, shipped_trunk
from model.train import TrainConfig, train
from tests.support.sounds import speech

SMALL = TrunkConfig(stem=(4, 8), channels=24, dilations=(1, 2), recurrent=32)


@pytest.fixture
def detector() -> TinyCRNN:
    """A random detector whose scores vary."""
    torch.manual_seed(0)
    model = TinyCRNN.of_trunk(CrnnTrunk(SMALL))
    features = torch.from_numpy(log_mel(speech(8.0, 99)))[None]
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the plain mean of what it has seen
    with torch.no_grad():
        model.train()(features)
        logits = model.eval()(features)
        last = model.head[-1]
        assert isinstance(last, torch.nn.Linear)
        last.weight.mul_(2.0 / logits.std())
        last.bias.copy_((last.bias - logits.mean()) * 2.0 / logits.std())
    return model


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    return speech(8.0, 5)[: 90 * CHUNK_SAMPLES]


def test_all_export_forms_agree(detector: TinyCRNN, audio: np.ndarray, forms_agree: Callable[..., None]) -> None:
    assert detector.stream_scores(audio).std() > 0.05
    forms_agree(detector, audio)


def test_scores_of_stored_frames_begin_with_the_first_whole_window(detector: TinyCRNN, audio: np.ndarray) -> None:
    frames = log_mel(audio)[: WINDOW_FRAMES + 5 * CHUNK_FRAMES]
    scores = detector.scores(frames[None])
    with torch.no_grad():
        logits, _ = detector.logits(torch.from_numpy(frames)[None], detector.trunk.beginning())
        first = detector(torch.from_numpy(frames[None, :WINDOW_FRAMES]))
    assert scores.shape == (1, 6)
    np.testing.assert_allclose(scores, torch.sigmoid(logits[:, -6:]).numpy(), atol=1e-6)
    np.testing.assert_allclose(torch.sigmoid(first).numpy(), scores[:, :1], atol=1e-6)


@torch.no_grad()
def test_a_stream_in_pieces_has_the_logits_of_the_whole(detector: TinyCRNN, audio: np.ndarray) -> None:
    given = torch.from_numpy(audio)[None]
    whole, _ = detector.stream(given, detector.beginning())
    state, parts = detector.beginning(), []
    for first, end in ((0, 1), (1, 4), (4, 30), (30, 90)):
        part, state = detector.stream(given[:, first * CHUNK_SAMPLES : end * CHUNK_SAMPLES], state)
        parts.append(part)
    np.testing.assert_allclose(torch.cat(parts, 1), whole, atol=1e-5)


def test_its_log_mel_is_that_of_stored_examples(detector: TinyCRNN, audio: np.ndarray) -> None:
    computed = detector.log_mel(torch.from_numpy(audio)[None])[0]
    np.testing.assert_allclose(computed, log_mel(audio), atol=2e-3)
    assert (tiny_crnn.CHUNK, tiny_crnn.MELS) == (CHUNK_SAMPLES, MELS)


def test_training_windows_begin_with_memories_of_others(detector: TinyCRNN, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_detector, "WINDOW_FRAMES", CHUNK_FRAMES)  # soon afterwards, random weights forget
    windows = torch.randn(16, CHUNK_FRAMES, MELS)
    fresh = detector.train()(windows)
    carried = detector(windows)
    changed = (fresh - carried).abs().flatten() > 1e-6
    assert changed.any() and not changed.all()
    assert torch.equal(detector.eval()(windows), detector(windows))
    with torch.no_grad():
        assert detector.train()(windows[:3]).shape == (3, 1), "a batch of another size begins without memories"


def test_it_learns_a_pattern(detector: TinyCRNN, tmp_path: Path) -> None:
    writer = FeatureWriter(tmp_path / "store")
    rng = np.random.default_rng(0)
    frames, end = WINDOW_FRAMES + 40, WINDOW_FRAMES + 8
    for number in range(80):
        values = rng.normal(-6.0, 1.0, (frames, MELS)).astype(np.float32)
        said = number % 2
        if said:
            values[end - 40 : end, 10:20] += 4.0
        writer.append(
            values, split="train" if number < 60 else "validation", label=said, condition="clean",
            bucket="positive" if said else "plain_negative", engine="e", voice="v", speaker="s", clip_id=number,
            text="", phrase_start=end - 40 if said else -1, phrase_end=end if said else -1,
        )  # fmt: skip
    writer.close()
    store = open_store(tmp_path / "store")
    steps = TrainConfig(60, 24, 3e-3, ema_decay=0.9, evaluations=2, recipe=BatchRecipe(prefix=0.0))
    train(store, detector, steps, tmp_path, lambda progress: None)
    learned, _ = load_checkpoint(str(tmp_path / "best.pt"))
    held = store.where(split="validation")
    peak = {
        label: np.mean([stream.scores.max() for stream in score_segments(learned, store, held[held["label"] == label])])
        for label in (0, 1)
    }
    assert peak[1] > 0.5 > 2 * peak[0]


def test_the_program_needs_neither_hark_nor_numpy(detector: TinyCRNN, audio: np.ndarray, tmp_path: Path) -> None:
    scores = detector.stream_scores(audio)
    means = (scores[1:] + scores[:-1]) / 2
    threshold = float(np.sort(means)[-2:].mean())
    manifest = {
        "phrase": "hey compass", "default_fa_per_day": 12.0, "smoothing_frames": 2, "refractory_s": 2.5,
        "thresholds": [{"fa_per_day": 12.0, "threshold": threshold}],
    }  # fmt: skip
    save_checkpoint(detector, str(tmp_path / "model.pt"), {"manifest": manifest})
    shutil.copy(tiny_crnn.__file__, tmp_path)
    with wave.open(str(tmp_path / "recording.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((audio * 32_767).astype("<i2").tobytes())
    program = (
        "import sys; sys.argv[1:] = ['model.pt', 'recording.wav']; sys.path.insert(0, '.'); import tiny_crnn;"
        "tiny_crnn.main(); assert not {'model', 'core', 'pipeline'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    at = (int(means.argmax()) + 2) * 0.08
    assert done.stdout == f"{at:.2f} s: hey compass\n"


def test_the_shipped_trunk_is_one_that_learned_people() -> None:
    trunk, about = shipped_trunk()
    assert TinyCRNN.of_trunk(trunk).parameter_count() == 418_737
    assert "speechocean762" in about["training_corpora"] and not about["training_engines"]


def test_one_detection_is_told_once() -> None:
    scores = [0.0, 0.9, 0.9, 0.1, 0.9, 0.9, *[0.0] * 30, 0.9, 0.9]
    assert list(tiny_crnn.detections(scores, 0.8)) == pytest.approx([3 * 0.08, 38 * 0.08])
