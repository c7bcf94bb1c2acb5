"""Search and questions, on one recording or all, typed or spoken."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from core.confinement.foreign_audio import read_foreign_audio
from core.errors import HarkError
from pipeline.recordings.transcripts.captions import clock
from webui import speech
from webui.accounts.signed_in import signed_in
from webui.http.errors import status_of
from webui.http.uploads import on_disk
from webui.recordings.models import Recording
from webui.recordings.reading import asking, transcripts
from webui.recordings.reading.page import recording_of

MAX_QUESTION_BYTES = 2_000_000  # bytes of a recorded question
HITS = 50


@require_GET
def search(request: HttpRequest) -> HttpResponse:
    """Search all recordings for ``?q=``, and show the field for questions on all of them."""
    user = signed_in(request)
    query = request.GET.get("q", "").strip()[:400]
    hits = transcripts.search(user=user, query=query, limit=HITS) if query else []
    context = {
        "query": query,
        "hits": [{"hit": hit, "clock": clock(hit.start_s)} for hit in hits],
        "most": HITS,
        "anything": transcripts.recordings_seen_by(user).exists(),
        "speaks": speech.voice_for(user, "en") is not None,
    }
    return render(request, "recordings/search.html", context)


@require_POST
def ask(request: HttpRequest) -> HttpResponse:
    """Answer a question on all recordings: ``question``, or a recorded one in ``audio``."""
    return _answered(request, None)


@require_POST
def ask_one(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    return _answered(request, recording_of(request, recording_id))


def _answered(request: HttpRequest, recording: Recording | None) -> HttpResponse:
    fragment = bool(getattr(request, "htmx", False))
    context: dict[str, Any] = {"recording": recording}
    status = 200
    try:
        context |= _answer(request, recording)
    except HarkError as problem:
        context["problem"] = problem
        # HTMX ignores responses with an error status.
        status = 200 if fragment else status_of(problem)
    return render(request, "recordings/answer.html" if fragment else "recordings/asked.html", context, status=status)


def _answer(request: HttpRequest, recording: Recording | None) -> dict[str, Any]:
    user = signed_in(request)
    spoken = request.FILES.get("audio")
    if spoken is not None and spoken.size:
        if spoken.size > MAX_QUESTION_BYTES:
            raise asking.too_long()
        with on_disk(spoken) as path:
            audio = read_foreign_audio(path, max_seconds=asking.MAX_QUESTION_S + 1.0)
        question = asking.question_of(user, audio, (recording.language or None) if recording is not None else None)
    else:
        question = request.POST.get("question", "")
    answer = asking.answer(user=user, question=question, recording=recording)
    for citation in (*answer["citations"], *answer["nearest"]):
        page = reverse("recordings:recording", args=[citation["recording"]])
        sound = reverse("recordings:audio", args=[citation["recording"]])
        citation["whole"] = answer["found"] and citation["text"].strip() == answer["text"].strip()
        citation["clock"] = clock(citation["start_s"])
        citation["start"] = f"{citation['start_s']:.3f}"
        citation["address"] = f"{page}#t={citation['start']}"
        citation["play"] = f"{sound}#t={citation['start']},{citation['end_s']:.3f}"
    answer["cited_whole"] = any(citation["whole"] for citation in answer["citations"])
    aloud = None
    if speech.voice_for(user, answer["language"]) is not None:
        query = {"text": answer["text"][: asking.MAX_SPOKEN_LENGTH], "language": answer["language"]}
        aloud = f"{reverse('recordings:speak')}?{urlencode(query)}"
    return {"answer": answer, "aloud": aloud, "by_voice": spoken is not None}


@require_GET
def speak(request: HttpRequest) -> FileResponse:
    """Synthesize an answer: ``?text=&language=``."""
    text, language = request.GET.get("text", "").strip(), request.GET.get("language") or "en"
    if not text or len(text) > asking.MAX_SPOKEN_LENGTH or len(language) > 20:
        raise Http404
    content = asking.spoken(user=signed_in(request), text=text, language=language)
    return FileResponse(io.BytesIO(content), content_type="audio/wav")
