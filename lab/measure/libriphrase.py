"""LibriPhrase, the usual test of phrase discrimination, rebuilt by its rules from local speech.

The rules are those of its own program (gusrud1103/LibriPhrase; Shin and others, "Learning Audio-Text Agreement for
Open-vocabulary Keyword Spotting", 2022). Clips are runs of one to four words without a pause, half a second to two
seconds long, cut at word boundaries. A text is paired with clips of itself by several people (positives), of random
other texts (easy negatives), and of the most similar texts with as many words (hard negatives).

There are three differences. :data:`SPEAKERS` and :data:`SHARES` are scaled to the size of :data:`SOURCE`. Hark's
aligner places the words. Hark's phones replace those of g2p_en.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmark import Figures, manifest_rows
from benchmark.peers import ARPABET
from core.audio_file import SAMPLE_RATE, read_audio
from core.data_folder import atomic_path, storing
from core.events import Progress, Reporter
from core.processors import usable_cores
from db.records import AlignedUnit
from lab import on_one_core
from lab.metrics import equal_error_rate
from model.asr.emissions import default_aligner
from model.large.decoder_tokens import spellings
from model.large.encoder import loaded_backbone
from model.large.encoder_detector import EncoderDetector
from model.large.second_pass import verifier_name
from model.phones import PHONES, outputs_of, phone_indices
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.phonemes import phonemes_of_words
from pipeline.corpora.alignment import NotAligned, align
from pipeline.scoring.zero_shot import RESCORE_ABOVE

SOURCE = "speech/librispeech-dev-clean"  # no shipped weights were trained on it
MIN_S, MAX_S = 0.5, 2.0  # minimum and maximum seconds of a run
PAUSE_S = 0.1  # seconds; a longer pause ends a run, as an empty word of the original's aligner does
MIN_CONFIDENCE = 0.15  # minimum confidence of each word's alignment
CLIPS = 3  # maximum positives, easy negatives and hard negatives of a text
SPEAKERS = 2  # minimum speakers of a text; the original requires one who speaks it six times, and three others
# Fractions of the texts by their number of words: close to the original's (4391, 2605, 467 and 56 episodes), but with
# more texts of four words, which would otherwise be too few to measure.
SHARES = {1: 0.56, 2: 0.33, 3: 0.06, 4: 0.05}
SILENCE_S = 0.5  # seconds of silence before and after a clip
RESAMPLES = 300  # resamples of the texts, for intervals
NEAR_LETTERS = (2, 4)  # bounds of the groups of hard negatives, by distance: up to two letters, up to four, more
NEVER = 1_000_000  # edits; more than any distance
THREADS = 4  # maximum phrases scored concurrently; each holds a decoder

# Maps audio [samples] and a phrase to a score: the higher, the more likely the audio is the phrase.
Scorer = Callable[[np.ndarray, str], float]


class Clip(NamedTuple):
    """A run of words in a recording, with its times in seconds."""

    text: str
    speaker: str
    file: str
    start_s: float
    end_s: float


class Pair(NamedTuple):
    """A phrase and a clip: ``kind`` is positive, easy or hard; ``letters`` is the distance of the texts."""

    phrase: str
    kind: str
    letters: int
    clip: Clip


def runs(words: Sequence[AlignedUnit], speaker: str, file: str) -> Iterator[Clip]:
    """Yield the clips of a recording's words."""
    for first, count in itertools.product(range(len(words)), SHARES):
        run = words[first : first + count]
        parted = any(after.start_s - before.end_s > PAUSE_S for before, after in itertools.pairwise(run))
        unsure = any(word.confidence < MIN_CONFIDENCE for word in run)
        length = sum(word.end_s - word.start_s for word in run)
        if len(run) == count and not parted and not unsure and MIN_S <= length <= MAX_S:
            yield Clip(" ".join(word.label for word in run), speaker, file, run[0].start_s, run[-1].end_s)


def clips_in(folder: Path, reporter: Reporter) -> list[Clip]:
    """Return all runs of words in a corpus with a ``manifest.jsonl``. Raises OSError, ValueError."""
    rows = manifest_rows(folder)
    aligner = default_aligner()
    progress = Progress(reporter, len(rows))
    clips: list[Clip] = []
    emissions = aligner.log_probabilities_of(read_audio(folder / row["audio_filepath"]) for row in rows)
    for row, log_p in zip(rows, emissions):
        try:
            words = align(log_p, row["text"], aligner).words
        except NotAligned:
            words = ()
        clips += runs(words, str(row["speaker"]), str(row["audio_filepath"]))
        progress.advance()
    return clips


def arpabet(texts: Sequence[str]) -> list[str]:
    """Return each text's ARPAbet letters, with a space between words: g2p_en's symbols, joined."""
    words = list(dict.fromkeys(word for text in texts for word in text.split()))
    written = {}
    for word, phones in zip(words, phonemes_of_words(words)):
        # Two equal ones are one: espeak-ng writes "around" with two ɹ.
        symbols = " ".join(ARPABET[PHONES[index - 1]] for index, _ in itertools.groupby(phone_indices(phones)))
        written[word] = re.sub(r"\bAH R\b(?! [AEIOU])", "ER", symbols).replace(" ", "")
    return [" ".join(written[word] for word in text.split()) for text in texts]


