"""From the library's clips to the table of a run's clips, and from that to the examples that are built of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from db.db_api import Library
from db.records import Clip, Where
from model.detector import Detector
from model.encoder_detector import EncoderDetector
from model.examples import AFTER_SHARE, BEFORE_SHARE, ExampleSpec, SoundSources, spoken_seconds
from model.phones import outputs_of
from model.rescoring import spellings
from model.shipped_weights import TRUNKS, shipped_trunk
from model.tiny_crnn import TinyCRNN, TinyCRNNConfig
from model.trunk_detector import TrunkDetector
from phrase_augmentation.normalize import normalize
from pipeline.training.config import BUCKETS, EFFORTS, LINE_CLIPS, RunConfig, builds_on_trunk
from pipeline.training.evaluation import REAL_ENGINES
from pipeline.training.mining import ENGINE as MINED
from pipeline.training.mining import mined_clips
from pipeline.training.negative_bank import rescoring_threshold
from pipeline.training.plan import Plan, engines_used
from pipeline.training.retraining import marked_false_alarms
from pipeline.training.splits import VoiceSplits, is_for_test, real_speaker, split_of, splits_of_takes

WINDOW_S = (0.8, 3.0)  # shortest and longest window of the recurrent layer, seconds
WINDOW_MARGIN_S = 0.25
TRUNK_DELAY_S = 0.12  # a causal trunk writes a phone that much after it was said
SLOWEST = 0.85 * 0.95  # speed and tempo together, nearly at their slowest
MEASURED_CLIPS = 200  # positives whose length is looked at
STREAM_S = 25.0  # speech in one block of a stream
NOISE_BLOCKS = 40  # of 12 s without speech
BABBLE_CLIPS = 40
Row = dict[str, Any]
CLIP_COLUMNS = (
    "clip_id",
    "path",
    "label",
    "bucket",
    "engine",
    "voice",
    "speaker",
    "split",
    "text",
    "licence",
    "seconds",
    "reused",
    "corpus",
    "phrase_start_s",  # where the words are in the clip, of a cut out of running speech; -1: from its first sound
    "phrase_end_s",  # to its last
)


def clip_row(library: Library, clip: Clip, bucket: str, split: str, reused: bool, parent: Clip | None = None) -> Row:
    """A row of a run's table of clips; ``parent`` is the recording that a cut was cut out of."""
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


def clip_table(plan: Plan, library: Library, splits: VoiceSplits) -> pd.DataFrame:
    """The clips of a run, a row each, with :data:`CLIP_COLUMNS`.

    A clip whose voice and text belong to different splits is left out, and so is a take for tests of somebody who is
    heard in training. A bucket takes at most a quarter more than its target, so that a library that has grown does not
    make every run longer; what the user has recorded of it comes first.
    """
    language = plan.config.language
    takes = library.clips_with_texts([plan.config.phrase], language)
    splits = replace(splits, speaker_split={**splits.speaker_split, **splits_of_takes(takes)})
    rows: list[Row] = []
    seen: set[int] = set()

    def add(clip: Clip, bucket: str, split: str, parent: Clip | None = None) -> None:
        seen.add(clip.id)
        if is_for_test(parent or clip) and split != "test":
            return
        reused = not (clip.request_id or "").startswith(f"{plan.run}:")
        rows.append(clip_row(library, clip, bucket, split, reused, parent))

    for bucket in BUCKETS:
        row = plan.bucket(bucket)
        texts = list(dict.fromkeys(normalize(text, language) for text in row.texts))
        whole = Where(language=language, slices=False)
        clips = [c for c in library.clips_with_texts(texts, language, where=whole) if c.id not in seen]
        used = engines_used(bucket, plan.config, plan.engines)
        # Engines speak side by side, so the library's order is another one in each run; what is drawn must not be.
        clips = sorted((c for c in clips if c.engine in used), key=_as_asked_for)
        limit = int(1.25 * row.target) + plan.config.growth_constant
        for clip in sorted(clips, key=lambda clip: ("role" not in clip.settings, _lot(clip, plan.config.seed)))[:limit]:
            split = splits.split_of_speaker(real_speaker(clip))
            if clip.engine == splits.held_out and splits.speaker_split.get(clip.speaker) != "test":
                continue  # nor as a voice that the run does not have
            if bucket == "positive" or clip.source is not None or split == split_of(clip.text_normalized):
                add(clip, bucket, split)
        if plan.config.mining:
            cuts = mined_clips(library, texts, language, plan.config.mining_method)
            cuts = [cut for cut in cuts if cut.parent_id not in seen]
            parents = {parent.id: parent for parent in library.clips([cut.parent_id or 0 for cut in cuts])}
            for cut in cuts:
                parent = parents.get(cut.parent_id or 0)
                if cut.id not in seen and parent is not None and parent.engine == "corpus" and parent.state == "ready":
                    add(cut, bucket, splits.split_of_speaker(real_speaker(cut)), parent)
    for clip in library.clips(list(plan.real_clips)):
        if clip.id not in seen and clip.state == "ready":  # it may have been put aside since the plan was made
            add(clip, "plain_negative", splits.split_of_speaker(real_speaker(clip)))
    for clip in marked_false_alarms(library, plan.config.phrase):
        if splits.speaker_split.get(real_speaker(clip)) != "test":  # nobody is in both
            add(clip, "plain_negative", "train")
    return pd.DataFrame(rows, columns=list(CLIP_COLUMNS))


