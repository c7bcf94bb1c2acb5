"""Speech engines, their voices and languages, additions by the owner, and synthesis of texts of any length."""

from __future__ import annotations

import io
import re
import tempfile
import textwrap
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import soundfile
from django.http import Http404
from django.utils.translation import get_language_info
from django.utils.translation import gettext as _

from audio_generation.engine import Engine, FailedRequest, SpeechRequest, Voice
from audio_generation.registry import engine_named, engines
from audio_generation.splice_side import SPLICE
from core.environments import requirements
from core.errors import HarkError
from core.readiness import Readiness
from phrase_augmentation.normalize import base_language
from phrase_augmentation.phonemes import accents
from phrase_augmentation.vocabulary import has_words
from pipeline.recordings.engines_and_models import engines_and_models
from webui.accounts.models import User
from webui.http.slots import slot
from webui.jobs import services as jobs
from webui.jobs.models import Job

MAX_REQUEST_LENGTH = 250  # characters per request to an engine
PAUSE_S = 0.2  # seconds between parts


def free_engines(language: str, user: User) -> list[str]:
    """Return the engines that a run in the portal may use: ready, free, and with voices of the language.

    Here, ``splice`` uses the voices of people in the owner's library, so only the owner may use it.
    """
    return [name for name, engine in ready_engines(user).items() if engine.voices(language)]


def ready_engines(user: User) -> dict[str, Engine]:
    """Return the ready engines that a run in the portal may use, by name, in any language."""
    return {
        name: engine
        for name, engine in engines().items()
        if not (engine.paid or (name == SPLICE and not user.is_owner)) and engine.available().ok
    }


def voice_for(user: User, language: str) -> tuple[str, str] | None:
    """Return the engine and voice for spoken answers in a language, or None."""
    for engine in sorted(ready_engines(user).values(), key=lambda engine: (engine.answering_order, engine.name)):
        voices = [voice.name for voice in engine.voices(language)] if engine.name != SPLICE else []
        if voices:
            return engine.name, engine.answering_voice if engine.answering_voice in voices else voices[0]
    return None


def all_engines(language: str) -> list[tuple[Engine, Readiness, list[Voice]]]:
    """List all speech engines with readiness and voices of the language; ready ones first."""
    readiness = [(engine, engine.available()) for engine in engines().values()]
    rows = [(engine, ready, engine.voices(language) if ready.ok else []) for engine, ready in readiness]
    return sorted(rows, key=lambda row: (not row[1].ok, row[0].name))


def trainable(languages: Iterable[str]) -> list[tuple[str, str]]:
    """Return codes and names of the languages for training here: English, then by name.

    These are the spoken languages with a vocabulary for sentences around the phrase.
    """
    names = {code: language_name(code) for code in {*languages, "en"} if has_words(code)}
    return sorted(names.items(), key=lambda pair: (pair[0] != "en", pair[1].casefold()))


def nearest_language(wanted: str, offered: Collection[str]) -> str:
    """Return the offered language that matches: "en-gb" is "en", and "zh" is "cmn" in espeak-ng."""
    base = base_language(wanted)
    if base in offered:
        return base
    try:
        spoken = base_language(accents(base)[0])
    except HarkError:  # not pronounceable here
        return "en"
    return spoken if spoken in offered else "en"


def language_name(code: str) -> str:
    """Return a language's name in the reader's language."""
    if code == "cmn":  # Django has names of its two scripts, but not of the language
        return _("Mandarin Chinese")
    try:
        return str(get_language_info(code)["name_translated"])
    except KeyError:
        return code


def enable_engine(*, user: User, engine: str) -> Job:
    """Queue the installation of an engine's environment. Raises Http404 if it has none or the user is not the owner."""
    known = {*engines(), *(one.enabled for one in engines_and_models())}
    if not user.is_owner or engine not in known or not requirements(engine).is_file():
        raise Http404
    return jobs.submit(user=user, kind="enable", title=engine, spec={"engine": engine})


def pull_voice(*, user: User, engine: str, voice: str) -> Job:
    """Queue the download of a voice. Raises Http404 if the engine has none or the user is not the owner."""
    if not user.is_owner or engine not in engines() or not engines()[engine].example_voice:
        raise Http404
    return jobs.submit(user=user, kind="pull", title=f"{engine} {voice}"[:100], spec={"engine": engine, "voice": voice})


def pull_model(*, user: User, kind: str, size: str) -> Job:
    """Queue the download of a model for recordings. Raises Http404 if it is unknown or the user is not the owner."""
    known = {one.pulled: one for one in engines_and_models() if one.pulled}
    if not user.is_owner or kind not in known or (known[kind].sizes and size not in known[kind].sizes):
        raise Http404
    spec = {"engine": kind, "voice": size, "model": True}
    return jobs.submit(user=user, kind="pull", title=f"{known[kind].name} {size}".strip()[:100], spec=spec)


def speak(*, user: User, engine: str, voice: str, text: str, language: str) -> bytes:
    """Synthesize a text as a WAV file, except with paid engines.

    Raises Http404 if the voice is unknown, and the errors of :func:`slot` and :func:`spoken`.
    """
    speaker = engine_named(engine)
    match = next((v for v in speaker.voices(language) if v.name == voice), None)
    if match is None or not text.strip() or engine not in free_engines(language, user):
        raise Http404
    with slot(user):
        return spoken(speaker, match, text)


def spoken(engine: Engine, voice: Voice, text: str) -> bytes:
    """Synthesize a text as a WAV file at the engine's sample rate (mono, 16 bits).

    Raises HarkError if the text has no letters or digits, or the engine fails.
    """
    pieces = _pieces(text)
    if not pieces:
        raise HarkError(_("There is nothing to speak."), _("The text has no letters or digits."), _("Send a text."))
    parts: list[np.ndarray] = []
    rate = 0
    with tempfile.TemporaryDirectory() as folder:
        requests = [
            SpeechRequest(f"said-{n:03d}", piece, voice.name, voice.language, {}) for n, piece in enumerate(pieces)
        ]
        for clip in engine.synthesize(requests, Path(folder)):
            if isinstance(clip, FailedRequest):
                raise HarkError(_("The phrase could not be spoken."), clip.why, _("Try another voice."))
            audio, rate = soundfile.read(str(clip.path), dtype="float32")
            parts += [audio, np.zeros(round(PAUSE_S * rate), np.float32)]
    written = io.BytesIO()
    soundfile.write(written, np.concatenate(parts[:-1]), rate, subtype="PCM_16", format="WAV")
    return written.getvalue()


def _pieces(text: str) -> list[str]:
    """Split a text into sentences, and long ones further; omit parts without letters or digits."""
    sentences = re.split(r"(?<=[.!?;:…])\s+|\n+", text)
    pieces = [piece for sentence in sentences for piece in textwrap.wrap(sentence, MAX_REQUEST_LENGTH)]
    return [piece for piece in pieces if any(character.isalnum() for character in piece)]
