"""The time that a run is expected to take, by stage."""

from __future__ import annotations

from collections.abc import Iterable

from audio_generation.registry import CLIP_S
from pipeline.training.configuration.devices import OWN_FORMAT, SMALL
from pipeline.training.configuration.efforts import EFFORTS
from pipeline.training.configuration.run_config import Recipe, RunConfig
from pipeline.training.planning.clip_choice import PlannedClip, PlannedRequest

# Seconds on two cores for: an example's augmentation and features; the same with a large detector's encoder; a training
# batch of 128; the scoring of the negative set in each calibration.
SECONDS_PER_EXAMPLE, LARGE_SECONDS_PER_EXAMPLE = 0.03, 0.13
SECONDS_PER_STEP, SECONDS_PER_NETWORK_STEP = 0.35, 0.06
CALIBRATION_S = {"large": 80.0, "standard": 30.0}
DEVICE_S = 240.0  # a device's detector: features, and training
TEACHER_S = 150.0  # the teacher of all of them


def estimated_s(
    config: RunConfig,
    clips: Iterable[PlannedClip],
    requests: Iterable[PlannedRequest],
    to_speak: Iterable[PlannedRequest],
    needs_features: bool = True,
) -> dict[str, float]:
    """Estimate the seconds of each stage of a run, in order.

    The stages are synthesis, features with augmentation (if needed), training or calibration, and each device's
    detector.
    """
    effort = EFFORTS[config.effort]
    speaking: dict[str, float] = {}
    for request in to_speak:
        speaking[request.engine] = speaking.get(request.engine, 0.0) + CLIP_S.get(request.engine, 1.0)
    examples = 0
    used: list[PlannedClip | PlannedRequest] = [*clips, *requests]
    for clip in used if needs_features else ():
        if clip.split == "train" and not config.variants:
            continue  # for devices
        once = clip.bucket == "plain_negative" or (clip.split != "train" and clip.bucket != "positive")
        examples += 1 if once else config.variants if clip.split == "train" else 2
    features = examples * (LARGE_SECONDS_PER_EXAMPLE if config.size == "large" else SECONDS_PER_EXAMPLE)
    training = effort.steps * SECONDS_PER_STEP * effort.batch_size / 128
    after = training if config.recipe is Recipe.FROM_NOTHING else CALIBRATION_S[config.size]
    after += SECONDS_PER_NETWORK_STEP * effort.network_steps if config.recipe is Recipe.NETWORK else 0.0
    stages = {"synthesize": max(speaking.values(), default=0.0), "features": features, "train": after}
    needs_teacher = config.size == "large" and SMALL not in config.devices
    teacher_s = TEACHER_S if needs_teacher and config.as_standard.recipe is Recipe.NETWORK else 0.0
    for device in config.devices:
        stages[device] = DEVICE_S
        if device in OWN_FORMAT:  # the first device detector waits for the shared teacher to train
            stages[device] += teacher_s
            teacher_s = 0.0
    return stages
