"""Emissions, alignment and mining: speed, size and accuracy.

The library of :data:`HOURS` contains each recording of librispeech-dev-clean many times under different names. It has
the rows, transcripts and emissions of that many hours, but less distinct audio.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import Figures, manifest_rows, shared_folder
from core.audio_file import SAMPLE_RATE, read_audio
from core.events import Progress, Reporter
from db.db_api import Library, source_id
from db.records import ClipQuery, NewClip
from lab import BenchOptions, on_one_core
from model.asr.emissions import Aligner, pack, unpack
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.normalize import normalize
from pipeline.corpora.alignment import align
from pipeline.corpora.alignment_methods import CTC_SEGMENTATION, METHODS, VITERBI
from pipeline.corpora.mining import MARGIN_S, MiningConfig, MiningResult, mine

HOURS = 100.0
ALIGNED_CLIPS = 120  # clips with known word times
FRAME_S = 0.01  # seconds per frame of pocketsphinx
CHOICES = 20  # number of phrases that another recognizer chooses from
NEAR_S = 0.2  # maximum difference of the starts, and of the ends, of two positions that agree
LETTERS = 11  # minimum letters of a phrase of two words for this check
TIMED_S = 600.0  # seconds of audio for timing emissions


@on_one_core()
def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Return figures of emissions, boundaries (milliseconds against known word times) and queries."""
    speech = shared_folder() / "speech"
    aligner = Aligner()
    figures: Figures = {}
    reporter.stage("bench", "Emissions")
    figures["emissions"] = _emissions(speech, aligner)
    reporter.stage("bench", "Alignment against known word times")
    figures["boundaries"] = _boundaries(speech, aligner, options.seed)
    with tempfile.TemporaryDirectory(prefix="hark-bench-") as folder:
        figures["queries"] = _queries(speech, Path(folder), aligner, options.phrase, reporter)
    reporter.stage("bench", "Precision of the cuts")
    with tempfile.TemporaryDirectory(prefix="hark-bench-") as folder:
        figures["precision"] = _precision(speech, Path(folder), aligner)
    return figures


def _emissions(speech: Path, aligner: Aligner) -> dict[str, float]:
    folder = speech / "librispeech-dev-clean"
    audios: list[np.ndarray] = []
    for row in manifest_rows(folder):
        audios.append(read_audio(folder / row["audio_filepath"]))
        if sum(map(len, audios)) >= TIMED_S * SAMPLE_RATE:
            break
    seconds = sum(map(len, audios)) / SAMPLE_RATE
    started = time.process_time()
    emissions = list(aligner.log_probabilities_of(audios))
    spent = time.process_time() - started
    full = sum(log_p.size for log_p in emissions)
    packed_bytes = sum(pack(log_p).nbytes for log_p in emissions)
    return {
        "times_real_time_a_core": round(seconds / spent, 1),
        "mb_an_hour": round(packed_bytes / seconds * 3600 / 1e6, 2),
        "mb_an_hour_all_outputs": round(full / seconds * 3600 / 1e6, 2),
    }


def _boundaries(speech: Path, aligner: Aligner, seed: int) -> dict[str, Any]:
    """Return the errors of each method, and of pocketsphinx, on real words with known times."""
    folder = speech / "librispeech-aligned"
    rows = manifest_rows(folder)
    rows = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))[:ALIGNED_CLIPS]]
    audios = [read_audio(folder / row["audio_filepath"]) for row in rows]
    emissions = [unpack(pack(log_p), log_p.shape[1]) for log_p in aligner.log_probabilities_of(audios)]
    figures: dict[str, Any] = {}
    starts: dict[str, list[float]] = {}
    for method in METHODS:
        errors: list[tuple[float, float]] = []
        confidences = []
        starts[method] = []
        for row, log_p in zip(rows, emissions):
            alignment = align(
                log_p, " ".join(word for word, _, _ in row["words"]), aligner, method=method, min_confidence=0.0
            )
            confidences.append(alignment.confidence)
            starts[method] += [unit.start_s for unit in alignment.words]
            errors += [
                (unit.start_s - start, unit.end_s - end)
                for unit, (_, start, end) in zip(alignment.words, row["words"], strict=True)
            ]
        figures[method] = {**_errors(np.asarray(errors)), "median_confidence": round(float(np.median(confidences)), 3)}
    off_s = np.abs(np.subtract(starts[VITERBI], starts[CTC_SEGMENTATION]))
    figures["methods_agree_within_50_ms"] = round(float((off_s <= 0.05).mean()), 4)
    figures["pocketsphinx"] = _second_aligner(rows, audios, iter(starts[VITERBI]))
    return figures


