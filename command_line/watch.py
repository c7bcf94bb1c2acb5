"""``watch``: write transcripts next to the recordings in a folder."""

from __future__ import annotations

import argparse
import mimetypes
import time
from pathlib import Path

from command_line.console import Screen
from command_line.options import Commands, Parser, define_command, whole
from command_line.transcribe import save_transcript_file, transcribed_file, transcription_options
from core.errors import HarkError

MORE_SUFFIXES = {".flac", ".m4a", ".mkv", ".ogg", ".opus", ".wma"}  # some systems do not have a media type for these
LOOK_S = 5  # seconds between two scans of the folder

State = tuple[int, int]  # size [bytes] and modification time [ns] of a file


def register(commands: Commands[Parser]) -> None:
    parser = define_command(commands, "watch", "FOLDER [options]", run_watch)
    parser.add_argument("folder", metavar="FOLDER", help="meeting.mp3 in it gets meeting.mp3.txt next to it")
    transcription_options(parser)
    parser.add_argument(
        "--every",
        type=whole(1, 3600),
        default=LOOK_S,
        metavar="SECONDS",
        help=f"seconds between checks (default: {LOOK_S})",
    )
    parser.add_argument("--once", action="store_true", help="transcribe the recordings that are there, then stop")


def run_watch(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``watch FOLDER`` until it is interrupted, or, with ``--once``, until no recordings are left.

    A file is read once two scans find it unchanged, so never while it is written. A recording with a transcript is
    done, even after a restart. A failure is reported once. The file is retried when it has changed.
    """
    from pipeline.recordings.transcription import registry

    folder = Path(options.folder)
    if not folder.is_dir():
        raise HarkError(
            "The folder cannot be watched.", f"The folder {folder} does not exist.", "Give an existing folder."
        )
    registry.choose(options.engine, options.language)  # before any file is read
    if not options.once:
        screen.note(f"Watching {folder}. Ctrl-C stops it.")
    failed: dict[Path, State] = {}
    errors: list[tuple[object, HarkError]] = []
    written: list[str] = []
    seen: dict[Path, State] = {}
    while True:
        now = _waiting(folder, options.format)
        for file, state in now.items():
            if seen.get(file) != state or failed.get(file) == state:
                continue
            try:
                written.append(str(_transcribe(file, options, screen)))
                screen.show_line(written[-1])
            except HarkError as error:
                failed[file] = state
                errors.append((str(file), error))
                screen.warn_of(error)
        left = [
            file for file, state in now.items() if failed.get(file) != state and not _target(file, options).exists()
        ]
        if options.once and not left:
            return screen.results({"written": written}, errors)
        seen = now
        time.sleep(options.every)


def _waiting(folder: Path, format: str) -> dict[Path, State]:
    """Return the recordings in a folder without a transcript, by name, with size and time.

    Raises HarkError if the folder cannot be read.
    """
    recordings: dict[Path, State] = {}
    try:
        for file in sorted(folder.iterdir()):
            kind = (mimetypes.guess_type(file.name)[0] or "").partition("/")[0]
            medium = kind in ("audio", "video") or file.suffix.lower() in MORE_SUFFIXES
            # Users who may put a link here may not be allowed to read its target.
            if (
                not medium
                or file.is_symlink()
                or file.name.startswith(".")
                or file.with_name(f"{file.name}.{format}").exists()
            ):
                continue
            try:
                facts = file.stat()
            except FileNotFoundError:  # it was moved or deleted in the meantime
                continue
            if file.is_file():
                recordings[file] = facts.st_size, facts.st_mtime_ns
    except OSError as error:
        raise HarkError(f"The folder {folder} cannot be read.", f"{error.strerror}.", "Make it readable.") from error
    return recordings


def _target(file: Path, options: argparse.Namespace) -> Path:
    return file.with_name(f"{file.name}.{options.format}")


def _transcribe(file: Path, options: argparse.Namespace, screen: Screen) -> Path:
    """Write a file's transcript next to it, even if it has no words; return the transcript's path."""
    from pipeline.recordings.transcripts.captions import write

    with screen.reporter() as reporter:
        transcript = transcribed_file(file, options, reporter)
    target = _target(file, options)
    save_transcript_file(target, write(transcript, options.format, file.stem))
    return target
