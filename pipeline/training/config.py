"""What a training run is asked for, and how much work each effort stands for."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.normalize import base_language
from pipeline.corpora.alignment_methods import VITERBI

BUCKETS = ("positive", "confuser", "inbetween", "plain_negative")


@dataclass(frozen=True)
class BucketSize:
    """How many texts a bucket has and how many clips are wanted of each."""

    phrases: int
    clips_per_phrase: int

    @property
    def target(self) -> int:
        return self.phrases * self.clips_per_phrase


@dataclass(frozen=True)
class Effort:
    """The one dial for how much work goes into a detector."""

    name: str
    positive: BucketSize
    confuser: BucketSize
    inbetween: BucketSize
    plain_negative: BucketSize
    corpus_hours: float  # of real speech from the library used as negatives, at most
    # Of the shipped negative bank that training hears, at most; thresholds are set on the rest. Below 1 they get no
    # more than training (bank_pieces), which is for tests: a threshold wants all there is.
    bank_hours: float
    variants: int  # augmented versions of each aligned clip
    steps: int  # of a detector that is trained from nothing; see training_steps for one on a trunk
    batch_size: int

    def size(self, bucket: str) -> BucketSize:
        """The size of a bucket by its name."""
        size = getattr(self, bucket)
        assert isinstance(size, BucketSize)
        return size


EFFORTS = {
    "trial": Effort(  # to see the whole way in a minute; what it makes hears badly
        name="trial",
        positive=BucketSize(20, 10),
        confuser=BucketSize(150, 1),
        inbetween=BucketSize(40, 1),
        plain_negative=BucketSize(200, 1),
        corpus_hours=0.3,
        bank_hours=1.0,
        variants=1,
        steps=300,
        batch_size=64,
    ),
    "quick": Effort(
        name="quick",
        positive=BucketSize(40, 25),
        confuser=BucketSize(700, 1),
        inbetween=BucketSize(200, 1),
        plain_negative=BucketSize(1000, 1),
        corpus_hours=1.0,
        bank_hours=4.0,
        variants=1,
        steps=1500,
        batch_size=64,
    ),
    "standard": Effort(
        name="standard",
        positive=BucketSize(80, 60),
        confuser=BucketSize(2000, 1),
        inbetween=BucketSize(700, 1),
        plain_negative=BucketSize(5000, 1),
        corpus_hours=4.0,
        bank_hours=6.0,
        variants=2,
        steps=5000,
        batch_size=64,
    ),
    "thorough": Effort(
        name="thorough",
        positive=BucketSize(120, 100),
        confuser=BucketSize(3000, 2),
        inbetween=BucketSize(1000, 2),
        plain_negative=BucketSize(12000, 1),
        corpus_hours=12.0,
        bank_hours=6.0,
        variants=3,
        steps=16000,
        batch_size=64,
    ),
}

SIZES = ("large", "standard", "micro")
AUTO_SIZE = "auto"  # large where it can be had, else standard
TRUNK_LANGUAGE = "en"
NOISE_FOLDER = "noise"  # under the data folder: recordings of noise that a user puts there are used for augmentation
# Clips of each bucket that are heard where a run learns no more than a line from score to logit, and hearing is what
# takes the time. A miss rate of 3 % of 400 is known to 2 points.
LINE_CLIPS = {"train": 400, "validation": 150, "test": 400}
MATCHER_STEPS = 100  # a matcher's line from score to logit is two numbers
GROWTH_CONSTANT = 20  # clips that every run adds to a bucket, so that the library gets richer with each phrase


@dataclass(frozen=True)
class RunConfig:
    """A training run, frozen: the same configuration is the same run, and goes on where it was stopped."""

    phrase: str  # normalized
    language: str = "en"
    effort: str = "standard"
    seed: int = 0
    size: str = "standard"  # of the detector: one of SIZES, or AUTO_SIZE until `prepare` has chosen
    mining: bool = True  # use real speech of the library
    mining_method: str = VITERBI  # by which words are placed in it: one of pipeline.corpora.alignment_methods.METHODS
    from_scratch: bool = False
    engines: tuple[str, ...] = ()  # empty: every free engine that is ready
    hold_out: str = ""  # engine kept for the test; empty: chosen where there are three or more; "none"
    growth_constant: int = GROWTH_CONSTANT
    start_from: str = ""  # the finished run whose detector this one makes better (./hark retrain)

    @property
    def keyphrase(self) -> Keyphrase:
        """The phrase in its language."""
        return Keyphrase(self.phrase, self.language)

    @property
    def run_name(self) -> str:
        """A folder name: the phrase for people, a digest of the whole configuration for exactness."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.phrase.encode("ascii", "ignore").decode().lower()).strip("-")[:40]
        content = json.dumps(asdict(self), sort_keys=True).encode()
        return "-".join(filter(None, [slug, self.effort, hashlib.sha256(content).hexdigest()[:8]]))


def builds_on_trunk(config: RunConfig) -> bool:
    """Whether the run starts from the shipped trunk. It has heard English only: other languages begin from nothing."""
    return not config.from_scratch and base_language(config.language) == TRUNK_LANGUAGE


def size_for(config: RunConfig) -> str:
    """The size that hears best of those that can be trained here: large where its encoder is installed, for English.

    A trial is to be over soon, and hears badly at any size: it is standard.
    """
    from model.encoder_trunk import encoder_path

    large = builds_on_trunk(config) and config.effort != "trial" and encoder_path() is not None
    return "large" if large else "standard"


def training_steps(config: RunConfig) -> int:
    """Steps of a run: many for a detector trained from nothing, few for one that only learns a line."""
    steps = EFFORTS[config.effort].steps
    return min(steps, MATCHER_STEPS) if builds_on_trunk(config) else steps


def job_folder(data: Path, config: RunConfig) -> Path:
    """The folder of the run: the newest one that is not finished, or a new one after the last finished one."""
    number = 1
    while True:
        folder = data / "jobs" / (config.run_name if number == 1 else f"{config.run_name}-{number}")
        if not (folder / "result.json").is_file():
            return folder
        number += 1
