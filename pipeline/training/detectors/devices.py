"""Detectors for devices: a run trains them in addition to its own detector, and writes files that devices load."""

from __future__ import annotations

import hashlib
import json
import math
import re
import string
import tempfile
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.events import Reporter
from core.worded import worded
from model.runtime.detector import logit, sigmoid
from pipeline.training.configuration.devices import PACKAGES
from pipeline.training.configuration.efforts import EFFORTS
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.detectors.making import feature_store, learn, measure_detector, set_thresholds
from pipeline.training.measuring.evaluation import (
    DEFAULT_FA_PER_DAY,
    MeasuredDetector,
    calibrated,
    speech_of_test,
    threshold_at,
)

if TYPE_CHECKING:
    from model.dataset import FeatureStore
    from model.detector import TrainedDetector
    from pipeline.training.detectors.teacher import Teacher

NAMES = {"esphome": "ESPHome", "openwakeword": "openWakeWord"}
STEP_SHARES = {"esphome": 1.0, "openwakeword": 0.67}  # fraction of the effort's steps
EIGHT_BIT_FRACTION = 0.25  # fraction of the steps that use the file's 8-bit values
RANGE_WINDOWS = 256  # number of windows from which the value ranges of the 8-bit layers are set
CUTOFF = 0.9  # probability to which a threshold is moved if 8 bits cannot resolve it
MAX_CUTOFF = 0.97
TOLERANCE = {"esphome": 1.5 / 256, "openwakeword": 1e-3}  # maximum difference in score of a file from its detector
ARENA = 30_000  # bytes of memory that a device reserves for the network
KERNEL_STEPS = 4  # 8-bit steps of a logit by which a computer's kernels may differ from those of devices
CHECKED_PAIRS, CHECKED_S = 8, 20.0  # maximum number of pairs of test clips, and of seconds of their audio


class NoRuntimeError(HarkError):
    """Raised if the front end or the runtime of a device's detector is not installed. The run continues without it."""


@dataclass(frozen=True)
class DeviceDetector:
    """A run's files and figures for a device.

    Attributes:
        files: contents by name in the bundle.
        report: its figures, as JSON values.
    """

    files: dict[str, bytes]
    report: dict[str, Any]


def untrained(device: str, seed: int) -> TrainedDetector:
    """Return the detector for a device before its training. Raises NoRuntimeError if its front end is not installed."""
    import torch

    from model.devices.microwakeword import MicroDetector, micro_features
    from model.devices.openwakeword import OpenWakeWordDetector, embedding

    torch.manual_seed(seed)
    try:
        if device == "esphome":
            micro_features()
            return MicroDetector.of_people()
        embedding()
        return OpenWakeWordDetector()
    except ImportError as error:
        raise _not_installed(device, error) from error


def _not_installed(device: str, error: ImportError) -> NoRuntimeError:
    return NoRuntimeError(
        worded("The bundle has no detector for %(titles)s.", titles=NAMES[device]),
        worded("Its encoder is not installed: %(error)s.", error=str(error)),
        worded(
            "Install it (.venv/bin/python -m pip install %(packages)s -c constraints.txt) and train again.",
            packages=PACKAGES[device],
        ),
    )


def make_for_device(
    device: str,
    config: RunConfig,
    clips: pd.DataFrame,
    data: Path,
    job: Path,
    reporter: Reporter,
    make_teacher: Callable[[], Teacher | None] = lambda: None,
) -> DeviceDetector:
    """Train, calibrate, measure and write a device's detector. If stopped, the same call resumes from there.

    Args:
        device: one of :data:`pipeline.training.configuration.devices.DEVICES`.
        clips: clips of the run (:data:`pipeline.training.clips.examples.CLIP_COLUMNS`).
        job: the run's folder for devices.
        make_teacher: returns the teacher, whose scores replace the labels of clips; called only if needed.

    Raises:
        NoRuntimeError: a package that the device's files need is missing.
        HarkError: the scores of the file and the detector differ.
    """
    from model.dataset import BatchRecipe
    from model.devices.microwakeword import MicroDetector
    from model.devices.openwakeword import OpenWakeWordDetector
    from model.train import TrainConfig

    folder = job / device
    detector = untrained(device, config.seed)
    store = _taught_store(detector, config, clips, data, folder, reporter, make_teacher)
    steps = max(2, round(STEP_SHARES[device] * EFFORTS[config.effort].device_steps))
    size, rate = (128, 1e-3) if device == "openwakeword" else (96, 3e-3)
    recipe = BatchRecipe(aligned_negative=0.05)  # with more confusables in a batch, it would miss people
    settings = TrainConfig(steps, size, rate, weight_decay=0.3, recipe=recipe, seed=config.seed)
    detector, trained = learn(detector, store, settings, folder, reporter)
    if isinstance(detector, MicroDetector):
        detector = detector.in_8_bits(_windows(store, detector, config.seed))
        settings = replace(settings, steps=max(2, round(EIGHT_BIT_FRACTION * steps)), learning_rate=rate / 10)
        rounded = folder / "8-bit"
        rounded.mkdir(exist_ok=True)
        detector = _within_8_bits(learn(detector, store, settings, rounded, reporter)[0], store)
    measured = measure_detector(set_thresholds(detector, store, reporter), store, trained, config.language, reporter)
    cutoff = measured.results["default_threshold"]
    name = file_name(config.phrase)
    if isinstance(detector, MicroDetector):
        files = _esphome_files(detector, config, name, cutoff)
    else:
        assert isinstance(detector, OpenWakeWordDetector)
        files = {f"openwakeword/{name}.tflite": detector.tflite(float(logit(cutoff)))}
    audio = speech_of_test(clips, CHECKED_PAIRS, 0)[: round(CHECKED_S * SAMPLE_RATE)]
    off = difference(detector, files, audio, cutoff)
    _refuse_difference(device, off)
    sizes = {name: len(content) for name, content in files.items()}
    return DeviceDetector(files, about(NAMES[device], sizes, measured, off) | {"taught": store.soft_logits is not None})


