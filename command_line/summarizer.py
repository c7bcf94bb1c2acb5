"""``summarizer``: train and use Hark's own character Transformer, or summarize texts with any engine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from command_line.console import Screen
from command_line.curves import curves_line, require_tensorboard, training_options
from command_line.options import Commands, Parser, add_command, add_group, count, language
from core.data_folder import data_folder, installation_folder
from core.errors import HarkError
from pipeline.recordings.files.recording_folder import RECORDINGS

if TYPE_CHECKING:
    from pipeline.recordings.transcripts.transcript import Transcript

STDIN = "-"


def register(commands: Commands[Parser]) -> None:
    group = add_group(commands, "summarizer")
    training = add_command(group, "train", "[PAIRS] [options]", "train the character summarizer", run_train)
    training.add_argument(
        "pairs", metavar="PAIRS", type=Path, nargs="?",
        help="JSON lines with text and summary, or a folder of such files (*.jsonl), of transcripts (transcript.json), "
        "of LibriSpeech (*.trans.txt) or of a NeMo manifest; default: the recordings of the data folder",
    )  # fmt: skip
    training_options(training, count, "20", "pairs per batch; default: 32", "the pairs")

    summarizing = add_command(group, "summarize", "FILE [options]", "summarize a text or a transcript", run_summarize)
    summarizing.add_argument("file", metavar="FILE", help="a text, a transcript.json, or - for stdin")
    summarizing.add_argument("--engine", default="auto", metavar="NAME", help="default: auto, the best that is ready")
    summarizing.add_argument("--language", type=language, metavar="CODE", help="language of a text; default: en")


def run_train(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``summarizer train``. The same command resumes a stopped run."""
    from pipeline.recordings.summarization.training import SummarizerRun, train
    from pipeline.recordings.summarization.transformer import CHARACTER_FILE

    if options.tensorboard:
        require_tensorboard()
    pairs = options.pairs or data_folder() / RECORDINGS
    run = SummarizerRun(
        pairs, options.epochs, options.batch_size or SummarizerRun.batch_size, options.subset, options.seed
    )
    with screen.reporter() as reporter:
        result = train(run, (installation_folder() / CHARACTER_FILE).parent, reporter)
    screen.result(result)
    screen.show_line(f"weights  {result['weights']}")
    screen.show_line(f"curves   {curves_line(result['curves'])}")
    screen.show_line(f"loss     {result['validation_loss']:.3f} nats per character, on held-out pairs")
    screen.show_line(
        "WER, CER not measured: a text has many correct summaries; ROUGE-1 counts the words that they share"
    )
    screen.show_line(f"ROUGE-1  {result['rouge_1']:.3f}")
    screen.show_line(f"ROUGE-1  {result['rouge_1_first_sentence']:.3f}  of the first sentence instead")
    return 0


def run_summarize(options: argparse.Namespace, screen: Screen) -> int:
    from pipeline.recordings.summarization import as_json, summarize

    with screen.reporter(passing=True) as reporter:
        reporter.stage("summarize", f"Summarizing {options.file}")
        summary = summarize(_transcript(options.file, options.language), options.engine)
    screen.result(as_json(summary))
    screen.show_line(summary.text)
    for title, points in (("Key points", summary.key_points), ("To do", summary.action_items)):
        if points:
            screen.show_line(f"\n{title}")
            for point in points:
                screen.show_line(f"  {point.text}  [{', '.join(str(number + 1) for number in point.segments)}]")
    if summary.sentiment is not None:
        screen.show_line(f"\nIt sounds {summary.sentiment.label} ({summary.sentiment.score:+.2f}).")
    screen.note(f"By {summary.engine}.", *([summary.note] if summary.note else []))
    return 0


def _transcript(file: str, language: str | None) -> Transcript:
    """Return the transcript in a file, or a text as a transcript with one segment per line."""
    from pipeline.recordings.transcripts.transcript import Segment, Transcript, load_transcript

    if file.endswith(".json"):
        if language is not None:
            raise HarkError("--language is for a text.", f"{file} gives its language.", "Leave out --language.")
        return load_transcript(Path(file))
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HarkError("The text cannot be read.", f"{file}: {error}.", "Give a text file in UTF-8.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return Transcript(0.0, language or "en", "text", tuple(Segment(0.0, 0.0, line, 1.0) for line in lines))
