"""The table of a run's clips, and the examples that are built from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.events import Progress
from db.db_api import Library
from db.records import Clip
from model.dataset import FeatureStore, FeatureWriter, open_store
from model.detector import Detector
from model.examples import (
    AFTER_FRACTION,
    BEFORE_FRACTION,
    BITRATE,
    ExampleSpec,
    SoundSources,
    build_examples,
    spoken_seconds,
)
from model.feature_rows import SPLITS, STREAM_S, stream_row
from pipeline.corpora.mining import ENGINE as MINED
from pipeline.training.configuration.efforts import BUCKETS, VARIANTS
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.negatives.negative_set import NegativeSegment
from pipeline.training.planning.plan import Plan
from pipeline.training.workspace.run_folder import NOISE_FOLDER

WINDOW_S = (0.8, 3.0)  # minimum and maximum seconds of the recurrent layer's window
WINDOW_MARGIN_S = 0.25
SLOWEST = 0.85 * 0.95  # product of speed and tempo that few augmented clips go below
MEASURED_CLIPS = 200  # number of positives whose duration is measured
NOISE_BLOCKS = 40  # number of blocks of 12 s without speech
BABBLE_CLIPS = 40
Row = dict[str, Any]
CLIP_COLUMNS = (
    "clip_id", "path", "label", "bucket", "engine", "voice", "speaker", "split", "text", "licence", "seconds", "reused",
    "corpus",
    "phrase_start_s",  # start of the words in a mined clip; -1: its first sound
    "phrase_end_s",  # end of the words; -1: its last sound
)  # fmt: skip
EXAMPLE_COLUMNS = ("label", "bucket", "engine", "voice", "speaker", "clip_id", "text")  # columns of examples


def clip_row(library: Library, clip: Clip, bucket: str, split: str, reused: bool, parent: Clip | None = None) -> Row:
    """Return a row of a run's table of clips; ``parent`` is the recording of a mined clip."""
    source = parent.source if parent else clip.source
    place = clip.settings if clip.engine == MINED else {}
    return {
        "clip_id": clip.id,
        "path": str(library.file(clip)),
        "label": int(bucket == "positive"),
        "bucket": bucket,
        "engine": clip.engine,
        "voice": clip.voice,
        "speaker": clip.speaker,
        "split": split,
        "text": clip.text_normalized,
        "licence": clip.licence,
        "seconds": clip.duration_s,
        "corpus": (source or "").split(":")[0],
        "reused": int(reused),
        "phrase_start_s": place.get("phrase_start_s", -1.0),
        "phrase_end_s": place.get("phrase_end_s", -1.0),
    }


def clip_table(plan: Plan, library: Library) -> pd.DataFrame:
    """Return a run's clips, one row each (:data:`CLIP_COLUMNS`): those chosen by its plan, and those synthesized.

    Clips that have since been rejected, or could not be synthesized, are omitted.
    """
    chosen = {clip.id: clip for clip in library.clips([planned.clip_id for planned in plan.clips])}
    cut_out_of = [clip.parent_id for clip in chosen.values() if clip.parent_id is not None]
    parents = {parent.id: parent for parent in library.clips(cut_out_of)}
    spoken = library.clips_of_requests([request.request_id for request in plan.requests])
    rows: list[Row] = []
    for planned in plan.clips:
        clip = chosen.get(planned.clip_id)
        parent = parents.get(clip.parent_id or 0) if clip is not None else None
        if clip is not None and clip.state == "ready" and (parent is None or parent.state == "ready"):
            rows.append(clip_row(library, clip, planned.bucket, planned.split, True, parent))
    for request in plan.requests:
        if request.request_id in spoken:
            rows.append(clip_row(library, spoken[request.request_id], request.bucket, request.split, False))
    table = pd.DataFrame(rows, columns=list(CLIP_COLUMNS))
    return table.sort_values("bucket", key=lambda buckets: buckets.map(BUCKETS.index), kind="stable", ignore_index=True)


def window_seconds(clips: pd.DataFrame, phrase: str) -> tuple[float, float]:
    """Return two durations [s]: a window that holds the slowest augmented phrase, and the phrase's median."""
    alone = clips[(clips["bucket"] == "positive") & (clips["text"] == phrase)]
    sample = alone["path"].sample(min(MEASURED_CLIPS, len(alone)), random_state=0)
    lengths = np.asarray([s for s in map(spoken_seconds, sample) if s > 0])
    if not len(lengths):
        return 1.6, 0.8
    longest = float(np.percentile(lengths, 95)) / SLOWEST + WINDOW_MARGIN_S
    return float(np.clip(longest, *WINDOW_S)), float(np.median(lengths))


@dataclass(frozen=True)
class ExamplePlan:
    """The examples of a feature store, and the audio that they are mixed with."""

    specs: tuple[ExampleSpec, ...]
    sources: SoundSources


