"""Detector files: configuration, weights and other values."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import torch

from core.errors import HarkError
from core.worded import worded
from model.detector import Detector, DetectorConfig
from model.devices.microwakeword import MicroConfig, MicroDetector
from model.devices.openwakeword import OpenWakeWordConfig, OpenWakeWordDetector
from model.fit import write_checkpoint
from model.large.encoder_detector import EncoderDetector, EncoderDetectorConfig
from model.plain import from_plain
from model.standard.backbone_detector import BackboneDetector, BackboneDetectorConfig
from model.standard.fused_detector import FusedDetector, FusedDetectorConfig
from model.tiny import tiny_detector
from model.tiny_crnn import TinyCRNN, TinyCRNNConfig

KINDS: dict[str, tuple[type[DetectorConfig], type[Detector]]] = {
    "crnn": (TinyCRNNConfig, TinyCRNN),
    "tiny-crnn": (tiny_detector.TinyCRNNConfig, tiny_detector.TinyCRNN),
    "backbone": (BackboneDetectorConfig, BackboneDetector),
    "fused": (FusedDetectorConfig, FusedDetector),
    "encoder": (EncoderDetectorConfig, EncoderDetector),
    "microwakeword": (MicroConfig, MicroDetector),
    "openwakeword": (OpenWakeWordConfig, OpenWakeWordDetector),
}


def config_from_dict(values: dict[str, Any]) -> DetectorConfig:
    """Invert :meth:`DetectorConfig.as_dict`."""
    return from_plain(KINDS[values["kind"]][0], values)


def save_checkpoint(detector: Detector, path: str, extra: dict[str, Any] | None = None) -> None:
    """Write configuration, weights and ``extra`` plain values as one file that loads with ``weights_only=True``."""
    content = {"config": detector.config.as_dict(), "weights": detector.state_dict(), **(extra or {})}
    write_checkpoint(Path(path), content)


def load_checkpoint(path: str | IO[bytes]) -> tuple[Detector, dict[str, Any]]:
    """Load a file of :func:`save_checkpoint`: the detector (in evaluation mode, on the CPU) and the other values.

    Raises:
        HarkError: the file is damaged or not a checkpoint.
        FileNotFoundError, PermissionError: passed through.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        config = config_from_dict(content.pop("config"))
        detector = KINDS[config.kind][1](config)
        detector.load_state_dict(content.pop("weights"))
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # damage can appear in the zip, its pickled values, names or shapes
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        reason = "".join(character if character.isprintable() else " " for character in reason)[:300].rstrip(".")
        raise HarkError(
            worded("The detector's checkpoint cannot be loaded."),
            worded("It is damaged: %(said)s.", said=reason),
            worded("Restore it from a backup, or train the phrase again."),
        ) from error
    return detector.eval(), content
