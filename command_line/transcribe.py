"""``transcribe``: convert recordings to text with speakers, as plain text, captions, a table or a document."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command_line.console import Screen
from command_line.options import Commands, Parser, define_command, language, whole
from core.data_folder import atomic_path, data_folder, storing
from core.errors import HarkError
from pipeline.recordings.transcripts.captions import FORMATS

if TYPE_CHECKING:
    from core.events import Reporter
    from pipeline.recordings.transcripts.transcript import Transcript

MAX_SPEAKERS = 20


def register(commands: Commands[Parser]) -> None:
    parser = define_command(commands, "transcribe", "[FILE...] [options]", run_transcribe)
    parser.add_argument("files", nargs="*", metavar="FILE", help="recordings (whatever ffmpeg reads)")
    transcription_options(parser)
    parser.add_argument("--pull", metavar="SIZE", help="download a Whisper model first (tiny, base, small, medium ...)")


def transcription_options(parser: Parser) -> None:
    """Add the options of all commands that transcribe."""
    parser.add_argument("--engine", default="auto", metavar="NAME", help="default: auto, the best one that is ready")
    parser.add_argument("--language", type=language, metavar="CODE", help="default: detected by the engine")
    parser.add_argument(
        "--speakers",
        type=whole(0, MAX_SPEAKERS),
        metavar="N",
        help="detect N speakers; 0: as many as there are (default: none)",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="txt",
        help="default: txt. A single text is printed; docx, and several texts, are written next to the recordings",
    )


def run_transcribe(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``transcribe FILE...``; an unreadable recording does not stop the others."""
    from pipeline.recordings.transcription import registry
    from pipeline.recordings.transcripts.captions import write
    from pipeline.recordings.transcripts.transcript import as_json

    result: dict[str, Any] = {}
    usual = (options.engine, options.language, options.speakers, options.format) == ("auto", None, None, "txt")
    if not options.files and not (options.pull and usual):
        raise HarkError("There is nothing to transcribe.", "No file was given.", "See ./hark transcribe --help.")
    if screen.json_wanted and options.format != "txt":
        raise HarkError(
            "--json and --format cannot be combined.", "The JSON contains the transcript.", "Leave out one of them."
        )
    if options.pull:
        from pipeline.recordings.transcription.whisper_models import pull

        with screen.reporter() as reporter:
            result["pulled"] = str(pull(options.pull, reporter))
    if not options.files:
        screen.show_line(f"model  {result['pulled']}")
        screen.result(result)
        return 0
    registry.choose(options.engine, options.language)  # before any file is read
    files: list[dict[str, Any]] = []
    errors: list[tuple[object, HarkError]] = []
    for name in options.files:
        try:
            with screen.reporter() as reporter:
                transcript = transcribed_file(Path(name), options, reporter)
            entry: dict[str, Any] = {"file": name, "transcript": as_json(transcript)}
            if not screen.json_wanted:
                if options.format == "docx" or len(options.files) > 1:
                    target = _free(Path(name).with_suffix(f".{options.format}"))
                    save_transcript_file(target, write(transcript, options.format, Path(name).stem))
                    screen.show_line(str(target))
                elif transcript.segments:
                    screen.show_line(write(transcript, options.format, Path(name).stem).decode().rstrip("\n"))
                else:
                    screen.note(f"{name} has no speech.")
            files.append(entry)
        except HarkError as error:
            errors.append((name, error))
            screen.warn_of(error)
    return screen.results({**result, "files": files}, errors)


def transcribed_file(file: Path, options: argparse.Namespace, reporter: Reporter) -> Transcript:
    """Transcribe one file; until it is done, partial results remain in the data folder, so that it can resume."""
    from pipeline.recordings.files.media import MediaLimits, normalize
    from pipeline.recordings.recording_options import RecordingOptions
    from pipeline.recordings.transcribing import transcribed
    from pipeline.recordings.transcripts import vocabulary

    try:
        facts = file.stat()
    except OSError as error:
        raise HarkError(
            f"The recording {file} cannot be opened.", f"{error.strerror}.", "Give the path of a readable file."
        ) from error
    known = hashlib.sha256(f"{file.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}".encode()).hexdigest()[:16]
    work = data_folder() / "transcripts" / known
    audio = work / "audio.flac"
    if not audio.is_file():
        reporter.stage("normalize", f"Reading {file.name}")
        # The limits of uploads do not apply to the owner's own files.
        try:
            normalize(file, audio, MediaLimits(max_bytes=1 << 50, max_seconds=1e6), reporter)
        except HarkError:
            with contextlib.suppress(OSError):
                work.rmdir()
            raise
    words: tuple[str, ...] = ()
    try:
        words = vocabulary.expected(data_folder() / vocabulary.FILE, options.language)
    except HarkError as error:
        reporter.log(str(error), "warning")
    transcript = transcribed(
        audio, RecordingOptions(options.engine, options.language, options.speakers or None), data=data_folder(),
        work=work, words=words, only_channels=options.speakers is None, reporter=reporter,
    )  # fmt: skip
    for speaker, name in transcript.sounds_like.items():
        reporter.log(f"{transcript.speaker_name(speaker)} sounds like {name}")
    shutil.rmtree(work, ignore_errors=True)
    return transcript


def _free(target: Path) -> Path:
    """Return the path or, if it exists, name-2, name-3 ..., so that files are never overwritten."""
    names = itertools.chain([target], (target.with_stem(f"{target.stem}-{n}") for n in itertools.count(2)))
    return next(path for path in names if not path.exists())


def save_transcript_file(target: Path, content: bytes) -> None:
    """Write a transcript atomically. Raises HarkError if that fails."""
    with storing(f"writing {target.name}"), atomic_path(target) as temporary:
        temporary.write_bytes(content)
