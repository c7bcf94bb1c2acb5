"""The choice of a run's clips from the library, with the split of each, and the clips to synthesize."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from audio_generation.engine import Engine, Setting
from db.db_api import Library
from db.records import REAL_ENGINES, Clip, ClipQuery, is_for_test, real_speaker
from phrase_augmentation.matching import phrase_sounds_in
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phrase_text import PhraseText
from pipeline.corpora.mining import mined_clips
from pipeline.training.configuration.efforts import EFFORTS
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.planning.demand import Demand
from pipeline.training.planning.marked import CORPUS, FALSE_ALARM_OF, marked_false_alarms
from pipeline.training.planning.splits import VoiceSplits


@dataclass(frozen=True)
class PlannedClip:
    """A clip of the library that the run uses."""

    clip_id: int
    bucket: str
    split: str


@dataclass(frozen=True)
class PlannedRequest:
    """One clip to generate.

    Its id consists of the run's name and a number, so that a killed run generates the clip only once. The id is new to
    the library, even if a deleted run had the same name.
    """

    request_id: str
    bucket: str
    split: str
    engine: str
    voice: str
    text: str
    settings: dict[str, Setting]


def real_negatives(library: Library, config: RunConfig) -> tuple[list[Clip], float]:
    """Return real recordings of the library without the phrase, at most the effort's hours, and their hours.

    Speakers share these hours evenly, as far as each has enough speech, so an import may displace other clips but never
    reduces the hours. All recordings of a corpus without speakers count as one speaker. Recordings without a transcript
    are included, although the phrase might occur in them; the report states this.
    """
    if not config.mining:
        return [], 0.0
    limit_s = EFFORTS[config.effort].corpus_hours * 3600
    clips = [
        c
        for c in library.iter_clips(ClipQuery(imported=True, slices=False, language=config.language))
        if c.duration_s >= 0.4
    ]
    rng = np.random.default_rng((config.seed, 1))
    by_voice: dict[str, list[Clip]] = {}
    for index in rng.permutation(len(clips)):
        clip = clips[index]
        by_voice.setdefault(clip.speaker or f"{(clip.source or '').split(':')[0]}:", []).append(clip)
    # The next clip is always from a speaker with the least speech so far.
    turns = [(0.0, number, waiting) for number, waiting in enumerate(by_voice.values())]
    chosen: list[Clip] = []
    seconds = 0.0
    while turns and seconds < limit_s:
        said_s, number, waiting = heapq.heappop(turns)
        clip = waiting.pop()
        if _is_ordinary(clip, config):
            chosen.append(clip)
            seconds += clip.duration_s
            said_s += clip.duration_s
        if waiting:
            heapq.heappush(turns, (said_s, number, waiting))
    return chosen, seconds / 3600


def _is_ordinary(clip: Clip, config: RunConfig) -> bool:
    """Return whether a real recording is general speech: without the phrase, and not marked as a false alarm."""
    if FALSE_ALARM_OF in clip.settings:  # of this phrase or another: chosen on purpose, never drawn
        return False
    return not (clip.text_known and phrase_sounds_in(config.phrase, clip.text_normalized, config.language))


class Chooser:
    """Chooses clips of the library for a run, each once, with the split that it belongs to."""

    def __init__(self, demand: Demand, library: Library, splits: VoiceSplits, engines: Mapping[str, Engine]) -> None:
        self._demand, self._config = demand, demand.config
        self._library, self._splits, self._engines = library, splits, engines
        self._seen: set[int] = set()

    def of_texts(
        self, bucket: str, texts: Sequence[PhraseText], wanted: Mapping[str, int]
    ) -> list[tuple[PlannedClip, Clip]]:
        """Return clips of a bucket's texts: recordings of people, cuts out of them, and earlier clips of engines.

        People come before engines. No split gets more clips than it needs, but each that needs any gets all of the
        user's own recordings.
        """
        config, library = self._config, self._library
        normalized = list(dict.fromkeys(normalize(text.text, config.language) for text in texts))
        whole = ClipQuery(language=config.language, slices=False)
        # Only `real_negatives` chooses real general speech, by the requested hours and fractions.
        used = {*self._engines, *(("corpus",) if config.mining and bucket != "plain_negative" else ())}
        found = library.clips_with_texts(normalized, config.language, where=whole)
        candidates = [(clip, clip) for clip in found if clip.engine in used]
        if config.mining:
            cuts = mined_clips(library, normalized, config.language, config.mining_method)
            parents = {parent.id: parent for parent in library.clips([cut.parent_id or 0 for cut in cuts])}
            for cut in cuts:
                recording = parents.get(cut.parent_id or 0)
                if recording and recording.engine == "corpus" and recording.state == "ready":
                    candidates.append((cut, recording))
        # The draw must not depend on the library's order, because concurrent engines store clips in any order.
        candidates.sort(key=lambda pair: _lot(pair[0], config.seed))
        left = dict(wanted)
        chosen: list[tuple[PlannedClip, Clip]] = []
        for clip, parent in candidates:
            if clip.id in self._seen or parent.id in self._seen:
                continue
            split = self._split(bucket, clip, parent)
            recorded = "role" in clip.settings
            if not split or not wanted[split] or (left[split] <= 0 and not recorded):
                continue
            left[split] -= 1
            self._seen.add(clip.id)
            chosen.append((PlannedClip(clip.id, bucket, split), clip))
        return chosen

    def ordinary(self) -> tuple[list[tuple[PlannedClip, Clip]], float]:
        """Return real recordings without the phrase, and their hours; for training also marked false alarms."""
        config, splits = self._config, self._splits
        real, hours = real_negatives(self._library, config)
        chosen = [
            (PlannedClip(clip.id, "plain_negative", splits.split_of_speaker(real_speaker(clip))), clip)
            for clip in real
            if clip.id not in self._seen
        ]
        chosen = [(planned, clip) for planned, clip in chosen if planned.split == "test" or not is_for_test(clip)]
        self._seen |= {clip.id for _, clip in chosen}
        for clip in marked_false_alarms(self._library, config.phrase, config.language) if self._demand.learns else ():
            if clip.id not in self._seen and splits.speaker_split.get(real_speaker(clip)) != "test":
                chosen.append((PlannedClip(clip.id, "plain_negative", "train"), clip))
        return chosen, hours

    def _split(self, bucket: str, clip: Clip, parent: Clip) -> str:
        """Return the split of a clip; "" if it belongs to none."""
        demand, splits = self._demand, self._splits
        if clip.engine == splits.held_out and splits.speaker_split.get(clip.speaker) != "test":
            return ""  # the held-out engine is only in the test, with the voices that the run has
        if not demand.learns and (clip.source or "").startswith(f"{CORPUS}:"):
            return ""  # a detector's error would bias the test
        split = splits.split_of_speaker(real_speaker(clip))
        if is_for_test(parent) and split != "test":
            return ""
        if (
            demand.splits_by_text(bucket)
            and clip.engine not in REAL_ENGINES
            and split != splits.split_of(clip.text_normalized)
        ):
            return ""
        return split


def _lot(clip: Clip, seed: int) -> tuple[bool, bool, bytes]:
    """Return a clip's sort key: the user's recordings come first, then other people, then engines.

    Within a kind the order depends on each clip alone, so that adding a clip to the library changes the choice by at
    most that clip.
    """
    asked = (clip.text_original, clip.engine, clip.voice, json.dumps(clip.settings, sort_keys=True), clip.source or "")
    lot = hashlib.sha256(repr((seed, 4, asked)).encode()).digest()
    return "role" not in clip.settings, clip.engine not in REAL_ENGINES, lot
