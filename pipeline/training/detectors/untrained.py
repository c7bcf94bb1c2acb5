"""Detectors before they are trained: the one that a run begins with, and the audio that those for devices need."""

from __future__ import annotations

from model.checkpoint import KINDS
from model.detector import Detector, DetectorConfig
from model.devices.device_detector import DeviceDetector
from model.large.decoder_tokens import spellings
from model.large.encoder_detector import EncoderDetector
from model.large.second_pass import verifier_name
from model.phones import outputs_of
from model.standard.backbone import shipped_backbone
from model.standard.backbone_detector import BackboneDetector
from model.standard.fused_detector import FusedDetector
from model.tiny_crnn import TinyCRNN, TinyCRNNConfig
from pipeline.training.configuration.run_config import Recipe, RunConfig
from pipeline.training.negatives.negative_set import NEGATIVE_SET, rescoring_threshold

BACKBONE_DELAY_S = 0.12  # a causal backbone outputs a phone this much later


def untrained_detector(config: RunConfig, window_s: float, rescored: bool) -> Detector:
    """Return the detector that a run begins with, for a phrase that fits into ``window_s`` seconds.

    Args:
        rescored: whether a decoder scores the matches of a large detector.
    """
    import torch

    torch.manual_seed(config.seed)
    if config.recipe is Recipe.FROM_NOTHING:
        return TinyCRNN(TinyCRNNConfig.for_window(window_s))
    phones = outputs_of(config.keyphrase)
    window_s += BACKBONE_DELAY_S
    if config.size == "standard":
        kind = FusedDetector if config.recipe is Recipe.NETWORK else BackboneDetector
        return kind.of_phrase(shipped_backbone()[0], phones, window_s)
    if not rescored:
        return EncoderDetector.of_phrase(phones, window_s)
    above = rescoring_threshold(NEGATIVE_SET, config.keyphrase)
    texts = spellings(config.phrase)
    return EncoderDetector.of_phrase(phones, window_s, texts, above, verifier_name(), config.allow_confusables)


def device_kinds() -> dict[str, tuple[type[DetectorConfig], type[DeviceDetector]]]:
    """Return the configuration and the class of the detectors for each device with a format of its own."""
    return {kind.device: (config, kind) for config, kind in KINDS.values() if issubclass(kind, DeviceDetector)}


def untrained_for(device: str, seed: int) -> DeviceDetector:
    """Return the detector for a device before its training. Raises ImportError if its front end is not installed."""
    import torch

    torch.manual_seed(seed)
    return device_kinds()[device][1].untrained()


def device_samples() -> int:
    """Return the largest number of samples that one score of any detector for a device depends on."""
    return max(config().receptive_samples for config, _ in device_kinds().values())
