"""The plan of a run: the clips of the library that it uses, their splits, and the clips that each engine must generate.

A trained detector uses clips of all three splits. A calibrated one learns nothing from clips: clips of the
phrase and of similar texts test it, and general speech sets its threshold.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from audio_generation.engine import Engine, Voice
from audio_generation.registry import CLIP_S, RULE_BASED
from audio_generation.registry import engines as all_engines
from core.data_folder import atomic_path, storing
from core.errors import HarkError
from core.worded import Worded, listed, worded
from db.db_api import Library
from db.records import REAL_ENGINES, Clip
from model.feature_rows import SPLITS
from phrase_augmentation.confusables import confusables
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phrase_text import PhraseText
from phrase_augmentation.texts import inbetween, plain_negatives, positives
from pipeline.training.configuration.efforts import BUCKETS
from pipeline.training.configuration.run_config import RunConfig, configuration_of
from pipeline.training.planning.audition import unintelligible_engines
from pipeline.training.planning.clip_choice import Chooser, PlannedClip, PlannedRequest
from pipeline.training.planning.demand import Demand, demand_of
from pipeline.training.planning.estimate import estimated_s
from pipeline.training.planning.splits import VoiceSplits, split_voices

# Training needs to know where the phrase ends. Spoken alone or last, it ends where the speech ends.
POSITIVE_KINDS_WITH_KNOWN_END = ("alone", "punctuated", "end")
TRANSCRIPTS = 20_000  # maximum transcripts of the library from which general negatives are drawn

RULE_BASED_FRACTION = 0.5  # clips of a rule-based engine, relative to a natural engine with as many people


@dataclass(frozen=True)
class BucketPlan:
    """A row of the plan."""

    bucket: str
    texts: tuple[str, ...]
    clips_per_phrase: int
    target: int
    reused: int  # synthetic clips of the library that are used
    mined: int  # real recordings of the library that are used, and clips mined from them
    generate: int  # missing clips, but at least the growth constant
    by_engine: dict[str, int]


@dataclass(frozen=True)
class Plan:
    """The work of a run, decided before anything is made."""

    run: str
    config: RunConfig
    buckets: tuple[BucketPlan, ...]
    requests: tuple[PlannedRequest, ...]
    clips: tuple[PlannedClip, ...]
    real_hours: float  # hours of real recordings among the general negatives
    engines: dict[str, int]  # number of speakers by engine
    engines_missing: dict[str, str]  # reason by engine
    held_out: str
    estimate_s: float
    people: dict[str, str] = field(default_factory=dict)  # split by person, where recordings in the library decide it

    def bucket(self, name: str) -> BucketPlan:
        """Return a row by its bucket's name."""
        return next(row for row in self.buckets if row.bucket == name)

    def summary(self) -> dict[str, Any]:
        """Return the plan for users and programs: everything except the individual requests."""
        return {
            "phrase": self.config.phrase,
            "run": self.run,
            "effort": self.config.effort,
            "buckets": {
                row.bucket: {
                    "phrases": len(row.texts),
                    "clips_per_phrase": row.clips_per_phrase,
                    "target": row.target,
                    "reused": row.reused,
                    "mined": row.mined,
                    "generate": row.generate,
                    "by_engine": row.by_engine,
                    "examples": list(row.texts[:8]),
                }
                for row in self.buckets
            },
            "engines": self.engines,
            "engines_missing": self.engines_missing,
            "engines_missing_parts": {
                name: why.parts() if isinstance(why, Worded) else why for name, why in self.engines_missing.items()
            },
            "held_out_engine": self.held_out or None,
            "real_negative_hours": round(self.real_hours, 2),
            "estimate_s": round(self.estimate_s),
        }


