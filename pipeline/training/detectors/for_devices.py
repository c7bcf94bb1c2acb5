"""The additional detectors of a run: a small one, and those whose files devices load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.events import RunEta
from core.worded import worded
from model.dataset import AudioDataset, BatchRecipe, BatchSampler, FeatureStore, open_store, store_soft_logits
from model.runtime.detector import logit
from pipeline.training.configuration.devices import DEVICES, SMALL
from pipeline.training.configuration.efforts import EFFORTS
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.detectors.making import (
    calibrate_and_measure,
    feature_store,
    learn,
    starting_point,
)
from pipeline.training.detectors.teacher import Teacher, make_teacher
from pipeline.training.measuring.calibration import DEFAULT_FA_PER_DAY, calibrate, threshold_at
from pipeline.training.measuring.evaluation import MeasuredDetector, speech_of_test
from pipeline.training.workspace.work import Work

if TYPE_CHECKING:
    from model.detector import Detector
    from model.devices.device_detector import Check, DeviceDetector
    from model.devices.microwakeword import MicroDetector
    from model.train import TrainConfig

EIGHT_BIT_FRACTION = 0.25  # fraction of the steps that use the file's 8-bit values
RANGE_WINDOWS = 256  # number of windows from which the value ranges of the 8-bit layers are set
CUTOFF = 0.9  # probability to which a threshold is moved if 8 bits cannot resolve it
MAX_CUTOFF = 0.97
CHECKED_PAIRS, CHECKED_S = 8, 20.0  # maximum number of pairs of test clips, and of seconds of their audio


class LeftOutError(HarkError):
    """Raised if the files for a device cannot be made or do not pass their check. The run continues without them."""


def _not_installed(device: str, error: ImportError) -> LeftOutError:
    return LeftOutError(
        worded("The bundle has no detector for %(titles)s.", titles=DEVICES[device].product),
        worded("Its encoder is not installed: %(error)s.", error=str(error)),
        worded(
            "Install it (.venv/bin/python -m pip install %(packages)s -c constraints.txt) and train again.",
            packages=DEVICES[device].package,
        ),
    )


@dataclass(frozen=True)
class ForDevice:
    """A detector in the format of a device.

    Attributes:
        files: contents by their names in the bundle.
        check: comparison of its files with the detector.
    """

    measured: MeasuredDetector
    files: Mapping[str, bytes]
    check: Check


def detectors_for_devices(
    work: Work, clips: pd.DataFrame, detector: Detector, eta: RunEta
) -> tuple[MeasuredDetector | None, dict[str, ForDevice], dict[str, LeftOutError]]:
    """Make a run's additional detectors.

    Returns the small one if the configuration has it, the others by device, and the reasons why some could not be made.
    """
    config = work.config
    small: MeasuredDetector | None = None
    made: dict[str, ForDevice] = {}
    left_out: dict[str, LeftOutError] = {}

    def part(name: str) -> Work:
        return replace(work, folder=work.run.devices / name, reporter=work.reporter.within("devices"))

    @cache
    def teacher() -> Teacher | None:
        return make_teacher(small.detector if small else detector, part("teacher"), clips)

    # The small one is first: being of size standard, it is the teacher of the others.
    for number, device in enumerate(sorted(config.devices, key=lambda device: device != SMALL), 1):
        work.reporter.stage(
            "devices",
            worded(
                "The detector is measured. Detector %(number)s of %(all)s for devices: %(device)s",
                number=str(number), all=str(len(config.devices)), device=DEVICES[device].title,
            ),
        )  # fmt: skip
        with work.clock.stage(device):
            try:
                if device == SMALL:
                    small = _make_small(replace(part(SMALL), config=config.as_standard), clips)
                else:
                    made[device] = make_for_device(device, part(device), clips, teacher)
            except LeftOutError as error:
                work.reporter.log(str(error), "warning")
                left_out[device] = error
        eta.over(device)
    return small, made, left_out


def _make_small(work: Work, clips: pd.DataFrame) -> MeasuredDetector:
    detector, store = starting_point(work, clips)
    detector, trained = learn(work, detector, store, work.recipe.settings())
    return calibrate_and_measure(work, detector, store, trained)


def make_for_device(
    device: str,
    work: Work,
    clips: pd.DataFrame,
    teacher: Callable[[], Teacher | None] = lambda: None,
) -> ForDevice:
    """Train, calibrate, measure and write a device's detector. If stopped, the same call resumes from there.

    Args:
        device: one of :data:`pipeline.training.configuration.devices.OWN_FORMAT`.
        work: objects of the run, with the folder for this device.
        clips: clips of the run (:data:`pipeline.training.clips.examples.CLIP_COLUMNS`).
        teacher: returns the teacher, whose scores replace the labels of clips; called only if needed.

    Raises:
        LeftOutError: a package that the device's files need is missing, or the device's runtime rejects the files or
            gives other scores.
    """
    from model.devices.microwakeword import MicroDetector
    from model.train import TrainConfig
    from pipeline.training.detectors.device_kinds import untrained_for

    config = work.config
    try:
        detector = untrained_for(device, config.seed)
    except ImportError as error:
        raise _not_installed(device, error) from error
    store = _taught_store(detector, work, clips, teacher)
    settings = TrainConfig(
        steps=max(2, round(detector.step_share * EFFORTS[config.effort].device_steps)),
        batch_size=detector.batch_size,
        learning_rate=detector.learning_rate,
        weight_decay=0.3,
        recipe=BatchRecipe(aligned_negative=0.05),  # with more confusables in a batch, it would miss people
        seed=config.seed,
    )
    detector, trained = learn(work, detector, store, settings)
    if isinstance(detector, MicroDetector):
        detector = _in_8_bits(work, detector, store, settings)
    return _checked(device, calibrate_and_measure(work, detector, store, trained), config, clips)


def _checked(device: str, measured: MeasuredDetector, config: RunConfig, clips: pd.DataFrame) -> ForDevice:
    """Write a device's files, and compare their scores in the device's runtime with those of the detector."""
    from model.devices.device_detector import DeviceDetector

    detector, cutoff = measured.detector, measured.results["default_threshold"]
    assert isinstance(detector, DeviceDetector)
    files = detector.files(config.phrase, config.language, cutoff)
    audio = speech_of_test(clips, CHECKED_PAIRS, 0)[: round(CHECKED_S * SAMPLE_RATE)]
    try:
        check = detector.check(files, audio, cutoff)
    except ImportError as error:
        raise _not_installed(device, error) from error
    except RuntimeError as error:
        raise _rejected(
            device, worded("The runtime of its device does not load the file: %(error)s.", error=str(error))
        ) from error
    if check.difference > detector.tolerance:
        why = worded(
            "In the runtime of its device, its scores differ by %(off)s (the tolerance is %(tolerance)s).",
            off=round(check.difference, 3),
            tolerance=round(detector.tolerance, 3),
        )
        raise _rejected(device, why)
    return ForDevice(measured, files, check)


def _rejected(device: str, why: str) -> LeftOutError:
    return LeftOutError(
        worded("The bundle has no detector for %(titles)s.", titles=DEVICES[device].product),
        why,
        worded("This is a bug in Hark or in an installed package: please report it with the output of ./hark doctor."),
    )


def _taught_store(
    detector: DeviceDetector, work: Work, clips: pd.DataFrame, teacher: Callable[[], Teacher | None]
) -> FeatureStore:
    """Return the feature store of a device's detector, with the teacher's logits."""
    from pipeline.training.clips.examples import ExamplePlan, device_examples
    from pipeline.training.detectors.device_kinds import device_samples
    from pipeline.training.negatives.negative_speech import device_negatives

    config = work.config

    def examples() -> ExamplePlan:
        taught_by = teacher()
        return taught_by.examples if taught_by else device_examples(config, clips, work.run.data, device_samples())

    negatives = device_negatives(detector, config.keyphrase, device_samples(), work.run.data, work.reporter)
    store = feature_store(detector, examples, negatives, work)
    if store.soft_logits is not None or (taught_by := teacher()) is None:
        return store
    store_soft_logits(work.features, taught_by.soft_logits(store, detector.config.stored))
    return open_store(work.features, detector.config.stored.width)


def _windows(store: FeatureStore, detector: DeviceDetector, seed: int) -> np.ndarray:
    """Return windows of the training split, from which the value ranges of the 8-bit layers are set."""
    segments = store.where(split="train")
    dataset = AudioDataset(segments, store.frames, detector.config.stored, detector.end_jitter)
    sampler = BatchSampler(dataset, BatchRecipe(), RANGE_WINDOWS, np.random.default_rng(seed))
    return sampler.draw()[0]


def _in_8_bits(work: Work, detector: MicroDetector, store: FeatureStore, settings: TrainConfig) -> MicroDetector:
    """Return the detector with 8-bit values, trained further with them.

    Its logits are lowered if 8 bits cannot resolve probabilities near its threshold.
    """
    rounded = detector.in_8_bits(_windows(store, detector, work.config.seed))
    steps = max(2, round(EIGHT_BIT_FRACTION * settings.steps))
    shorter = replace(settings, steps=steps, learning_rate=settings.learning_rate / 10)
    own = replace(work, folder=work.folder / "8-bit")
    own.folder.mkdir(exist_ok=True)
    detector, _ = learn(own, rounded, store, shorter)
    threshold = threshold_at(calibrate(detector, store).thresholds, DEFAULT_FA_PER_DAY)
    if threshold > MAX_CUTOFF:
        detector = detector.lowered(float(logit(threshold) - logit(CUTOFF)))
    return detector