def _lot(clip: Clip, seed: int) -> bytes:
    """What clips are drawn by: each has its own, so that one more of a kind never leaves fewer of that kind."""
    return hashlib.sha256(repr((seed, 4, _as_asked_for(clip)[:-1])).encode()).digest()


def _as_asked_for(clip: Clip) -> tuple[str, ...]:
    """What orders clips alike in every run of a seed: not the audio, which festival now and then speaks a bit apart."""
    asked = (clip.text_original, clip.engine, clip.voice, json.dumps(clip.settings, sort_keys=True))
    return (*asked, clip.source or "", clip.sha256)


def window_seconds(clips: pd.DataFrame, phrase: str) -> tuple[float, float]:
    """The window that holds the phrase as slowly as it is trained, and the phrase's median length, seconds."""
    alone = clips[(clips["bucket"] == "positive") & (clips["text"] == phrase)]
    sample = alone["path"].sample(min(MEASURED_CLIPS, len(alone)), random_state=0)
    lengths = np.asarray([s for s in map(spoken_seconds, sample) if s > 0])
    if not len(lengths):
        return 1.6, 0.8
    longest = float(np.percentile(lengths, 95)) / SLOWEST + WINDOW_MARGIN_S
    return float(np.clip(longest, *WINDOW_S)), float(np.median(lengths))


def untrained_detector(config: RunConfig, window_s: float, bank: Path | None) -> Detector:
    """The detector that a run begins with, for a phrase that fits into ``window_s`` seconds.

    Args:
        bank: how often the phrase matches in its speech says when a decoder is asked for it; None: no decoder is asked.
    """
    if not builds_on_trunk(config):
        return TinyCRNN(TinyCRNNConfig.of_size(config.size, window_s))
    said = outputs_of(config.keyphrase)
    window_s += TRUNK_DELAY_S
    if config.size in TRUNKS:
        return TrunkDetector.of_phrase(shipped_trunk(config.size)[0], said, window_s)
    if bank is None:
        return EncoderDetector.of_phrase(said, window_s)
    return EncoderDetector.of_phrase(said, window_s, spellings(config.phrase), rescoring_threshold(bank, said))


@dataclass(frozen=True)
class ExamplePlan:
    """What the feature store is built of."""

    specs: tuple[ExampleSpec, ...]
    sources: SoundSources


