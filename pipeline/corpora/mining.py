"""Real recordings of a phrase, cut out of the library's transcribed speech.

Full-text search finds the phrase in the transcripts, and alignment finds it in the audio. It is cut out with a margin.
A cut becomes a clip, whose parent is the recording, if it aligns with enough confidence, its duration suits the number
of phones, and it is loud enough at both ends. Mining again adds only new cuts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.events import Reporter
from core.worded import worded
from db.db_api import Library
from db.records import Clip, ClipQuery, NewClip, real_speaker
from model.asr.emissions import Aligner, default_aligner
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.matching import phrase_matcher
from phrase_augmentation.normalize import base_language, normalize
from pipeline.corpora.alignment import align_clips, joint_confidence
from pipeline.corpora.alignment_methods import CTC_SEGMENTATION, VITERBI, alignment_name, check_method

ENGINE = "mined"  # engine of mined clips in the library, which a run counts and uses only where requested
MARGIN_S = 0.1  # seconds before and after the phrase; boundaries are 20 ms off in the median, 70 ms in one of ten
FADE_S = 0.008  # seconds at both ends of a mined clip, to prevent clicks
PHONE_S = (0.03, 0.30)  # minimum and maximum average duration of a phone [seconds]
QUIETER_DB = 30.0  # dB below the loudest moment; if the first or last third is quieter, it contains no speech
AT_A_TIME = 100  # recordings searched between two checks of whether there are enough cuts
POWER_S = 0.02  # seconds over which loudness is measured
# exp(-nats per phone) by which a phrase is less probable than the model's best path. With 0.2, 1 % of cuts with wrong
# words are accepted, and 95 % of those with the right words (read speech that the model was not trained on).
MIN_CONFIDENCE = 0.2
ENGLISH_ENDINGS = ("s", "'s", "es", "d", "ed", "ing")


@dataclass(frozen=True)
class MiningConfig:
    """Limits of mining: how many recordings are searched, and which occurrences become clips."""

    most: int = 300  # maximum mined clips of one phrase; the search ends when they are found
    recordings: int = 1200  # maximum recordings searched for one phrase; a sample if more contain it
    least_confidence: float = MIN_CONFIDENCE
    # Maximum fraction of a phrase's cuts by one speaker. Below 1, a new recording can reduce the number of cuts.
    speaker_share: float = 1.0
    word_forms: bool = False  # whether to search for the last word with an ending too ("computers")
    real_only: bool = True  # whether to search only recordings of people, not clips of speech engines
    seed: int = 0
    method: str = VITERBI  # one of pipeline.corpora.alignment_methods.METHODS


@dataclass(frozen=True)
class Cut:
    """A mined clip: its place in its recording, the place of the phrase in it [seconds], and the confidence."""

    clip_id: int
    text: str
    speaker: str
    parent_id: int
    start_s: float  # start of the mined clip in its parent
    end_s: float
    phrase_start_s: float  # start of the phrase in the mined clip
    phrase_end_s: float
    confidence: float


@dataclass(frozen=True)
class MiningResult:
    """The result of mining one phrase.

    Attributes:
        forms: the texts that were searched for.
        recordings: number of those with one of them in the transcript.
        looked_into: number of those that were searched; fewer than ``recordings`` if a limit was reached.
        cuts: those that were stored.
        rejected: number of occurrences that were not cut out, by reason.
        seconds: seconds spent on searching, aligning (including the computation of emissions) and cutting.
    """

    phrase: str
    forms: tuple[str, ...]
    recordings: int
    looked_into: int
    cuts: tuple[Cut, ...]
    rejected: dict[str, int]
    seconds: dict[str, float]

    @property
    def sampled(self) -> bool:
        """Return whether a part of the recordings was skipped."""
        return self.looked_into < self.recordings

    @property
    def clip_ids(self) -> tuple[int, ...]:
        """Return the clips in the library."""
        return tuple(cut.clip_id for cut in self.cuts)


@dataclass(frozen=True)
class _Occurrence:
    clip: Clip
    text: str
    start_s: float
    end_s: float
    confidence: float


def mine(
    keyphrase: Keyphrase,
    library: Library,
    reporter: Reporter,
    config: MiningConfig | None = None,
    aligner: Aligner | None = None,
) -> MiningResult:
    """Cut the phrase out of the library's recordings; see :class:`MiningResult`.

    Raises:
        HarkError: an unknown method, or a library that cannot be used.
    """
    config = config or MiningConfig()
    check_method(config.method)
    return _mine_one(keyphrase, library, reporter, config, aligner or default_aligner(), lambda text: False)


def mine_negatives(
    keyphrase: Keyphrase,
    texts: Sequence[str],
    library: Library,
    reporter: Reporter,
    config: MiningConfig | None = None,
) -> dict[str, MiningResult]:
    """Mine texts that resemble the phrase (confusables, parts of it) from recordings without the phrase.

    Returns:
        Results by normalized text, of the texts that are in the library.
    """
    config = config or MiningConfig()
    aligner = default_aligner()
    language = keyphrase.language
    listener = phrase_matcher(keyphrase.text, language)
    results: dict[str, MiningResult] = {}
    reporter.stage("mine", worded("Searching the recordings for phrases like “%(phrase)s”", phrase=keyphrase.text))
    normalized = dict.fromkeys(normalize(text, language) for text in texts)
    candidates = [text for text in normalized if text and not listener.matches_of([text])[0]]
    quiet = Reporter(lambda event: None)
    for number, text in enumerate(candidates, 1):
        if library.search_ids(text, _where(language, config)):
            result = _mine_one(
                Keyphrase(text, language),
                library,
                quiet,
                config,
                aligner,
                lambda transcript: listener.matches_of([transcript])[0],
            )
            if result.cuts:
                results[text] = result
        reporter.progress(number, len(candidates))
    return results


def word_forms(keyphrase: Keyphrase) -> tuple[str, ...]:
    """Return the phrase and, in English, the phrase with an ending at its last word."""
    text = keyphrase.text
    return (text, *(text + ending for ending in ENGLISH_ENDINGS if base_language(keyphrase.language) == "en"))


def mined_clips(library: Library, texts: Sequence[str], language: str = "en", method: str = VITERBI) -> list[Clip]:
    """Return the cuts of these texts that the library holds, from this mining or an earlier one, in order of id.

    Cuts with less than the default confidence are for inspection only, and are omitted. If an occurrence was cut out
    with both alignment methods, only the cut by ``method`` is returned.
    """
    where = ClipQuery(language=language, slices=True, text_known=True)
    chosen: list[Clip] = []
    occurrences: dict[tuple[int | None, str], list[tuple[float, float]]] = {}
    by_package = method == CTC_SEGMENTATION

    def by_another_method(clip: Clip) -> bool:
        return clip.settings.get("aligner", "").endswith(CTC_SEGMENTATION) != by_package

    for clip in sorted(library.clips_with_texts(texts, language, where=where), key=by_another_method):
        if "phrase_end_s" not in clip.settings or clip.settings.get("confidence", 1.0) < MIN_CONFIDENCE:
            continue
        offset_s = clip.start_s or 0.0
        start_s, end_s = offset_s + clip.settings["phrase_start_s"], offset_s + clip.settings["phrase_end_s"]
        spans = occurrences.setdefault((clip.parent_id, clip.text_normalized), [])
        if not any(start_s < (a + b) / 2 < end_s for a, b in spans):
            spans.append((start_s, end_s))
            chosen.append(clip)
    return sorted(chosen, key=lambda clip: clip.id)


def _where(language: str, config: MiningConfig) -> ClipQuery:
    imported = True if config.real_only else None
    return ClipQuery(language=language, imported=imported, slices=False, text_known=True)


def _mine_one(
    wanted: Keyphrase,
    library: Library,
    reporter: Reporter,
    config: MiningConfig,
    aligner: Aligner,
    forbidden: Callable[[str], bool],
) -> MiningResult:
    started = time.perf_counter()
    reporter.stage("mine", worded("Searching the recordings for “%(phrase)s”", phrase=wanted.text))
    forms = word_forms(wanted) if config.word_forms else (wanted.text,)
    ids = sorted({clip_id for form in forms for clip_id in library.search_ids(form, _where(wanted.language, config))})
    # A later mining with a higher limit searches the same recordings first.
    order = np.random.default_rng((config.seed, 11)).permutation(len(ids))[: config.recordings]
    clips = {clip.id: clip for clip in library.clips([ids[i] for i in order])}
    searched = time.perf_counter()
    rejected: Counter[str] = Counter()
    occurrences: list[_Occurrence] = []
    chosen: list[_Occurrence] = []
    left_out: Counter[str] = Counter()
    looked_into = 0
    while looked_into < len(order) and len(chosen) < config.most:
        part = [clips[ids[i]] for i in order[looked_into : looked_into + AT_A_TIME] if ids[i] in clips]
        looked_into += AT_A_TIME
        allowed = [clip for clip in part if not forbidden(clip.text_normalized)]
        report = align_clips(library, aligner, allowed, reporter, config.method)
        for error in report.failed.values():
            rejected[error.what] += 1
        ready = [clip for clip in allowed if clip.id in report.aligned]
        occurrences += _occurrences(library, aligner, ready, forms, wanted.language, config, rejected)
        chosen, left_out = _balanced(occurrences, config)
    looked_into = min(looked_into, len(order))
    if looked_into < len(ids):
        reporter.log(
            worded(
                "%(n)d recordings contain “%(phrase)s”; a sample of %(sample)d was searched.",
                n=len(ids), phrase=wanted.text, sample=looked_into,
            )
        )  # fmt: skip
    aligned = time.perf_counter()
    rejected += left_out
    cuts = _cut(library, aligner, chosen, wanted.language, config, rejected)
    done = time.perf_counter()
    seconds = {"search": searched - started, "align": aligned - searched, "cut": done - aligned}
    return MiningResult(
        wanted.text, forms, len(ids), looked_into, tuple(cuts), dict(sorted(rejected.items())),
        {name: round(value, 3) for name, value in seconds.items()},
    )  # fmt: skip


def _occurrences(
    library: Library,
    aligner: Aligner,
    clips: Sequence[Clip],
    forms: Sequence[str],
    language: str,
    config: MiningConfig,
    rejected: Counter[str],
) -> list[_Occurrence]:
    """Return the occurrences of the forms, checked for confidence and duration."""
    wanted = {tuple(form.split()): form for form in forms}
    counts = {words: [max(1, len(t)) for t in aligner.tokens(words, language)] for words in wanted}
    length = len(forms[0].split())
    occurrences: list[_Occurrence] = []
    name = alignment_name(aligner, config.method)
    for clip in clips:
        units = library.alignments.units(clip.id, name, "word")
        for begin in range(len(units) - length + 1):
            part = units[begin : begin + length]
            words = tuple(unit.label for unit in part)
            if words not in wanted:
                continue
            confidence, phones = joint_confidence(part, counts[words]), sum(counts[words])
            occurrence = _Occurrence(clip, wanted[words], part[0].start_s, part[-1].end_s, confidence)
            phone_s = (occurrence.end_s - occurrence.start_s) / phones
            if confidence < config.least_confidence:
                rejected["aligned with too little confidence"] += 1
            elif not PHONE_S[0] <= phone_s <= PHONE_S[1]:
                rejected["too short or too long for its phones"] += 1
            else:
                occurrences.append(occurrence)
    return occurrences


def _balanced(occurrences: list[_Occurrence], config: MiningConfig) -> tuple[list[_Occurrence], Counter[str]]:
    """Return at most ``config.most`` occurrences, and the number of omitted ones by reason.

    The occurrences of each speaker with the highest confidence are chosen, up to :func:`speaker_cap`.
    """
    by_speaker: dict[str, list[_Occurrence]] = {}
    for occurrence in sorted(occurrences, key=lambda p: (-p.confidence, p.clip.id, p.start_s)):
        by_speaker.setdefault(real_speaker(occurrence.clip), []).append(occurrence)
    sizes = [len(rows) for rows in by_speaker.values()]
    cap = speaker_cap(sizes, config.speaker_share)
    balanced: list[_Occurrence] = []
    # One of each speaker in turn, so that the limit affects the speakers with the most occurrences.
    for turn in range(min(cap, max(sizes, default=0))):
        balanced += [rows[turn] for rows in by_speaker.values() if turn < len(rows)]
    left_out: Counter[str] = Counter()
    if len(occurrences) > len(balanced):
        left_out["beyond the limit for one voice"] = len(occurrences) - len(balanced)
    if len(balanced) > config.most:
        left_out["beyond the limit for the phrase"] = len(balanced) - config.most
    return balanced[: config.most], left_out


def speaker_cap(sizes: Sequence[int], share: float) -> int:
    """Return the maximum clips of one speaker, so that none has more than the fraction ``share`` of all clips.

    ``sizes`` are the numbers of each speaker's clips. With few speakers, ``share`` is at least 1.5 times an even share.
    """
    if not sizes:
        return 0
    share = max(share, 1.5 / len(sizes))
    for cap in range(max(sizes), 1, -1):
        if cap <= share * sum(min(size, cap) for size in sizes):
            return cap
    return 1


def _cut(
    library: Library,
    aligner: Aligner,
    occurrences: Sequence[_Occurrence],
    language: str,
    config: MiningConfig,
    rejected: Counter[str],
) -> list[Cut]:
    new: list[NewClip] = []
    name = alignment_name(aligner, config.method)
    for span in sorted(occurrences, key=lambda p: (p.clip.id, p.start_s)):
        start_s = max(0.0, span.start_s - MARGIN_S)
        try:
            audio = library.read_audio(span.clip, _at(start_s), _at(span.end_s + MARGIN_S))
        except HarkError as error:
            rejected[error.what] += 1
            continue
        if not loud_throughout(audio[_at(span.start_s) - _at(start_s) :][: _at(span.end_s) - _at(span.start_s)]):
            rejected["partly silent"] += 1
            continue
        end_s = start_s + len(audio) / SAMPLE_RATE
        parent = span.clip
        settings = {
            "aligner": name,
            "parent_engine": parent.engine,
            "confidence": span.confidence,
            "phrase_start_s": round(span.start_s - start_s, 3),
            "phrase_end_s": round(span.end_s - start_s, 3),
        }
        new.append(
            NewClip(
                audio=faded(audio), text=span.text, text_normalized=span.text, language=language, engine=ENGINE,
                model=parent.model, voice=parent.voice, speaker=real_speaker(parent), licence=parent.licence,
                settings=settings, parent_id=parent.id, start_s=round(start_s, 3), end_s=round(end_s, 3),
                request_id=f"mined:{name}:{parent.id}:{span.text}:{round(1000 * span.start_s)}",
            )
        )  # fmt: skip
    ids = library.add_clips(new)
    return [
        Cut(
            clip_id, clip.text, clip.speaker, clip.parent_id or 0, clip.start_s or 0.0, clip.end_s or 0.0,
            clip.settings["phrase_start_s"], clip.settings["phrase_end_s"], clip.settings["confidence"],
        )
        for clip_id, clip in zip(ids, new, strict=True)
    ]  # fmt: skip


def _at(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)


def faded(audio: np.ndarray) -> np.ndarray:
    """Return audio [samples] that is faded in and out."""
    count = min(int(FADE_S * SAMPLE_RATE), len(audio) // 2)
    result = np.array(audio, dtype=np.float32)
    ramp = np.linspace(0, 1, count, endpoint=False, dtype=np.float32)
    result[:count] *= ramp
    result[len(result) - count :] *= ramp[::-1]
    return result


def loud_throughout(audio: np.ndarray) -> bool:
    """Return whether the first and the last third of audio [samples] reach QUIETER_DB below its loudest moment."""
    size = int(POWER_S * SAMPLE_RATE)
    pieces = len(audio) // size
    if pieces < 3:
        return False
    power = (audio[: pieces * size].astype(np.float64).reshape(pieces, size) ** 2).mean(axis=1)
    third = max(1, pieces // 3)
    least = power.max() * 10 ** (-QUIETER_DB / 10)
    return bool(power.max() > 1e-9 and power[:third].max() > least and power[-third:].max() > least)