def _second_aligner(rows: list[dict[str, Any]], audios: list[np.ndarray], ours: Iterator[float]) -> dict[str, Any]:
    """Align the same words with pocketsphinx's own acoustic model; return its errors, and its distance from Hark.

    Args:
        ours: the starts of all words of ``rows`` by Hark's aligner, in seconds.
    """
    import pocketsphinx

    decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE, lm=None, loglevel="FATAL")
    errors: list[tuple[float, float]] = []
    off_s: list[float] = []
    left_out = 0
    for row, audio in zip(rows, audios):
        starts = list(itertools.islice(ours, len(row["words"])))
        places = _placed(decoder, [word for word, _, _ in row["words"]], audio)
        left_out += not places
        for (their_start_s, their_end_s), start_s, (_, start, end) in zip(places, starts, row["words"]):
            errors.append((their_start_s - start, their_end_s - end))
            off_s.append(abs(their_start_s - start_s))
    return {
        **_errors(np.asarray(errors)),
        "recordings_left_out": left_out,
        "from_hark_median_ms": round(1000 * float(np.median(off_s)), 1),
        "agrees_with_hark_within_50_ms": round(float((np.asarray(off_s) <= 0.05).mean()), 4),
        "agrees_with_hark_within_100_ms": round(float((np.asarray(off_s) <= 0.1).mean()), 4),
    }


def _placed(decoder: Any, words: list[str], audio: np.ndarray) -> list[tuple[float, float]]:
    """Return (start, end) [s] of each word by pocketsphinx; [] if pocketsphinx lacks a word or finds no path."""
    if not all(decoder.lookup_word(word) for word in words):
        return []
    decoder.set_align_text(" ".join(words))
    _decode(decoder, audio)
    units = [unit for unit in decoder.seg() or () if unit.word[0] not in "<[("]
    if len(units) != len(words):
        return []
    return [(unit.start_frame * FRAME_S, (unit.end_frame + 1) * FRAME_S) for unit in units]