def _refuse_difference(device: str, off: float) -> None:
    """Raise HarkError if the scores of a device's file differ by ``off``, which is more than accepted."""
    if off > TOLERANCE[device]:
        raise HarkError(
            worded("The file for %(titles)s was not created.", titles=NAMES[device]),
            worded(
                "In the runtime of its device, its scores differ by %(off)s (the tolerance is %(tolerance)s).",
                off=round(off, 3),
                tolerance=round(TOLERANCE[device], 3),
            ),
            worded(
                "This is a bug in Hark or in an installed package: please report it with the output of ./hark doctor."
            ),
        )


def _taught_store(
    detector: TrainedDetector,
    config: RunConfig,
    clips: pd.DataFrame,
    data: Path,
    folder: Path,
    reporter: Reporter,
    make_teacher: Callable[[], Teacher | None],
) -> FeatureStore:
    """Return the feature store of a device's detector, with the teacher's logits."""
    from model.dataset import open_store, store_soft_logits
    from pipeline.training.clips.examples import ExamplePlan, device_examples
    from pipeline.training.detectors.untrained import device_samples
    from pipeline.training.negatives.negative_speech import device_negatives

    def examples() -> ExamplePlan:
        teacher = make_teacher()
        return teacher.examples if teacher else device_examples(config, clips, data, device_samples())

    negatives = device_negatives(detector, config.keyphrase, device_samples(), data, reporter)
    store = feature_store(detector, examples, negatives, folder, reporter)
    if store.soft_logits is not None or (teacher := make_teacher()) is None:
        return store
    store_soft_logits(folder / "features", teacher.soft_logits(store, detector.config.stored))
    return open_store(folder / "features", detector.config.stored.width)


def file_name(phrase: str) -> str:
    """Return the name of a phrase's files without suffix: ASCII, with a digest where a letter has no ASCII form."""
    letters = unicodedata.normalize("NFKD", phrase.replace("ß", "ss"))
    name = re.sub(r"[^a-z0-9]+", "_", letters.encode("ascii", "ignore").decode().lower()).strip("_")
    lost = any(letter.isalnum() and not letter.isascii() for letter in letters)
    return "_".join(filter(None, [name, hashlib.sha256(phrase.encode()).hexdigest()[:8] if lost else ""]))


def _windows(store: FeatureStore, detector: TrainedDetector, seed: int) -> np.ndarray:
    """Return windows of the training split, from which the value ranges of the 8-bit layers are set."""
    from model.dataset import AudioDataset, BatchRecipe, BatchSampler

    segments = store.where(split="train")
    dataset = AudioDataset(segments, store.frames, detector.config.stored, detector.end_jitter)
    sampler = BatchSampler(dataset, BatchRecipe(), RANGE_WINDOWS, np.random.default_rng(seed))
    windows: np.ndarray = sampler.draw()[0].numpy()
    return windows


def _within_8_bits(detector: Any, store: FeatureStore) -> Any:
    """Return the detector, with its logits lowered if 8 bits cannot resolve probabilities near its threshold."""
    threshold = threshold_at(calibrated(detector, store).thresholds, DEFAULT_FA_PER_DAY)
    if threshold > MAX_CUTOFF:
        detector = detector.lowered(float(logit(threshold) - logit(CUTOFF)))
    return detector


