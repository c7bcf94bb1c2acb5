"""``record``: record a user's own utterances of a phrase, from the microphone or a folder, for tests or training."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command_line.console import Screen
from command_line.options import Commands, Parser, define_command, folder, language, whole
from core.data_folder import data_folder
from core.errors import HarkError

if TYPE_CHECKING:
    from pipeline.corpora.enrolment import Take

COUNT, MAX_COUNT = 10, 500
ROLES = ("test", "train")
WALK_S = 5.0  # seconds to walk to the position that a hint names


def register(commands: Commands[Parser]) -> None:
    parser = define_command(commands, "record", "PHRASE [options]", run_record)
    parser.add_argument("phrase", nargs="+", metavar="PHRASE", help='the keyphrase, such as "hey compass"')
    parser.add_argument("--from", dest="folder", type=folder, metavar="FOLDER", help="use this folder's recordings")
    help_text = f"number of takes (default: {COUNT}, or all of FOLDER)"
    parser.add_argument("--count", type=whole(1, MAX_COUNT), metavar="N", help=help_text)
    parser.add_argument(
        "--role",
        choices=ROLES,
        default="test",
        help="reserve them for tests, or use them for training from now on (default: test)",
    )
    parser.add_argument("--bundle", type=Path, metavar="ZIP", help="show how many of them this detector detects")
    parser.add_argument("--language", type=language, default="en", help="default: en")
    parser.add_argument("--speaker", default="", metavar="NAME", help="who speaks (default: the owner of this Hark)")


def run_record(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``record PHRASE``; report recordings that cannot be used, and skip them."""
    from db.db_api import Library
    from phrase_augmentation.keyphrase import Keyphrase
    from pipeline.corpora.enrolment import OWNER, detected, save, saved_takes, takes_in
    from pipeline.serving.detection import open_detector

    keyphrase = Keyphrase.of(" ".join(options.phrase), options.language)
    phrase = keyphrase.text
    detector = None if options.bundle is None else open_detector(options.bundle)
    if options.folder:
        named: Iterator[tuple[object, Take]] = takes_in(options.folder, options.count, screen.warn_of)
    else:
        named = _from_microphone(phrase, options, screen)
    saved: list[tuple[str, Take]] = []
    ids: list[int] = []
    with Library(data_folder()) as library:
        for name, take in named:
            for words in take.words:
                screen.note(f"{name}: {words}")
            if take.usable:
                ids += save(
                    library, [take], keyphrase=keyphrase,
                    speaker=options.speaker.strip() or OWNER, role=options.role,
                )  # fmt: skip
                saved.append((str(name), take))
        if options.speaker.strip():  # of recordings that were there already, too
            library.set_fact(ids, "speaker", options.speaker.strip())
        takes_of_phrase = saved_takes(library, phrase=phrase, language=keyphrase.language)
        stored = [clip for clip in takes_of_phrase if clip.id in ids and clip.settings["role"] == options.role]
    takes = [
        {"file": name, "seconds": round(take.seconds, 3), "level_db": take.level_db, "problems": list(take.problems)}
        for name, take in saved
    ]
    result: dict[str, Any] = {"phrase": phrase, "role": options.role, "kept": len(stored), "takes": takes}
    if not saved:
        raise HarkError(
            f'No recording of "{phrase}" was saved.',
            "None of the recordings has usable speech.",
            "Make sure that the microphone is not muted, or choose other recordings, then try again.",
        )
    if detector is not None:
        hits = detected(detector, [take.audio for _, take in saved])
        for row, hit in zip(takes, hits):
            row["heard"] = hit
        result["heard"] = sum(hits)
    screen.result(result)
    use = "excluded from every training run" if options.role == "test" else "for training from now on"
    screen.show(f'Recordings of "{phrase}" in the library: {len(stored)}, {use}.')
    if detector is not None:
        screen.show(f'"{detector.phrase}" detects {result["heard"]} of {len(saved)}.')
        for row in takes:
            if not row["heard"]:
                screen.show_line(f"  missed: {row['file']}")
    return 0


def _from_microphone(phrase: str, options: argparse.Namespace, screen: Screen) -> Iterator[tuple[str, Take]]:
    """Ask for one recording after another. Raises HarkError if a terminal or a microphone is missing."""
    import numpy as np

    from core.audio_file import SAMPLE_RATE
    from pipeline.corpora.enrolment import TAKE_S, examine, hints

    sounddevice = _sounddevice()
    if not sys.stdin.isatty():
        raise HarkError(
            "Hark cannot ask you to speak.",
            "This command needs a terminal.",
            "Run it in a terminal, or give a folder of recordings with --from.",
        )
    count = options.count or COUNT
    for number, hint in enumerate(hints(count), 1):
        screen.note(f'{number} of {count}: say "{phrase}", {hint.words}. Enter records {TAKE_S:.0f} s.')
        sys.stdin.readline()
        if hint.away:
            screen.note(f"You have {WALK_S:.0f} s to move there.")
            time.sleep(WALK_S)
        screen.note("Speak now.")
        try:
            audio = sounddevice.rec(
                round(TAKE_S * SAMPLE_RATE), SAMPLE_RATE, channels=1, dtype="float32", blocking=True
            )
        except sounddevice.PortAudioError as error:
            raise HarkError(
                "The microphone cannot be used.",
                f"{error}.",
                "Plug in a microphone, choose another as the system's default, or give a folder with --from.",
            ) from error
        yield f"take {number}", examine(np.asarray(audio, np.float32)[:, 0], hint=hint.words)


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: installed, but without PortAudio
        raise HarkError(
            "The microphone cannot be used.",
            f"{error}.",
            "Run pip install sounddevice (and apt-get install libportaudio2), or give a folder of recordings with "
            "--from.",
        ) from error
    return sounddevice