def plan_examples(
    config: RunConfig,
    clips: pd.DataFrame,
    noise_folder: Path | None,
    receptive_samples: int,
    phrase_s: float,
    variants: int = 0,
    bitrate: int = 0,
) -> ExamplePlan:
    """Return a run's examples: several versions of each aligned clip, streams of general speech, and noise.

    Args:
        variants: augmented versions of each aligned training clip; 0 if nothing is trained.
        bitrate: bit/s at which Opus encodes training clips, as it encoded the shipped speech; 0 for no encoding.
        receptive_samples: samples that a detector needs before a clip's end.
        phrase_s: the phrase's duration in seconds.
    """
    rng = np.random.default_rng((config.seed, 5))
    specs: list[ExampleSpec] = []

    def spec(paths: list[str], aligned: bool, condition: str, columns: dict[str, Any], **more: Any) -> None:
        seed = int(rng.integers(2**62))
        specs.append(ExampleSpec(tuple(paths), aligned, condition, seed, receptive_samples, columns=columns, **more))

    for split in SPLITS if variants else SPLITS[1:]:
        rows = clips[clips["split"] == split]
        plain = rows[rows["bucket"] == "plain_negative"]
        neighbours = plain["path"].to_numpy()
        for row in rows[rows["bucket"] != "plain_negative"].itertuples():
            columns = {"split": split, **{name: getattr(row, name) for name in EXAMPLE_COLUMNS}}
            carried = row.bucket == "positive" and row.text != config.phrase
            # People address a device after a pause, so a clip is alone except in training and in the hardest condition.
            if split == "train":
                conditions = ["train"] * variants
            elif row.bucket == "positive":
                conditions = ["far"] if carried else ["clean", "noisy"]
            else:
                conditions = [("clean", "noisy")[int(rng.integers(2))]]
            for condition in conditions:
                drawn = {
                    side: str(neighbours[rng.integers(len(neighbours))])
                    for side, share in (("before", BEFORE_FRACTION), ("after", AFTER_FRACTION))
                    if condition in ("train", "far") and len(neighbours) and rng.random() < share
                }
                start_s, end_s = float(str(row.phrase_start_s)), float(str(row.phrase_end_s))
                spec(
                    [str(row.path)], True, condition, columns, last_seconds=phrase_s if carried else 0.0,
                    place_s=(start_s, end_s) if end_s >= 0 else None, bitrate=bitrate if split == "train" else 0,
                    **drawn,
                )  # fmt: skip
        for paths, condition, columns in _streams(plain, split, rng):
            spec(paths, False, condition, columns)
        for _ in range(NOISE_BLOCKS if split == "train" else NOISE_BLOCKS // 4):
            condition = "train" if split == "train" else "noisy"
            spec([], False, condition, stream_row(split, "noise", bucket="noise"))
    train_plain = clips[(clips["split"] == "train") & (clips["bucket"] == "plain_negative")]
    babble = tuple(train_plain["path"].sample(min(BABBLE_CLIPS, len(train_plain)), random_state=config.seed))
    folder = str(noise_folder) if noise_folder is not None and noise_folder.is_dir() else ""
    return ExamplePlan(tuple(specs), SoundSources(folder, rooms_seed=config.seed, babble=babble))


def _streams(
    plain: pd.DataFrame, split: str, rng: np.random.Generator
) -> Iterator[tuple[list[str], str, dict[str, Any]]]:
    """Draw streams of general speech: files, condition and columns of each.

    A stream has speech of one engine or corpus, so that false alarms can be counted by source.
    """
    for engine, group in plain.groupby("engine"):
        order = rng.permutation(len(group))
        block: list[Any] = []
        number = 0
        for index in order:
            block.append(group.iloc[index])
            if sum(r.seconds for r in block) >= STREAM_S or index == order[-1]:
                condition = "train" if split == "train" else ("clean", "noisy", "far")[number % 3]
                speakers = {r.speaker for r in block}
                speaker = speakers.pop() if len(speakers) == 1 else ""
                yield [r.path for r in block], condition, stream_row(split, str(engine), speaker)
                block, number = [], number + 1


def device_examples(config: RunConfig, clips: pd.DataFrame, data: Path, need: int) -> ExamplePlan:
    """Plan examples for all device detectors and their teacher; a score depends on at most ``need`` samples."""
    _, phrase_s = window_seconds(clips, config.phrase)
    return plan_examples(config, clips, data / NOISE_FOLDER, need, phrase_s, VARIANTS, BITRATE)


def build_store(
    detector: Detector,
    examples: ExamplePlan,
    pieces: Iterable[NegativeSegment],
    models: Path,
    folder: Path,
    progress: Progress,
) -> FeatureStore:
    """Build a feature store of examples and segments of negative speech, as computed by a detector's front end.

    Args:
        models: folder for the files of the front end.
        folder: folder of the store.
        progress: progress of the examples.
    """
    writer = FeatureWriter(folder)
    with closing(build_examples(examples.specs, examples.sources, detector.front_end(models))) as built:
        for features, row in built:
            writer.append(features, **row)
            progress.advance()
    for piece in pieces:
        writer.append(piece.frames, **piece.row)
    writer.close()
    return open_store(folder, detector.config.stored.width)
