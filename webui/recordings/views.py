"""Pages of recordings: the list, a recording, its audio and files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.cache import cache
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from core.errors import HarkError
from pipeline.jobs import TRANSCRIPTION_STAGES
from pipeline.recordings import llm
from pipeline.recordings.captions import FORMATS, clock
from pipeline.recordings.media import MediaLimits
from pipeline.recordings.recording_folder import AUDIO, POLISHED_TEXT, TRANSCRIPT, WAVEFORM
from pipeline.recordings.summarization import engines
from pipeline.recordings.transcript import NOT_RECOGNIZED, Transcript
from pipeline.recordings.transcription.engine import described
from pipeline.recordings.transcription.measured import facts, source
from pipeline.recordings.transcription.registry import AUTO, choose, ready
from pipeline.recordings.transcription.transcribe import recognized_so_far
from webui import speech
from webui.access import owned, sharing_of, to_change, visible
from webui.accounts.signed_in import signed_in
from webui.http.errors import StatusError
from webui.http.parameters import for_the_network, page_asked_for, whole_number
from webui.http.ranges import file_or_part
from webui.jobs.models import Job
from webui.jobs.services import stages_of
from webui.keys.sealing import shown_now
from webui.recordings import (
    corrections,
    deletion,
    derived,
    intake,
    job_results,
    live,
    sharing,
    speaker_changes,
    transcripts,
)
from webui.recordings.history import newest
from webui.recordings.models import Recording
from webui.recordings.recording_jobs import newest_jobs
from webui.translation import shown

PAGE = 25
PACED_S = 60.0  # seconds for which recognizers' speeds are cached, because several pages show them
UNSURE = 0.5  # confidence below which words are shaded
MAX_SEGMENTS_SHOWN = 40  # segments shown during a transcription
SPEEDS = ("0.75", "1", "1.25", "1.5", "1.75", "2")  # speeds of the player
COLOURS = 8  # number of speakers' colours in the style sheet
ROUGH = "hark"  # a recognizer that makes many errors; the page warns of them


def recording_of(request: HttpRequest, recording_id: UUID, who: Callable[..., Recording] = visible) -> Recording:
    """Return a recording to which the user has the access that ``who`` checks. Raises the errors of ``who``."""
    return who(Recording.objects.select_related("user", "job", "organization"), signed_in(request), id=recording_id)


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    voices = speaker_changes.voices_of(signed_in(request))
    return render(request, "recordings/index.html", {**_rows(request), **form_context(), "voices": voices})


@require_GET
def rows(request: HttpRequest) -> HttpResponse:
    """Show the list (a fragment). The page requests it again while an entry is active."""
    return render(request, "recordings/rows.html", _rows(request))


def _rows(request: HttpRequest) -> dict[str, Any]:
    page = page_asked_for(request, transcripts.recordings_seen_by(signed_in(request)), PAGE)
    recordings = list(page.object_list)
    is_working = any(recording.now == Recording.State.WORKING for recording in recordings)
    return {"page": page, "recordings": recordings, "going": is_working}


def form_context() -> dict[str, Any]:
    limits = MediaLimits.from_environment()
    able = ready()
    chosen, _why = choose(AUTO, None, among=able)
    took = cache.get_or_set("seconds-a-minute", job_results.seconds_a_minute, PACED_S) or {}
    named = [(engine.name, described(engine)) for engine in able]
    return {
        "engines": [{"name": name, "words": words, "facts": facts(words, took.get(words))} for name, words in named],
        "engines_source": source(),
        "auto": described(chosen),
        "auto_why": chosen.why,
        "most_speakers": range(1, intake.MAX_SPEAKERS + 1),
        "most_mb": limits.max_bytes // 1_000_000,
        "most_bytes": limits.max_bytes,
        "most_seconds": f"{limits.max_seconds:.0f}",
        "longest": shown(limits.longest),
    }


@never_cache
@require_GET
def recording(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Show a recording: its progress, or its transcript; a new link to it is shown once."""
    recording = recording_of(request, recording_id)
    standing = sharing_of(recording, signed_in(request))
    context: dict[str, Any]
    if recording.now == Recording.State.WORKING or recording.version == 0:
        context = {"job": recording.job, "stages": stages_of("transcribe"), "problem": recording.error}
        context |= so_far_context(recording) | {"unreadable": _is_unreadable(recording.job)}
        if recording.job is None or not recording.job.is_going:
            context |= form_context()
        return render(request, "recordings/working.html", {**context, **standing})
    own = standing["own"]
    result = (recording.job.result if recording.job is not None else None) or {}
    context = {
        "recording": recording,
        **transcript_context(recording, transcripts.transcript_of(recording)),
        **standing,
        "shares": list(recording.shares.all()) if own else [],
        "share_days": sharing.SHARE_DAYS,
        "most_share_days": sharing.MAX_SHARE_DAYS,
        "new_link": shown_now(request, f"link of {recording.pk}").get("link", ""),
        "warnings": result.get("warnings_parts", []),
        "expected_words": corrections.expected_words(recording.user, recording.language or None) if own else [],
        **_derived_context(recording),
        "network": for_the_network(request),
        "undoes": newest(recording.path) is not None,
        "problem": recording.error,
        "speaks": speech.voice_for(signed_in(request), recording.language or "en") is not None,
        **form_context(),
    }
    return render(request, "recordings/recording.html", context)