def ready_engines(wanted: Sequence[str], language: str) -> tuple[dict[str, Engine], dict[str, str]]:
    """Return the engines that the run will use, and the reason why each of the others is not used.

    Args:
        wanted: names; empty for those that are used by default.
        language: the language that they must support.

    Raises:
        HarkError: an engine that was asked for by name does not exist or is not ready, or none is ready.
    """
    ready: dict[str, Engine] = {}
    missing: dict[str, str] = {}
    known = all_engines()
    for name in wanted:
        if name not in known:
            raise HarkError(
                worded("There is no speech engine called %(name)s.", name=repr(name)),
                worded("Hark has %(known)s.", known=listed(sorted(known))),
                worded("See ./hark engines."),
            )
    for name, engine in known.items():
        if wanted and name not in wanted:
            continue
        if not wanted and not engine.by_default:
            continue
        readiness = engine.available()
        if readiness.ok and engine.voices(language):
            ready[name] = engine
        elif wanted:
            raise HarkError(
                worded("The speech engine %(name)s cannot be used.", name=name),
                readiness.why or worded("It has no voice for the language %(language)s.", language=repr(language)),
                readiness.how_to_enable or worded("Choose another engine or another language; see ./hark voices."),
            )
        else:
            missing[name] = readiness.why or worded("no voice for %(language)s", language=language)
    if not ready:
        raise HarkError(
            worded("No speech engine has a voice for the language %(language)s.", language=repr(language)),
            "; ".join(f"{name}: {why}" for name, why in missing.items()) or worded("None is installed."),
            worded("Choose another language, or enable an engine that speaks it (./hark engines)."),
        )
    return ready, missing


def run_texts(config: RunConfig, library: Library) -> dict[str, list[PhraseText]]:
    """Return the texts of each bucket: as many as are wanted, or as the phrase yields."""
    transcripts = library.transcripts(config.language, TRANSCRIPTS, config.seed) if config.mining else []
    demand = demand_of(config)
    return {bucket: _bucket_texts(bucket, demand.phrases(bucket), config, transcripts) for bucket in BUCKETS}


def _bucket_texts(bucket: str, count: int, config: RunConfig, transcripts: Sequence[str]) -> list[PhraseText]:
    keyphrase, seed = config.keyphrase, config.seed
    if bucket == "positive":
        # More than needed, because texts in which the phrase's end is unknown are then omitted.
        texts = positives(keyphrase, count * 3, seed)
        return [t for t in texts if t.kind in POSITIVE_KINDS_WITH_KNOWN_END][:count]
    if bucket == "confusable":
        return confusables(keyphrase, count, seed)
    if bucket == "inbetween":
        return inbetween(keyphrase, count, seed)
    return plain_negatives(keyphrase, transcripts, count, seed)


def draw_voice(
    by_engine: Mapping[str, list[list[Voice]]], rng: np.random.Generator, slow_clip_s: float
) -> tuple[str, Voice]:
    """Draw an engine, one of its speakers (all equally likely), and one of that speaker's voices.

    An engine's share grows with the square root of its number of people. Slow and rule-based engines have smaller
    shares.
    """
    names = sorted(by_engine)
    shares = np.array([_share(name, len(by_engine[name]), slow_clip_s) for name in names])
    engine = names[rng.choice(len(names), p=shares / shares.sum())]
    speakers = by_engine[engine]
    voices = speakers[rng.integers(len(speakers))]
    return engine, voices[rng.integers(len(voices))]


def _share(engine: str, people: int, slow_clip_s: float) -> float:
    share = people**0.5 * min(1.0, slow_clip_s / CLIP_S.get(engine, slow_clip_s))
    return share * RULE_BASED_FRACTION if engine in RULE_BASED else share


