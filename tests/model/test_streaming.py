"""A score depends on its window of audio alone: not on padding, chunk sizes, or the hour before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model import tiny_crnn
from model.detector import in_batches, scores_of_many
from model.export import Streaming
from model.features import CHUNK_SAMPLES, log_mel
from model.keyword_hmm import MATCH_POOL
from model.runtime.detector import SMOOTHING_FRAMES, Detector, smooth_scores
from tests.support.sounds import speech
from tests.support.untrained_bundle import keyword_hmm_model

TOLERANCE = 1e-5  # difference of scores: libraries add products in different orders


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    return speech(6.0, 5)[: 70 * CHUNK_SAMPLES]


@pytest.fixture
def detector(bundle: Path) -> Detector:
    return Detector(bundle)


def settled(detector: Detector) -> int:
    """Return the number of scores after which earlier audio no longer matters."""
    return -(-detector.bundle.manifest["receptive_samples"] // CHUNK_SAMPLES) + SMOOTHING_FRAMES - 1


def test_detector_scores_equal_those_of_the_pytorch_model(detector: Detector, exported: Any, audio: np.ndarray) -> None:
    scores = detector.scores(audio)
    assert scores.std() > 0.1
    raw = exported.model.stream_scores(audio)
    np.testing.assert_allclose(scores[1:], (raw[1:] + raw[:-1]) / 2, atol=1e-4)


@pytest.mark.parametrize("chunk", [1, 333, 1280, 1281, 16_000, 10**9])
@pytest.mark.parametrize("int8", [False, True])
def test_chunk_sizes_do_not_change_the_scores(bundle: Path, audio: np.ndarray, chunk: int, int8: bool) -> None:
    audio = audio[: 20 * CHUNK_SAMPLES] if chunk == 1 else audio
    detector = Detector(bundle, int8=int8)
    whole = detector.scores(audio)
    detector.reset()
    parts = [detector.scores(audio[start : start + chunk]) for start in range(0, len(audio), chunk)]
    joined = np.concatenate(parts)
    assert len(joined) == len(whole) == len(audio) // CHUNK_SAMPLES
    np.testing.assert_allclose(joined, whole, atol=TOLERANCE)


@pytest.mark.parametrize("chunks_of_padding", [1, 2, 7, 100])
def test_leading_silence_does_not_change_the_scores(
    detector: Detector, audio: np.ndarray, chunks_of_padding: int
) -> None:
    expected = detector.scores(audio)
    detector.reset()
    silence = np.zeros(chunks_of_padding * CHUNK_SAMPLES, np.float32)
    padded = detector.scores(np.concatenate([silence, audio, silence]))
    np.testing.assert_allclose(padded[chunks_of_padding : chunks_of_padding + len(expected)], expected, atol=TOLERANCE)


def test_earlier_sound_has_no_effect_beyond_the_receptive_field(detector: Detector, audio: np.ndarray) -> None:
    expected = detector.scores(audio)
    start = settled(detector)
    for before in (speech(3.2, 8), np.ones(20 * CHUNK_SAMPLES, np.float32), speech(8.0, 9) * 30):
        detector.reset()
        detector.scores(before[: len(before) // CHUNK_SAMPLES * CHUNK_SAMPLES])
        np.testing.assert_allclose(detector.scores(audio)[start:], expected[start:], atol=TOLERANCE)


def test_samples_that_are_not_numbers_count_as_silence(detector: Detector, audio: np.ndarray) -> None:
    silent = detector.scores(np.zeros(3 * CHUNK_SAMPLES, np.float32))
    expected = detector.scores(audio)
    detector.reset()
    np.testing.assert_allclose(detector.scores(np.full(3 * CHUNK_SAMPLES, np.nan)), silent, atol=TOLERANCE)
    np.testing.assert_allclose(detector.scores(audio), expected, atol=TOLERANCE)
    assert np.isfinite(detector.scores(np.full(CHUNK_SAMPLES, np.inf))).all()


@pytest.mark.parametrize("int8", [False, True])
def test_an_hour_of_earlier_speech_does_not_change_the_scores(bundle: Path, audio: np.ndarray, int8: bool) -> None:
    detector = Detector(bundle, int8=int8)
    expected = detector.scores(audio)
    detector.reset()
    minutes = [speech(60.0, seed) for seed in range(4)]
    for minute in range(60):
        heard = detector.scores(minutes[minute % 4] * (0.5 + minute / 60))
        assert np.isfinite(heard).all()
    after = detector.scores(audio)
    start = settled(detector)
    np.testing.assert_allclose(after[start:], expected[start:], atol=TOLERANCE)


def test_a_recording_is_scored_completely_and_the_next_starts_fresh(detector: Detector, audio: np.ndarray) -> None:
    odd = audio[:-500]
    blocks = [odd[start : start + 7000] for start in range(0, len(odd), 7000)]
    first = np.concatenate(list(detector.score_recording(blocks)))
    again = np.concatenate(list(detector.score_recording(blocks)))
    np.testing.assert_allclose(again, first, atol=TOLERANCE)
    assert len(first) * CHUNK_SAMPLES >= len(odd) + 0.32 * 16_000
    np.testing.assert_allclose(
        first[: len(odd) // CHUNK_SAMPLES], Detector(detector.bundle).scores(odd), atol=TOLERANCE
    )


def test_detections_do_not_depend_on_blocks(detector: Detector) -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(2000).astype(np.float32)
    detector.threshold = 0.97
    whole = detector.detections(scores)
    assert len(whole) > 5
    detector.reset()
    found = []
    for part in np.split(scores, np.sort(rng.integers(0, 2000, 60))):
        found += detector.detections(part)
    assert found == whole
    times = np.array([hit.time_s for hit in whole])
    assert np.diff(times).min() >= 12 * 0.08 - 1e-6, "the refractory time separates detections"
    assert all(hit.score >= 0.97 for hit in whole)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_smoothing_averages_the_last_outputs(frames: int) -> None:
    raw = np.random.default_rng(0).random(40).astype(np.float32)
    smooth = smooth_scores(raw, smoothing_frames=frames)
    padded = np.concatenate([np.zeros(frames - 1), raw])
    np.testing.assert_allclose(smooth, [padded[i : i + frames].mean() for i in range(40)], atol=1e-6)
    parts = smooth_scores(raw[25:], raw[25 - frames + 1 : 25], frames)
    np.testing.assert_array_equal(parts, smooth[25:])


def test_the_manifest_sets_the_smoothing(own_bundle: Callable[..., Path], bundle: Path, audio: np.ndarray) -> None:
    raw = Detector(own_bundle(smoothing_frames=1)).scores(audio)
    np.testing.assert_allclose(Detector(bundle).scores(audio)[1:], smooth_scores(raw)[1:], atol=TOLERANCE)


def test_the_initial_state_of_a_stream_does_not_match_the_phrase() -> None:
    """To the backbone, zeros are not silence, so a path that starts in them can wait for the rest of a phrase."""
    model = keyword_hmm_model("okay garden", "standard")
    streaming = Streaming(model)
    carried = slice(-(model.keyword_hmms[0].states + MATCH_POOL - 4 + 1), -1)
    silence = torch.zeros(1, -(-model.config.receptive_samples // CHUNK_SAMPLES) * CHUNK_SAMPLES)
    with torch.no_grad():
        scores, state = streaming(silence, torch.zeros(1, streaming.state_size))
        assert not state[0, carried].any()
        np.testing.assert_allclose(scores, scores[0, 0])
        noise = 0.1 * torch.randn(1, 20 * CHUNK_SAMPLES, generator=torch.Generator().manual_seed(0))
        _, state = streaming(noise, state)
        assert state[0, carried].any()


def test_block_sizes_do_not_change_the_scores(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = log_mel(speech(12.0, 3))
    (whole,) = scores_of_many(exported.model, [frames])
    assert len(whole) == (len(frames) - exported.model.config.receptive_frames) // 8 + 1
    for block_scores in (1, 7, len(whole)):
        monkeypatch.setattr(tiny_crnn, "BLOCK_SCORES", block_scores)
        np.testing.assert_allclose(scores_of_many(exported.model, [frames])[0], whole, atol=1e-5)


def test_batching_does_not_change_the_scores(exported: Any) -> None:
    audio = speech(12.0, 3)
    backbone = keyword_hmm_model("computer")
    for model, frames in ((exported.model, log_mel(audio)), (backbone, backbone.encode(audio))):
        stored = model.config.stored
        need = stored.window
        pieces = [frames, frames[:need], frames[: need - 1], frames[8 : 8 + need], frames[:500], frames[:501]]
        alone = [scores_of_many(model, [piece])[0] for piece in pieces]
        assert [len(scores) for scores in alone] == [stored.scores(len(piece)) for piece in pieces]
        assert len(alone[2]) == 0 and len(alone[1]) == 1
        for scores, expected in zip(in_batches(model.scores, pieces, stored, 1500), alone, strict=True):
            np.testing.assert_allclose(scores, expected, atol=1e-5)
