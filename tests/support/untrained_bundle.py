"""A bundle that hears a phrase without training: the shipped trunk, and a matcher of the phrase's phones on it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio_generation.engine import GeneratedClip, SpeechRequest
from audio_generation.espeak_side.espeak import Espeak
from core.audio_file import SAMPLE_RATE, read_audio
from phrase_augmentation.keyphrase import Keyphrase


def matcher_bundle(folder: Path, phrase: str, size: str = "micro", threshold: float = 0.5, **changes: Any) -> Path:
    """The bundle's folder; ``changes`` go into the manifest."""
    return bundle_of(folder, matcher_model(phrase, size), phrase, threshold, **changes)


def matcher_model(phrase: str, size: str = "micro") -> Any:
    """A detector on the shipped trunk as it is before training."""
    import torch

    from model.model import TinyCRNN, TinyCRNNConfig
    from model.phones import outputs_of
    from model.shipped_trunk import shipped_trunk

    trunk, _ = shipped_trunk(size)
    config = TinyCRNNConfig.of_size(size, 1.2, trunk.config, outputs_of(Keyphrase(phrase)))
    if size == "large":
        config = rescored_config(phrase)
    model = TinyCRNN(config).eval()
    with torch.no_grad():
        model.trunk.load_state_dict(trunk.state_dict())
    return model


def rescored_config(phrase: str, window_s: float = 1.2, above: float = -3.2) -> Any:
    """The configuration of a large detector that asks its decoder from that match score on."""
    from model.encoder import trunk_config
    from model.model import TinyCRNNConfig
    from model.phones import outputs_of
    from model.rescoring import spellings

    large = TinyCRNNConfig.of_size("large", window_s, trunk_config(), outputs_of(Keyphrase(phrase)))
    return replace(large, spellings=spellings(phrase), rescore_above=above)


def bundle_of(folder: Path, model: Any, phrase: str, threshold: float, **changes: Any) -> Path:
    """A model as a bundle's folder."""
    from model.export import export_onnx, quantize_weights
    from model.metrics import REFRACTORY_S, SCORE_PERIOD_S
    from model.model import CHUNK_SAMPLES
    from model.runtime.detector import SCHEMA, SMOOTHING_FRAMES, manifest_digest

    folder.mkdir(parents=True)
    state_size = export_onnx(model, folder / "model.onnx")
    if not model.config.trunk.encoder:
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
    """Audio [samples] of espeak saying a text, with near-silence around it; skips the test where it cannot speak."""
    engine = Espeak()
    if not engine.available().ok:
        pytest.skip(engine.available().why)
    voice = next(v.name for v in engine.voices("en") if v.language == "en-us" and "+" not in v.name)
    try:
        with tempfile.TemporaryDirectory() as folder:
            (clip,) = engine.synthesize([SpeechRequest("x", text, voice, "en", {"rate": 150})], Path(folder))
            assert isinstance(clip, GeneratedClip), clip
            audio = read_audio(clip.path)
    finally:
        engine.close()
    padded = np.pad(audio, (round(lead_s * SAMPLE_RATE), round(tail_s * SAMPLE_RATE)))
    return np.asarray(padded + 3e-4 * np.random.default_rng(0).standard_normal(len(padded)), np.float32)