def draw_requests(
    ids: Iterator[str],
    bucket: str,
    split: str,
    texts: Sequence[str],
    count: int,
    splits: VoiceSplits,
    engines: Mapping[str, Engine],
    rng: np.random.Generator,
    existing: Mapping[str, int],
    slow_clip_s: float,
) -> list[PlannedRequest]:
    """Draw ``count`` requests of a split, the texts with the fewest clips first, each by a voice of the split.

    Args:
        ids: of the requests, at least ``count``.
        existing: clips that the run uses already, by text.
    """
    have = np.asarray([existing.get(text, 0) for text in texts], dtype=np.int64)
    requests = []
    for request_id in itertools.islice(ids, count):
        # Of texts with equally many clips, argmin takes the first; the best texts come first.
        index = int(np.argmin(have))
        have[index] += 1
        engine, voice = draw_voice(splits.voices[split], rng, slow_clip_s)
        settings = engines[engine].draw_settings(voice, rng)
        requests.append(PlannedRequest(request_id, bucket, split, engine, voice.name, texts[index], settings))
    return requests


def make_plan(config: RunConfig, texts_of: Mapping[str, Sequence[PhraseText]], run: str, library: Library) -> Plan:
    """Make the plan of a run with the texts of each bucket (:func:`run_texts`).

    It reads the library and adds nothing to it. Engines that may be unintelligible synthesize the phrase as a test.
    """
    engines, missing = ready_engines(config.engines, config.language)
    missing |= unintelligible_engines(config.keyphrase, engines, library.data_dir)
    engines = {name: engine for name, engine in engines.items() if name not in missing}
    if not engines:
        raise HarkError(
            worded("No speech engine can say %(phrase)s.", phrase=repr(config.phrase)),
            "; ".join(f"{name}: {why}" for name, why in missing.items()),
            worded("Spell the phrase as it sounds, or enable another engine (./hark engines)."),
        )
    voices = {name: engine.voices(config.language) for name, engine in engines.items()}
    demand = demand_of(config)
    people = demand.people(library)
    splits = split_voices(voices, config.hold_out, demand.learns, people)
    _refuse_empty(demand, splits, engines, texts_of["positive"])
    chooser = Chooser(demand, library, splits, engines)
    buckets = _Buckets(run, library.request_ids_of(run), demand, engines, splits, chooser)
    for bucket in BUCKETS:
        buckets.plan(bucket, texts_of[bucket])
    return Plan(
        run=run,
        config=config,
        buckets=tuple(buckets.rows),
        requests=tuple(buckets.requests),
        clips=tuple(buckets.clips),
        real_hours=buckets.real_hours,
        engines={name: len({v.speaker for v in voices[name]}) for name in sorted(voices)},
        engines_missing=missing,
        held_out=splits.held_out,
        estimate_s=sum(estimated_s(config, buckets.clips, buckets.requests, buckets.requests).values()),
        people=people,
    )


def _refuse_empty(demand: Demand, splits: VoiceSplits, engines: Iterable[str], positive: Sequence[PhraseText]) -> None:
    """Raise HarkError if a split has no voice, or the phrase has no text."""
    phrase = repr(demand.config.phrase)
    for split in demand.splits:
        if not splits.voices[split]:
            raise HarkError(
                worded("%(phrase)s cannot be trained with the voices available here.", phrase=phrase),
                worded(
                    "No voice is left for the %(split)s split; engines: %(engines)s.",
                    split=split,
                    engines=listed(sorted(engines)),
                ),
                worded("Enable another speech engine (./hark engines), or use --hold-out none."),
            )
    if not positive:
        raise HarkError(
            worded("%(phrase)s cannot be spoken.", phrase=phrase),
            worded("No text could be made from it."),
            worded("Choose another phrase."),
        )


