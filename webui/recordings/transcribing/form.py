"""The form that sends recordings: what it shows, and the options that it sends."""

from __future__ import annotations

import statistics
from typing import Any

from django.core.cache import cache
from django.http import HttpRequest

from pipeline.recordings.files.media import MediaLimits
from pipeline.recordings.transcription.engine import described
from pipeline.recordings.transcription.measured import facts, source
from pipeline.recordings.transcription.registry import AUTO, choose, ready
from webui.http.parameters import whole_number
from webui.jobs.models import Job, stage_times
from webui.recordings.models import Recording
from webui.recordings.transcribing.intake import MAX_SPEAKERS
from webui.translation import shown

PACED_S = 60.0  # seconds for which recognizers' speeds are cached, because several pages show them
PACED, MIN_PACED_S = 50, 10.0  # number, and minimum duration, of recordings that measure the speed of recognizers


def form_context() -> dict[str, Any]:
    limits = MediaLimits.from_environment()
    able = ready()
    chosen, _why = choose(AUTO, None, among=able)
    took = cache.get_or_set("seconds-a-minute", _seconds_a_minute, PACED_S) or {}
    named = [(engine.name, described(engine)) for engine in able]
    return {
        "engines": [{"name": name, "words": words, "facts": facts(words, took.get(words))} for name, words in named],
        "engines_source": source(),
        "auto": described(chosen),
        "auto_why": chosen.why,
        "most_speakers": range(1, MAX_SPEAKERS + 1),
        "most_mb": limits.max_bytes // 1_000_000,
        "most_bytes": limits.max_bytes,
        "most_seconds": f"{limits.max_seconds:.0f}",
        "longest": shown(limits.longest),
    }


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


def _seconds_a_minute() -> dict[str, float]:
    """Return each recognizer's seconds per minute of audio, as medians of recent recordings on this server."""
    done = Recording.objects.filter(job__kind="transcribe", job__state=Job.State.DONE, duration_s__gte=MIN_PACED_S)
    newest: dict[Any, tuple[str, Any]] = {
        job: (engine, seconds)
        for job, engine, seconds in done.order_by("-created_at").values_list("job_id", "engine", "duration_s")[:PACED]
    }
    by_engine: dict[str, list[float]] = {}
    for job, stage, began, end in stage_times(Job.objects.filter(pk__in=newest)):
        engine, seconds = newest[job.pk]
        if stage == "transcribe":
            by_engine.setdefault(engine, []).append(60 * (end - began) / seconds)
    return {engine: statistics.median(times) for engine, times in by_engine.items()}
