"""The real speech that ships, as calibrated detectors hear it: thresholds and false alarms come from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.events import Reporter
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.negatives.negative_set import NegativePiece, about_negatives, negative_pieces
from pipeline.training.negatives.negative_speech import about_calibration_speech, heard_for_calibration
from pipeline.training.planning.config import NEGATIVE_SET

if TYPE_CHECKING:
    from model.detector import Detector


def shipped_negatives(
    detector: Detector,
    keyphrase: Keyphrase,
    hours: float,
    speech_hours: float,
    seed: int,
    data: Path,
    reporter: Reporter,
) -> Iterator[NegativePiece]:
    """Pieces without the phrase, in the splits "validation" (about ``hours`` of outputs, ``speech_hours`` of sound)
    and "test", and "train" where a part of the detector learns; none for one that is trained from nothing.

    A large detector's are outputs of its encoder, which ship; others hear sound, once, and keep it below ``data``.

    Raises:
        HarkError: a file that ships is missing or damaged.
    """
    from model.backbone_detector import BackboneDetector
    from model.encoder_detector import EncoderDetector
    from model.fused_detector import FusedDetector

    if isinstance(detector, EncoderDetector):
        yield from negative_pieces(NEGATIVE_SET, hours, seed, keyphrase)
    elif isinstance(detector, BackboneDetector):
        learns = isinstance(detector, FusedDetector)
        yield from heard_for_calibration(detector, keyphrase, speech_hours, learns, data, reporter)


def about_shipped_negatives(detector: Detector) -> dict[str, Any]:
    """``training_corpora``, ``licences`` and ``hours`` by split of that speech; empty where there is none. Hours of
    "train" are of people whom the front end was trained on."""
    from model.backbone_detector import BackboneDetector
    from model.encoder_detector import EncoderDetector

    if isinstance(detector, EncoderDetector):
        return about_negatives(NEGATIVE_SET)
    return about_calibration_speech() if isinstance(detector, BackboneDetector) else {}
