"""The time that a run is expected to take, by stage."""

from __future__ import annotations

from collections.abc import Iterable

from audio_generation.registry import CLIP_S
from pipeline.training.configuration.devices import OWN_FORMAT, SMALL
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.planning.clip_choice import PlannedClip, PlannedRequest
from pipeline.training.recipes import recipe_of

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
    recipe = recipe_of(config)
    speaking: dict[str, float] = {}
    for request in to_speak:
        speaking[request.engine] = speaking.get(request.engine, 0.0) + CLIP_S.get(request.engine, 1.0)
    examples = 0
    used: list[PlannedClip | PlannedRequest] = [*clips, *requests]
    for clip in used if needs_features else ():
        if clip.split == "train" and not recipe.variants:
            continue  # for devices
        once = clip.bucket == "plain_negative" or (clip.split != "train" and clip.bucket != "positive")
        examples += 1 if once else recipe.variants if clip.split == "train" else 2
    stages = {
        "synthesize": max(speaking.values(), default=0.0),
        "features": examples * recipe.example_s,
        "train": recipe.making_s,
    }
    has_teacher = recipe.teaches or SMALL in config.devices or not recipe_of(config.as_standard).teaches
    teacher_s = 0.0 if has_teacher else TEACHER_S
    for device in config.devices:
        stages[device] = DEVICE_S
        if device in OWN_FORMAT:  # the first device detector waits for the shared teacher to train
            stages[device] += teacher_s
            teacher_s = 0.0
    return stages
