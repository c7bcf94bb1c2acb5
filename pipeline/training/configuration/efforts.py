"""The amount of work that each effort stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.worded import worded

BUCKETS = ("positive", "confusable", "inbetween", "plain_negative")
BUCKET_NAMES = {bucket: bucket.replace("_", " ") for bucket in BUCKETS} | {"inbetween": "in-between phrase"}
VARIANTS = 2  # augmented copies of each training clip, for the networks of standard and device detectors


@dataclass(frozen=True)
class BucketSize:
    """The number of texts of a bucket, and of clips per text."""

    phrases: int
    clips_per_phrase: int


@dataclass(frozen=True)
class Effort:
    """The amount of work that goes into a detector.

    A detector that is trained from scratch uses the four buckets, ``variants`` versions of each clip, and ``steps``
    training steps. The network of a standard detector and a device's detector use the smaller ``small_buckets``. A
    detector that is only calibrated learns nothing from clips; they only measure it, and the effort sets the size of
    its test and the hours of real speech that set its threshold.
    """

    name: str
    positive: BucketSize
    confusable: BucketSize
    inbetween: BucketSize
    plain_negative: BucketSize
    corpus_hours: float  # maximum hours of the library's real speech that serve as negatives
    variants: int  # augmented versions of each aligned clip
    steps: int
    batch_size: int
    # For a calibrated detector: number of clips of the phrase (most of them for its test) and of confusables. With 400
    # clips, a miss rate of 3 % is exact to 2 percentage points.
    test_clips: int
    # For detectors that learn from fewer clips: the size of each of `BUCKETS`, and the training steps of a detector for
    # a device and of the network of a standard one (0: it has none).
    small_buckets: tuple[BucketSize, ...]
    device_steps: int
    network_steps: int
    # Maximum hours of the shipped real speech that sets thresholds: `negative_hours` for large detectors, as outputs of
    # the encoder, `speech_hours` for all others, as sound (two cores process an hour of it in a minute, once).
    negative_hours: float = math.inf
    speech_hours: float = math.inf
    growth: int = 20  # clips that every run adds to a bucket, so that the library grows with each phrase

    def bucket(self, name: str) -> BucketSize:
        """Return the size of one of `BUCKETS` for a detector that is trained from scratch or only calibrated."""
        size: BucketSize = getattr(self, name)
        return size


EFFORTS = {
    effort.name: effort
    for effort in (
        Effort(  # runs all stages in a minute; its detectors miss many utterances
            "trial", BucketSize(20, 10), BucketSize(150, 1), BucketSize(40, 1), BucketSize(200, 1),
            corpus_hours=0.3, variants=1, steps=300, batch_size=64, test_clips=60, negative_hours=2.0,
            speech_hours=0.1,
            small_buckets=(BucketSize(20, 10), BucketSize(150, 1), BucketSize(40, 1), BucketSize(60, 1)),
            device_steps=150, network_steps=0,
        ),
        Effort(
            "quick", BucketSize(40, 25), BucketSize(700, 1), BucketSize(200, 1), BucketSize(1000, 1),
            corpus_hours=1.0, variants=1, steps=1500, batch_size=64, test_clips=200, negative_hours=5.0,
            speech_hours=1.0,
            small_buckets=(BucketSize(40, 25), BucketSize(500, 1), BucketSize(150, 1), BucketSize(150, 1)),
            device_steps=1200, network_steps=800,
        ),
        Effort(
            "standard", BucketSize(80, 60), BucketSize(2000, 1), BucketSize(700, 1), BucketSize(5000, 1),
            corpus_hours=4.0, variants=2, steps=5000, batch_size=64, test_clips=400,
            small_buckets=(BucketSize(40, 60), BucketSize(900, 1), BucketSize(250, 1), BucketSize(300, 1)),
            device_steps=2500, network_steps=1600,
        ),
        Effort(
            "thorough", BucketSize(120, 100), BucketSize(3000, 2), BucketSize(1000, 2), BucketSize(12000, 1),
            corpus_hours=12.0, variants=3, steps=16000, batch_size=64, test_clips=1000,
            small_buckets=(BucketSize(120, 60), BucketSize(2000, 1), BucketSize(600, 1), BucketSize(1000, 1)),
            device_steps=6000, network_steps=4000,
        ),
    )
}  # fmt: skip
EFFORT_WORDS = {
    "trial": worded("trial: about a minute, just to see how it works"),
    "quick": worded("quick: enough to judge the phrase"),
    "standard": worded("standard: the default; at least twice the clips of quick"),
    "thorough": worded("thorough: the most clips; takes at least twice as long as standard"),
}
