"""``confusables``: texts and recordings that Hark's recognizer confuses with a phrase, before any training."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command_line.console import Screen, table
from command_line.options import Commands, Parser, at_least_zero, count, define_command, language
from core.data_folder import data_folder
from core.errors import HarkError

if TYPE_CHECKING:
    import numpy as np

    from db.db_api import Library
    from db.records import Clip
    from phrase_augmentation.keyphrase import Keyphrase

TEXTS, PLACES = 40, 10
HOURS = 1.0


def register(commands: Commands[Parser]) -> None:
    parser = define_command(commands, "confusables", "PHRASE [options]", run_confusables)
    parser.add_argument("phrase", metavar="PHRASE")
    parser.add_argument("--texts", type=count, default=TEXTS, metavar="N", help=f"texts to speak (default: {TEXTS})")
    parser.add_argument(
        "--hours", type=at_least_zero, default=HOURS, metavar="H",
        help=f"hours of recordings to search, about a minute for each (default: {HOURS:g})",
    )  # fmt: skip
    parser.add_argument("--language", type=language, default="en", help="default: en")


def run_confusables(options: argparse.Namespace, screen: Screen) -> int:
    from audio_generation.registry import close_engines
    from db.db_api import Library, library_exists
    from phrase_augmentation.confusables import confusables
    from phrase_augmentation.keyphrase import Keyphrase
    from pipeline.scoring.keyword_scoring import ranked_confusables

    keyphrase = Keyphrase.of(options.phrase, options.language)
    texts = [text.text for text in confusables(keyphrase, options.texts)]
    try:
        with screen.reporter() as reporter:
            reporter.stage("confusables", f"Synthesizing “{options.phrase}” and {len(texts)} similar texts")
            spoken, voice = _spoken([keyphrase.text, *texts], keyphrase.language)
            ranked = ranked_confusables(spoken, keyphrase)
    finally:
        close_engines()
    matches: list[dict[str, Any]] = []
    if options.hours and library_exists(data_folder()):
        with Library(data_folder()) as library, screen.reporter() as reporter:
            clips = _recordings(library, keyphrase, options.hours)
            if clips:
                hours = sum(clip.duration_s for clip in clips) / 3600
                reporter.stage("recordings", f"Searching {hours:.2g} h of the library's recordings")
                matches = _in_recordings(library, keyphrase, clips)
    screen.result(
        {
            "phrase": options.phrase,
            "voice": voice,
            "texts": [{"text": text, "score": round(score, 4)} for text, score in ranked],
            "recordings": matches,
        }
    )
    screen.show(table(["spoken", "score"], [[text, f"{score:.2f}"] for text, score in ranked], right=[1]))
    if matches:
        rows = [[row["clip"], f"{row['start_s']:.1f}", f"{row['score']:.2f}", row["text"][:60]] for row in matches]
        screen.show("", table(["clip", "at s", "score", "text"], rows, right=[0, 1, 2]))
    screen.show("", f"Spoken by {voice}, scored by Hark's recognizer; 1 is the most certain.")
    return 0


def _spoken(texts: Sequence[str], language: str) -> tuple[list[tuple[str, np.ndarray]], str]:
    """Synthesize the texts; return each with its audio and the voice. Raises HarkError if no engine is ready."""
    from audio_generation.engine import GeneratedClip, SpeechRequest
    from audio_generation.registry import default_engines
    from audio_generation.splice_side import SPLICE
    from core.audio_file import read_audio

    for name, engine in default_engines().items():
        voices = engine.voices(language)
        if name == SPLICE or not voices:
            continue
        # Hark's recognizer works best on American English, and badly on the unusual voice variants of espeak.
        voice = next((v for v in voices if v.language == f"{language}-us" and "+" not in v.name), voices[0])
        requests = [SpeechRequest(str(n), text, voice.name, language, {}) for n, text in enumerate(texts)]
        with tempfile.TemporaryDirectory() as folder:
            clips = [clip for clip in engine.synthesize(requests, Path(folder)) if isinstance(clip, GeneratedClip)]
            if clips:
                return [(clip.text, read_audio(clip.path)) for clip in clips], f"{name} {voice.name}"
    raise HarkError(
        "The texts cannot be spoken.", f"No speech engine here can speak {language!r}.", "See ./hark doctor."
    )


def _recordings(library: Library, keyphrase: Keyphrase, hours: float) -> list[Clip]:
    """Return recordings without the phrase, up to ``hours`` in total."""
    from db.records import ClipQuery
    from phrase_augmentation.matching import phrase_matcher

    listener = phrase_matcher(keyphrase.text, keyphrase.language)
    clips, seconds = [], 0.0
    for clip in library.iter_clips(
        ClipQuery(language=keyphrase.language, imported=True, slices=False, text_known=True)
    ):
        if seconds >= hours * 3600:
            break
        if not listener.matches_of([clip.text_normalized])[0]:
            seconds += clip.duration_s
            clips.append(clip)
    return clips


def _in_recordings(library: Library, keyphrase: Keyphrase, clips: Sequence[Clip]) -> list[dict[str, Any]]:
    from pipeline.scoring.keyword_scoring import hardest_in

    texts = {clip.id: clip.text_normalized for clip in clips}
    places = hardest_in(((clip.id, library.read_audio(clip)) for clip in clips), keyphrase, PLACES)
    return [{"clip": clip_id, "text": texts[clip_id], **asdict(guess)} for clip_id, guess in places]