@dataclass
class _Buckets:
    """The plan of the buckets, one after another, so that each clip of the library is used once."""

    run: str
    used_ids: Collection[str]  # ids of clips that an earlier run of this name generated
    demand: Demand
    engines: Mapping[str, Engine]
    splits: VoiceSplits
    chooser: Chooser
    rows: list[BucketPlan] = field(default_factory=list)
    clips: list[PlannedClip] = field(default_factory=list)
    requests: list[PlannedRequest] = field(default_factory=list)
    real_hours: float = 0.0

    def plan(self, bucket: str, texts: Sequence[PhraseText]) -> None:
        """Choose the clips of a bucket, and draw the requests for what is missing."""
        demand = self.demand
        own = demand.texts_of_splits(bucket, texts, self.splits)
        wanted = demand.clips(bucket, own)
        chosen = self.chooser.of_texts(bucket, texts, wanted)
        missing = {split: max(0, wanted[split] - sum(c.split == split for c, _ in chosen)) for split in SPLITS}
        if bucket == "plain_negative":
            ordinary, self.real_hours = self.chooser.ordinary()
            for split in SPLITS:
                real = sum(clip.split == split for clip, _ in ordinary)
                missing[split] -= demand.replaced_by(real, missing[split], wanted[split])
            chosen += ordinary
        rest = demand.effort.growth - sum(missing.values())
        if texts and rest > 0:
            missing[demand.growth_split] += rest
        drawn = self._drawn(bucket, own, missing, chosen)
        real_clips = sum(clip.engine in REAL_ENGINES for _, clip in chosen)
        self.rows.append(
            BucketPlan(
                bucket=bucket,
                texts=tuple(text.text for text in texts),
                clips_per_phrase=-(-sum(wanted.values()) // max(1, len(texts))),
                target=sum(wanted.values()),
                reused=len(chosen) - real_clips,
                mined=real_clips,
                generate=len(drawn),
                by_engine=dict(sorted(Counter(request.engine for request in drawn).items())),
            )
        )
        self.clips += [planned for planned, _ in chosen]
        self.requests += drawn

    def _drawn(
        self,
        bucket: str,
        texts: Mapping[str, Sequence[str]],
        missing: Mapping[str, int],
        chosen: Sequence[tuple[PlannedClip, Clip]],
    ) -> list[PlannedRequest]:
        """Draw requests for the clips that are missing, by split."""
        config = self.demand.config
        rng = np.random.default_rng((config.seed, 2, BUCKETS.index(bucket)))
        drawn: list[PlannedRequest] = []
        for split, count in missing.items():
            if texts[split]:
                have = Counter(clip.text_normalized for planned, clip in chosen if planned.split == split)
                existing = {text: have[normalize(text, config.language)] for text in texts[split]}
                ids = (f"{self.run}:{bucket}:{split}-{number}" for number in itertools.count())
                unused = (each for each in ids if each not in self.used_ids)
                drawn += draw_requests(
                    unused, bucket, split, texts[split], count, self.splits, self.engines, rng, existing,
                    self.demand.slow_clip_s,
                )  # fmt: skip
        return drawn


def run_splits(plan: Plan, engines: Mapping[str, Engine]) -> VoiceSplits:
    """Return the division of voices that the plan was made with."""
    voices = {name: engine.voices(plan.config.language) for name, engine in engines.items()}
    return split_voices(voices, plan.config.hold_out, demand_of(plan.config).learns, plan.people)


def save_plan(plan: Plan, path: Path) -> None:
    """Write the plan as JSON, so that a killed run resumes with it."""
    with storing("writing the plan"), atomic_path(path) as temporary:
        temporary.write_text(json.dumps(asdict(plan), ensure_ascii=False))


def load_plan(path: Path) -> Plan | None:
    """Read a plan of :func:`save_plan`; None if it is missing, damaged, or of a different version of Hark."""
    try:
        content = json.loads(path.read_text())
        config = configuration_of(content.pop("config"))
        rows = tuple(BucketPlan(**{**row, "texts": tuple(row["texts"])}) for row in content.pop("buckets"))
        requests = tuple(PlannedRequest(**request) for request in content.pop("requests"))
        clips = tuple(PlannedClip(**clip) for clip in content.pop("clips"))
        return Plan(config=config, buckets=rows, requests=requests, clips=clips, **content)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # damaged or of a different version: a new plan finds the existing clips by their texts


def remaining(requests: Iterable[PlannedRequest], library: Library) -> list[PlannedRequest]:
    """Return the requests whose clips are not in the library yet."""
    requests = list(requests)
    present = library.request_ids_present([r.request_id for r in requests])
    return [r for r in requests if r.request_id not in present]
