"""``backup`` and ``restore``: a data folder as one file, and vice versa."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from command_line.console import PROGRAM, Screen, short_path
from command_line.options import Commands, Parser, define_command, folder
from core.data_folder import data_folder
from core.settings.file import NAME, values_of
from core.settings.rules import setting

if TYPE_CHECKING:
    from db.moving import Libraries
    from pipeline.backup import Backup


def register(commands: Commands[Parser]) -> None:
    backup = define_command(commands, "backup", "FILE [--check]", run_backup)
    backup.add_argument("file", type=folder, metavar="FILE", help="the zip to write")
    backup.add_argument("--check", action="store_true", help="write nothing: check every file of the backup FILE")
    restore = define_command(commands, "restore", "FILE [--replace | --verify]", run_restore)
    restore.add_argument("file", type=folder, metavar="FILE", help=f"a file written by {PROGRAM} backup")
    how = restore.add_mutually_exclusive_group()
    how.add_argument("--replace", action="store_true", help="move aside a data folder that is not empty")
    how.add_argument("--verify", action="store_true", help="restore nothing: check every file of the backup")


def run_backup(options: argparse.Namespace, screen: Screen) -> int:
    from db.moving import Libraries
    from pipeline.backup import back_up

    if options.check:
        return _check(options.file, screen)
    target = options.file.absolute()
    with screen.reporter() as reporter:
        backup = back_up(data_folder(), target, reporter, _server() or Libraries(data_folder()))
    screen.result({"file": str(target), "ok": True, **_summary(backup)})
    if backup.left_out:
        screen.note("Left out because they have disappeared or have an invalid name:", *backup.left_out)
    if backup.secrets:
        screen.note(f"It contains secrets ({', '.join(backup.secrets)}): store it where nobody else can read it.")
    screen.show(_in_words(backup))
    screen.show_line(short_path(target))
    return 0


def run_restore(options: argparse.Namespace, screen: Screen) -> int:
    from pipeline.backup import restore

    if options.verify:
        return _check(options.file, screen)
    with screen.reporter() as reporter:
        restored, aside = restore(options.file, data_folder(), reporter, options.replace, _server())
    before = None if aside is None else str(aside)
    screen.result({"folder": str(data_folder()), "before": before, "ok": True, **_summary(restored)})
    screen.show(f"Restored: {_in_words(restored)}")
    screen.show_line(str(data_folder()))
    files = [folder / NAME for folder in (data_folder(), aside) if folder is not None]
    named = [setting("DATABASE_URL", values_of(file) if file.is_file() else {}) for file in files]
    if any(named) and named[0] != setting("DATABASE_URL"):
        screen.note(
            f"The restored settings file ({NAME}) does not name the restored database, or names a different "
            "one: check DATABASE_URL before you start Hark."
        )
    if before:
        screen.show("The previous content, including engines and voices, is now here:")
        screen.show_line(before)
    return 0


def _server() -> Libraries | None:
    """Return the databases at DATABASE_URL, or None."""
    if not setting("DATABASE_URL"):
        return None
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webui.settings")
    os.environ.setdefault("HARK_SECRET_KEY", token_hex())  # otherwise Django creates one in the data folder
    import django

    django.setup()
    from webui.moving import PortalServer

    return PortalServer(data_folder())


def _check(file: Path, screen: Screen) -> int:
    from pipeline.backup import check

    with screen.reporter() as reporter:
        backup = check(file, reporter)
    screen.result({"file": str(file), "ok": True, **_summary(backup)})
    screen.show(f"The backup is in order: {_in_words(backup)}")
    return 0


def _summary(backup: Backup) -> dict[str, object]:
    return {
        "hark": backup.hark, "created": backup.created, "files": len(backup.files), "bytes": backup.size,
        "left_out": list(backup.left_out), "secrets": list(backup.secrets),
    }  # fmt: skip


def _in_words(backup: Backup) -> str:
    return f"{len(backup.files):,} files, {backup.size / 1e6:,.1f} MB, of {backup.created} (Hark {backup.hark})."
