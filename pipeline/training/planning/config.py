"""The choices of a training run, and the amount of work that each effort stands for."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from core.data_folder import REPOSITORY
from core.worded import worded
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.corpora.alignment_methods import METHODS, VITERBI
from pipeline.training.scoring.languages import is_known

RESULT = "result.json"  # in the folder of a successful run; written last
DEVICES_FOLDER = "devices"  # in the folder of a run: its device detectors while they are made
BUCKETS = ("positive", "confusable", "inbetween", "plain_negative")
REAL_ENGINES = ("corpus", "mined")  # engines of clips by people: whole recordings, and clips mined from them
BANK = "bank:"  # prefix of a corpus: engine of the shipped real speech, in stored tables and reports


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
    # Maximum hours of the shipped real speech behind the threshold of a calibrated detector: as outputs of an encoder,
    # and as sound (two cores process an hour of it in a minute, once).
    negative_hours: float = math.inf
    speech_hours: float = math.inf


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
    "standard": worded("standard: twice as many clips as quick; the default"),
    "thorough": worded("thorough: the most clips; takes at least twice as long as standard"),
}

DEVICES = ("esphome", "openwakeword")  # devices with a file format of their own
PACKAGES = {"esphome": "pymicro-wakeword", "openwakeword": "pyopen-wakeword"}  # required to make the files
SMALL = "small"  # a detector of size standard, for computers and pages for which a large one is too large
TRAINED_TARGETS = (*DEVICES, SMALL)  # each has an additional detector; the small one has Hark's own format
TARGETS = (*TRAINED_TARGETS, "browser", "pi", "python")  # devices that a detector runs on
TITLES = {  # of the targets, for users
    "esphome": "ESPHome: Voice PE, ESP32-S3",
    "openwakeword": "Home Assistant: openWakeWord",
    SMALL: worded("Small computers, slow networks"),
    "browser": "Browser",
    "pi": "Raspberry Pi, Wyoming",
    "python": "Python",
}
WINDOW_S = {"esphome": 2.6, "openwakeword": 1.9}  # seconds of audio behind one score, into which a phrase must fit
SIZES = ("large", "standard")
NEGATIVE_SET = REPOSITORY / "model" / "shipped" / "negative-set-large.zip"
AUTO_SIZE = "auto"  # large if available, else standard
NOISE_FOLDER = "noise"  # below the data folder: recordings of noise that a user puts there are used for augmentation
VARIANTS = 2  # augmented copies of each training clip, for the networks of standard and device detectors
GROWTH_CONSTANT = 20  # clips that every run adds to a bucket, so that the library grows with each phrase
LANGUAGE_CODE = r"^[a-z]{2,3}(-[a-z0-9]+)*$"


class Recipe(Enum):
    """The ways in which a run makes its own detector."""

    CALIBRATED = "calibrated"  # a keyword HMM on shipped weights, of which only the threshold is set
    NETWORK = "network"  # the same, plus a network that learns the phrase
    FROM_NOTHING = "from nothing"


@dataclass(frozen=True)
class Choice:
    """The values that users may choose for a field of :class:`RunConfig`, for the API's schema and the portal's form.

    Attributes:
        about: description; "" if the field's name is sufficient.
        values: the allowed values, of the field or of each entry of a list; empty: any value within the limits.
        minimum: the smallest number.
        maximum: the largest number.
        max_length: the most characters of a text, or entries of a list.
        pattern: regular expression that a text matches.
    """

    about: str = ""
    values: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    max_length: int | None = None
    pattern: str | None = None


def _choice(about: str = "", **limits: Any) -> dict[str, Choice]:
    """Return the metadata of a field that a user may choose."""
    return {"choice": Choice(about, **limits)}


@dataclass(frozen=True)
class RunConfig:
    """The configuration of a training run. A run with an equal configuration is the same run, and resumes it.

    Users may set the fields that have a :class:`Choice`; the portal sets the others itself.
    """

    phrase: str = field(metadata=_choice(max_length=300))  # normalized
    language: str = field(default="en", metadata=_choice(max_length=20, pattern=LANGUAGE_CODE))
    effort: str = field(default="standard", metadata=_choice(values=tuple(EFFORTS)))
    seed: int = field(default=0, metadata=_choice(minimum=0, maximum=2**31 - 1))
    size: str = field(  # size of the detector; AUTO_SIZE until `prepare` has chosen
        default="standard",
        metadata=_choice(
            "auto: large for English where its encoder is installed, but for a trial; else standard.",
            values=(AUTO_SIZE, *SIZES),
        ),
    )
    mining: bool = field(default=True, metadata=_choice("Use recordings from the library."))
    mining_method: str = field(
        default=VITERBI,
        metadata=_choice("The word alignment for those recordings.", values=tuple(METHODS)),
    )
    from_scratch: bool = field(default=False, metadata=_choice("Without the shipped backbone."))
    allow_confusables: bool = field(
        default=False, metadata=_choice("Do not raise a large detector's threshold to reject confusable phrases.")
    )
    engines: tuple[str, ...] = field(default=(), metadata=_choice("None: all free ones that are ready.", max_length=30))
    hold_out: str = ""  # engine held out for the test; "none"; empty to choose one if there are three or more
    growth_constant: int = GROWTH_CONSTANT
    devices: tuple[str, ...] = field(
        default=(), metadata=_choice("Devices that get a detector of their own, in the bundle.", values=TRAINED_TARGETS)
    )
    start_from: str = ""  # the finished run whose detector this one improves (./hark retrain)

    @property
    def keyphrase(self) -> Keyphrase:
        """The phrase in its language."""
        return Keyphrase(self.phrase, self.language)

    @property
    def recipe(self) -> Recipe:
        """Recipe of its own detector; the shipped weights know English only."""
        if self.from_scratch or not is_known(self.language):
            return Recipe.FROM_NOTHING
        has_network = self.size == "standard" and EFFORTS[self.effort].network_steps > 0
        return Recipe.NETWORK if has_network else Recipe.CALIBRATED

    @property
    def learns(self) -> bool:
        """True if the run trains a detector on clips: its own, or one for a device."""
        return self.recipe is not Recipe.CALIBRATED or bool(self.devices)

    @property
    def variants(self) -> int:
        """Number of augmented versions of each clip that its own detector learns from."""
        learned = {Recipe.NETWORK: VARIANTS, Recipe.FROM_NOTHING: EFFORTS[self.effort].variants}
        return learned.get(self.recipe, 0)

    def bucket_size(self, bucket: str) -> BucketSize:
        """Return the number of texts and clips of a bucket that the run wants."""
        if self.learns and self.recipe is not Recipe.FROM_NOTHING:
            return EFFORTS[self.effort].small_buckets[BUCKETS.index(bucket)]
        size: BucketSize = getattr(EFFORTS[self.effort], bucket)
        return size

    @property
    def run_name(self) -> str:
        """Folder name: the phrase for people, a digest of the configuration for exactness.

        The digest omits a field that has its default, so a version with another field continues the same run.
        """
        slug = re.sub(r"[^a-z0-9]+", "-", self.phrase.encode("ascii", "ignore").decode().lower()).strip("-")[:40]
        usual = asdict(type(self)(""))
        unusual = {name: value for name, value in asdict(self).items() if value != usual[name]}
        content = json.dumps(unusual, sort_keys=True).encode()
        return "-".join(filter(None, [slug, self.effort, hashlib.sha256(content).hexdigest()[:8]]))


CHOICES: dict[str, Choice] = {each.name: each.metadata["choice"] for each in fields(RunConfig) if each.metadata}
USUAL = RunConfig("", size=AUTO_SIZE)  # only the phrase is chosen


def chosen(start: RunConfig, choices: Mapping[str, Any]) -> RunConfig:
    """Return ``start`` with a user's choices. Lists become tuples. Raises TypeError if a name is not one of them."""
    if refused := sorted(choices.keys() - CHOICES.keys()):
        raise TypeError(f"a user cannot choose {', '.join(refused)} of a run")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in choices.items()}
    return replace(start, **values)


def job_folder(data: Path, config: RunConfig) -> Path:
    """Return the folder of the run: that of the unfinished one, or a new one after the last finished one."""
    number = 1 + len(list(finished_folders(data, config)))
    return _numbered(data, config, number)


def finished_folders(data: Path, config: RunConfig) -> Iterator[Path]:
    """Return the folders of a configuration's finished runs, oldest first."""
    folders = (_numbered(data, config, number) for number in itertools.count(1))
    return itertools.takewhile(lambda folder: (folder / RESULT).is_file(), folders)


def _numbered(data: Path, config: RunConfig, number: int) -> Path:
    return data / "jobs" / (config.run_name if number == 1 else f"{config.run_name}-{number}")
