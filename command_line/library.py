"""``library``: content and check of the clip library, and import and export of recordings."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from command_line.console import Screen, command, facts, short_path, table
from command_line.options import Commands, Parser, above_zero, add_command, add_group, count, folder, language
from core.data_folder import data_folder
from core.errors import HarkError

if TYPE_CHECKING:
    from pipeline.corpora.importing import ImportReport

SHOWN_PROBLEMS = 10
PEOPLES_SPEECH_HOURS = 5.0
CONFIGURATIONS = ("clean", "clean_sa", "dirty", "dirty_sa")


def register(commands: Commands[Parser]) -> None:
    group = add_group(commands, "library", run_stats)
    add_command(group, "stats", "", "show what the library contains", run_stats)
    check = add_command(group, "check", "[--repair] [--quick]", "compare the library's rows with its files", run_check)
    check.add_argument("--repair", action="store_true", help="repair what can be repaired")
    check.add_argument("--quick", action="store_true", help="do not decode the audio")
    imports = add_command(group, "import", "FOLDER [options]", "import a folder of recordings", run_import)
    help_text = "a corpus in any of the usual layouts, or plain audio"
    imports.add_argument("folder", type=folder, metavar="FOLDER", help=help_text)
    help_text = "licence of recordings for which a manifest gives none (default: as given in the folder)"
    imports.add_argument("--licence", help=help_text)
    help_text = "import at most this many hours, spread over the corpus"
    imports.add_argument("--limit-hours", type=above_zero, metavar="H", help=help_text)
    help_text = "language of recordings for which the corpus gives none (default: en)"
    imports.add_argument("--language", type=language, default="en", help=help_text)
    summary = "stream MLCommons' People's Speech into the library"
    peoples = add_command(group, "import-peoples-speech", "[options]", summary, run_import_peoples)
    help_text = f"hours of it to have in the library (default: {PEOPLES_SPEECH_HOURS:g})"
    peoples.add_argument("--limit-hours", type=above_zero, default=PEOPLES_SPEECH_HOURS, metavar="H", help=help_text)
    peoples.add_argument("--from", dest="location", metavar="FOLDER", help="a local copy of its parquet files")
    peoples.add_argument("--configuration", choices=CONFIGURATIONS, default="clean", help="default: clean")
    summary = "turn the speakers of recordings into voices of splice"
    voices = add_command(group, "voices", "[--people N] [--language en]", summary, run_voices)
    voices.add_argument("--people", type=count, metavar="N", help="at most this many (default: 60)")
    voices.add_argument("--language", type=language, default="en", help="language of their speech (default: en)")
    export = add_command(group, "export", "FOLDER", "copy all clips, with a NeMo manifest", run_export)
    export.add_argument("folder", type=folder, metavar="FOLDER", help="where to copy them")


def run_stats(options: argparse.Namespace, screen: Screen) -> int:
    from db.db_api import Library

    with Library(data_folder()) as library:
        stats = library.stats()
    screen.result(asdict(stats))
    if not stats.clips:
        screen.show(f"The library is empty ({data_folder()}). Training fills it, and so does importing recordings:")
        screen.show_line(f"  {command('library', 'import', 'FOLDER')}")
        return 0
    languages = ", ".join(f"{name} {count}" for name, count in stats.by_language.items())
    rows = [[engine, count, f"{stats.hours_by_engine[engine]:.2f}"] for engine, count in stats.by_engine.items()]
    lines = [
        ("clips", f"{stats.clips} ({stats.hours:.2f} h; files: {stats.files}, different texts: {stats.texts})"),
        ("languages", languages),
        ("cut from others", stats.slices),
        ("no transcript", stats.unknown_text),
        ("rejected", stats.rejected),
        ("folder", data_folder()),
    ]
    by_licence = table(["licence", "clips"], stats.by_licence.items(), right=[1])
    screen.show(facts(lines), "", table(["from", "clips", "hours"], rows, right=[1, 2]), "", by_licence)
    return 0


def run_check(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``library check [--repair]``. The exit code is 2 if a problem remains."""
    from db.checking import check_library
    from db.db_api import Library

    with Library(data_folder()) as library, screen.reporter() as reporter:
        reporter.stage("check", "Checking the library" + ("" if options.quick else ", every clip's audio too"))
        report = check_library(library, repair=options.repair, verify_audio=not options.quick)
    screen.result({"ok": report.ok, **asdict(report), "counts": report.counts})
    if report.problems:
        rows = [
            [p.kind, p.what, "repaired" if p.repaired else "not repaired"] for p in report.problems[:SHOWN_PROBLEMS]
        ]
        screen.show(table(["problem", "where", ""], rows))
        if len(report.problems) > SHOWN_PROBLEMS:
            screen.show(f"... and {len(report.problems) - SHOWN_PROBLEMS} more (--json lists all)")
        screen.show("")
    summary = f"clips: {report.clips}, files: {report.files}"
    if report.ok:
        repaired = f"; problems repaired: {len(report.problems)}" if report.problems else ""
        screen.show(f"The library is in order: {summary}{repaired}.")
        return 0
    left = sum(not problem.repaired for problem in report.problems)
    screen.show(f"{summary}; problems left: {left}.")
    if options.repair:
        screen.show("The remaining problems need a backup of the data folder.")
    else:
        screen.show_line(f"To repair: {command('library', 'check', '--repair')}")
    return 2


