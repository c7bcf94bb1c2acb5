"""The kinds of detectors for devices, before their training."""

from __future__ import annotations

from model.checkpoint import KINDS
from model.detector import DetectorConfig
from model.devices.device_detector import DeviceDetector


def _kinds() -> dict[str, tuple[type[DetectorConfig], type[DeviceDetector]]]:
    """Return the configuration and the class of the detectors for each device with a format of its own."""
    return {kind.device: (config, kind) for config, kind in KINDS.values() if issubclass(kind, DeviceDetector)}


def untrained_for(device: str, seed: int) -> DeviceDetector:
    """Return the detector for a device before its training. Raises ImportError if its front end is not installed."""
    import torch

    torch.manual_seed(seed)
    return _kinds()[device][1].untrained()


def device_samples() -> int:
    """Return the largest number of samples that one score of any detector for a device depends on."""
    return max(config().receptive_samples for config, _ in _kinds().values())
