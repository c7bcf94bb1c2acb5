"""Alignment: the times of each word and phone in a transcribed clip.

The words' phones (or characters) are aligned to the emission by one of two methods
(``pipeline.corpora.alignment_methods``): Hark's Viterbi (``model/asr/viterbi.py``), or the package ctc-segmentation. On
120 recordings of read speech with known word times, the median error of starts and ends is 20 ms for both. Errors
exceed 0.1 s for 1.6 % (package: 1.7 %) of starts and 6.4 % of ends. The package takes 1.5 times as long, has less
confidence in correct words, and requires a compiler where there is no wheel. With characters instead of phones,
slightly more starts are off by more than 0.1 s.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from audio_generation.splice_side.inventory import MAX_SPEECH_S, MIN_SPEECH_S, clip_order
from core.errors import HarkError
from core.events import Progress, Reporter, silent_reporter
from db.db_api import Library
from db.records import AlignedUnit, Clip, ClipQuery
from model.asr.emissions import Aligner, pack, unpack
from model.asr.viterbi import TokenPath, fits, token_path
from phrase_augmentation.normalize import base_language, normalize, script_of, scripts_of
from pipeline.corpora.alignment_methods import CTC_SEGMENTATION, VITERBI, alignment_name, check_method, package

# CTC outputs a phone slightly after it begins and stops before it ends. These medians for the recognizer's phones, over
# read speech with known word times (./hark bench mining), are added to the start of a token's first frame and the end
# of its last.
START_BIAS_S = -0.02
END_BIAS_S = 0.04
WINDOW_FRAMES = 3000  # frames; longer emissions (60 s) are aligned in windows
COMMIT_FRAMES = 2250  # frames; words that end within the first 45 s of each window are final
MAX_TOKENS_A_FRAME = 0.5  # 25 phones per second; people speak more slowly
# Confidence of a clip below which its transcript does not match. 120 clips of read speech had 0.22 to 1 with their own
# transcripts (median 0.6), and all had less than this with another clip's.
MIN_CONFIDENCE = 0.12
BATCH_AUDIO_S = 1200.0  # seconds of clips per batch of computing, storing and aligning


class NotAligned(HarkError):
    """Raised if the text of a clip cannot be aligned to its audio."""

    def __init__(self, what: str, why: str, what_to_do: str = "Correct the transcript in the corpus.") -> None:
        super().__init__(what, why, what_to_do)


FOREIGN = "The transcript does not belong to this audio."


@dataclass(frozen=True)
class Alignment:
    """Words and phones of a clip in order of time; ``confidence``, from 0 to 1, is that of the whole text.

    A confidence is exp(-s), where s is the nats per token by which the aligned path is less probable than the model's
    best output there.
    """

    words: tuple[AlignedUnit, ...]
    phones: tuple[AlignedUnit, ...]
    confidence: float

    @property
    def units(self) -> tuple[AlignedUnit, ...]:
        return (*self.words, *self.phones)


@dataclass(frozen=True)
class AlignReport:
    """The ids of clips that :func:`align_clips` has aligned, and the errors of the others."""

    aligned: frozenset[int]
    failed: dict[int, HarkError]


def align(
    log_p: np.ndarray,
    text: str,
    aligner: Aligner,
    language: str = "en",
    method: str = VITERBI,
    min_confidence: float = MIN_CONFIDENCE,
) -> Alignment:
    """Align a text to an emission [time, outputs] of the aligner, of any length.

    Args:
        method: one of :data:`pipeline.corpora.alignment_methods.METHODS`.
        min_confidence: the confidence below which the text does not match.

    Raises:
        NotAligned: the text has no words, words that the aligner has no outputs for, or too many words for the time, or
            does not match.
        HarkError: the method cannot be used here.
    """
    words = normalize(text, language).split()
    if not words:
        what = "There is nothing to align."
        raise NotAligned(what, "The transcript has no words.", "Add the spoken words.")
    _check_script(words, language)
    tokens = aligner.tokens(words, language)
    flat = [token for word in tokens for token in word]
    if not flat:
        why = f"{aligner.name} has no outputs for the transcript's words: {' '.join(words)[:60]!r}."
        raise NotAligned("The transcript cannot be aligned.", why)
    if len(flat) > MAX_TOKENS_A_FRAME * len(log_p) or not fits(flat, len(log_p)):
        raise NotAligned(FOREIGN, f"{len(words)} words cannot be said in {len(log_p) * aligner.frame_s:.1f} s.")
    if method == CTC_SEGMENTATION:
        path = _segmented(log_p, flat, aligner)
    elif len(log_p) <= WINDOW_FRAMES:
        path = token_path(log_p, flat)
    else:
        path = _long_path(log_p, tokens)
    alignment = _units(path, words, tokens, aligner)
    if alignment.confidence < min_confidence:
        why = (
            f"Its words fit with a confidence of {alignment.confidence:.2f}; at least {min_confidence:.2f} is required."
        )
        raise NotAligned("The transcript does not match the audio.", why)
    return alignment


def _check_script(words: Sequence[str], language: str) -> None:
    letters = [letter for word in words for letter in word if letter.isalpha()]
    own = scripts_of(language)
    foreign = sum(script_of(letter) not in own for letter in letters)
    if foreign * 2 > len(letters):
        raise NotAligned(
            "The transcript cannot be aligned.",
            f"It is not written in the script of the language {base_language(language)!r}: {' '.join(words)[:60]!r}.",
            "Import the corpus with its own --language.",
        )


def _units(path: TokenPath, words: Sequence[str], tokens: Sequence[Sequence[int]], aligner: Aligner) -> Alignment:
    frame_s, end = aligner.frame_s, len(path.own) - 1
    starts = np.cumsum([0, *(len(word) for word in tokens)])
    rows: list[AlignedUnit] = []
    phones: list[AlignedUnit] = []
    shortfall, counted = 0.0, 0
    at = 0.0
    onsets = [max(0.0, path.first[i] * frame_s + START_BIAS_S) for i in range(len(path.first))]
    for number, word in enumerate(words):
        first, after = int(starts[number]), int(starts[number + 1])
        if first == after:  # the model has no output for it: it keeps its position but has no duration
            rows.append(AlignedUnit("word", word, at, at, 0.0))
            continue
        last = after - 1
        start = onsets[first]
        stop = min((path.last[last] + 1) * frame_s + END_BIAS_S, end * frame_s)
        if after < len(onsets):
            stop = min(stop, max(onsets[after], start + frame_s))
        lost = max(0.0, path.shortfall(int(path.first[first]), int(path.last[last])))
        count = last - first + 1
        shortfall, counted = shortfall + lost, counted + count
        rows.append(AlignedUnit("word", word, _ms(start), _ms(stop), _confidence(lost, count)))
        at = _ms(stop)
        for token in range(first, after):
            own_stop = onsets[token + 1] if token + 1 < after else stop
            lost = max(0.0, path.shortfall(int(path.first[token]), int(path.last[token])))
            label = aligner.vocabulary[tokens[number][token - first]]
            phones.append(AlignedUnit("phone", label, _ms(onsets[token]), _ms(own_stop), _confidence(lost, 1)))
    return Alignment(tuple(rows), tuple(phones), _confidence(shortfall, counted))


def _ms(seconds: float) -> float:
    return round(float(seconds), 3)


def _confidence(shortfall: float, tokens: int) -> float:
    return round(math.exp(-shortfall / max(1, tokens)), 4)


def joint_confidence(units: Sequence[AlignedUnit], tokens: Sequence[int]) -> float:
    """Combine the confidences of words, weighted by their numbers of tokens; return 0 if a word has none."""
    if any(unit.confidence <= 0 for unit in units):
        return 0.0
    nats = sum(count * math.log(unit.confidence) for unit, count in zip(units, tokens, strict=True))
    return round(math.exp(nats / max(1, sum(tokens))), 4)


def _long_path(log_p: np.ndarray, tokens: Sequence[Sequence[int]]) -> TokenPath:
    """Align window by window. Each tries all words that could fit into it, and only its first part is final."""
    flat = [token for word in tokens for token in word]
    ends = np.cumsum([len(word) for word in tokens])
    first, last = np.full(len(flat), -1), np.full(len(flat), -1)
    own = np.empty(len(log_p))
    best = log_p.max(axis=1).astype(np.float64)
    done, begin = 0, 0  # tokens and frames
    while begin < len(log_p):
        piece = log_p[begin : begin + WINDOW_FRAMES]
        at_end = begin + len(piece) == len(log_p)
        rest = flat[done:] if at_end else flat[done : done + int(MAX_TOKENS_A_FRAME * len(piece))]
        if not rest:
            own[begin:] = best[begin:]
            break
        if at_end and not fits(rest, len(piece)):
            raise NotAligned(FOREIGN, "The rest of it cannot be spoken in the remaining time.")
        path = token_path(piece, rest, free_end=not at_end)
        committed = len(rest)
        frames = len(piece)
        if not at_end:
            # Words that end where the rest of the window has confirmed them.
            inside = [int(e) - done for e in ends if done < e <= done + len(rest)]
            committed = max((e for e in inside if 0 <= path.last[e - 1] < COMMIT_FRAMES), default=0)
            following = int(path.first[committed]) if committed < len(rest) else -1
            frames = COMMIT_FRAMES if following < 0 else min(max(1, following - 1), COMMIT_FRAMES)
            if committed:
                frames = max(frames, int(path.last[committed - 1]) + 1)
        first[done : done + committed] = path.first[:committed] + begin
        last[done : done + committed] = path.last[:committed] + begin
        own[begin : begin + frames] = np.diff(path.own)[:frames]
        done, begin = done + committed, begin + frames
    if done < len(flat):
        raise NotAligned(FOREIGN, "The audio ends before the transcript does.")
    return TokenPath(first, last, np.concatenate([[0], np.cumsum(own)]), np.concatenate([[0], np.cumsum(best)]))


def _segmented(log_p: np.ndarray, flat: Sequence[int], aligner: Aligner) -> TokenPath:
    """Align with the package ctc-segmentation (Kürzinger et al. 2020), which returns the first frame of each token.

    A token lasts while it is more probable than the blank.
    """
    ctc_segmentation = package()
    settings = ctc_segmentation.CtcSegmentationParameters(
        char_list=list(aligner.vocabulary), blank=0, index_duration=1.0
    )
    truth, begins = ctc_segmentation.prepare_token_list(settings, [np.asarray([token]) for token in flat])
    try:
        times, _, _ = ctc_segmentation.ctc_segmentation(settings, np.asarray(log_p, np.float32), truth)
    except AssertionError as error:
        raise NotAligned(FOREIGN, f"{error}.") from error
    first = np.clip(np.asarray(times)[np.asarray(begins[:-1]) + 1].astype(np.int64), 0, len(log_p) - 1)
    last, written = first.copy(), np.asarray(log_p[:, 0], np.float64)
    for place, (token, begin) in enumerate(zip(flat, first)):
        until = first[place + 1] if place + 1 < len(first) else len(log_p)
        blank = np.flatnonzero(log_p[begin + 1 : until, token] <= log_p[begin + 1 : until, 0])
        last[place] = max(begin, (begin + blank[0] if len(blank) else until - 1))
        written[begin : last[place] + 1] = log_p[begin : last[place] + 1, token]
    best = log_p.max(axis=1).astype(np.float64)
    return TokenPath(first, last, np.concatenate([[0], np.cumsum(written)]), np.concatenate([[0], np.cumsum(best)]))


# -- clips of the library ----------------------------------------------------------------------------------------------


def stored_emission(library: Library, clip: Clip, aligner: Aligner) -> np.ndarray | None:
    """Return a clip's emission [time, outputs]; None if this aligner has none of the clip's length."""
    packed = library.alignments.emission(clip.id, aligner.name)
    if packed is None or abs(len(packed) - clip.duration_s / aligner.frame_s) > 1.5:
        return None
    try:
        return unpack(packed, len(aligner.vocabulary))
    except ValueError:
        return None


def emissions(
    library: Library, aligner: Aligner, clips: Sequence[Clip], failed: dict[int, HarkError]
) -> Iterator[tuple[Clip, np.ndarray]]:
    """Yield each clip with its emission, computing and storing missing ones; errors go to ``failed``."""
    stored = library.alignments.with_emission(aligner.name, [clip.id for clip in clips])
    missing: list[Clip] = []
    for clip in clips:
        known = stored_emission(library, clip, aligner) if clip.id in stored else None
        if known is None:
            missing.append(clip)
        else:
            yield clip, known
    for batch in _batches(missing):
        audios: list[np.ndarray] = []
        heard: list[Clip] = []
        for clip in batch:
            try:
                audios.append(library.read_audio(clip))
                heard.append(clip)
            except HarkError as error:
                failed[clip.id] = error
        computed = list(aligner.log_probabilities_of(audios))
        library.alignments.add_emissions(
            aligner.name, ((clip.id, pack(log_p)) for clip, log_p in zip(heard, computed, strict=True))
        )
        yield from zip(heard, computed, strict=True)


def _batches(clips: Iterable[Clip]) -> Iterator[list[Clip]]:
    batch: list[Clip] = []
    seconds = 0.0
    for clip in clips:
        batch.append(clip)
        seconds += clip.duration_s
        if seconds >= BATCH_AUDIO_S:
            yield batch
            batch, seconds = [], 0.0
    if batch:
        yield batch


def align_clips(
    library: Library,
    aligner: Aligner,
    clips: Collection[Clip],
    reporter: Reporter | None = None,
    method: str = VITERBI,
) -> AlignReport:
    """Align clips of the library to their own texts and store words and phones under :func:`alignment_name`.

    Clips that are already aligned are skipped. A clip that fails remains unchanged, and the others are aligned.
    """
    check_method(method)
    name = alignment_name(aligner, method)
    known = library.alignments.aligned(name, [clip.id for clip in clips])
    todo = [clip for clip in clips if clip.id not in known]
    aligned = set(known)
    failed: dict[int, HarkError] = {}
    progress = Progress(reporter or silent_reporter(), len(todo))
    for batch in _batches(todo):
        done: dict[int, tuple[AlignedUnit, ...]] = {}
        for clip, log_p in emissions(library, aligner, batch, failed):
            try:
                if not clip.text_known:
                    what = f"Clip {clip.id} cannot be aligned."
                    raise NotAligned(what, "It has no transcript.", "Add a transcript first.")
                done[clip.id] = align(log_p, clip.text_normalized, aligner, clip.language, method).units
            except HarkError as error:
                failed[clip.id] = error
            progress.advance()
        library.alignments.replace(name, done)
        aligned |= set(done)
    return AlignReport(frozenset(aligned), failed)


LOOKED_UP = 200  # clips per query


def unaligned(library: Library, aligner: Aligner) -> list[int]:
    """Return the ids of all transcribed recordings of people that mining would have to align first."""
    speech = ClipQuery(imported=True, slices=False, text_known=True)
    ids = [clip.id for clip in library.iter_clips(speech)]
    missing: list[int] = []
    for start in range(0, len(ids), LOOKED_UP):
        some = ids[start : start + LOOKED_UP]
        there = library.alignments.aligned(alignment_name(aligner, VITERBI), some)
        missing += [clip_id for clip_id in some if clip_id not in there]
    return missing


ALIGNED_PEOPLE = 60  # number of people in a library, unless more are requested: six hours of speech


def align_people(
    library: Library,
    aligner: Aligner,
    people: int = ALIGNED_PEOPLE,
    language: str = "en",
    reporter: Reporter | None = None,
) -> list[str]:
    """Align recordings of the library's people, so that splice can use them as voices; return the speakers.

    At most six minutes of each are aligned, including earlier alignments. The order of people is drawn by their names,
    so a larger ``people`` includes the earlier ones. A minute of speech takes about a second.
    """
    by_speaker: dict[str, list[Clip]] = {}
    for clip in library.iter_clips(ClipQuery(language=language, imported=True, slices=False, text_known=True)):
        if clip.speaker:
            by_speaker.setdefault(clip.speaker, []).append(clip)
    enough = [s for s, clips in by_speaker.items() if sum(c.duration_s for c in clips) >= MIN_SPEECH_S]
    chosen = sorted(enough, key=lambda speaker: hashlib.sha256(speaker.encode()).digest())[:people]
    wanted: list[Clip] = []
    for speaker in chosen:
        seconds = 0.0
        for clip in sorted(by_speaker[speaker], key=clip_order):
            if seconds < MAX_SPEECH_S:
                wanted.append(clip)
                seconds += clip.duration_s
    align_clips(library, aligner, wanted, reporter)
    return chosen
