"""The registry of all speech engines, one line each."""

from __future__ import annotations

from functools import cache

from audio_generation.elevenlabs_side.elevenlabs import ElevenLabs
from audio_generation.engine import Engine
from audio_generation.espeak_side.espeak import Espeak
from audio_generation.festival_side.festival import Festival
from audio_generation.flite_side.flite import Flite
from audio_generation.hibari_side.hibari import Hibari
from audio_generation.kokoro_int8_side.kokoro_int8 import KokoroInt8
from audio_generation.kokoro_side.kokoro import Kokoro
from audio_generation.piper_side.piper import Piper
from audio_generation.splice_side.splice import Splice
from audio_generation.suno_side.suno import Suno
from core.errors import no_such
from core.worded import worded

ENGINES = (Espeak, Flite, Festival, Piper, Kokoro, KokoroInt8, Hibari, Splice, Suno, ElevenLabs)
CLIP_S = {engine.name: engine.clip_s for engine in ENGINES}
RULE_BASED = frozenset(engine.name for engine in ENGINES if engine.rule_based)


@cache
def engines() -> dict[str, Engine]:
    """Return all engines by name, ready or not. There is one object of each per process, so that workers are shared."""
    return {instance.name: instance for instance in (engine() for engine in ENGINES)}


def default_engines() -> dict[str, Engine]:
    return {name: engine for name, engine in engines().items() if engine.by_default and engine.available().ok}


def engine_named(name: str) -> Engine:
    """Return the engine of that name, which is ready.

    Raises:
        HarkError: the engine does not exist or cannot be used here.
    """
    engine = engines().get(name)
    if engine is None:
        raise no_such(worded("speech engine"), name, engines())
    engine.available().require(worded("The engine %(name)s cannot speak here.", name=name))
    return engine


def close_engines() -> None:
    for engine in engines().values():
        engine.close()
