"""Every form of a detector gives the same scores. One whose float forms disagree is not exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from core.errors import HarkError
from model import export
from model.export import (
    INT8_TOLERANCE,
    PARITY_TOLERANCE,
    Parity,
    check_parity,
    difference,
    onnx_scores,
    quantize_weights,
)
from model.features import CHUNK_SAMPLES
from model.runtime.detector import smooth_scores
from tests.support.small_crnn import export_forms, lively_model
from tests.support.sounds import speech


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    return speech(12.0, 3)


@pytest.mark.parametrize(("size", "window_s"), [("standard", 1.6), ("small", 0.8)])
def test_all_export_forms_agree(size: str, window_s: float, audio: np.ndarray, tmp_path: Path) -> None:
    made = export_forms(lively_model(size, window_s), tmp_path)
    scores = made.model.stream_scores(audio)
    assert len(scores) == len(audio) // CHUNK_SAMPLES
    assert scores.std() > 0.1, "constant scores would agree trivially"
    parity = check_parity(made.model, made.onnx, made.int8, audio)
    assert parity.onnx < 1e-4 and parity.streaming < 1e-4
    assert parity.int8_agrees and 0 < parity.int8 < 0.1


@pytest.mark.parametrize("form", ["onnx", "streaming", "int8"])
@pytest.mark.parametrize("wrong", ["too high", "not a number"])
def test_only_a_disagreeing_float_form_stops_the_export(
    form: str, wrong: str, exported: Any, audio: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(path: Path, audio: np.ndarray, chunks: list[int], receptive_samples: int) -> np.ndarray:
        scores = onnx_scores(path, audio, chunks, receptive_samples)
        is_form = {"onnx": [10_000], "streaming": [1, 2, 1, 5, 3], "int8": [25]}[form] == chunks
        if is_form:
            scores[7] = np.nan if wrong == "not a number" else scores[7] + 3 * max(PARITY_TOLERANCE, INT8_TOLERANCE)
        return scores

    monkeypatch.setattr(export, "onnx_scores", spoilt)
    if form == "int8":
        parity = check_parity(exported.model, exported.onnx, exported.int8, audio)
        assert not parity.int8_agrees and parity.int8 > INT8_TOLERANCE and np.isfinite(parity.int8)
        assert max(parity.onnx, parity.streaming) < 1e-4
        return
    with pytest.raises(HarkError, match="not exported") as raised:
        check_parity(exported.model, exported.onnx, exported.int8, audio)
    assert "disagree" in raised.value.why and raised.value.what_to_do


def test_a_shifted_difference_forgives_a_moved_edge_but_not_a_missing_peak() -> None:
    scores = np.array([0.04, 0.04, 0.74, 0.74, 0.40, 0.04, 0.04], np.float32)  # a score falls within 80 ms
    later = np.array([0.04, 0.04, 0.74, 0.74, 0.70, 0.04, 0.04], np.float32)
    assert difference(scores, later) == difference(later, scores) == pytest.approx(0.30)
    assert difference(scores, later, shift=1) == 0
    assert difference(smooth_scores(scores), smooth_scores(later), shift=1) == 0
    assert difference(scores, np.roll(scores, 1), shift=1) == 0
    assert difference(scores, np.roll(scores, 2), shift=1) == pytest.approx(0.70)
    flat = np.full(7, 0.04, np.float32)
    peak = flat.copy()
    peak[3] = 0.74
    for one, other in ((peak, flat), (flat, peak)):
        assert difference(one, other, shift=1) == pytest.approx(0.70), "an additional or missing peak"
    assert difference(scores, scores + 0.1, shift=1) == pytest.approx(0.1)
    long = flat.copy()
    long[2:5] = 0.74  # smoothing lowers a single high score, but not all of three
    assert difference(smooth_scores(long), smooth_scores(peak), shift=1) > INT8_TOLERANCE
    with pytest.raises(ValueError, match="compared"):
        difference(scores, scores[:1])
    for at in (0, 3, 6):
        broken = scores.copy()
        broken[at] = np.nan
        assert difference(scores, broken) == difference(broken, scores, shift=1) == 1.0


def test_a_model_changed_after_export_fails_the_parity_check(exported: Any, audio: np.ndarray) -> None:
    with pytest.raises(HarkError, match="not exported"):
        check_parity(lively_model(seed=1), exported.onnx, exported.int8, audio)


def test_the_graph_declares_its_inputs_and_outputs(exported: Any) -> None:
    session = onnxruntime.InferenceSession(str(exported.onnx), providers=["CPUExecutionProvider"])
    inputs = {i.name: i.shape for i in session.get_inputs()}
    assert inputs == {"audio": [1, "samples"], "state": [1, exported.state_size]}
    assert [o.name for o in session.get_outputs()] == ["score", "new_state"]
    state = np.zeros((1, exported.state_size), np.float32)
    for chunks in (1, 2, 7):
        score, new_state = session.run(
            None, {"audio": np.zeros((1, chunks * CHUNK_SAMPLES), np.float32), "state": state}
        )
        assert score.shape == (1, chunks) and new_state.shape == state.shape
        assert score.min() >= 0 and score.max() <= 1


def test_large_weights_are_8_bit_with_a_scale_per_row(exported: Any) -> None:
    full = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(exported.onnx)).graph.initializer}
    small = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(exported.int8)).graph.initializer}
    rounded = [name for name in full if f"{name}_int8" in small]
    assert sum(full[name].size for name in rounded) > 0.7 * sum(v.size for v in full.values() if v.dtype == np.float32)
    for name in rounded:
        integers, scale = small[f"{name}_int8"], small[f"{name}_scale"]
        axis = 1 if full[name].ndim == 3 and full[name].shape[0] == 1 else 0
        shape = [1] * integers.ndim
        shape[axis] = -1
        assert integers.dtype == np.int8 and len(scale) == integers.shape[axis]
        error = np.abs(integers * scale.reshape(shape) - full[name])
        assert (error <= 0.501 * scale.reshape(shape)).all()
    assert exported.int8.stat().st_size < 0.6 * exported.onnx.stat().st_size


def test_zero_weights_do_not_divide_by_zero(tmp_path: Path, audio: np.ndarray) -> None:
    model = lively_model()
    model.bridge.weight.data.zero_()
    model.export(tmp_path / "m.onnx")
    quantize_weights(tmp_path / "m.onnx", tmp_path / "q.onnx")
    assert np.isfinite(onnx_scores(tmp_path / "q.onnx", audio, [25], model.config.receptive_samples)).all()


def test_parity_has_plain_values() -> None:
    values = {"pt_against_onnx": 0.1, "pt_against_streaming": 0.2, "pt_against_int8": 0.3}
    assert Parity(0.1, 0.2, 0.3).as_dict() == values
    assert Parity(0.0, 0.0, 0.25).int8_agrees
    assert not Parity(0.0, 0.0, 0.26).int8_agrees and not Parity(0.0, 0.0, None).int8_agrees
