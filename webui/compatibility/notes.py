"""The earlier system for transcripts of audio, summaries of text, and summaries of audio."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from webui.accounts.signed_in import signed_in
from webui.api.endpoints import endpoint, wrong
from webui.compatibility.transcribing import as_transcript, summary_of_transcript, text_of, transcribe_upload
from webui.compatibility.uploads import sent_file
from webui.http.parameters import json_object
from webui.watching.observing import can_recognize, can_summarize

MAX_TEXT_LENGTH = 300_000  # characters, about five hours of speech; the time grows with the number of sentences
FIELDS = ("audio", "file")
CHOICES = ("engine", "language")


@endpoint("GET")
def health(request: HttpRequest) -> HttpResponse:
    """Handle ``GET /health``: whether a recognizer and a summarizer are ready."""
    asr, nlp = can_recognize(), can_summarize()
    return JsonResponse({"status": "ok" if asr and nlp else "degraded", "asr_loaded": asr, "nlp_loaded": nlp})


@endpoint("POST", scopes=("audio",), fields=(*FIELDS, *CHOICES))
def transcribe(request: HttpRequest) -> HttpResponse:
    """Handle ``POST /api/asr/transcribe``: audio to ``{transcript}``."""
    transcript = transcribe_upload(user=signed_in(request), upload=sent_file(request, *FIELDS), **_chosen(request))
    return JsonResponse({"transcript": text_of(transcript)})


@endpoint("POST", scopes=("audio",), fields=("text",))
def summarize(request: HttpRequest) -> HttpResponse:
    """Handle ``POST /api/nlp/summarize``: ``{text}`` (JSON, or a form) to ``{summary}``."""
    text = json_or_form(request).get("text")
    if not isinstance(text, str) or not text.strip():
        raise wrong("There is nothing to summarize.", "The field text is missing or empty.", 'Send {"text": "..."}.')
    if len(text) > MAX_TEXT_LENGTH:
        raise wrong("The text is too long.", f"It may have {MAX_TEXT_LENGTH:,} characters.", "Send it in parts.", 413)
    return JsonResponse({"summary": summary_of_transcript(as_transcript(text), signed_in(request)).text})


@endpoint("POST", scopes=("audio",), fields=(*FIELDS, *CHOICES))
def voice_to_notes(request: HttpRequest) -> HttpResponse:
    """Handle ``POST /api/voice-to-notes``: audio to ``{transcript, summary}``, both "" if no words are recognized."""
    transcript = transcribe_upload(user=signed_in(request), upload=sent_file(request, *FIELDS), **_chosen(request))
    text = text_of(transcript)
    summary = summary_of_transcript(transcript, signed_in(request)).text if text else ""
    return JsonResponse({"transcript": text, "summary": summary})


def _chosen(request: HttpRequest) -> dict[str, Any]:
    return {"engine": request.POST.get("engine") or "auto", "language": request.POST.get("language") or None}


def json_or_form(request: HttpRequest) -> dict[str, Any]:
    """Return the fields of JSON or a form. Raises StatusError if the JSON is invalid."""
    if request.content_type != "application/json":
        return dict(request.POST.items())
    try:
        return json_object(request.body)
    except ValueError as error:
        why = "Its body is not a JSON object."
        raise wrong("The request could not be read.", why, 'Send {"text": "..."}.', 400) from error
