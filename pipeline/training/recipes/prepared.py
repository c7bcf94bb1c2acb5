"""A run's configuration once it is checked: Hark can run it, its phrase is normalized and its size chosen."""

from __future__ import annotations

from dataclasses import replace

from core.errors import HarkError, no_such
from core.worded import worded
from model.languages import is_known
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.phonemes import phonemes
from pipeline.corpora.alignment_methods import check_method
from pipeline.training.configuration.advice import spoken_seconds
from pipeline.training.configuration.devices import DEVICES
from pipeline.training.configuration.efforts import EFFORTS
from pipeline.training.configuration.run_config import AUTO_SIZE, SIZES, RunConfig
from pipeline.training.recipes import recipe_of, size_for


def prepare(config: RunConfig) -> RunConfig:
    """Return a configuration that can be planned and trained: checked, normalized, its size chosen (never AUTO_SIZE).

    Engines and devices are sorted, because their order must not make a different run. Raises HarkError if invalid.
    """
    if config.effort not in EFFORTS:
        raise no_such(worded("effort"), config.effort, EFFORTS)
    if not is_known(config.language):  # always trained from scratch, so the choice must not make a different run
        config = replace(config, from_scratch=False)
    if config.size == AUTO_SIZE:
        config = replace(config, size=size_for(config))
    if config.size not in SIZES:
        raise no_such(worded("size"), config.size, SIZES)
    if config.mining_method != RunConfig.mining_method and not config.mining and not config.start_from:
        raise HarkError(
            worded("%(phrase)s cannot be trained with that word alignment.", phrase=repr(config.phrase)),
            worded("It is for recordings from the library, which this run does not use."),
            worded("Leave it out, or use recordings from the library."),
        )
    check_method(config.mining_method)
    config = recipe_of(config).prepared()
    config = replace(
        config,
        phrase=Keyphrase.of(config.phrase, config.language).text,
        engines=tuple(sorted(set(config.engines))),
        devices=tuple(sorted(set(config.devices))),
    )
    if config.hold_out not in ("", "none") and not recipe_of(config).learns:
        raise HarkError(
            worded("The engine %(name)s cannot be held out.", name=repr(config.hold_out)),
            worded("This run trains no network, so all voices are new to its detector."),
            worded("Leave it out, or train a network (--size standard or --for with a device, not --effort trial)."),
        )
    _refuse_too_long(config)
    return config


def _refuse_too_long(config: RunConfig) -> None:
    """Raise HarkError if the phrase is longer than the window of one of the devices."""
    spoken_s = spoken_seconds(phonemes(config.phrase, config.language)) if config.devices else 0.0
    for device in (DEVICES[name] for name in config.devices):
        if spoken_s > device.window_s:
            raise HarkError(
                worded("%(phrase)s is too long for %(device)s.", phrase=repr(config.phrase), device=device.title),
                worded(
                    "It takes about %(said)s s to say; that device's detector sees only %(heard)s s of audio.",
                    said=round(spoken_s, 1), heard=device.window_s,
                ),
                worded("Choose a shorter phrase, or train it without that device."),
            )  # fmt: skip
