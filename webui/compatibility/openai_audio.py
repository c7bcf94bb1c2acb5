"""OpenAI's audio API, for programs written for it, with ``<this server>/v1`` as their base URL."""

from __future__ import annotations

import math
import zlib
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.translation import get_language_info

from audio_generation.registry import engines
from core.errors import HarkError
from pipeline.recordings.transcription import registry as recognizers
from pipeline.recordings.transcripts.captions import write
from pipeline.recordings.transcripts.transcript import Segment, Transcript
from webui.accounts.signed_in import signed_in
from webui.api.endpoints import endpoint, only_known, switch
from webui.compatibility import speaking
from webui.compatibility.streaming import stream
from webui.compatibility.transcribing import text_of, transcribe_upload
from webui.compatibility.uploads import sent_file
from webui.http.errors import StatusError, with_headers
from webui.http.parameters import json_object
from webui.http.slots import slot
from webui.speech import free_engines, spoken

ANY_MODEL = ("auto", "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")  # mean the best engine that is ready
ANY_SPEAKER = ("auto", "tts-1", "tts-1-hd", "gpt-4o-mini-tts")
STREAMED = ("json", "text")  # formats that can be streamed
TEXT_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")
# OpenAI's voices. Each stands for one of the engine's. Append new ones, so that the others keep their voices.
VOICES = (
    "alloy", "ash", "ballad", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer", "verse", "marin", "cedar",
)  # fmt: skip
# Fields of a request; prompt, temperature and instructions have no effect, but clients send them automatically.
TRANSCRIPTION_FIELDS = (
    "file", "model", "language", "response_format", "timestamp_granularities[]", "timestamp_granularities", "stream",
    "prompt", "temperature",
)  # fmt: skip
SPEECH_FIELDS = ("model", "input", "voice", "response_format", "stream_format", "speed", "language", "instructions")
MIN_CONFIDENCE = 1e-6  # its logarithm is the lowest avg_logprob


class Refused(StatusError):
    """An error in a parameter, with OpenAI's code for it."""

    def __init__(self, status: int, message: str, param: str | None, code: str | None = None) -> None:
        super().__init__(status, message, "", "")
        self.param, self.code = param, code


def as_openai(error: HarkError, status: int) -> HttpResponse:
    """Return an error in OpenAI's format, with 400 instead of 422."""
    status = 400 if status == 422 else status
    code = getattr(error, "code", None) or {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(status)
    kinds = {403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    message = " ".join(filter(None, (error.what, error.why, error.what_to_do)))
    content = {"message": message, "type": kind, "param": getattr(error, "param", None), "code": code}
    response = JsonResponse({"error": content}, status=status)
    if status == 504:  # a retry would only begin a second transcription
        response["x-should-retry"] = "false"
    return with_headers(error, response)


@endpoint("POST", scopes=("audio",), shape=as_openai, fields=TRANSCRIPTION_FIELDS)
def transcriptions(request: HttpRequest) -> HttpResponseBase:
    """Handle ``POST /v1/audio/transcriptions``; ``stream=true`` sends text as it is recognized (server-sent events)."""
    return _transcribed(request, translate=False)


@endpoint("POST", scopes=("audio",), shape=as_openai, fields=TRANSCRIPTION_FIELDS)
def translations(request: HttpRequest) -> HttpResponseBase:
    """Handle ``POST /v1/audio/translations``: translate speech into English."""
    return _transcribed(request, translate=True)


def _transcribed(request: HttpRequest, translate: bool) -> HttpResponseBase:
    if not request.FILES.getlist("file"):
        raise Refused(400, "The file is missing: send the recording as the form's field “file”.", "file")
    form = request.POST
    wanted = form.get("response_format") or "json"
    if wanted not in TEXT_FORMATS:
        raise Refused(400, f"response_format must be one of {', '.join(TEXT_FORMATS)}.", "response_format")
    granularities = form.getlist("timestamp_granularities[]") or form.getlist("timestamp_granularities")
    if set(granularities) - set(GRANULARITIES):
        raise Refused(400, "A timestamp granularity is word or segment.", "timestamp_granularities")
    if granularities and wanted != "verbose_json":
        raise Refused(400, "Timestamp granularities need response_format verbose_json.", "timestamp_granularities")
    streamed = switch(form, "stream", False)
    if streamed and (translate or wanted not in STREAMED):
        reason = "Translations are not streamed." if translate else f"Only {' and '.join(STREAMED)} are streamed."
        raise Refused(400, reason, "stream" if translate else "response_format")
    _number(form.get("temperature") or 0, 0.0, 1.0, "temperature")
    engine = _engine(form.get("model", ""))
    if translate:
        _expect_translator(engine)
    arguments: dict[str, Any] = {"user": signed_in(request), "upload": sent_file(request, "file"), "engine": engine}
    arguments["language"] = form.get("language") or None
    if streamed:
        return stream(as_openai, **arguments)
    transcript = transcribe_upload(**arguments, translate=translate)
    if wanted in ("srt", "vtt"):
        kind = "application/x-subrip" if wanted == "srt" else "text/vtt"
        return HttpResponse(write(transcript, wanted), content_type=f"{kind}; charset=utf-8")
    if wanted == "text":
        return HttpResponse(text_of(transcript) + "\n", content_type="text/plain; charset=utf-8")
    if wanted == "json":
        return JsonResponse({"text": text_of(transcript), "usage": _usage(transcript)})
    return JsonResponse(
        _verbose(transcript, granularities or ["segment"]) | ({"task": "translate"} if translate else {})
    )


def _expect_translator(name: str) -> None:
    try:
        recognizers.choose(name, None, translate=True)
    except HarkError as error:
        raise Refused(400, f"{error.what} {error.why} {error.what_to_do}", "model", "unsupported_model") from error


def _engine(model: str) -> str:
    names = [engine.name for engine in recognizers.engines()]
    if model in ANY_MODEL:
        return "auto"
    if model not in names:
        if not model:
            raise Refused(400, "you must provide a model parameter", "model")
        known = ", ".join((*ANY_MODEL, *names))
        raise Refused(
            404, f"The model {model[:80]!r} does not exist; choose one of {known}.", "model", "model_not_found"
        )
    return model


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(transcript.duration_s)}


def _verbose(transcript: Transcript, granularities: list[str]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "task": "transcribe",
        "language": _language_name(transcript.language),
        "duration": round(transcript.duration_s, 3),
        "text": text_of(transcript),
        "usage": _usage(transcript),
    }
    if "segment" in granularities:
        answer["segments"] = [_segment(number, segment) for number, segment in enumerate(transcript.segments)]
    if "word" in granularities:
        answer["words"] = [
            {"word": word.text, "start": round(word.start_s, 3), "end": round(word.end_s, 3)}
            for segment in transcript.segments
            for word in segment.words
        ]
    return answer


def _language_name(code: str) -> str:
    """Return ``english`` for ``en``, as OpenAI does; the code itself if Django does not have its name."""
    try:
        return str(get_language_info(code)["name"]).lower()
    except KeyError:
        return code


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    """Return a segment with OpenAI's fields. Tokens and temperature are empty, because Hark's engines have none."""
    encoded = segment.text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(math.log(max(segment.confidence, MIN_CONFIDENCE)), 4),
        "compression_ratio": round(len(encoded) / len(zlib.compress(encoded)), 3),
        "no_speech_prob": 0.0,  # segments exist only where speech was detected
    }


