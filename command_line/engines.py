"""``voices`` and ``engines``: the voices and engines of this machine, and how to get more."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

from command_line.console import PROGRAM, Screen, command, short_path, table
from command_line.options import Commands, Parser, add_command, add_group, language
from core.errors import HarkError, no_such
from core.worded import worded

if TYPE_CHECKING:
    from audio_generation.engine import Engine, Voice
    from core.readiness import Readiness
    from pipeline.recordings.transcription.engine import RecognitionEngine

T = TypeVar("T")
SHOWN_VOICES = 3
MODELS = ("reader", "embedding", "summary", "funasr", "pyannote")  # downloaded by ``engines pull``


def register(commands: Commands[Parser]) -> None:
    voices = add_group(commands, "voices", run_voices, language="en", engine=None)
    listed = add_command(voices, "list", "[--language en] [--engine NAME]", "list the voices of a language", run_voices)
    listed.add_argument("--language", type=language, default="en", help="default: en")
    listed.add_argument("--engine", metavar="NAME", help="every voice of this engine")
    pull = add_command(voices, "pull", "ENGINE VOICE", "download a voice and check it", run_pull)
    pull.add_argument("engine", metavar="ENGINE", help="piper, kokoro or suno")
    pull.add_argument("voice", metavar="VOICE", help="such as en_US-libritts_r-medium (piper) or af_heart (kokoro)")
    engines = add_group(commands, "engines", run_engines)
    add_command(engines, "list", "", "list every engine and what it lacks", run_engines)
    enable = add_command(engines, "enable", "NAME", "install an engine into an environment of its own", run_enable)
    enable.add_argument("name", metavar="NAME", help="an engine: piper, kokoro, funasr, pyannote, tps ...")
    pull = add_command(engines, "pull", "NAME", "download a model for recordings", run_pull_model)
    pull.add_argument(
        "name", choices=MODELS, help="name of the model; for pyannote, accept its terms and set HF_TOKEN first"
    )


def _known(name: str, engines: dict[str, T]) -> T:
    if name not in engines:
        raise no_such(worded("speech engine"), name, engines)
    return engines[name]


def run_voices(options: argparse.Namespace, screen: Screen) -> int:
    from audio_generation.registry import engine_named, engines

    chosen = [engine_named(options.engine)] if options.engine else list(engines().values())
    listing = {engine.name: engine.voices(options.language) for engine in chosen}
    if not any(listing.values()):
        raise HarkError(
            f"No voice speaks the language {options.language!r}.",
            "None of the engines that are ready here has one.",
            f"Choose another --language, or enable an engine: {PROGRAM} engines list.",
        )
    screen.result({"language": options.language, "voices": [asdict(v) for voices in listing.values() for v in voices]})
    if options.engine:
        rows = [[v.name, v.language, v.speaker, v.licence] for v in listing[options.engine]]
        screen.show(table(["voice", "language", "speaker", "licence"], rows))
        return 0
    summary: list[list[object]] = []
    for name, voices in listing.items():
        if voices:
            speakers = len({voice.speaker for voice in voices})
            summary.append([name, speakers, len(voices), _sample_names(voices)])
    screen.show(table(["engine", "speakers", "voices", "such as"], summary, right=[1, 2]), "")
    screen.show_line(f"All voices of one: {command('voices', 'list', '--engine', str(summary[0][0]))}")
    screen.show_line(f"More voices:       {command('engines', 'list')}")
    return 0


def _sample_names(voices: list[Voice]) -> str:
    """Return the names of several voices, each of a different speaker."""
    by_speaker = {voice.speaker: voice.name for voice in reversed(voices)}
    some = list(dict.fromkeys(voice.name for voice in voices if by_speaker[voice.speaker] == voice.name))
    return ", ".join(some[:SHOWN_VOICES]) + (", ..." if len(some) > SHOWN_VOICES else "")


def run_pull(options: argparse.Namespace, screen: Screen) -> int:
    from audio_generation.registry import engines
    from pipeline.engine_setup import pull_voice

    with screen.reporter() as reporter:
        files = pull_voice(options.engine, options.voice, reporter)
    readiness = engines()[options.engine].available()
    result = {"engine": options.engine, "voice": options.voice, "files": [str(path) for path in files]}
    screen.result({**result, **_as_json(readiness)})
    for path in files:
        screen.show_line(short_path(path))
    _show_readiness(options.engine, readiness, screen)
    return 0


def run_engines(options: argparse.Namespace, screen: Screen) -> int:
    from rich.text import Text

    from audio_generation.registry import engines

    rows, described = [], []
    for name, engine in engines().items():
        readiness = engine.available()
        about = {"name": name, "licence": engine.licence, "paid": engine.paid, "by_default": engine.by_default}
        described.append({**about, **_as_json(readiness)})
        state = Text("✓ ready", "green") if readiness.ok else Text("- not ready", "yellow")
        use = "by default" if engine.by_default else "only where it is selected" + (" (paid)" if engine.paid else "")
        rows.append([name, state, use, engine.licence, readiness.why])
    screen.result({"engines": described})
    screen.show(table(["engine", "", "used", "licence", "why not"], rows))
    lacking = [one for one in described if not one["ready"]]
    if lacking:
        screen.show("", "To enable:")
        for other in lacking:
            screen.show_line(f"  {other['name']}: {other['how_to_enable']}")
    return 0


def run_enable(options: argparse.Namespace, screen: Screen) -> int:
    from audio_generation.registry import engines
    from pipeline.corpora import peoples_speech
    from pipeline.engine_setup import enable_engine
    from pipeline.recordings.diarization import pyannote_engine
    from pipeline.recordings.transcription import registry

    recognizers: dict[str, Engine | RecognitionEngine] = {engine.name: engine for engine in registry.engines()}
    name: str = options.name
    checks = {known: engine.available for known, engine in {**engines(), **recognizers}.items()}
    checks |= {pyannote_engine.NAME: pyannote_engine.readiness, peoples_speech.NAME: peoples_speech.available}
    check = _known(name, checks)
    with screen.reporter() as reporter:
        environment = enable_engine(name, reporter)
    readiness = check()
    screen.result({"engine": name, "environment": str(environment), **_as_json(readiness)})
    screen.show_line(short_path(environment))
    _show_readiness(name, readiness, screen)
    return 0


def run_pull_model(options: argparse.Namespace, screen: Screen) -> int:
    from pipeline.engine_setup import pull_model

    with screen.reporter() as reporter:
        folders = pull_model(options.name, "", reporter)
    screen.result({"engine": options.name, "folders": [str(folder) for folder in folders]})
    for folder in folders:
        screen.show_line(short_path(folder))
    return 0


def _as_json(readiness: Readiness) -> dict[str, Any]:
    return {"ready": readiness.ok, "why": readiness.why, "how_to_enable": readiness.how_to_enable}


def _show_readiness(name: str, readiness: Readiness, screen: Screen) -> None:
    if readiness.ok:
        screen.show(f"{name} is ready.")
    else:
        screen.show(f"{name} is not ready yet: {readiness.why}")
        screen.show_line(f"Next: {readiness.how_to_enable}")