def plan_examples(
    plan: Plan,
    clips: pd.DataFrame,
    noise_folder: Path | None,
    receptive_samples: int,
    phrase_s: float,
    few: bool = False,
) -> ExamplePlan:
    """The examples of a run: aligned ones in several versions, ordinary speech as streams, noise alone.

    Args:
        receptive_samples: what a detector must hear before a clip's end.
        phrase_s: the phrase's length, seconds.
        few: no more than :data:`LINE_CLIPS` of a bucket: computing them is what takes the time.
    """
    variants = 1 if few else EFFORTS[plan.config.effort].variants
    rng = np.random.default_rng((plan.config.seed, 5))
    specs: list[ExampleSpec] = []

    def spec(paths: list[str], aligned: bool, condition: str, columns: dict[str, Any], **more: Any) -> None:
        seed = int(rng.integers(2**62))
        specs.append(ExampleSpec(tuple(paths), aligned, condition, seed, receptive_samples, columns=columns, **more))

    for split in ("train", "validation", "test"):
        rows = clips[clips["split"] == split]
        if few:
            # Of the other splits ordinary speech is heard whole: thresholds and false alarms need the hours.
            limited = rows if split == "train" else rows[rows["bucket"] != "plain_negative"]
            shuffled = limited.groupby("bucket").sample(frac=1.0, random_state=plan.config.seed)
            if split != "train":  # real people are heard before all others
                shuffled = shuffled.sort_values(
                    "engine", key=lambda engines: ~engines.isin(REAL_ENGINES), kind="stable"
                )
            kept = shuffled.groupby("bucket").head(LINE_CLIPS[split])
            rows = pd.concat([kept, rows.drop(limited.index)])
        plain = rows[rows["bucket"] == "plain_negative"]
        neighbours = plain["path"].to_numpy()
        conditions = ["train"] * variants if split == "train" else ["clean", "noisy"]
        for row in rows[rows["bucket"] != "plain_negative"].itertuples():
            columns = _columns(row, split)
            carried = row.bucket == "positive" and row.text != plan.config.phrase
            for condition in conditions:
                drawn = {
                    side: str(neighbours[rng.integers(len(neighbours))])
                    for side, share in (("before", BEFORE_SHARE), ("after", AFTER_SHARE))
                    if len(neighbours) and rng.random() < share
                }
                start_s, end_s = float(str(row.phrase_start_s)), float(str(row.phrase_end_s))
                place = (start_s, end_s) if end_s >= 0 else None
                last_seconds = phrase_s if carried else 0.0
                spec([str(row.path)], True, condition, columns, last_seconds=last_seconds, place_s=place, **drawn)
        # One engine's or one corpus's speech a block, so that false alarms can be told by where they came from.
        for engine, group in plain.groupby("engine"):
            order = rng.permutation(len(group))
            block: list[Any] = []
            number = 0
            for index in order:
                block.append(group.iloc[index])
                if sum(r.seconds for r in block) >= STREAM_S or index == order[-1]:
                    condition = "train" if split == "train" else ("clean", "noisy")[number % 2]
                    spec([r.path for r in block], False, condition, _stream_columns(str(engine), split, block))
                    block, number = [], number + 1
        for _ in range(NOISE_BLOCKS if split == "train" else NOISE_BLOCKS // 4):
            condition = "train" if split == "train" else "noisy"
            spec([], False, condition, _stream_columns("noise", split, []))
    train_plain = clips[(clips["split"] == "train") & (clips["bucket"] == "plain_negative")]
    babble = tuple(train_plain["path"].sample(min(BABBLE_CLIPS, len(train_plain)), random_state=plan.config.seed))
    folder = str(noise_folder) if noise_folder is not None and noise_folder.is_dir() else ""
    return ExamplePlan(tuple(specs), SoundSources(folder, rooms_seed=plan.config.seed, babble=babble))


def _columns(row: Any, split: str) -> dict[str, Any]:
    names = ("label", "bucket", "engine", "voice", "speaker", "clip_id", "text")
    return {"split": split, **{name: getattr(row, name) for name in names}}


def _stream_columns(engine: str, split: str, block: list[Any]) -> dict[str, Any]:
    speakers = sorted({r.speaker for r in block})
    return {
        "split": split, "label": 0, "bucket": "plain_negative" if block else "noise", "engine": engine, "voice": "",
        "speaker": speakers[0] if len(speakers) == 1 else "", "clip_id": -1, "text": "",
    }  # fmt: skip
