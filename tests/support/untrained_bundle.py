"""An uncalibrated bundle: the shipped backbone, and a keyword HMM of the phrase's phones on it."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE
from phrase_augmentation.keyphrase import Keyphrase
from tests.support.spoken_words import by_espeak


def keyword_hmm_bundle(
    folder: Path, phrase: str, size: str = "standard", threshold: float = 0.5, **changes: Any
) -> Path:
    """Make the bundle's folder; ``changes`` go into the manifest."""
    return bundle_of(folder, keyword_hmm_model(phrase, size), phrase, threshold, **changes)


def keyword_hmm_model(phrase: str, size: str = "standard") -> Any:
    from model.phones import outputs_of
    from model.standard.backbone import shipped_backbone
    from model.standard.backbone_detector import BackboneDetector

    if size == "large":
        return large_detector(phrase)
    return BackboneDetector.of_phrase(shipped_backbone()[0], outputs_of(Keyphrase(phrase)), 1.2)


def large_detector(phrase: str, window_s: float = 1.2, above: float = -3.2, verified: bool = True) -> Any:
    """Make a large detector whose second pass runs from that match score on."""
    from model.large.decoder_tokens import spellings
    from model.large.encoder_detector import EncoderDetector
    from model.large.second_pass import verifier_name
    from model.phones import outputs_of

    name = verifier_name() if verified else ""
    return EncoderDetector.of_phrase(outputs_of(Keyphrase(phrase)), window_s, spellings(phrase), above, name)


def lenient(model: Any, *texts: str) -> Any:
    """Centre a phrase's detector between silence and the worst of these texts, so that it fires on all of them."""
    from model.keyword_hmm import MATCH_FLOOR

    scores = [min(float(model.stream_scores(spoken(text)).max()), 1 - 1e-6) for text in texts]
    worst = model.level + float(np.log(min(scores) / (1 - min(scores)))) / model.slope
    assert worst > MATCH_FLOOR + 0.2, f"one of {texts} is as unlike the phrase as silence: take another"
    return model.centred((MATCH_FLOOR + worst) / 2)


def line(model: Any, slope: float, bias: float) -> Any:
    """Return the detector with another line from match score to logit."""
    import torch

    with torch.no_grad():
        model.match.weight.fill_(slope)
        model.match.bias.fill_(bias)
    return model


def bundle_of(folder: Path, model: Any, phrase: str, threshold: float, **changes: Any) -> Path:
    """Write a model as a bundle's folder."""
    from model.checkpoint import save_checkpoint
    from model.export import quantize_weights
    from model.features import CHUNK_SAMPLES
    from model.metrics import REFRACTORY_S, SCORE_PERIOD_S
    from model.runtime.detector import SCHEMA, SMOOTHING_FRAMES, manifest_digest

    folder.mkdir(parents=True)
    state_size = model.export(folder / "model.onnx")
    save_checkpoint(model, str(folder / "model.pt"))
    if model.quantizes:
        quantize_weights(folder / "model.onnx", folder / "model.int8.onnx")
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "phrase": phrase,
        "language": "en",
        "sample_rate": SAMPLE_RATE,
        "chunk_samples": CHUNK_SAMPLES,
        "score_period_s": SCORE_PERIOD_S,
        "smoothing_frames": SMOOTHING_FRAMES,
        "refractory_s": REFRACTORY_S,
        "receptive_samples": model.config.stream_samples,
        "state_size": state_size,
        "thresholds": [{"fa_per_day": rate, "threshold": threshold} for rate in (0.5, 12.0)],
        "default_fa_per_day": 0.5,
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()},
        **changes,
    }
    manifest["digest"] = manifest_digest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@cache
def spoken(text: str, lead_s: float = 1.0, tail_s: float = 1.0) -> np.ndarray:
    """Return audio [samples] of espeak saying a text, with near-silence around it; skip the test without it."""
    padded = np.pad(by_espeak(text, 150), (round(lead_s * SAMPLE_RATE), round(tail_s * SAMPLE_RATE)))
    return np.asarray(padded + 3e-4 * np.random.default_rng(0).standard_normal(len(padded)), np.float32)


def spoken_in_quiet(text: str, before_s: float = 1.0, after_s: float = 1.0) -> np.ndarray:
    """Return a spoken text between barely audible noise."""
    audio = spoken(text)
    quiet = 1e-4 * np.random.default_rng(0).standard_normal(int(16_000 * (before_s + after_s)) + len(audio))
    start = int(16_000 * before_s)
    quiet[start : start + len(audio)] += audio
    return quiet.astype(np.float32)
