"""Comparison of a detector's versions on one stream, so that their figures are comparable.

Each version was measured on the test of its own run, and the tests of two runs differ. Here all of them score the same
audio: each recording that is in the test of one version and in the training of none, the enrolment recordings that
none was trained on, and the test part of the negative set if all of them use its backbone. Each is at its own
threshold.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.data_folder import atomic_path, storing
from core.errors import HarkError
from core.events import Progress, Reporter
from core.lock import held
from core.worded import worded
from db.db_api import Library
from db.records import BANK, Clip, real_speaker
from model.metrics import ScoredStream, det_curve, phrase_scores
from pipeline.corpora.enrolment import saved_takes
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.measuring.calibration import DEFAULT_FA_PER_DAY, threshold_at
from pipeline.training.measuring.evaluation import at_threshold
from pipeline.training.measuring.figures import ComparedVersion, Comparison, StreamContents, VersionFigures
from pipeline.training.measuring.marked_errors import Marked, fires, marked_audio
from pipeline.training.measuring.scored_split import ScoredSplit, score_split
from pipeline.training.recipes import recipe_of
from pipeline.training.workspace.run_folder import NOISE_FOLDER, RunFolder

if TYPE_CHECKING:
    from model.dataset import FeatureStore
    from model.detector import Detector
    from pipeline.training.clips.examples import ExamplePlan
    from pipeline.training.negatives.negative_set import NegativeSegment
    from pipeline.training.negatives.shipped import Negatives

MAX_VERSIONS = 8  # the more versions, the fewer recordings were in the training of none of them
COMPARISON = "comparison.json"  # in the folder of the newest version


@dataclass(frozen=True)
class Trained:
    """A finished version."""

    run: str
    detector: Detector
    threshold: float
    clips: pd.DataFrame  # pipeline.training.clips.examples.CLIP_COLUMNS
    config: RunConfig
    negatives: dict[str, Any]  # as in the version's report; {} without a negative set


def version_before(data: Path, run: str) -> tuple[Detector, dict[str, Any]]:
    """Return a finished run's detector and its bundle's manifest. Raises HarkError if they are missing or damaged."""
    from model.checkpoint import load_checkpoint

    path = RunFolder(data, run).checkpoint
    why = worded("%(name)s of the run %(run)s is missing.", name=path.name, run=run)
    if path.is_file():
        detector, about = load_checkpoint(str(path))
        if isinstance(about.get("manifest"), dict):
            return detector, about["manifest"]
        why = worded("%(name)s of the run %(run)s is damaged.", name=path.name, run=run)
    raise HarkError(worded("The earlier version cannot be used."), why, worded("Train the phrase again."))


def counted(detector: Detector, test: ScoredSplit, threshold: float, marked: Marked) -> VersionFigures:
    """Return a version's figures on a test that it has scored, and on the marked errors.

    The test has several renderings of each utterance (quiet, in noise); ``missed`` counts renderings.
    """
    scores = phrase_scores(test.pick(test.positive))
    return {
        **at_threshold(test, threshold),
        "utterances": test.utterances(test.positive),
        "renderings": len(scores),
        "missed": int((scores < threshold).sum()),
        "hours": sum(stream.hours for stream in test.pick(test.ordinary)),
        "marked_fired": sum(fires(detector, audio, threshold) for audio in marked.false_alarms),
        "marked_missed": sum(not fires(detector, audio, threshold) for audio in marked.misses),
    }


def compare_versions(runs: Sequence[str], data: Path, reporter: Reporter) -> Comparison:
    """Measure the detectors of finished runs, newest first, on one stream; also store the result as :data:`COMPARISON`.

    Raises HarkError if fewer than two versions can be compared, or each recording was in the training of one of them.
    """
    own = RunFolder(data, f"compare-{Path(runs[0]).name}")
    streams = own.path / "streams"
    with storing("comparing the versions"):
        own.path.mkdir(parents=True, exist_ok=True)
        with held(own.lock, _going_on):
            try:
                return _compare(runs, data, streams, reporter)
            finally:
                shutil.rmtree(streams, ignore_errors=True)


def _going_on(holder: str) -> HarkError:
    return HarkError(
        worded("These versions are already being compared."),
        worded("Process %(holder)s is comparing them.", holder=holder),
        worded("Wait until it ends, or cancel it."),
    )


def _compare(runs: Sequence[str], data: Path, folder: Path, reporter: Reporter) -> Comparison:
    reporter.stage("gather", worded("Finding recordings that no version was trained on"))
    versions, left_out = _open(runs, data)
    if len(versions) < 2:
        raise HarkError(
            worded("A comparison needs two versions."),
            "; ".join(f"{run}: {why}" for run, why in left_out.items()) or worded("Only one was given."),
            worded("Train the phrase again or retrain it, then compare."),
        )
    config = versions[0].config
    with Library(data) as library:
        clips = unseen_clips(versions, library, config)
        marked = marked_audio(library, config.phrase, config.language)
    if not (clips["label"] == 1).any():
        raise HarkError(
            worded("These versions cannot be compared on the same audio."),
            worded("Every recording of the phrase was used to train one of them, or no longer exists."),
            worded("Record the phrase (Library > Record), keep the recordings out of training, then compare."),
        )
    examples = _examples(versions, clips, data / NOISE_FOLDER)
    negatives = _negatives_in_common(versions)
    groups = _by_stored_frames(versions)
    progress = Progress(reporter, len(groups) * len(examples.specs) + len(versions))
    figures: dict[str, ComparedVersion] = {}
    test: ScoredSplit | None = None
    for number, group in enumerate(groups):
        reporter.stage("listen", worded("Scoring %(n)d examples with each version", n=len(examples.specs)))
        detector = group[0].detector
        of_test = negatives.segments(detector, config.keyphrase, data, reporter, ("test",)) if negatives else ()
        store = _store(detector, examples, of_test, folder / str(number), progress)
        for version in group:
            test = score_split(version.detector, store, "test")
            figures[version.run] = {
                "run": version.run,
                **counted(version.detector, test, version.threshold, marked),
                "people": test.miss_rate(test.people, version.threshold),
                "det": det_curve(test.pick(test.positive), test.pick(test.ordinary)),
            }
            progress.advance()
        shutil.rmtree(folder / str(number))
    assert test is not None
    result: Comparison = {
        "asked": list(runs),
        "stream": _about(test, marked),
        "versions": [figures[version.run] for version in versions],
        "left_out": left_out,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    newest = RunFolder(data, runs[0]).results
    if newest.is_dir():  # otherwise the version was deleted meanwhile
        with atomic_path(newest / COMPARISON) as temporary:
            temporary.write_text(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False))
    return result


def _open(runs: Sequence[str], data: Path) -> tuple[list[Trained], dict[str, str]]:
    versions, left_out = [], {}
    for run in runs:
        folder = RunFolder(data, run)
        config = folder.config()
        try:
            detector, manifest = version_before(data, run)
            clips = pd.read_csv(folder.clips, keep_default_na=False)
            report = json.loads((folder.results / "report.json").read_text(encoding="utf-8"))
        except HarkError as error:
            left_out[run] = error.why
            continue
        except (OSError, ValueError):
            config = None
        if config is None:
            left_out[run] = worded("Its training data is no longer known: the folder of its run is missing.")
            continue
        threshold = threshold_at(manifest["thresholds"], DEFAULT_FA_PER_DAY)
        versions.append(Trained(run, detector, threshold, clips, config, report.get("negative_set", {})))
    return versions, left_out


def unseen_clips(versions: Sequence[Trained], library: Library, config: RunConfig) -> pd.DataFrame:
    """Return the clips (:data:`CLIP_COLUMNS`, all in the split "test") that none of the versions was trained on.

    Neither the recording nor a speaker in it was in the training or validation of any of them. Texts need no such rule,
    because ``pipeline.training.planning.splits.split_of`` puts a confusable into the same split in every run.
    """
    from pipeline.training.clips.examples import CLIP_COLUMNS, clip_row  # imports torch

    table = pd.concat([version.clips for version in versions], ignore_index=True)
    known = {clip.id: clip for clip in library.clips(set(table["clip_id"].tolist()))}
    seen: set[str] = set()
    for row in table[table["split"] != "test"].to_dict("records"):
        clip = known.get(row["clip_id"])
        seen |= _who(clip) if clip else {f"clip {row['clip_id']}", row["speaker"]} - {""}
    rows: dict[int, dict[Any, Any]] = {}
    for row in table[table["split"] == "test"].to_dict("records"):
        clip = known.get(row["clip_id"])
        if clip is not None and _usable(clip, seen, library):
            # The newest version's row; its path belongs to the machine that trained.
            rows.setdefault(clip.id, {**row, "path": str(library.file(clip))})
    for take in saved_takes(library, phrase=config.phrase, language=config.language):
        if _usable(take, seen, library):
            rows.setdefault(take.id, clip_row(library, take, "positive", "test", reused=True))
    return pd.DataFrame(list(rows.values()), columns=list(CLIP_COLUMNS))


def _who(clip: Clip) -> set[str]:
    """Return the speaker of a clip, and its recording (of a mined clip, its parent)."""
    return {real_speaker(clip), f"clip {clip.parent_id or clip.id}"}


def _usable(clip: Clip, seen: set[str], library: Library) -> bool:
    return clip.state == "ready" and not (_who(clip) & seen) and library.file(clip).is_file()


def _examples(versions: Sequence[Trained], clips: pd.DataFrame, noise: Path) -> ExamplePlan:
    """Return the examples of all versions: the phrase alone in quiet and in noise, or among other speech across a room.

    No version was trained in that room.
    """
    from pipeline.training.clips.examples import plan_examples, window_seconds

    seed = 1 + max(version.config.seed for version in versions)
    longest = max(version.detector.config.receptive_samples for version in versions)
    _, phrase_s = window_seconds(clips, versions[0].config.phrase)
    planned = plan_examples(replace(versions[0].config, seed=seed), clips, noise, longest, phrase_s)
    return replace(planned, specs=tuple(spec for spec in planned.specs if spec.columns["split"] == "test"))


def _by_stored_frames(versions: Sequence[Trained]) -> list[list[Trained]]:
    groups: dict[Hashable, list[Trained]] = {}
    for version in versions:
        groups.setdefault(version.detector.stored_id, []).append(version)
    return list(groups.values())


def _negatives_in_common(versions: Sequence[Trained]) -> Negatives | None:
    """Return the real speech that ships if all versions used it as it is now, with one front end; otherwise None."""
    negatives = recipe_of(versions[0].config).negatives(math.inf)
    about = negatives.about()
    alike = len({version.detector.front_end_id for version in versions}) == 1
    return negatives if alike and about and all(version.negatives == about for version in versions) else None


def _store(
    detector: Detector, examples: ExamplePlan, negatives: Iterable[NegativeSegment], folder: Path, progress: Progress
) -> FeatureStore:
    """Return the features of the stream for a detector. All with the same stored frames share them."""
    from pipeline.training.clips.examples import build_store

    shutil.rmtree(folder, ignore_errors=True)  # left by a killed comparison
    folder.mkdir(parents=True)
    return build_store(detector, examples, negatives, folder, folder, progress)


def _about(test: ScoredSplit, marked: Marked) -> StreamContents:
    ordinary = test.pick(test.ordinary)
    from_negative_set = test.pick(np.asarray(test.table["engine"].str.startswith(BANK), bool))
    return {
        "utterances": test.utterances(test.positive),
        "renderings": int(test.positive.sum()),
        "people": test.utterances(test.people),
        "voices": int(test.table[test.positive]["speaker"].nunique()),
        "confusables": test.utterances(test.confusables),
        "hours": _hours(ordinary),
        "negative_hours": _hours(from_negative_set),
        "marked": len(marked.false_alarms),
        "marked_misses": len(marked.misses),
    }


def _hours(streams: Iterable[ScoredStream]) -> float:
    return round(sum((stream.hours for stream in streams), 0.0), 4)
