"""Large bundles scored together give the same scores as each one alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.joint_scoring import large_detector, scores_together
from model.runtime.detector import Bundle, Detector
from tests.support.moonshine_package import needs_encoder
from tests.support.untrained_bundle import bundle_of, keyword_hmm_model, line, spoken_in_quiet


def large_bundle(folder: Path, phrase: str, size: str = "large") -> Path:
    return bundle_of(folder, line(keyword_hmm_model(phrase, size), 0.5, 0.0), phrase, 0.5)


@needs_encoder
def test_joint_scores_equal_separate_scores(tmp_path: Path) -> None:
    bundles = [Bundle(large_bundle(tmp_path / phrase, phrase)) for phrase in ("computer", "river")]
    detectors = [found for bundle in bundles if (found := large_detector(bundle)) is not None]
    assert len(detectors) == 2
    audio = np.concatenate([spoken_in_quiet(text) for text in ("we walked home", "computer", "along the river")])
    blocks = np.split(audio, [17_000, 50_001, 50_002])
    advanced: list[None] = []
    together = scores_together(detectors, blocks, detectors[0].config.window_samples, lambda: advanced.append(None))
    assert len(advanced) == len(blocks)
    for bundle, scores in zip(bundles, together, strict=True):
        alone = Detector(bundle.path)
        expected = np.concatenate([alone.scores(block) for block in blocks])
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(scores, expected, atol=5e-3)
    assert scores_together(detectors, [], detectors[0].config.window_samples)[0].shape == (0,)


def test_other_bundles_are_scored_separately(tmp_path: Path) -> None:
    assert large_detector(Bundle(large_bundle(tmp_path / "small", "computer", "standard"))) is None
