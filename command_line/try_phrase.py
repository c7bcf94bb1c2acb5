"""``try``: find a phrase in recordings, without training."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from command_line.console import Screen, clock, detected_times
from command_line.options import Commands, Parser, count, define_command, language, score


def register(commands: Commands[Parser]) -> None:
    trying = define_command(commands, "try", "PHRASE --wav FILE [options]", run_try)
    trying.add_argument("phrase", metavar="PHRASE")
    trying.add_argument("--wav", required=True, action="append", metavar="FILE", help="a recording; may be repeated")
    trying.add_argument("--threshold", type=score, metavar="X", help="default: 0.5, and 0.1 without the encoder")
    trying.add_argument("--most", type=count, default=1000, metavar="N", help="show only the best N (default: 1000)")
    trying.add_argument("--recognizer", action="store_true", help="use Hark's own recognizer instead of the encoder")
    trying.add_argument("--language", type=language, default="en", help="default: en")


def run_try(options: argparse.Namespace, screen: Screen) -> int:
    import time

    from core.confinement.foreign_audio import foreign_audio_blocks
    from phrase_augmentation.keyphrase import Keyphrase
    from pipeline.scoring.keyword_scoring import guesses_in
    from pipeline.scoring.zero_shot import scorer_of

    started = time.perf_counter()
    keyphrase = Keyphrase.of(options.phrase, options.language)
    scorer = scorer_of(keyphrase, options.recognizer)
    threshold = scorer.min_score if options.threshold is None else options.threshold
    rows: list[dict[str, Any]] = []
    for path in options.wav:
        with screen.reporter() as reporter:
            reporter.stage("try", f"Searching {path}")
            guesses = list(guesses_in(foreign_audio_blocks(path), scorer.scores, scorer.frame_s, threshold))
        rows += [{"file": str(path), **asdict(guess)} for guess in guesses]
    if len(rows) > options.most:
        least = sorted((row["score"] for row in rows), reverse=True)[options.most - 1]
        rows = [row for row in rows if row["score"] >= least][: options.most]
    screen.result(
        {
            "phrase": options.phrase,
            "detections": rows,
            "threshold": threshold,
            "model": scorer.name,
            "seconds": round(time.perf_counter() - started, 2),
        }
    )
    for row in rows:
        screen.show_line(f"{row['file']}  {clock(row['start_s'], exact=True)}  score {row['score']:.3f}")
    screen.show(f'"{options.phrase}" {detected_times(len(rows))} (no training; threshold {threshold})')
    return 0