def letter_distances(text: str, others: Sequence[str]) -> np.ndarray:
    """Return the edit distances of a string to the others [n], with the original's quirk.

    The quirk: an insertion or a deletion is not counted while the distance so far would be one edit or none.
    """
    lengths = np.array([len(other) for other in others], int)
    signs = np.zeros((lengths.max(initial=0), len(others)), int)  # [place, other]
    for column, other in enumerate(others):
        signs[: len(other), column] = [ord(sign) for sign in other]
    row = np.repeat(np.arange(len(signs) + 1)[:, None], len(others), axis=1)
    for sign in text:
        before, row = row, np.empty_like(row)
        row[0] = before[0] + 1
        for place, other in enumerate(signs):
            edits = np.stack([before[place + 1] + 1, row[place] + 1])
            edits[edits <= 1] = NEVER
            row[place + 1] = np.minimum(edits.min(axis=0), before[place] + (other != ord(sign)))
    distances: np.ndarray = row[lengths, np.arange(len(others))]
    return distances


def draw_pairs(clips: Sequence[Clip], count: int, seed: int) -> list[Pair]:
    """Draw pairs of about ``count`` texts with at least :data:`SPEAKERS` speakers, by the seed."""
    rng = np.random.default_rng((seed, 25))
    pairs: list[Pair] = []
    for words, share in SHARES.items():
        by_text: dict[str, list[Clip]] = defaultdict(list)
        for clip in clips:
            if clip.text.count(" ") == words - 1:
                by_text[clip.text].append(clip)
        texts = sorted(by_text)
        letters = arpabet(texts)
        by_several = [n for n, text in enumerate(texts) if len({clip.speaker for clip in by_text[text]}) >= SPEAKERS]
        for number in rng.permutation(np.array(by_several, int))[: round(share * count)]:
            distance = letter_distances(letters[number], letters)
            nearest = np.lexsort((rng.random(len(texts)), distance))
            chosen: dict[str, Iterable[int]] = {
                "positive": [number] * CLIPS,
                "easy": rng.permutation(np.delete(np.arange(len(texts)), number))[:CLIPS],
                "hard": nearest[(distance[nearest] > 0) & (distance[nearest] <= 5 * (words + 2))][:CLIPS],
            }
            for kind, others in chosen.items():
                speakers: set[str] = set()  # positives have different ones
                for other in others:
                    left = [c for c in by_text[texts[other]] if kind != "positive" or c.speaker not in speakers]
                    if left:
                        clip = left[rng.integers(len(left))]
                        speakers.add(clip.speaker)
                        pairs.append(Pair(texts[number], kind, int(distance[other]), clip))
    return pairs