def _decode(decoder: Any, audio: np.ndarray) -> None:
    decoder.start_utt()
    decoder.process_raw((audio * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()


def _errors(errors: np.ndarray) -> dict[str, float]:
    """Summarize signed errors [words, (start, end)] in seconds."""
    figures: dict[str, float] = {"words": len(errors)}
    for column, name in enumerate(("start", "end")):
        of_edge = errors[:, column]
        figures[f"{name}_median_ms"] = round(1000 * float(np.median(np.abs(of_edge))), 1)
        figures[f"{name}_bias_ms"] = round(1000 * float(np.median(of_edge)), 1)
        figures[f"{name}_beyond_100_ms"] = round(float((np.abs(of_edge) > 0.1).mean()), 4)
    return figures


def _queries(speech: Path, folder: Path, aligner: Aligner, phrase: str, reporter: Reporter) -> dict[str, Any]:
    """Return the seconds that mining a new phrase takes: with nothing stored, with emissions, with alignments."""
    source = speech / "librispeech-dev-clean"
    rows = [(row, read_audio(source / row["audio_filepath"])) for row in manifest_rows(source)]
    hours = sum(len(audio) for _, audio in rows) / SAMPLE_RATE / 3600
    copies = max(1, round(HOURS / hours))
    reporter.stage("bench", f"A library of {HOURS:.0f} hours: {hours:.1f} h of recordings, {copies} times")
    progress = Progress(reporter, copies * len(rows))

    def clips() -> Iterator[NewClip]:
        for copy, (row, audio) in itertools.product(range(copies), rows):
            text = normalize(row["text"], "en")
            progress.advance()
            yield NewClip(
                audio=audio, text=text, text_normalized=text, language="en", engine="corpus",
                speaker=f"{row['speaker']}-{copy}", source=source_id("bench", f"{copy}/{row['audio_filepath']}"),
            )  # fmt: skip

    with Library(folder) as library:
        library.add_clips(clips())
        stored = library.stats().hours
        config = MiningConfig()
        hits = library.search_ids(phrase, ClipQuery(imported=True))
        order = np.random.default_rng((config.seed, 11)).permutation(len(hits))[: config.recordings]
        chosen = library.clips([hits[i] for i in order])
        # An import computes the emissions of all recordings; here, the recordings to search are enough.
        reporter.stage("bench", f"Emissions of the {len(chosen)} recordings to search")
        library.alignments.add_emissions(aligner.name, _repeated(library, aligner, chosen))
        quiet = Reporter(lambda event: None)
        emissions = _timed(phrase, library, quiet, config, aligner)
        # The same recordings are aligned by now. A different confidence repeats every step except the alignment.
        alignments = _timed(phrase, library, quiet, replace(config, least_confidence=0.21), aligner)
        sample = chosen[: max(1, min(len(chosen), 60))]
        started = time.perf_counter()
        for clip in sample:
            align(aligner.log_probabilities(library.read_audio(clip)), clip.text_normalized, aligner)
        nothing = (time.perf_counter() - started) / len(sample) * len(chosen)
    return {
        "phrase": phrase,
        "library_hours": round(stored, 1),
        "recordings_with_it": len(hits),
        "looked_into": emissions[1].looked_into,
        "cuts": len(emissions[1].cuts),
        "emissions_at_hand_s": round(emissions[0], 2),
        "alignments_at_hand_s": round(alignments[0], 2),
        "aligning_at_query_time_s": round(nothing + alignments[0], 1),
        "hearing_the_whole_library_s": round(nothing / max(1e-9, sum(c.duration_s for c in chosen)) * stored * 3600),
    }


def _precision(speech: Path, folder: Path, aligner: Aligner) -> dict[str, Any]:
    """Check real cuts with another recognizer (pocketsphinx).

    ``in_place`` is the fraction of cuts whose position is within :data:`NEAR_S` of the one that the recognizer finds in
    the parent recording, given the whole transcript. ``taken_for_it`` is the fraction that it recognizes as the phrase,
    given only the cut and :data:`CHOICES` equally likely phrases. ``taken_for_it_at_its_own_places`` is the same for
    cuts at the positions that the recognizer finds.
    """
    import pocketsphinx

    decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")
    source = speech / "librispeech-dev-clean"
    rows = [(row, normalize(row["text"], "en")) for row in manifest_rows(source)]
    pairs = Counter(
        f"{first} {second}"
        for _, text in rows
        for first, second in itertools.pairwise(text.split())
        if len(first) + len(second) >= LETTERS and decoder.lookup_word(first) and decoder.lookup_word(second)
    )
    phrases = [pair for pair, _ in pairs.most_common(CHOICES)]
    figures: Counter[str] = Counter()

    def recognized_as(phrase: str, audio: np.ndarray) -> bool:
        decoder.add_jsgf_string("choice", f"#JSGF V1.0; grammar choice; public <one> = {' | '.join(phrases)};")
        decoder.activate_search("choice")
        _decode(decoder, audio)
        return decoder.hyp() is not None and decoder.hyp().hypstr == phrase

    with Library(folder) as library:
        library.add_clips(
            NewClip(
                audio=read_audio(source / row["audio_filepath"]), text=text, text_normalized=text, language="en",
                engine="corpus", speaker=row["speaker"], source=source_id("bench", row["audio_filepath"]),
            )
            for row, text in rows
            if any(f" {phrase} " in f" {text} " for phrase in phrases)
        )  # fmt: skip
        for phrase in phrases:
            for cut in mine(Keyphrase(phrase), library, Reporter(lambda event: None), MiningConfig(), aligner).cuts:
                (own,), (parent,) = library.clips([cut.clip_id]), library.clips([cut.parent_id])
                audio, words = library.read_audio(parent), parent.text_normalized.split()
                figures["cuts"] += 1
                figures["taken_for_it"] += recognized_as(phrase, library.read_audio(own))
                places = _placed(decoder, words, audio)
                if not places:
                    continue
                figures["placed"] += 1
                wanted = (cut.start_s + cut.phrase_start_s, cut.start_s + cut.phrase_end_s)
                occurrences = [
                    (places[n][0], places[n + 1][1])
                    for n in range(len(words) - 1)
                    if words[n : n + 2] == phrase.split()
                ]
                start, end = min(occurrences, key=lambda place: abs(place[0] - wanted[0]))
                figures["in_place"] += abs(start - wanted[0]) <= NEAR_S and abs(end - wanted[1]) <= NEAR_S
                margin = round(MARGIN_S * SAMPLE_RATE)
                at = slice(max(0, round(start * SAMPLE_RATE) - margin), round(end * SAMPLE_RATE) + margin)
                figures["taken_for_it_at_its_own_places"] += recognized_as(phrase, audio[at])
    return {"phrases": CHOICES, "chance": round(1 / CHOICES, 3), **figures}


def _repeated(library: Library, aligner: Aligner, clips: list[Any]) -> Iterator[tuple[int, np.ndarray]]:
    emissions: dict[str, np.ndarray] = {}
    for clip in clips:
        if clip.sha256 not in emissions:
            emissions[clip.sha256] = pack(aligner.log_probabilities(library.read_audio(clip)))
        yield clip.id, emissions[clip.sha256]


def _timed(
    phrase: str, library: Library, reporter: Reporter, config: MiningConfig, aligner: Aligner
) -> tuple[float, MiningResult]:
    started = time.perf_counter()
    result = mine(Keyphrase(phrase), library, reporter, config, aligner)
    return time.perf_counter() - started, result
