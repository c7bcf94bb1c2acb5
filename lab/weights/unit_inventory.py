"""The inventory of speech that ships with Hark for the engine splice.

``python -m lab.weights.unit_inventory FOLDER... --out FILE`` makes it from transcribed corpora. The recognizer aligns
the phones, and recordings are cut at their pauses. The inventory gets the people with the most intelligible splices,
and of each the stretches with the most pairs of phones.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from audio_augmentation import codec
from audio_generation.splice_side.inventory import MIN_CONFIDENCE, SHIPPED, confidence
from audio_generation.splice_side.selection import NotSpeakable
from audio_generation.splice_side.speaking import speak
from audio_generation.splice_side.text import with_stress
from audio_generation.splice_side.units import Recording, pitch_at, unit_table
from core.audio_file import SAMPLE_RATE, read_audio
from core.data_folder import atomic_path
from core.errors import HarkError
from db.records import AlignedUnit
from model.asr.emissions import Aligner
from phrase_augmentation.phonemes import phonemes_of_words
from pipeline.corpora.alignment import Alignment, align
from pipeline.corpora.layouts import layout_of
from pipeline.corpora.licences import licence_of
from pipeline.scoring.keyword_scoring import intelligible

PEOPLE = 9
SECONDS_EACH = 295.0
BITRATE = 16_000  # bit/s of Opus; 21,000 is not more intelligible
CUT_PAUSE_S = 0.25  # minimum seconds of a pause at which a recording is cut
EDGE_S = 0.2  # seconds of silence that remain at either end
MIN_DURATION_S, MAX_DURATION_S = 0.8, 12.0  # minimum and maximum seconds of a stretch
LOW_VOICE_HZ = 150.0  # median pitch below which a voice counts as a man's
BETWEEN_S = 0.05  # seconds of silence between recordings, so that the codec does not smear one into the next
VOCABULARY = 20_000  # number of frequent words whose pairs of phones are counted
TRIAL_TEXTS = 60  # number of texts by which the intelligibility of a candidate is measured
KEYPHRASES = ("computer", "smart mirror", "hey compass", "snowboy", "hey jarvis", "view glass", "okay robot")


@dataclass(frozen=True)
class Stretch:
    """Speech between two pauses: audio float32 [samples] at 16 kHz, words and phones with times in it."""

    name: str
    audio: np.ndarray
    words: tuple[AlignedUnit, ...]
    phones: tuple[AlignedUnit, ...]

    @property
    def seconds(self) -> float:
        return len(self.audio) / SAMPLE_RATE

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs of consecutive phones, with the silence at both ends."""
        return list(itertools.pairwise(["", *(phone.label for phone in self.phones), ""]))


@dataclass(frozen=True)
class Speaker:
    """One person's stretches, and their origin."""

    name: str
    corpus: str
    licence: str
    stretches: tuple[Stretch, ...]

    @cached_property
    def pitch_hz(self) -> float:
        """Median pitch [Hz] of the voiced positions; 0 if there are none."""
        pitches = [pitch_at(s.audio, np.arange(800, len(s.audio) - 800, 1600)) for s in self.stretches[:20]]
        voiced = np.concatenate(pitches)
        voiced = voiced[~np.isnan(voiced)]
        return float(2 ** np.median(voiced)) if len(voiced) else 0.0

    @property
    def seconds(self) -> float:
        return sum(stretch.seconds for stretch in self.stretches)


def speakers_of(
    folder: Path, aligner: Aligner, leave_out: Sequence[str] = (), licences: Mapping[str, str] | None = None
) -> list[Speaker]:
    """Return everyone in a corpus (any layout that Hark reads) with their confidently aligned stretches.

    Args:
        licences: by person, those that differ from the licence of the corpus.

    Raises:
        HarkError: the folder does not exist or has no corpus.
    """
    licence, _ = licence_of(folder)
    people: dict[str, list[Stretch]] = {}
    utterances = [
        u
        for u in layout_of(folder).utterances(folder)
        if not u.problem and u.text and u.speaker and u.speaker not in leave_out
    ]
    for utterance in utterances:
        try:
            audio = read_audio(utterance.audio)
            alignment = align(aligner.log_probabilities(audio), utterance.text or "", aligner)
        except HarkError:
            continue
        if confidence(alignment.phones) >= MIN_CONFIDENCE:
            people.setdefault(utterance.speaker, []).extend(stretches(utterance.audio.stem, audio, alignment))
    own = licences or {}
    return [Speaker(name, folder.name, own.get(name, licence), tuple(parts)) for name, parts in sorted(people.items())]


