"""Features on a GPU, as far as testable without one: the code path on the processor, and an absent GPU."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from core.onnx import CPU, session
from model import examples, gpu
from model.examples import build_examples
from model.large.encoder_backbone import EncoderBackbone
from tests.support.hummed_clips import SOURCES, aligned, folder
from tests.support.moonshine_package import needs_encoder
from tests.support.untrained_bundle import keyword_hmm_model

__all__ = ["folder"]  # a fixture
# The GPU's code path on the CPU: any list other than exactly the CPU's gets batches and floats.
LIKE_A_GPU = (CPU, CPU)


def test_a_requested_gpu_that_is_absent_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [CPU]
    monkeypatch.setenv("HARK_TORCH", "cuda")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: there)
    assert gpu.providers() == (CPU,) and "CUDAExecutionProvider" in gpu.complaint()
    assert "onnxruntime-gpu" in gpu.complaint() and "HARK_TORCH=cpu" in gpu.complaint()
    there.insert(0, gpu.CUDA)
    assert gpu.providers() == (gpu.CUDA, CPU) and gpu.complaint() == ""
    monkeypatch.setenv("HARK_TORCH", "cpu")
    assert gpu.providers() == (CPU,) and gpu.complaint() == ""


@pytest.mark.parametrize("count", [5, 70])  # in one process, and in several
def test_a_backbone_gives_the_same_features_in_batches(
    count: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    front_end = keyword_hmm_model("computer").front_end(tmp_path)
    specs = [aligned(folder, ("train", "noisy")[seed % 2], seed) for seed in range(count)]
    monkeypatch.setattr(examples, "usable_cores", lambda: 2)
    alone = list(build_examples(specs, SOURCES, front_end))
    monkeypatch.setattr(examples, "providers", lambda: LIKE_A_GPU)
    together = list(build_examples(specs, SOURCES, front_end))
    for (features, row), (others, other_row) in zip(alone, together, strict=True):
        np.testing.assert_allclose(features, others, atol=2e-3)
        assert row == other_row


@needs_encoder
def test_an_encoder_gives_nearly_the_same_outputs_in_float_batches() -> None:
    from model.large.encoder import window_graph

    graph = window_graph().SerializeToString()
    rng = np.random.default_rng(0)
    audios = [(0.1 * rng.standard_normal(size)).astype(np.float32) for size in (8_000, 120_000, 8_000)]
    own, batched = EncoderBackbone(graph), EncoderBackbone(graph, LIKE_A_GPU)
    together = batched.encode_many(audios)
    for audio, (phones, states) in zip(audios, together):
        expected, expected_states = own.encode(audio)
        assert phones.shape == expected.shape and states.shape == expected_states.shape
        assert float(np.abs(phones**2 - expected**2).mean()) < 5e-3
        np.testing.assert_allclose(batched.encode(audio)[0], phones, atol=1e-4)


def test_a_provider_that_cannot_be_loaded_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keyword_hmm_model("computer").front_end(tmp_path)  # writes backbone.onnx
    session(str(tmp_path / "backbone.onnx"))
    assert not caplog.records
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnxruntime warns, too
        session(str(tmp_path / "backbone.onnx"), providers=(gpu.CUDA, CPU))
    assert "CUDAExecutionProvider cannot be used" in caplog.text
