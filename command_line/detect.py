"""``detect``: find a phrase in recordings."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command_line.console import Screen, clock, detected_times
from command_line.options import Commands, Parser, above_zero, define_command, score

if TYPE_CHECKING:
    from pipeline.serving.detection import HeardFile


def register(commands: Commands[Parser]) -> None:
    parser = define_command(commands, "detect", "BUNDLE AUDIO... [options]", run_detect)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the zip that training made, or its folder")
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help="recordings (WAV, FLAC, Ogg, MP3, M4A ...)")
    level = parser.add_mutually_exclusive_group()
    level.add_argument("--fa-per-day", type=above_zero, metavar="X", help="accepted false alarms per day")
    level.add_argument("--threshold", type=score, metavar="X", help="score from 0 to 1 that triggers a detection")
    parser.add_argument("--scores", action="store_true", help="also show all scores, one every 80 ms")
    parser.add_argument("--int8", action="store_true", help="use the model with 8-bit weights, if the bundle has one")


def run_detect(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``detect BUNDLE AUDIO...``; an unreadable recording does not stop the others."""
    from pipeline.serving.detection import listen, open_detector

    detector = open_detector(options.bundle, options.fa_per_day, options.threshold, options.int8)
    recordings: list[HeardFile] = []
    for path in options.audio:
        with screen.reporter() as reporter:
            recordings.append(listen(detector, path, reporter, keep_scores=options.scores))
        _show(recordings[-1], detector.score_period_s, screen)
    failed = [(recording.file, recording.failure) for recording in recordings if recording.failure is not None]
    result: dict[str, Any] = {
        "detections": [
            {"file": recording.file, "time_s": hit.time_s, "score": round(hit.score, 4)}
            for recording in recordings
            for hit in recording.detections
        ],
        "frame_s": detector.score_period_s,
        "phrase": detector.phrase,
        "threshold": round(detector.threshold, 6),
        "seconds": {recording.file: round(recording.seconds, 3) for recording in recordings},
    }
    if options.scores:
        result["scores"] = {recording.file: [round(score, 4) for score in recording.scores] for recording in recordings}
    code = screen.results(result, failed)
    times = detected_times(len(result["detections"]))
    total = clock(sum(recording.seconds for recording in recordings))
    if len(failed) < len(recordings):
        screen.show(f'"{detector.phrase}" {times} in {total} of audio, threshold {detector.threshold:.3f}')
    return code


def _show(recording: HeardFile, frame_s: float, screen: Screen) -> None:
    from rich.text import Text

    for number, value in enumerate(recording.scores):
        screen.show_line(f"{recording.file}  {clock((number + 1) * frame_s, exact=True)}  {value:.4f}")
    for hit in recording.detections:
        screen.show(
            Text.assemble(f"{recording.file}  ", (clock(hit.time_s, exact=True), "bold"), f"  score {hit.score:.3f}")
        )
    if recording.failure is not None:
        screen.warn_of(recording.failure)
    elif recording.silent:
        screen.note(f"{recording.file} is silent: its peak is below -60 dBFS. Choose another recording.")
