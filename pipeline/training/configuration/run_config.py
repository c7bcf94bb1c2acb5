"""The choices of a training run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from model.languages import is_known
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.corpora.alignment_methods import METHODS, VITERBI
from pipeline.training.configuration.devices import TRAINED
from pipeline.training.configuration.efforts import EFFORTS

SIZES = ("large", "standard")
AUTO_SIZE = "auto"  # large if available, else standard
LANGUAGE_CODE = r"^[a-z]{2,3}(-[a-z0-9]+)*$"


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
    devices: tuple[str, ...] = field(
        default=(), metadata=_choice("Devices that get a detector of their own, in the bundle.", values=TRAINED)
    )
    start_from: str = ""  # the finished run whose detector this one improves (./hark retrain)

    @property
    def keyphrase(self) -> Keyphrase:
        """The phrase in its language."""
        return Keyphrase(self.phrase, self.language)

    @property
    def from_nothing(self) -> bool:
        """True if its own detector is trained from scratch; the shipped weights know English only."""
        return self.from_scratch or not is_known(self.language)

    @property
    def as_standard(self) -> RunConfig:
        """The configuration of the same run for a detector of size standard alone: the small one, or a teacher."""
        return replace(self, size="standard", devices=(), start_from="")

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


def configuration_of(values: dict[str, Any]) -> RunConfig:
    """Return the configuration whose fields were written as JSON."""
    return RunConfig(**{**values, "engines": tuple(values["engines"]), "devices": tuple(values["devices"])})
