from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from audio_generation.kokoro_int8_side.kokoro_int8 import STYLES_FILE
from lab.weights.kokoro_styles import ROWS, STYLE_ROWS, WIDTH, make_styles


def test_styles_of_a_folder_are_stored_for_selected_lengths(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    voices = {name: rng.normal(size=(ROWS, WIDTH)).astype("<f4") for name in ("bm_b", "af_a")}
    for name, vectors in voices.items():
        vectors.tofile(tmp_path / f"{name}.bin")
    assert make_styles(tmp_path, tmp_path / "styles.npz") == ["af_a", "bm_b"]
    with np.load(tmp_path / "styles.npz") as made:
        assert made["names"].tolist() == ["af_a", "bm_b"] and tuple(made["rows"]) == STYLE_ROWS
        assert np.allclose(made["styles"][1], voices["bm_b"][list(STYLE_ROWS)], atol=2e-3)


def test_a_folder_without_complete_voices_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no voice"):
        make_styles(tmp_path)
    np.zeros(100, "<f4").tofile(tmp_path / "af_half.bin")
    with pytest.raises(ValueError, match="reshape"):
        make_styles(tmp_path, tmp_path / "styles.npz")


def test_the_shipped_styles_have_the_expected_shape() -> None:
    with np.load(STYLES_FILE) as shipped:
        assert shipped["styles"].shape == (len(shipped["names"]), len(STYLE_ROWS), WIDTH)
        assert np.isfinite(shipped["styles"]).all() and tuple(shipped["rows"]) == STYLE_ROWS
