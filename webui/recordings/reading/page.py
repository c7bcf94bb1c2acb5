"""The contents of a recording's pages: its transcript, summary and translations, its audio and waveform."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _

from pipeline.recordings.files.recording_folder import AUDIO, POLISHED_TEXT, TRANSCRIPT, WAVEFORM
from pipeline.recordings.language_models import llm
from pipeline.recordings.summarization import engines
from pipeline.recordings.transcripts.captions import FORMATS, clock
from pipeline.recordings.transcripts.transcript import NOT_RECOGNIZED, Transcript
from webui.accounts.signed_in import signed_in
from webui.http.errors import StatusError
from webui.http.ranges import file_or_part
from webui.organizations.access import visible
from webui.recordings.models import Recording
from webui.recordings.reading import derived
from webui.recordings.transcribing.jobs import newest_jobs
from webui.translation import shown

UNSURE = 0.5  # confidence below which words are shaded
SPEEDS = ("0.75", "1", "1.25", "1.5", "1.75", "2")  # speeds of the player
COLOURS = 8  # number of speakers' colours in the style sheet
ROUGH = "hark"  # a recognizer that makes many errors; the page warns of them


def recording_of(request: HttpRequest, recording_id: UUID, who: Callable[..., Recording] = visible) -> Recording:
    """Return a recording to which the user has the access that ``who`` checks. Raises the errors of ``who``."""
    return who(Recording.objects.select_related("user", "job", "organization"), signed_in(request), id=recording_id)


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


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text)


def derived_context(recording: Recording) -> dict[str, Any]:
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


def send_audio(request: HttpRequest, recording: Recording) -> HttpResponseBase:
    """Return the normalized audio. Raises HarkError (404) if it does not exist (yet)."""
    try:
        return file_or_part(request, recording.path / AUDIO, "audio/flac")
    except OSError as error:
        raise no_file(_("The recording's audio is missing.")) from error


def send_waveform(recording: Recording) -> HttpResponse:
    """Return ``{"peaks": [0 to 1, ...]}``. Raises HarkError (404) if it does not exist (yet)."""
    try:
        content = json.loads((recording.path / WAVEFORM).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise no_file(_("The recording's waveform is missing.")) from error
    return JsonResponse({"peaks": content})


def no_file(what: str) -> StatusError:
    return StatusError(404, what, _("It is computed during transcription."), _("Wait, or transcribe it again."))