class LargeDetector:
    """A large detector of any phrase, without calibration. It encodes each clip once and caches the result."""

    def __init__(self) -> None:
        self._encoder = loaded_backbone()  # torch cannot export its graph in several threads in parallel
        self._outputs: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    def keyword_hmm(self, audio: np.ndarray, phrase: str) -> float:
        """Return the score of the best match of the phrase's phones in ``audio`` [samples]."""
        return float(self._match(audio, phrase)[0].max())

    def second_pass(self, audio: np.ndarray, phrase: str) -> float:
        """Return the same score, plus the gain of the second pass if the score is high enough for one."""
        match, roots, states = self._match(audio, phrase)
        place, second_pass = int(match.argmax()), _detector(phrase).second_pass
        best = float(match[place])
        asked = second_pass is not None and best > RESCORE_ABOVE
        return best + (second_pass.gain(roots, states, place) if second_pass and asked else 0.0)

    def _match(self, audio: np.ndarray, phrase: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        digest = sha256(audio.tobytes()).digest()
        if digest not in self._outputs:
            self._outputs[digest] = self._encoder.encode(audio)
        roots, states = self._outputs[digest]
        return _detector(phrase).follow(roots), roots, states


@lru_cache(maxsize=THREADS)
def _detector(phrase: str) -> EncoderDetector:
    keyphrase = Keyphrase(phrase)  # a single letter is allowed here
    ways = outputs_of(keyphrase)
    return EncoderDetector.of_phrase(ways, MAX_S, spellings(keyphrase.text), RESCORE_ABOVE, verifier_name())


def score_pairs(
    pairs: Sequence[Pair], folder: Path, scorers: Mapping[str, Scorer], reporter: Reporter
) -> dict[str, np.ndarray]:
    """Return the scores [pairs] of each scorer. Several phrases are scored concurrently."""
    by_file: dict[str, set[Clip]] = defaultdict(set)
    by_phrase: dict[str, list[int]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        by_file[pair.clip.file].add(pair.clip)
        by_phrase[pair.phrase].append(number)
    cut = {clip: audio for file, clips in by_file.items() for clip, audio in _cut(folder / file, clips)}
    scores = {name: np.zeros(len(pairs)) for name in scorers}

    def score(phrase: str) -> None:
        for number in by_phrase[phrase]:
            for name, scorer in scorers.items():
                scores[name][number] = scorer(cut[pairs[number].clip], phrase)

    progress = Progress(reporter, len(by_phrase))
    with ThreadPoolExecutor(min(THREADS, usable_cores())) as pool:
        for _ in pool.map(score, by_phrase):
            progress.advance()
    return scores


def _cut(file: Path, clips: Iterable[Clip]) -> Iterator[tuple[Clip, np.ndarray]]:
    audio = read_audio(file)
    for clip in clips:
        first, last = round(clip.start_s * SAMPLE_RATE), round(clip.end_s * SAMPLE_RATE)
        yield clip, np.pad(audio[first:last], round(SILENCE_S * SAMPLE_RATE))


def area_under_curve(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return how often a positive scores higher than a negative. Ties count half."""
    return float(stats.mannwhitneyu(positives, negatives).statistic) / (len(positives) * len(negatives))


def summary(pairs: Sequence[Pair], scores: np.ndarray, seed: int) -> Figures:
    """Return EER (with an interval) and AUC on ``easy`` and ``hard`` negatives, over all texts and by number of words.

    Hard negatives are also grouped by their distance in letters.
    """
    kinds = np.array([pair.kind for pair in pairs])
    words = np.array([1 + pair.phrase.count(" ") for pair in pairs])
    letters = np.array([pair.letters for pair in pairs])
    phrase = np.unique([pair.phrase for pair in pairs], return_inverse=True)[1]
    figures: Figures = {}
    for kind in ("easy", "hard"):
        its = np.isin(kinds, ("positive", kind))
        parts = {"all": its} | {f"{n} words": its & (words == n) for n in SHARES}
        if kind == "hard":
            for low, high in itertools.pairwise((0, *NEAR_LETTERS, 10**6)):
                near = (letters > low) & (letters <= high)
                name = f"{low + 1} to {high} letters" if high in NEAR_LETTERS else f"more than {low} letters"
                parts[name] = its & (near | (kinds == "positive"))
        figures[kind] = {
            name: _errors(scores[part], kinds[part] == "positive", phrase[part], seed)
            for name, part in parts.items()
            if len(np.unique(kinds[part])) == 2
        }
    return figures


def _errors(scores: np.ndarray, positive: np.ndarray, phrase: np.ndarray, seed: int) -> Figures:
    """Return the error rates; the interval is from a bootstrap over phrases."""
    rng = np.random.default_rng((seed, 26))
    rows = [np.flatnonzero(phrase == rows_of_phrase) for rows_of_phrase in np.unique(phrase)]
    drawn = [np.concatenate([rows[n] for n in rng.integers(len(rows), size=len(rows))]) for _ in range(RESAMPLES)]
    rates = [
        equal_error_rate(
            scores[rows_of_phrase][positive[rows_of_phrase]], scores[rows_of_phrase][~positive[rows_of_phrase]]
        )
        for rows_of_phrase in drawn
        if len(np.unique(positive[rows_of_phrase])) == 2
    ]
    low, high = np.percentile(rates, [2.5, 97.5])
    eer = equal_error_rate(scores[positive], scores[~positive])
    return {
        "positives": int(positive.sum()),
        "negatives": int((~positive).sum()),
        "eer": {"value": eer, "low": float(low), "high": float(high)},
        "auc": area_under_curve(scores[positive], scores[~positive]),
    }


def write_pairs(pairs: Sequence[Pair], scores: Mapping[str, np.ndarray], path: Path) -> None:
    """Write the pairs with their scores as a tab-separated table. Raises HarkError if it cannot be written."""
    with storing("writing the pairs of the benchmark"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, dialect="excel-tab")
            table.writerow(["phrase", "kind", "letters", *Clip._fields, *scores])
            for number, pair in enumerate(pairs):
                table.writerow([*pair[:3], *pair.clip, *(f"{values[number]:.4f}" for values in scores.values())])


@on_one_core()  # several phrases in parallel are faster than several cores for one
def bench_libriphrase(
    folder: Path, count: int, scorers: Mapping[str, Scorer], table: Path, seed: int, reporter: Reporter
) -> Figures:
    """Return each scorer's figures on pairs of about ``count`` texts of a corpus, and write the pairs to ``table``."""
    reporter.stage("bench", f"Aligning the words of {folder.name}")
    pairs = draw_pairs(clips_in(folder, reporter), count, seed)
    reporter.stage("bench", f"Scoring {len(pairs)} pairs")
    scores = score_pairs(pairs, folder, scorers, reporter)
    write_pairs(pairs, scores, table)
    hard = [pair.letters for pair in pairs if pair.kind == "hard"]
    return {
        "phrases": len({pair.phrase for pair in pairs}),
        "pairs": len(pairs),
        "letters_of_hard_ones_median": float(np.median(hard)),
        "list": str(table),
        "scorers": {name: summary(pairs, values, seed) for name, values in scores.items()},
    }
