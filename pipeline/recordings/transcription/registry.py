"""The recognition engines, one line each, best first, and the choice of one."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

from core.errors import HarkError, no_such
from core.readiness import Readiness
from core.worded import listed, worded
from phrase_augmentation.normalize import base_language
from pipeline.recordings.transcription.engine import RecognitionEngine, described, knows
from pipeline.recordings.transcription.faster_whisper_engine import FasterWhisper
from pipeline.recordings.transcription.funasr_engine import FunAsr
from pipeline.recordings.transcription.hark_engine import HarkCtc, own_model
from pipeline.recordings.transcription.moonshine_engine import Moonshine
from pipeline.recordings.transcription.openai_engine import OpenAiEndpoint
from pipeline.recordings.transcription.whisper_timestamped_engine import WhisperTimestamped

AUTO = "auto"

# In the order of ``auto``: engines for one language precede those for many. Engines that send audio away come after all
# accurate local engines, and the one with many word errors is last.
ENGINES = (FunAsr, FasterWhisper, WhisperTimestamped, Moonshine, OpenAiEndpoint, HarkCtc)

CHOOSABLE = {kind.name: kind for kind in (FasterWhisper, WhisperTimestamped, HarkCtc)}  # have several models

_held: dict[str, RecognitionEngine] = {}  # engines with a requested model, by name
_holding = threading.Lock()


@cache
def _engines() -> dict[str, RecognitionEngine]:
    return {kind.name: kind() for kind in ENGINES}


def engines() -> list[RecognitionEngine]:
    """Return all engines, ready or not. Each is one object per process, so that its model is loaded once."""
    return list(_engines().values())


def ready() -> list[RecognitionEngine]:
    return [one for one in engines() if one.available().ok]


def engine(name: str) -> RecognitionEngine:
    """Return the engine of that name, ready for use. Raises HarkError if there is none or it cannot be used."""
    candidate = _engines().get(name)
    if candidate is None:
        raise no_such(worded("recognition engine"), name, [AUTO, *_engines()])
    candidate.check()
    return candidate


def choose(
    name: str,
    language: str | None,
    data: Path | None = None,
    translate: bool = False,
    among: list[RecognitionEngine] | None = None,
) -> tuple[RecognitionEngine, str]:
    """Choose the engine for a language (None if unknown); also return the reason in words.

    Args:
        name: "auto", or an engine's name.
        data: the data folder of the user, whose own weights Hark's recognizer then uses.
        translate: whether the text is to be in English.
        among: the result of :func:`ready`, if known.

    Raises HarkError if the engine (or, with "auto", every one) is not ready, or lacks the language or translation.
    """
    if name != AUTO:
        candidate = engine(name)
        if translate and not candidate.translates:
            raise _no_translator(
                worded("The engine %(name)s transcribes, but does not translate.", name=described(candidate))
            )
        if not knows(candidate, language):
            raise HarkError(
                worded(
                    "The engine %(name)s does not support the language %(language)s.",
                    name=name,
                    language=repr(language),
                ),
                worded("It supports %(languages)s.", languages=listed(candidate.languages() or ())),
                worded("Choose the engine %(auto)s, or another one.", auto=AUTO),
            )
        candidate = _fitted(candidate, data)
        return candidate, worded("%(engine)s, as requested", engine=described(candidate))
    able = ready() if among is None else among
    for candidate in able:
        if translate and not candidate.translates:
            continue
        if knows(candidate, language) and (language is not None or _may_guess(candidate, able)):
            candidate = _fitted(candidate, data)
            return candidate, worded("%(engine)s: %(why)s", engine=described(candidate), why=candidate.why)
    if translate:
        raise _no_translator(worded("No engine that is ready here translates."))
    raise _unsupported(language)


def _unsupported(language: str | None) -> HarkError:
    """Return the error for a language that no ready engine supports."""
    lacking = next((one for one in engines() if knows(one, language) and not one.hosted), None)
    if lacking is not None:
        name, readiness = lacking.name, lacking.available()
    else:  # HARK_WHISPER_MODEL names a model for English only
        name, model = FasterWhisper.name, Path(FasterWhisper().model).name
        why = worded(
            "The Whisper model %(name)s does not support the language %(wanted)s.", name=model, wanted=repr(language)
        )
        readiness = Readiness(
            False,
            why,
            worded(
                "Download a multilingual Whisper model (./hark transcribe --pull small), and set "
                "HARK_WHISPER_MODEL=small."
            ),
        )
    return HarkError(
        worded(
            "No engine that is ready here supports the language %(language)s.",
            language=repr(base_language(language or "")),
        ),
        worded(
            "Moonshine and Hark's own recognizer support English only. %(name)s: %(why)s",
            name=name,
            why=readiness.why,
        ),
        readiness.how_to_enable,
    )


def _no_translator(why: str) -> HarkError:
    return HarkError(
        worded("Speech cannot be translated."),
        why,
        worded(
            "Download a multilingual Whisper model (./hark transcribe --pull small), or set HARK_ASR_URL to an "
            "endpoint with OpenAI's audio API: both translate into English."
        ),
    )


def _may_guess(engine: RecognitionEngine, able: list[RecognitionEngine]) -> bool:
    """Return whether an engine may process a recording in an unknown language.

    An engine for a single language other than English must not. Moonshine treats all speech as English, so an endpoint
    that the owner has configured and that detects the language takes precedence.
    """
    if engine.name == Moonshine.name:
        return not any(one.hosted for one in able)
    return "en" in (engine.languages() or ("en",))


def _fitted(engine: RecognitionEngine, data: Path | None) -> RecognitionEngine:
    """Return the engine, or a new one with the user's own weights if there are any."""
    model = own_model(data) if isinstance(engine, HarkCtc) and data is not None else ""
    return HarkCtc(model) if model and model != engine.model else engine


def with_model(name: str, model: str, language: str | None) -> RecognitionEngine:
    """Return the ready engine with a given model, for a process whose environment differs from the caller's.

    One model per engine is in memory; a request for a different one releases it. Raises the errors of :func:`engine`
    and :func:`choose`.
    """
    kind = CHOOSABLE.get(name)
    if kind is None or not model or _engines()[name].model == model:
        return choose(name, language)[0]
    with _holding:
        instance = _held.get(name)
        if instance is None or instance.model != model:
            if instance is not None:
                instance.close()
            instance = _held[name] = kind(model)
    instance.check()
    return instance
