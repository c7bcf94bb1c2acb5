"""``asr``: Hark's own acoustic model, which finds words and their times in recordings."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from command_line.console import Screen, table
from command_line.curves import curves_line, require_tensorboard, training_options
from command_line.options import Commands, Parser, above_zero, add_command, add_group, count_or_none, language
from core.data_folder import data_folder
from core.errors import HarkError
from pipeline.corpora.alignment_methods import METHODS, VITERBI

if TYPE_CHECKING:
    from model.asr.emissions import Aligner

TRANSCRIPTS = 50_000  # maximum transcripts of the library from which the vocabulary learns pairs of words


def register(commands: Commands[Parser]) -> None:
    group = add_group(commands, "asr")
    recognize = add_command(group, "recognize", "AUDIO... [options]", "recognize recordings", run_recognize)
    recognize.add_argument("audio", nargs="+", metavar="AUDIO", help="recordings (WAV, FLAC, Ogg, MP3, M4A ...)")
    recognize.add_argument("--language", type=language, default="en", help="default: en")
    add_weights(recognize)
    aligning = add_command(group, "align", "AUDIO TEXT [options]", "find when each word of a text is spoken", run_align)
    aligning.add_argument("audio", metavar="AUDIO", help="a recording")
    aligning.add_argument("text", metavar="TEXT", help="the spoken text, or a text file")
    aligning.add_argument("--language", type=language, default="en", help="default: en")
    add_method(aligning)
    add_weights(aligning)

    training = add_command(group, "train", "CORPUS... [options]", "train a recognizer", run_train)
    training.add_argument("corpora", nargs="+", type=Path, metavar="CORPUS", help="folders of transcribed speech")
    batch = "utterances per batch; default: as many as fit into 160 s"
    training_options(training, above_zero, "30", batch, "each corpus, and of the synthetic clips")
    help_text = "number of clips to synthesize; default: 7000"
    training.add_argument("--synthetic", type=count_or_none, default=7000, metavar="N", help=help_text)
    training.add_argument("--noise", default="", metavar="FOLDER", help="recordings of noise")


def add_method(parser: Parser, option: str = "--method") -> None:
    help_text = "; ".join(f"{name}, {use}" for name, use in METHODS.items())
    parser.add_argument(option, choices=tuple(METHODS), default=VITERBI, help=f"{help_text} (default: {VITERBI})")


def add_weights(parser: Parser) -> None:
    """Add the option that :func:`chosen_aligner` reads."""
    help_text = "weights from ./hark asr train, instead of the shipped ones"
    parser.add_argument("--weights", type=Path, metavar="FILE", help=help_text)


def chosen_aligner(options: argparse.Namespace) -> Aligner:
    """Load Hark's recognizer. Raises HarkError if the given weights cannot be used."""
    from model.asr.emissions import Aligner
    from model.asr.network import Recognizer
    from model.weights import load_weights

    if options.weights is None:
        return Aligner()
    what_to_do = "Use weights from ./hark asr train CORPUS."
    try:
        return Aligner(load_weights(options.weights, Recognizer)[0])
    except HarkError as error:
        raise HarkError(error.what, error.why, what_to_do) from error


def run_train(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``asr train``, with its files in ``asr/`` of the data folder. The same command resumes an earlier run."""
    from audio_generation.registry import close_engines
    from pipeline.asr.training import AcousticRun, train_acoustic_model

    if options.tensorboard:
        require_tensorboard()
    run = AcousticRun(
        tuple(options.corpora), options.epochs, options.batch_size, options.subset, options.synthetic, options.noise,
        options.seed,
    )  # fmt: skip
    try:
        with screen.reporter() as reporter:
            result = train_acoustic_model(run, data_folder() / "asr", reporter)
    finally:
        close_engines()
    screen.result(result)
    screen.show_line(f"weights  {result['weights']}")
    screen.show_line(f"curves   {curves_line(result['curves'])}")
    if result["loss"] is not None:
        screen.show_line(f"loss     {result['loss']:.3f} after {result['steps']} steps")
    if result["wer"] is None:
        screen.show_line(f"WER, CER not measured: {result['not_measured']}")
    else:
        screen.show_line(f"WER      {100 * result['wer']:.1f} %")
        screen.show_line(f"CER      {100 * result['cer']:.1f} %")
    for name, value in result["errors"].items():
        screen.show_line(f"{100 * value:6.1f} %  {name}")
    return 0


def run_recognize(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``asr recognize AUDIO...``; an unreadable recording does not stop the others."""
    from db.db_api import Library, library_exists
    from model.asr.recognition import decoder_for
    from pipeline.asr.recognize import recognize

    with screen.reporter() as reporter:
        reporter.stage("words", "Loading the vocabulary")
        transcripts: list[str] = []
        if library_exists(data_folder()):
            with Library(data_folder()) as library:
                transcripts = library.transcripts(options.language, TRANSCRIPTS, 0)
        decoder = decoder_for(options.language, transcripts)
        aligner = chosen_aligner(options)
    files: list[dict[str, object]] = []
    errors: list[tuple[object, HarkError]] = []
    for path in options.audio:
        try:
            with screen.reporter() as reporter:
                reporter.stage("recognize", f"Recognizing {path}")
                recognition = recognize(path, aligner, decoder, options.language)
        except HarkError as error:
            errors.append((path, error))
            screen.warn_of(error)
            continue
        files.append({**asdict(recognition), "words": [_unit(unit) for unit in recognition.words]})
        screen.show_line(f"{path}  {recognition.text or '(nothing recognized)'}")
    return screen.results({"files": files}, errors)


def run_align(options: argparse.Namespace, screen: Screen) -> int:
    from core.confinement.foreign_audio import read_foreign_audio
    from pipeline.corpora.alignment import align

    audio = read_foreign_audio(options.audio)
    aligner = chosen_aligner(options)
    alignment = align(
        aligner.log_probabilities(audio), _text(options.text), aligner, options.language, method=options.method
    )
    screen.result(
        {
            "file": str(options.audio),
            "aligner": aligner.name,
            "method": options.method,
            "confidence": alignment.confidence,
            "words": [_unit(unit) for unit in alignment.words],
            "phones": [_unit(unit) for unit in alignment.phones],
        }
    )
    rows = [[u.label, f"{u.start_s:.2f}", f"{u.end_s:.2f}", f"{u.confidence:.2f}"] for u in alignment.words]
    screen.show(table(["word", "start s", "end s", "confidence"], rows, right=[1, 2, 3]))
    return 0


def _unit(unit: object) -> dict[str, object]:
    row = asdict(unit)  # type: ignore[call-overload]
    return {name: row[name] for name in ("label", "start_s", "end_s", "confidence")}


def _text(given: str) -> str:
    """Return the text itself, or the content of the file that it names."""
    path = Path(given)
    try:
        if len(given) < 1000 and path.is_file():
            return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        pass
    return given
