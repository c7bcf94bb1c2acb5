"""The shipped real speech as audio: hours of many people, in Opus."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.events import Progress, Reporter
from core.lock import held
from core.worded import worded
from db.records import BANK
from model.dataset import FeatureWriter, open_store, store_is_complete
from model.examples import BITRATE, ExampleSpec, SoundSources, build_examples
from model.feature_rows import SEGMENT_COLUMNS, SPLITS, stream_row
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.negatives.negative_set import NegativeSegment, contains_phrase

if TYPE_CHECKING:
    from model.detector import Detector

NEGATIVE_SPEECH = REPOSITORY / "model" / "shipped" / "negative-speech.zip"
TRAINED = ("train", "train")  # conditions of the training split
TESTED = ("clean", "noisy", "far")  # conditions of the other splits
# Corpora that no shipped backbone was trained on: false alarms of a calibrated detector are counted on them.
UNHEARD = ("alphanumeric", "librispeech-untranscribed")
PATIENCE_S = 900.0  # seconds to wait for another run that is rendering the speech
# Corpora of the file on which `./hark bench wakeword` counts false alarms: nothing is trained on them.
RESERVED_FOR_MEASURING = ("librispeech-dev-clean",)
VERSION = 3  # of the stored renderings: increase it when the code that renders changes


@dataclass(frozen=True)
class _Rendering:
    """A segment of the file, and the condition in which it is rendered."""

    row: Mapping[str, Any]  # row of the file's table
    split: str
    condition: str
    seed: int


def _renderings(row: Mapping[str, Any], split: str, seeds: np.random.Generator) -> list[_Rendering]:
    """Return a segment in each of its split's conditions."""
    conditions = TRAINED if split == "train" else TESTED
    return [_Rendering(row, split, condition, int(seeds.integers(2**62))) for condition in conditions]


def device_negatives(
    detector: Detector,
    keyphrase: Keyphrase,
    receptive_samples: int,
    data: Path,
    reporter: Reporter,
    splits: Sequence[str] = SPLITS,
) -> Iterator[NegativeSegment]:
    """Yield the negative speech for a device's detector or its teacher: the same audio for each of them.

    For training, it is rendered twice, in rooms and noise like clips. For validation and test, it is rendered quiet, in
    noise and across a room.

    Args:
        receptive_samples: maximum samples that a score of this detector, or of others with the same audio, depends on.

    See :func:`_segments`.
    """
    renderings: list[_Rendering] = []
    seeds = np.random.default_rng(0)
    with _opened() as archive:
        table = _table(archive)
    for row in table:
        renderings += _renderings(row, row["split"], seeds)
    chosen = [each for each in renderings if each.split in splits]
    return _segments(chosen, table, detector, keyphrase, data, reporter, receptive_samples)


@dataclass(frozen=True)
class NegativeSpeech:
    """The negative speech for a detector that is calibrated (:class:`pipeline.training.negatives.shipped.Negatives`).

    The test consists of speakers that no backbone was trained on. All others set thresholds: score peaks of the
    backbone's training speakers are like those of others (lab/experiments.md). Each segment is rendered three times:
    quiet, in noise, and across a room.

    Attributes:
        hours: maximum hours of speech that set the thresholds. If less than one, the test is limited to it too.
        learns: whether a part of the detector is trained. It then learns from most of the other speakers, rendered
            twice, in rooms and noise.
    """

    hours: float = math.inf
    learns: bool = False

    def segments(
        self,
        detector: Detector,
        keyphrase: Keyphrase,
        data: Path,
        reporter: Reporter,
        splits: Collection[str] = SPLITS,
    ) -> Iterator[NegativeSegment]:
        rng = np.random.default_rng(0)
        hours = self.hours
        left = {"train": 2 * hours, "validation": hours, "test": math.inf if hours >= 1.0 else hours}
        renderings: list[_Rendering] = []
        seeds = np.random.default_rng(0)
        with _opened() as archive:
            table = _table(archive)
            for row in (table[index] for index in rng.permutation(len(table))):
                split = "train" if self.learns and row["split"] == "train" else "validation"
                split = "test" if row["corpus"] in UNHEARD else split
                if left[split] > 0:
                    left[split] -= archive.getinfo(row["file"]).file_size * 8 / BITRATE / 3600
                    renderings += _renderings(row, split, seeds)
        segments = _segments(renderings, table, detector, keyphrase, data, reporter)
        return (segment for segment in segments if segment.row["split"] in splits)

    def about(self) -> dict[str, Any]:
        hours = {"train": 0.0, "validation": 0.0, "test": 0.0}
        with _opened() as archive:
            for row in _table(archive):
                seconds = archive.getinfo(row["file"]).file_size * 8 / BITRATE
                hours["test" if row["corpus"] in UNHEARD else "train"] += seconds / 3600
        return {**about_negative_speech(), "hours": {name: round(value, 2) for name, value in hours.items()}}


