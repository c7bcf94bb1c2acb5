"""Emissions, alignment and mining: speed, size and accuracy.

The library of :data:`HOURS` is made of librispeech-dev-clean, each recording many times under other names: its rows,
transcripts and emissions are as many as those of so many hours, its different audio is not.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE, read_audio
from db.db_api import Library, source_id
from db.records import NewClip, Where
from model.asr.emissions import KEPT, RecognizerAligner, pack, unpack
from phrase_augmentation.normalize import normalize
from pipeline.alignment import METHODS, align
from pipeline.benchmark import BenchOptions, Figures
from pipeline.benchmark.wakeword import shared_folder
from pipeline.events import Progress, Reporter
from pipeline.mining import MiningConfig, MiningResult, mine

HOURS = 100.0
PHRASE = "something"  # unless another one is asked for
ALIGNED_CLIPS = 120  # with known word times
HEARD_S = 600.0  # audio by which emissions are timed


def run(options: BenchOptions, reporter: Reporter) -> Figures:
    """Figures of emissions, boundaries (milliseconds against known word times) and queries."""
    import torch

    speech = shared_folder() / "speech"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        aligner = RecognizerAligner()
        figures: Figures = {}
        reporter.stage("bench", "Emissions")
        figures["emissions"] = _emissions(speech, aligner)
        reporter.stage("bench", "Alignment against known word times")
        figures["boundaries"] = _boundaries(speech, options.seed)
        phrase = PHRASE if options.phrase == BenchOptions.phrase else options.phrase
        with tempfile.TemporaryDirectory(prefix="hark-bench-") as folder:
            figures["queries"] = _queries(speech, Path(folder), aligner, phrase, reporter)
    finally:
        torch.set_num_threads(threads)
    return figures


def _rows(folder: Path) -> list[dict[str, Any]]:
    with (folder / "manifest.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _emissions(speech: Path, aligner: RecognizerAligner) -> dict[str, float]:
    folder = speech / "librispeech-dev-clean"
    audios: list[np.ndarray] = []
    for row in _rows(folder):
        audios.append(read_audio(folder / row["audio_filepath"]))
        if sum(map(len, audios)) >= HEARD_S * SAMPLE_RATE:
            break
    seconds = sum(map(len, audios)) / SAMPLE_RATE
    started = time.process_time()
    made = list(aligner.log_probabilities_of(audios))
    spent = time.process_time() - started
    full = sum(log_p.size for log_p in made)
    kept = sum(pack(log_p).nbytes for log_p in made)
    return {
        "times_real_time_a_core": round(seconds / spent, 1),
        "mb_an_hour": round(kept / seconds * 3600 / 1e6, 2),
        "mb_an_hour_all_outputs": round(full / seconds * 3600 / 1e6, 2),
    }


def _boundaries(speech: Path, seed: int) -> dict[str, Any]:
    folder = speech / "librispeech-aligned"
    rows = _rows(folder)
    rows = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))[:ALIGNED_CLIPS]]
    audios = [read_audio(folder / row["audio_filepath"]) for row in rows]
    figures: dict[str, Any] = {}
    starts: dict[str, list[float]] = {}
    for units, method in itertools.product(("phones", "characters"), METHODS):
        aligner = RecognizerAligner(units=units)
        forms = {"all": None, f"top_{KEPT}": KEPT} if (units, method) == ("phones", "viterbi") else {"": KEPT}
        emissions = list(aligner.log_probabilities_of(audios))
        for form, kept in forms.items():
            errors: list[tuple[float, float]] = []
            confidences = []
            name = "_".join(part for part in (units, method, form) if part)
            starts[name] = []
            for row, log_p in zip(rows, emissions):
                used = log_p if kept is None else unpack(pack(log_p, kept), log_p.shape[1])
                found = align(used, " ".join(word for word, _, _ in row["words"]), aligner, method=method, least=0.0)
                confidences.append(found.confidence)
                starts[name] += [unit.start_s for unit in found.words]
                errors += [
                    (unit.start_s - start, unit.end_s - end)
                    for unit, (_, start, end) in zip(found.words, row["words"], strict=True)
                ]
            figures[name] = {
                **_errors(np.asarray(errors)),
                "median_confidence": round(float(np.median(confidences)), 3),
            }
    apart = np.abs(np.subtract(starts[f"phones_viterbi_top_{KEPT}"], starts["phones_ctc-segmentation"]))
    figures["methods_agree_within_50_ms"] = round(float((apart <= 0.05).mean()), 4)
    return figures


def _errors(errors: np.ndarray) -> dict[str, float]:
    """Of signed errors [words, (start, end)] in seconds."""
    figures: dict[str, float] = {"words": len(errors)}
    for column, name in enumerate(("start", "end")):
        one = errors[:, column]
        figures[f"{name}_median_ms"] = round(1000 * float(np.median(np.abs(one))), 1)
        figures[f"{name}_bias_ms"] = round(1000 * float(np.median(one)), 1)
        figures[f"{name}_beyond_100_ms"] = round(float((np.abs(one) > 0.1).mean()), 4)
    return figures


def _queries(speech: Path, folder: Path, aligner: RecognizerAligner, phrase: str, reporter: Reporter) -> dict[str, Any]:
    """Seconds of one new phrase: nothing at hand, emissions at hand, alignments at hand."""
    source = speech / "librispeech-dev-clean"
    rows = [(row, read_audio(source / row["audio_filepath"])) for row in _rows(source)]
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
        hits = library.search_ids(phrase, Where(imported=True))
        order = np.random.default_rng((config.seed, 11)).permutation(len(hits))[: config.recordings]
        chosen = library.clips([hits[i] for i in order])
        # The emissions of those recordings: what an import has made for all.
        reporter.stage("bench", f"Emissions of the {len(chosen)} recordings that are looked into")
        library.add_emissions(aligner.name, _repeated(library, aligner, chosen))
        quiet = Reporter(lambda event: None)
        emissions = _timed(phrase, library, quiet, config, aligner)
        # The same recordings, now aligned; another confidence, so that all is done again but the alignment.
        alignments = _timed(phrase, library, quiet, replace(config, least_confidence=0.21), aligner)
        heard = chosen[: max(1, min(len(chosen), 60))]
        started = time.perf_counter()
        for clip in heard:
            align(aligner.log_probabilities(library.read_audio(clip)), clip.text_normalized, aligner)
        nothing = (time.perf_counter() - started) / len(heard) * len(chosen)
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


def _repeated(library: Library, aligner: RecognizerAligner, clips: list[Any]) -> Iterator[tuple[int, np.ndarray]]:
    made: dict[str, np.ndarray] = {}
    for clip in clips:
        if clip.sha256 not in made:
            made[clip.sha256] = pack(aligner.log_probabilities(library.read_audio(clip)))
        yield clip.id, made[clip.sha256]


def _timed(
    phrase: str, library: Library, reporter: Reporter, config: MiningConfig, aligner: RecognizerAligner
) -> tuple[float, MiningResult]:
    started = time.perf_counter()
    found = mine(phrase, library, reporter, config, aligner)
    return time.perf_counter() - started, found