def stretches(name: str, audio: np.ndarray, alignment: Alignment) -> Iterator[Stretch]:
    """Cut a recording at its pauses; skip stretches shorter than 0.8 s or longer than 12 s."""
    words = [word for word in alignment.words if word.end_s > word.start_s]
    begin = 0
    for place in range(1, len(words) + 1):
        if place < len(words) and words[place].start_s - words[place - 1].end_s < CUT_PAUSE_S:
            continue
        inside, begin_s, end_s = words[begin:place], words[begin].start_s, words[place - 1].end_s
        earliest = words[begin - 1].end_s if begin else 0.0
        latest = words[place].start_s if place < len(words) else len(audio) / SAMPLE_RATE
        begin = place
        start = max(begin_s - EDGE_S, (begin_s + earliest) / 2 if earliest else 0.0)
        end = min(end_s + EDGE_S, latest if place == len(words) else (end_s + latest) / 2)
        part = audio[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
        if MIN_DURATION_S <= end - start <= MAX_DURATION_S:
            phones = [p for p in alignment.phones if begin_s - 1e-6 <= p.start_s < end_s - 1e-6]
            yield Stretch(
                f"{name}+{start:.2f}",
                part,
                tuple(_moved(word, start) for word in inside),
                tuple(_moved(phone, start) for phone in phones),
            )


def _moved(unit: AlignedUnit, start_s: float) -> AlignedUnit:
    times = round(unit.start_s - start_s, 3), round(unit.end_s - start_s, 3)
    return AlignedUnit(unit.level, unit.label, *times, unit.confidence)


def chosen_stretches(speaker: Speaker, weights: Counter[tuple[str, str]], seconds: float) -> list[Stretch]:
    """Choose up to ``seconds`` of stretches with many pairs of phones.

    A pair is worth the square root of its weight, divided by 3 for each time that it already occurs.
    """
    had: Counter[tuple[str, str]] = Counter()
    left = list(speaker.stretches)
    chosen: list[Stretch] = []
    while left:

        def worth(stretch: Stretch) -> float:
            inside = Counter(had)
            total = 0.0
            sure = confidence(stretch.phones)
            for pair in stretch.pairs:
                total += weights[pair] ** 0.5 * 3.0 ** -min(inside[pair], 8)
                inside[pair] += 1
            return total * sure / stretch.seconds

        best = max(left, key=worth)
        left.remove(best)
        if best.seconds <= seconds:
            chosen.append(best)
            seconds -= best.seconds
            had.update(best.pairs)
        if seconds < MIN_DURATION_S:
            break
    return chosen


def recordings(parts: Sequence[Stretch], language: str = "en-us") -> list[Recording]:
    return [Recording(part.name, part.audio, part.phones, with_stress(part.words, language)) for part in parts]


def understood(speaker: Speaker, aligner: Aligner, seconds: float) -> float:
    """Return the mean intelligibility of texts spliced from ``seconds`` of a person's speech; 0 if unspeakable."""
    parts: list[Stretch] = []
    for part in speaker.stretches:
        if sum(p.seconds for p in parts) < seconds:
            parts.append(part)
    table = unit_table(recordings(parts))
    scores = []
    for number, text in enumerate(measured_texts()[:TRIAL_TEXTS]):
        try:
            scores.append(intelligible(speak(table, text, "en-us", {"seed": number}).audio, text, "en", aligner))
        except NotSpeakable:
            scores.append(0.0)
    return float(np.mean(scores))


def chosen_people(speakers: Sequence[Speaker], aligner: Aligner, count: int, seconds: float) -> list[Speaker]:
    """Choose the people with enough speech and the most intelligible splices. Half have low voices if possible."""
    enough = [s for s in speakers if s.seconds >= seconds]
    rank = {s.name: understood(s, aligner, seconds) for s in enough}
    ordered = sorted(enough, key=lambda s: (-rank[s.name], s.name))
    low = [s for s in ordered if s.pitch_hz < LOW_VOICE_HZ]
    high = [s for s in ordered if s.pitch_hz >= LOW_VOICE_HZ]
    lows = min(len(low), max(count // 2, count - len(high)))
    return sorted([*low[:lows], *high[: count - lows]], key=lambda s: s.name)


def pairs_of_vocabulary(words: int = VOCABULARY) -> Counter[tuple[str, str]]:
    """Count each pair of phones in the most frequent English words, each word once; "" is silence."""
    from wordfreq import top_n_list

    pairs: Counter[tuple[str, str]] = Counter()
    for phones in phonemes_of_words(top_n_list("en", words), "en"):
        pairs.update(itertools.pairwise(["", *phones, ""]))
    return pairs


def build(
    speakers: Sequence[Speaker],
    path: Path,
    aligner: Aligner,
    people: int = PEOPLE,
    seconds: float = SECONDS_EACH,
    language: str = "en-us",
) -> dict[str, Any]:
    """Write an inventory; return its ``about.json``.

    Raises:
        HarkError: no person has enough speech.
    """
    chosen = chosen_people(speakers, aligner, people, seconds)
    if not chosen:
        raise HarkError(
            "No inventory can be made.",
            f"No speaker in these corpora has {seconds:.0f} s of speech with confidently aligned phones.",
            "Give a corpus with more speech of each person, or fewer --seconds.",
        )
    weights = pairs_of_vocabulary()
    rows: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    for number, speaker in enumerate(chosen):
        parts = chosen_stretches(speaker, weights, seconds)
        sound, table = _laid_out(parts)
        files[f"{number}.ogg"] = codec.opus_bytes(sound, BITRATE)
        files[f"{number}.json"] = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
        pairs = Counter(pair for part in parts for pair in part.pairs)
        rows.append(
            {
                "speaker": speaker.name, "corpus": speaker.corpus, "licence": speaker.licence, "file": str(number),
                "seconds": round(sum(part.seconds for part in parts), 1), "pitch_hz": round(speaker.pitch_hz),
                "pairs": len(pairs), "share_of_vocabulary": round(sum(weights[p] for p in pairs) / weights.total(), 4),
            }
        )  # fmt: skip
    about = {
        "what": "Stretches of recorded speech, cut at pauses, for Hark's engine splice.",
        "language": language,
        "changes": "Selected, cut, joined and encoded as Opus; phone times were found by Hark's recognizer.",
        "speakers": rows,
    }
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("about.json", json.dumps(about, ensure_ascii=False, indent=1))
        for name, content in files.items():
            kind = zipfile.ZIP_STORED if name.endswith(".ogg") else zipfile.ZIP_DEFLATED
            archive.writestr(name, content, compress_type=kind)
    return about


def _laid_out(parts: Sequence[Stretch]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Join all stretches; return the audio, and a table of positions and contents."""
    gap = np.zeros(round(BETWEEN_S * SAMPLE_RATE), np.float32)
    sounds: list[np.ndarray] = [gap]
    table: list[dict[str, Any]] = []
    at = len(gap)
    for part in parts:
        table.append(
            {
                "name": part.name, "first": at, "samples": len(part.audio),
                "words": [[w.label, w.start_s, w.end_s] for w in part.words],
                "phones": [[p.label, p.start_s, p.end_s, round(p.confidence, 3)] for p in part.phones],
            }
        )  # fmt: skip
        sounds += [part.audio, gap]
        at += len(part.audio) + len(gap)
    return np.concatenate(sounds), table


def measured_texts() -> list[str]:
    """Return a hundred texts: keyphrases, single words, and two to six random words of the vocabulary."""
    from wordfreq import top_n_list

    rng = np.random.default_rng(5)
    words = [word for word in top_n_list("en", 6000)[200:] if word.isalpha() and len(word) > 3]
    texts = [" ".join(rng.choice(words, 1 if n < 33 else 2 if n < 58 else int(rng.integers(3, 7)))) for n in range(93)]
    # Mixed, so that the first ones are representative.
    return [str(text) for text in rng.permutation([*KEYPHRASES, *texts])]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.weights.unit_inventory", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a transcribed corpus")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="output file (default: the shipped one)")
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="SPEAKER", help="speakers to leave out")
    parser.add_argument(
        "--licence",
        nargs="*",
        default=[],
        metavar="SPEAKER=LICENCE",
        help="licence of a speaker, if it is not that of the corpus",
    )
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--seconds", type=float, default=SECONDS_EACH, help="seconds of speech per speaker")
    options = parser.parse_args(arguments)
    own = dict(item.partition("=")[::2] for item in options.licence)
    try:
        ear = Aligner()
        speakers = [s for folder in options.folders for s in speakers_of(folder, ear, options.leave_out, own)]
        about = build(speakers, options.out, ear, options.people, options.seconds)
        result = {**about, "bytes": options.out.stat().st_size}
    except HarkError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    json.dump(result, sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