@endpoint("POST", scopes=("audio",), shape=as_openai)
def speech(request: HttpRequest) -> HttpResponse:
    """Handle ``POST /v1/audio/speech``."""
    body = _spoken_body(request)
    text = body.get("input")
    if not isinstance(text, str) or not text.strip():
        raise Refused(400, "The input is empty or not a text: send the text to speak as input.", "input")
    if len(text) > speaking.MAX_TEXT_LENGTH:
        raise Refused(
            400, f"input can have at most {speaking.MAX_TEXT_LENGTH} characters.", "input", "string_above_max_length"
        )
    wanted = body.get("response_format") or "mp3"
    if not isinstance(wanted, str) or wanted not in speaking.FORMATS:
        raise Refused(400, f"response_format must be one of {', '.join(speaking.FORMATS)}.", "response_format")
    if body.get("stream_format", "audio") != "audio":
        raise Refused(400, "stream_format must be audio: events are not streamed here.", "stream_format")
    speed = _number(body.get("speed", 1.0), speaking.SLOWEST, speaking.FASTEST, "speed")
    language = body.get("language") or "en"
    if not isinstance(language, str) or len(language) > 20:
        raise Refused(400, "language must be a code such as en.", "language")
    engine, voice = _speaker(request, body, language)
    with slot(signed_in(request)):
        content = speaking.converted(spoken(engine, voice, text), wanted, speed)
    return HttpResponse(content, content_type=speaking.FORMATS[wanted][1])


def _spoken_body(request: HttpRequest) -> dict[str, Any]:
    try:
        body = json_object(request.body)
    except ValueError as error:
        raise Refused(400, "The body must be a JSON object.", None) from error
    only_known(body, SPEECH_FIELDS)
    return body


def _speaker(request: HttpRequest, body: dict[str, Any], language: str) -> tuple[Any, Any]:
    """Return the engine and the voice of a request.

    OpenAI's voice names stand for voices of the engine, whose own names are accepted too.
    """
    model, name = body.get("model"), body.get("voice")
    if isinstance(name, dict):
        name = name.get("id")
    if not isinstance(model, str) or not model:
        raise Refused(400, "you must provide a model parameter", "model")
    if not isinstance(name, str) or not name:
        raise Refused(400, "you must provide a voice parameter", "voice")
    if model not in ANY_SPEAKER and model not in engines():
        known = ", ".join((*ANY_SPEAKER, *engines()))
        raise Refused(
            404, f"The model {model[:80]!r} does not exist; choose one of {known}.", "model", "model_not_found"
        )
    engine = speaking.chosen_engine(signed_in(request), "" if model in ANY_SPEAKER else model, language)
    if name in VOICES:
        voices = engine.voices(language)
        return engine, voices[VOICES.index(name) % len(voices)]
    try:
        return engine, speaking.named_voice(engine, name, language)
    except HarkError as error:
        raise Refused(400, f"{error.what} {error.why} Or one of {', '.join(VOICES)}.", "voice") from error


def _number(value: object, minimum: float, maximum: float, name: str) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not minimum <= number <= maximum:
        raise Refused(400, f"{name} must be a number from {minimum:g} to {maximum:g}.", name)
    return number


@endpoint("GET", scopes=("read", "audio"), shape=as_openai)
def models(request: HttpRequest) -> HttpResponse:
    """Handle ``GET /v1/models``: the usable values of ``model``."""
    listening = [engine.name for engine in recognizers.engines() if engine.available().ok]
    ready = [*ANY_MODEL[1:], *listening, *ANY_SPEAKER[1:], *free_engines("en", signed_in(request))]
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": "hark"} for name in dict.fromkeys(ready)]
    return JsonResponse({"object": "list", "data": rows})


@endpoint("GET", "POST", "DELETE", "PUT", "PATCH", shape=as_openai)
def nothing(request: HttpRequest, rest: str) -> HttpResponse:
    """Reject all other requests to OpenAI's API."""
    raise Refused(404, f"Unknown request URL: {request.method} /v1/{rest[:80]}. Hark has the audio API only.", None)