def _esphome_files(detector: Any, config: RunConfig, name: str, cutoff: float) -> dict[str, bytes]:
    """Return the network and its manifest (ESPHome, ``micro_wake_word``, version 2)."""
    from model.devices.microwakeword import AVERAGED

    manifest = {
        "type": "micro",
        "wake_word": string.capwords(config.phrase),
        "author": "Hark",
        "model": f"{name}.tflite",
        "trained_languages": [config.language],
        "version": 2,
        "micro": {
            "probability_cutoff": round((_whole_step(cutoff) + 0.5) / 255, 4),  # a device takes whole steps of 1/255
            "feature_step_size": 10,
            "sliding_window_size": AVERAGED,
            "tensor_arena_size": ARENA,
            "minimum_esphome_version": "2024.7.0",
        },
    }
    return {
        f"esphome/{name}.json": json.dumps(manifest, indent=2).encode(),
        f"esphome/{name}.tflite": detector.network.tflite(),
    }


def _whole_step(cutoff: float) -> int:
    """Return the 8-bit step that represents a threshold on a device.

    A device triggers if the mean of its last outputs exceeds that step. A mean moves in fractions of a step, so the
    device never triggers below the threshold for which false alarms were counted.
    """
    from model.devices.microwakeword import AVERAGED

    return math.ceil(256 * cutoff - 1 / AVERAGED)


def difference(detector: TrainedDetector, files: Mapping[str, bytes], audio: np.ndarray, cutoff: float) -> float:
    """Return the largest difference in probability between a device's files in its own runtime and the detector.

    For ESPHome, only the excess over :data:`KERNEL_STEPS` counts.

    Args:
        cutoff: the detector's score that openWakeWord's file maps to 0.5.

    Raises:
        NoRuntimeError: the runtime is not installed.
    """
    from model.devices.microwakeword import MicroDetector

    with tempfile.TemporaryDirectory(prefix="hark-device-") as folder:
        paths = {Path(name).suffix: Path(folder) / Path(name).name for name in files}
        for name, content in files.items():
            paths[Path(name).suffix].write_bytes(content)
        try:
            if isinstance(detector, MicroDetector):
                return _off_in_esphome(detector, paths[".json"], audio)
            return _off_in_openwakeword(detector, paths[".tflite"], audio, cutoff)
        except ImportError as error:
            device = "esphome" if isinstance(detector, MicroDetector) else "openwakeword"
            raise _not_installed(device, error) from error


def _off_in_esphome(detector: Any, path: Path, audio: np.ndarray) -> float:
    import torch
    from pymicro_wakeword import MicroWakeWord

    from model.devices.micro_network import STRIDE
    from model.devices.microwakeword import micro_features

    manifest = json.loads(path.read_text())
    manifest["micro"]["sliding_window_size"] = 1  # each probability instead of means
    path.write_text(json.dumps(manifest))
    features = micro_features()(audio)
    features = features[: len(features) // STRIDE * STRIDE]
    runtime = MicroWakeWord.from_config(path)
    in_runtime = [runtime.process_streaming_prob(frame[None, None]) for frame in features][STRIDE - 1 :: STRIDE]
    logits = detector.network.device_logits(torch.from_numpy(features)[None])[0].numpy()
    low, high = (sigmoid(logits + by * detector.network.logit_step) for by in (-KERNEL_STEPS, KERNEL_STEPS))
    outside = np.maximum(low - np.asarray(in_runtime), np.asarray(in_runtime) - high)
    return float(np.maximum(outside, 0.0).max())


def _off_in_openwakeword(detector: Any, path: Path, audio: np.ndarray, cutoff: float) -> float:
    from pyopen_wakeword import OpenWakeWord

    from model.devices.openwakeword import embedding

    embeddings = embedding()(audio)
    runtime = OpenWakeWord.from_model(path)
    in_runtime = [score for one in embeddings for score in runtime.process_streaming(one[None, None, None])]
    logits = logit(detector.scores(embeddings[None])[0]) - logit(cutoff)
    here = sigmoid(logits)
    return float(np.abs(here - np.asarray(in_runtime)[-len(here) :]).max())


def about(title: str, sizes: Mapping[str, int], measured: MeasuredDetector, off: float) -> dict[str, Any]:
    """Return what the report states about a detector that a run makes in addition to its own.

    Args:
        sizes: bytes of the files that a device loads, by their names in the bundle.
        off: the largest difference in score between a file and the detector.
    """
    return {
        "title": title,
        "bytes": dict(sizes),
        **measured.summary(),
        "thresholds": [dict(row) for row in measured.thresholds],
        "utterances": measured.results["utterances"],
        "difference": off,
    }
