"""Training of Hark's own summarizer: its data, its folder, and its reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data_folder import storing
from core.errors import HarkError
from core.events import Progress, Reporter
from model.training_options import WHOLE, curves_folder, part_of
from pipeline.corpora.layouts import librispeech, nemo_manifest
from pipeline.corpora.layouts.utterance import Utterance
from pipeline.recordings.files.recording_folder import TRANSCRIPT
from pipeline.recordings.summarization.extractive import most_telling
from pipeline.recordings.summarization.sentences import sentences
from pipeline.recordings.summarization.transformer import PART_CHARACTERS, parts
from pipeline.recordings.transcripts.transcript import Segment, Transcript, load_transcript

if TYPE_CHECKING:
    from model.summarizer.network import SummarizerConfig

MIN_SENTENCES = 2  # minimum sentences of a text that one of them summarizes


@dataclass(frozen=True)
class SummarizerRun:
    """The options of ``./hark summarizer train``."""

    data: Path
    epochs: int = 20
    batch_size: int = 32
    subset: float = WHOLE  # per cent of the pairs
    seed: int = 0


def train(
    run: SummarizerRun, folder: Path, reporter: Reporter, shape: SummarizerConfig | None = None
) -> dict[str, Any]:
    """Train a model of this shape (None for the default) in ``folder``, resuming an earlier run there.

    Returns the weights' path, and ROUGE-1 with the first-sentence baseline. Raises HarkError if ``run.data`` does not
    exist or has too few texts, or the disk is full.
    """
    import torch

    from model.summarizer.network import SummarizerConfig
    from model.summarizer.pairs import MIN_PAIRS, Pair, read_pairs, split_pairs
    from model.summarizer.train import SummarizerProgress, SummarizerTraining, train_summarizer

    reporter.stage("data", f"Reading {run.data}")
    if not run.data.exists():
        raise HarkError(
            f"{run.data} does not exist.",
            "No recording was transcribed yet, or the name differs.",
            "Transcribe a recording first, or name a file or folder: ./hark summarizer train PAIRS.",
        )
    pairs = [] if nemo_manifest.is_manifest(run.data) else read_pairs(run.data)
    source = "pairs"
    if not pairs:
        pairs = [Pair(text, summary) for text, summary in transcript_pairs(run.data, reporter)]
        source = "transcripts"
    if not pairs:
        raise HarkError(
            "There is nothing to learn from.",
            f"{run.data} has neither pairs (*.jsonl with text and summary) nor transcripts in which {MIN_SENTENCES} "
            f"sentences in a row have at most {PART_CHARACTERS['character']} characters together.",
            "Name a file or folder with pairs or transcripts (./hark summarizer train --help lists the formats), or "
            "split longer lines.",
        )
    split = split_pairs(pairs, run.seed, part_of(len(pairs), run.subset, minimum=MIN_PAIRS))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    reporter.stage("train", f"Training on {len(split.train):,} pairs ({device})")
    progress: Progress | None = None

    def report(now: SummarizerProgress) -> None:
        nonlocal progress
        if progress is None:
            progress = Progress(reporter, now.steps)
            progress.advance(now.step - 1)  # nonzero in a resumed run
        progress.advance()
        if now.step % max(1, now.steps // 50) == 0 or now.validation_loss is not None:
            reporter.metric("loss", round(now.loss, 4))
        if now.validation_loss is not None:
            reporter.metric("validation_loss", round(now.validation_loss, 4))

    board = curves_folder(folder)
    training = SummarizerTraining(run.epochs, run.batch_size, run.seed)
    with storing("training the summarizer"):
        result = train_summarizer(split, shape or SummarizerConfig(), training, folder, report, device, board)
    reporter.artifact("weights", str(result.best))
    return {
        "weights": str(result.best),
        "curves": board,
        "learned_from": source,
        "pairs": {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)},
        "steps": result.steps,
        "validation_loss": round(result.validation_loss, 4),
        "rouge_1": round(result.rouge_1, 4),
        "rouge_1_first_sentence": round(result.rouge_1_first_sentence, 4),
    }


def transcript_pairs(folder: Path, reporter: Reporter) -> Iterator[tuple[str, str]]:
    """Yield texts with a summary, for users without their own.

    These are parts of transcripts (``transcript.json`` anywhere in the folder, or a corpus), each with the sentence
    that the extractive engine ranks highest. A model trained on them only learns to quote.
    """
    for path in sorted(folder.rglob(TRANSCRIPT)):
        try:
            transcript = load_transcript(path)
        except HarkError as error:  # a damaged file must not stop the others
            reporter.log(f"{path} was left out. {error.why}", "warning")
            continue
        yield from pairs_of(transcript)
    for transcript in _of_corpus(folder):
        yield from pairs_of(transcript)


def _of_corpus(data: Path) -> Iterator[Transcript]:
    """Yield a transcript for each speaker of a LibriSpeech folder or a NeMo manifest, one sentence per utterance."""
    if nemo_manifest.is_manifest(data):
        spoken = nemo_manifest.utterances_of(data)
    else:
        spoken = (librispeech if librispeech.recognizes(data) else nemo_manifest).utterances(data)

    def place(one: Utterance) -> tuple[Path, str, str]:
        return one.audio.parent, one.speaker, one.language or "en"

    for (_folder, _speaker, language), group in groupby(sorted(spoken, key=place), key=place):
        segments = tuple(Segment(n, n + 1, one.text or "", 1.0) for n, one in enumerate(group))
        yield Transcript(len(segments), language, "corpus", segments)


def pairs_of(transcript: Transcript) -> Iterator[tuple[str, str]]:
    """Yield the parts of one transcript, each with its most important sentence."""
    for piece in parts(sentences(transcript), PART_CHARACTERS["character"]):
        if len(piece) >= MIN_SENTENCES:
            best = most_telling(piece, 1, transcript.language)
            yield " ".join(sentence.text for sentence in piece), best[0].text