@require_GET
def so_far(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Show the latest segments of a transcription (a fragment, hidden if no transcription is active)."""
    return render(request, "recordings/so_far.html", so_far_context(recording_of(request, recording_id)))


def so_far_context(recording: Recording) -> dict[str, Any]:
    is_working = recording.now == Recording.State.WORKING
    segments = recognized_so_far(recording.path) if is_working else []
    lines = [(clock(segment.start_s), segment.text) for segment in segments[-MAX_SEGMENTS_SHOWN:]]
    return {"recording": recording, "going": is_working, "said": lines, "more": len(segments) > MAX_SEGMENTS_SHOWN}


def transcript_context(recording: Recording, transcript: Transcript) -> dict[str, Any]:
    """Return the context of a transcript's page, for its owner and for the users who share it."""
    colours = {speaker: number % COLOURS for number, speaker in enumerate(transcript.speakers)}
    speaking_s: dict[str, float] = {}
    rows = []
    for number, segment in enumerate(transcript.segments):
        speaking_s[segment.speaker] = speaking_s.get(segment.speaker, 0.0) + segment.end_s - segment.start_s
        rows.append(
            {
                "number": number,
                "start": f"{segment.start_s:.3f}",
                "end": f"{segment.end_s:.3f}",
                "clock": clock(segment.start_s),
                "speaker": transcript.speaker_name(segment.speaker),
                "speaker_id": segment.speaker,
                "colour": colours.get(segment.speaker),
                # Named only where it changes, because a column of equal names is hard to read.
                "named": number == 0 or segment.speaker != transcript.segments[number - 1].speaker,
                "text": segment.text,
                "overlap": segment.overlap,
                "edited": segment.edited,
            }
        )
    total = sum(speaking_s.values()) or 1.0
    speakers = [
        {
            "id": speaker,
            "name": name,
            "colour": colours[speaker],
            "share": round(100 * speaking_s.get(speaker, 0.0) / total),
            "sounds_like": transcript.sounds_like.get(speaker, ""),
        }
        for speaker, name in transcript.speakers.items()
        if speaker in speaking_s  # speakers without passages are hidden, but can be assigned again
    ]
    return {
        "transcript": transcript,
        "segments": rows,
        "speakers": speakers,
        "formats": list(FORMATS),
        "summary": summary_context(derived.summary_of(recording), transcript),
        "duration": f"{transcript.duration_s:.3f}",
        "clock": clock(transcript.duration_s),
        "unsure": str(UNSURE),
        "speeds": SPEEDS,
        "rough": transcript.engine.startswith(ROUGH),
        "not_recognized": shown(NOT_RECOGNIZED),
    }


def _is_unreadable(job: Job | None) -> bool:
    """Return whether the job failed because of the uploaded file, so that another attempt would fail too."""
    if job is None or job.state != Job.State.FAILED or job.stage != TRANSCRIPTION_STAGES[0][0]:
        return False
    return (job.error or {}).get("reason", HarkError.reason) == HarkError.reason


def summary_context(summary: dict[str, Any] | None, transcript: Transcript) -> dict[str, Any] | None:
    """Return a summary with the times of its citations, omitting citations that do not fit the current transcript."""
    if summary is None:
        return None

    def cited(point: dict[str, Any]) -> dict[str, Any]:
        places = [transcript.segments[n] for n in point["segments"] if n < len(transcript.segments)]
        return {
            "text": point["text"],
            "places": [
                {
                    "start": f"{s.start_s:.3f}",
                    "clock": clock(s.start_s),
                    "speaker_id": s.speaker,
                    "speaker": transcript.speaker_name(s.speaker),
                }
                for s in places
            ],
        }

    text, key_points = summary["text"], [cited(point) for point in summary["key_points"]]
    if _letters(text) == _letters("".join(point["text"] for point in key_points)):
        text = ""  # it would only repeat the points
    return {
        "text": text,
        "key_points": key_points,
        "action_items": [cited(point) for point in summary["action_items"]],
        "sentiment": summary["sentiment"],
        "note": summary["note"],
        "engine": summary["engine"],
        "outdated": derived.summary_is_outdated(summary, transcript),
    }


def _derived_context(recording: Recording) -> dict[str, Any]:
    """Return what the page shows about the summary, the translations and the cleaned-up text."""
    newest = newest_jobs(recording, "summarize", "polish", "translate", "speakers")
    job, first = newest.get("summarize"), recording.job
    if job is not None and first is not None and first.created_at > job.created_at:
        del newest["summarize"]  # its result was replaced by the summary of a later transcription
    active_jobs = {kind: job if job.is_going else None for kind, job in newest.items()}
    problems = {kind: job.error for kind, job in newest.items()}
    polishes = llm.available().ok
    languages = [(code, name) for code, name in derived.languages_of_translation() if code != recording.language]
    polished, transcript = recording.path / POLISHED_TEXT, recording.path / TRANSCRIPT
    has_polished = polished.is_file() and transcript.is_file()
    summary = derived.summary_of(recording)
    follows = summary is not None and derived.engine_that_follows(recording, summary)
    return {
        "polishes": polishes,
        "translations": derived.translations_of(recording),
        "translating": active_jobs.get("translate"),
        "translation_problem": problems.get("translate"),
        "languages": languages if polishes else [],
        "polishing": active_jobs.get("polish"),
        "polish_problem": problems.get("polish"),
        "polished": has_polished,
        "polished_before": has_polished and polished.stat().st_mtime < transcript.stat().st_mtime,
        "summarizing": active_jobs.get("summarize"),
        "summary_problem": problems.get("summarize"),
        "pause_s": round(derived.FOLLOWS_AFTER_S),
        "follows_after_s": derived.debounce_left_s(recording) if follows else 0,
        "detecting": active_jobs.get("speakers"),
        "detecting_problem": problems.get("speakers"),
        "summary_engines": [engine.name for engine in engines() if engine.available().ok],
    }


@require_http_methods(["GET", "POST"])
def summary(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Show the summary (a fragment). The page requests it again while another summary is being made.

    POST makes another one; with ``follow``, only if it is outdated.
    """
    recording = recording_of(request, recording_id, to_change if request.method == "POST" else visible)
    if "follow" in request.POST:
        derived.follow_corrections(recording=recording)
    elif request.method == "POST":
        derived.summarize_again(recording=recording, engine=request.POST.get("engine") or "auto")
        return redirect(reverse("recordings:recording", args=[recording_id]) + "#summary")
    transcript = transcripts.transcript_of(recording)
    context = {
        "recording": recording,
        "summary": summary_context(derived.summary_of(recording), transcript),
        "segments": transcript.segments,
        **sharing_of(recording, signed_in(request)),
        **_derived_context(recording),
    }
    return render(request, "recordings/summary.html", context)


@require_http_methods(["GET", "POST"])
def polished(request: HttpRequest, recording_id: UUID) -> HttpResponseBase:
    """Download the cleaned-up transcript as a text file; POST queues it."""
    recording = recording_of(request, recording_id, to_change if request.method == "POST" else visible)
    if request.method == "POST":
        derived.polish(recording=recording)
        return redirect(reverse("recordings:recording", args=[recording_id]) + "#more-title")
    try:
        file = (recording.path / POLISHED_TEXT).open("rb")
    except OSError as error:
        raise _no_file(_("There is no cleaned-up transcript.")) from error
    name = f"{derived.file_stem(recording)} (polished).txt"
    return FileResponse(file, as_attachment=True, filename=name, content_type="text/plain; charset=utf-8")


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text)


def transcript_json(recording: Recording, transcript: Transcript) -> dict[str, Any]:
    return {
        "version": recording.version,
        "segments": [
            {
                "start_s": segment.start_s,
                "end_s": segment.end_s,
                "text": segment.text,
                "words": [[word.text, word.start_s, word.end_s, word.confidence] for word in segment.words],
            }
            for segment in transcript.segments
        ],
    }


@require_GET
def words(request: HttpRequest, recording_id: UUID) -> JsonResponse:
    recording = recording_of(request, recording_id)
    return JsonResponse(transcript_json(recording, transcripts.transcript_of(recording)))


@require_safe
def audio(request: HttpRequest, recording_id: UUID) -> HttpResponseBase:
    return send_audio(request, recording_of(request, recording_id))


def send_audio(request: HttpRequest, recording: Recording) -> HttpResponseBase:
    """Return the normalized audio. Raises HarkError (404) if it does not exist (yet)."""
    try:
        return file_or_part(request, recording.path / AUDIO, "audio/flac")
    except OSError as error:
        raise _no_file(_("The recording's audio is missing.")) from error


@require_GET
def waveform(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    return send_waveform(recording_of(request, recording_id))


def send_waveform(recording: Recording) -> HttpResponse:
    """Return ``{"peaks": [0 to 1, ...]}``. Raises HarkError (404) if it does not exist (yet)."""
    try:
        content = json.loads((recording.path / WAVEFORM).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _no_file(_("The recording's waveform is missing.")) from error
    return JsonResponse({"peaks": content})


def _no_file(what: str) -> StatusError:
    return StatusError(404, what, _("It is computed during transcription."), _("Wait, or transcribe it again."))


@require_GET
def export(request: HttpRequest, recording_id: UUID) -> FileResponse:
    """Download the transcript, ``?format=`` one of ``captions.FORMATS``; with ``?language=`` its translation."""
    wanted, language = request.GET.get("format", "txt").lower(), request.GET.get("language", "")
    return derived.export(recording_of(request, recording_id), wanted, language)


@require_POST
def translate(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    derived.translate(
        recording=recording_of(request, recording_id, to_change), language=request.POST.get("language", "")
    )
    return redirect(reverse("recordings:recording", args=[recording_id]) + "#more-title")


@require_GET
def original(request: HttpRequest, recording_id: UUID) -> FileResponse:
    """Download the uploaded file, or the first of several."""
    recording = recording_of(request, recording_id)
    try:
        file = (recording.path / recording.originals[0]).open("rb")
    except (OSError, IndexError) as error:
        raise _no_file(_("The uploaded file is missing.")) from error
    # "a.wav and 2 more" is not a file name.
    name = recording.name if len(recording.originals) == 1 else recording.originals[0]
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/octet-stream")


@require_POST
def retranscribe(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Transcribe the recording again with other options."""
    recording = recording_of(request, recording_id, to_change)
    intake.transcribe_again(recording=recording, options=options_of(request))
    return redirect("recordings:recording", recording_id)


@require_POST
def retry(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    intake.retry(recording=recording_of(request, recording_id, to_change))
    return redirect("recordings:recording", recording_id)


def options_of(request: HttpRequest) -> dict[str, Any]:
    sent = request.POST
    speakers = sent.get("speakers", "")
    return {
        "engine": sent.get("engine"),
        "language": sent.get("language"),
        "speakers": whole_number(speakers),
        "diarize": speakers != "none",
        "summarize": "summarize" in sent,
    }


@require_GET
def live_page(request: HttpRequest) -> HttpResponse:
    """Show the page of live transcription with the user's detectors."""
    detectors = [detector for detector, _version in live.detectors_of(signed_in(request))]
    return render(request, "recordings/live.html", {"detectors": detectors, **form_context()})


def delete(request: HttpRequest, recording_id: UUID) -> HttpResponse:
    """Delete a recording after the user has confirmed it."""
    recording = recording_of(request, recording_id, owned)
    if request.method != "POST":
        return render(request, "recordings/delete.html", {"recording": recording})
    deletion.delete(recording=recording)
    messages.success(request, _("The recording was deleted."))
    return redirect("recordings:index")