def _table(archive: zipfile.ZipFile) -> list[dict[str, Any]]:
    """Return the rows of the file's table that may be used."""
    rows: list[dict[str, Any]] = json.loads(archive.read("table.json"))
    return [row for row in rows if row["corpus"] not in RESERVED_FOR_MEASURING]


def _segments(
    renderings: Sequence[_Rendering],
    table: Sequence[Mapping[str, Any]],
    detector: Detector,
    keyphrase: Keyphrase,
    data: Path,
    reporter: Reporter,
    receptive_samples: int = 0,
) -> Iterator[NegativeSegment]:
    """Yield renderings of the negative speech, without the phrase, as computed by a detector's front end.

    They are computed once and stored in the data folder for all phrases.

    Args:
        table: the file's table with all segments, so that two detectors with different parts of it omit the same ones.
        receptive_samples: samples to which short segments are padded; 0 for what the detector needs.

    Raises:
        HarkError: the file is missing or damaged.
    """
    texts = tuple(row["text"] for row in table)
    left_out = dict(zip(texts, contains_phrase(texts, keyphrase)))
    wanted = json.dumps([(each.row["file"], each.split, each.condition) for each in renderings])
    size = NEGATIVE_SPEECH.stat().st_size
    identity = f"{VERSION} {detector.front_end_id} {size} {wanted} {receptive_samples or ''}".rstrip()
    folder = data / "cache" / "negative-speech" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)

    def going_on(holder: str) -> HarkError:
        return HarkError(
            worded("The negative speech is not ready yet."),
            worded("Process %(holder)s is preparing it.", holder=holder),
            worded("Run the same command again in a few minutes; it continues from where it stopped."),
        )

    with held(folder / "lock", going_on, PATIENCE_S):
        if not store_is_complete(folder):
            reporter.stage("features", worded("Processing real speech (only once for this kind of detector)"))
            need = receptive_samples or detector.config.receptive_samples
            _render(renderings, detector, need, folder, reporter)
    store = open_store(folder, detector.config.stored.width)
    for row in store.segments.itertuples():
        if not left_out[str(row.text)]:
            columns = {name: getattr(row, name) for name in SEGMENT_COLUMNS[2:]}
            yield NegativeSegment(store.features(row), columns | {"text": ""})


def _render(renderings: Sequence[_Rendering], detector: Detector, need: int, folder: Path, reporter: Reporter) -> None:
    sounds = folder / "sound"
    with _opened() as archive:
        archive.extractall(sounds, {rendering.row["file"] for rendering in renderings})
    specs: list[ExampleSpec] = []
    for rendering in renderings:
        row, sound = rendering.row, sounds / rendering.row["file"]
        columns = {**stream_row(rendering.split, BANK + row["corpus"], row["speaker"]), "text": row["text"]}
        specs.append(ExampleSpec((str(sound),), False, rendering.condition, rendering.seed, need, columns=columns))
    writer = FeatureWriter(folder)
    progress = Progress(reporter, len(specs))
    with closing(build_examples(specs, SoundSources(), detector.front_end(folder))) as built:
        for frames, columns in built:
            writer.append(frames, **columns)
            progress.advance()
    writer.close()
    shutil.rmtree(sounds)


def _opened() -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(NEGATIVE_SPEECH)
    except (OSError, zipfile.BadZipFile) as error:
        raise HarkError(
            worded("The negative speech %(name)s cannot be read.", name=NEGATIVE_SPEECH.name),
            f"{NEGATIVE_SPEECH}: {error}.",
            worded("Restore Hark's files (git checkout model/shipped)."),
        ) from error


def about_negative_speech() -> dict[str, Any]:
    """Return the file's ``training_corpora`` and their ``licences``. Raises HarkError if the file is unusable."""
    with _opened() as archive:
        about = json.loads(archive.read("about.json"))
    licences = {name: licence for name, licence in about["licences"].items() if name not in RESERVED_FOR_MEASURING}
    return {"training_corpora": sorted(licences), "licences": licences}