def run_voices(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``library voices``: create splice voices of people with two minutes of transcribed recordings."""
    from audio_generation.splice_side.inventory import MIN_SPEECH_S, library_people
    from db.db_api import Library
    from model.asr.emissions import default_aligner
    from pipeline.corpora.alignment import ALIGNED_PEOPLE, align_people

    with Library(data_folder()) as library, screen.reporter() as reporter:
        reporter.stage("voices", "Aligning the phones of the library's speakers")
        people = align_people(library, default_aligner(), options.people or ALIGNED_PEOPLE, options.language, reporter)
    # Some could not be aligned, or their recordings are reserved for tests.
    voices = {person.speaker for person in library_people(data_folder())}
    people = [name for name in people if name in voices]
    screen.result({"people": people})
    if people:
        screen.show(f"These speakers in the library are now voices of splice: {', '.join(people)}")
    else:
        screen.show(f"No speaker in the library has {MIN_SPEECH_S / 60:g} minutes of transcribed recordings.")
    return 0


def run_import(options: argparse.Namespace, screen: Screen) -> int:
    from db.db_api import Library
    from pipeline.corpora.importing import import_corpus

    with Library(data_folder()) as library, screen.reporter() as reporter:
        limits = (options.licence, options.limit_hours)
        report = import_corpus(options.folder, library, options.language, reporter, *limits, own=True)
    if report.already_there and (options.licence or options.language != "en"):
        screen.note("Existing clips keep their language and, if known, their licence.")
    return _show_import(report, screen)


def run_import_peoples(options: argparse.Namespace, screen: Screen) -> int:
    from db.db_api import Library
    from pipeline.corpora.importing import import_peoples_speech
    from pipeline.corpora.peoples_speech import REPOSITORY

    if options.location is not None and not Path(options.location).expanduser().is_dir():
        what = f"The folder {options.location} does not exist."
        raise HarkError(what, "--from must be a local copy of the corpus.", "Give the folder of its parquet files.")
    with Library(data_folder()) as library, screen.reporter() as reporter:
        report = import_peoples_speech(
            library, reporter, options.limit_hours, options.location or REPOSITORY, options.configuration
        )
    return _show_import(report, screen)


def _show_import(report: ImportReport, screen: Screen) -> int:
    screen.result(asdict(report))
    skipped = ", ".join(f"{count} {reason}" for reason, count in report.skipped.items())
    rows: list[tuple[str, object]] = [
        ("clips added", f"{report.added} ({report.hours:.2f} h)"),
        ("already there", report.already_there),
        ("skipped", skipped or "none"),
        ("licence", f"{report.licence} ({report.licence_from})" if report.licence_from else report.licence),
    ]
    if report.unknown_text:
        rows.append(("no transcript", f"{report.unknown_text}: used as other speech only"))
    if report.transcribed:
        rows.append(("got a transcript", report.transcribed))
    screen.show(f"{report.corpus}: {report.layout}", facts(rows))
    if report.limit_reached:
        screen.show("The limit of hours is reached: a higher --limit-hours continues from here.")
    return 0


def run_export(options: argparse.Namespace, screen: Screen) -> int:
    from db.db_api import Library
    from db.exporting import export_clips

    with Library(data_folder()) as library, screen.reporter() as reporter:
        reporter.stage("export", "Copying clips")
        report = export_clips(library, options.folder.absolute())
    screen.result({"manifest": str(report.manifest), "clips": report.clips, "hours": report.hours})
    screen.show(f"Clips: {report.clips} ({report.hours:.2f} h)")
    screen.show_line(short_path(report.manifest))
    return 0
