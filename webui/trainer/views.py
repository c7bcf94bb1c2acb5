"""From a phrase to a run: the form with its advice, the plan, and the run's clips."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from core.environments import is_enabled, requirements
from core.errors import HarkError
from model.languages import is_known
from phrase_augmentation.keyphrase import OtherScript
from phrase_augmentation.normalize import base_language
from pipeline.recordings.engines_and_models import engines_and_models
from pipeline.recordings.transcription.measured import source
from pipeline.training.configuration.advice import advise
from pipeline.training.configuration.devices import DEVICES
from pipeline.training.configuration.specification import run_config
from webui import speech
from webui.accounts.signed_in import signed_in
from webui.http.parameters import uuid_of
from webui.jobs.models import Job
from webui.organizations.access import owned
from webui.trainer import services
from webui.trainer.forms import RunForm
from webui.trainer.models import Detector
from webui.translation import shown

SAMPLES = 12  # clips on the page of a run
MAX_SPOKEN_LENGTH = 200  # characters of a spoken example
SEVERITY = {"good": ("good", "✓"), "caution": ("warning", "!"), "warning": ("bad", "✗")}  # as on the command line


def new(request: HttpRequest) -> HttpResponse:
    """Ask for phrase, language and effort; POST makes a plan."""
    given = request.POST or request.GET  # a transcript links here with a phrase in the URL
    ready = speech.ready_engines(signed_in(request))
    spoken = {name: {base_language(tag) for tag in engine.languages()} for name, engine in ready.items()}
    languages = speech.trainable(set().union(*spoken.values()))
    language = speech.nearest_language(given.get("language") or "en", dict(languages))
    able = [name for name, theirs in spoken.items() if language in theirs]
    form = RunForm(
        request.POST or None,
        initial={
            "phrase": given.get("phrase", "")[:300],
            "language": language,
            "targets": given.getlist("targets"),
            "effort": given.get("effort", "standard"),
        },
        engines=able,
        usual=[name for name in able if ready[name].by_default],
    )
    if request.method == "POST" and form.is_valid():
        targets = form.cleaned_data["targets"]
        job = services.plan(user=signed_in(request), config=form.config, targets=targets)
        return redirect("trainer:plan", job.id)
    status = 422 if form.is_bound else 200
    return render(request, "trainer/new.html", {"form": form, "languages": languages}, status=status)


@require_GET
def advice(request: HttpRequest) -> HttpResponse:
    """Show advice on a phrase while it is typed (a fragment)."""
    phrase, language = request.GET.get("phrase", "").strip(), request.GET.get("language") or "en"
    if not phrase:
        return render(request, "trainer/advice.html")
    try:
        check = advise(phrase, language)
    except HarkError as error:
        other_language = isinstance(error, OtherScript)
        return render(request, "trainer/advice.html", {"problem": error, "other_language": other_language})
    of_phrase = urlencode({"phrase": phrase, "language": language})
    known = Detector.objects.visible_to(signed_in(request)).filter(phrase=check.normalized, language=language)
    context = {
        "advice": check,
        "trained": known.filter(versions__isnull=False).first(),
        "hear": _spoken_at(request, phrase, language),
        "trying": f"/ws/try?{of_phrase}" if is_known(language) else "",
        "ready": f"{reverse('listening:ready')}?{of_phrase}",
        "only_trained": services.only_trained(),
        "notes": [(*SEVERITY[note.level], shown(note.message)) for note in check.notes],
        "language": language,
        "suggestions": [
            (shown(suggestion), getattr(suggestion, "values", {}).get("phrase", "")) for suggestion in check.suggestions
        ],
    }
    return render(request, "trainer/advice.html", context)


def _spoken_at(request: HttpRequest, phrase: str, language: str) -> str:
    """Return the URL of the phrase spoken by the best voice; "" if no engine here speaks the language."""
    if (engine_and_voice := speech.voice_for(signed_in(request), language)) is None:
        return ""
    asked = {"engine": engine_and_voice[0], "voice": engine_and_voice[1], "text": phrase, "language": language}
    return f"{reverse('trainer:speak')}?{urlencode(asked)}"


@require_GET
def plan(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Show the plan with its options and the start button, or wait for it."""
    job = owned(Job.objects.all(), signed_in(request), id=job_id, kind="plan")
    if job.is_going:
        return render(request, "trainer/planning.html", {"job": job})
    if request.headers.get("HX-Request"):  # from the page that waits for the plan
        return HttpResponse(headers={"HX-Refresh": "true"})
    plan, language = job.result or {}, job.spec["choices"]["language"]
    context = {
        "job": job,
        "plan": plan,
        "missing": plan.get("engines_missing_parts", {}),
        "rows": [_plan_row(name, row, plan, language) for name, row in plan.get("buckets", {}).items()],
        "minutes": max(1, round(plan.get("estimate_s", 0) / 60)),
        "form": RunForm(engines=speech.free_engines(language, signed_in(request))),
        "going": services.active_training(job),
        "to_install": sorted(plan.get("to_install_mb", {})),
        "megabytes": sum(plan.get("to_install_mb", {}).values()),
        "clips": sum(row["target"] for row in plan.get("buckets", {}).values()),
        "to_speak": sum(row["generate"] for row in plan.get("buckets", {}).values()),
        "voices": sum(plan.get("engines", {}).values()),
        "devices": [DEVICES[name].title for name in job.spec.get("targets", ())],
    }
    return render(request, "trainer/plan.html", context)


BUCKET_WORDS = {
    "positive": (_("Your phrase"), _("alone and in sentences, by many voices")),
    "confusable": (_("What sounds like it"), _("one or two sounds different; must not trigger it")),
    "inbetween": (_("In-between phrases"), _("half of it, and its words in other sentences; must not trigger it")),
    "plain_negative": (_("Ordinary speech"), _("must not trigger it")),
}


def _plan_row(bucket: str, row: dict[str, Any], plan: dict[str, Any], language: str) -> dict[str, Any]:
    words, why = BUCKET_WORDS[bucket]
    samples = [
        {**sample, "address": f"{reverse('trainer:speak')}?{urlencode({**sample, 'language': language})}"}
        for sample in plan.get("samples", {}).get(bucket, ())
    ]
    return {**row, "words": words, "why": why, "samples": samples}


@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Train the plan of the page."""
    job = owned(Job.objects.all(), signed_in(request), id=uuid_of(request.POST.get("plan", "")), kind="plan")
    run = services.train(
        user=signed_in(request),
        config=run_config(job.spec),
        install_voices="install_voices" in request.POST,
        targets=job.spec.get("targets", ()),
    )
    return redirect("jobs:detail", run.id)


@require_GET
def speak(request: HttpRequest) -> FileResponse:
    """Synthesize an example of the plan: ``?engine=&voice=&text=&language=``; paid engines are rejected."""
    content = speech.speak(
        user=signed_in(request),
        engine=request.GET.get("engine", ""),
        voice=request.GET.get("voice", ""),
        text=request.GET.get("text", "")[:MAX_SPOKEN_LENGTH],
        language=request.GET.get("language") or "en",
    )
    response = FileResponse(io.BytesIO(content), content_type="audio/wav")
    response["Cache-Control"] = "private, max-age=3600"
    return response


@require_GET
def samples(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Show clips that the run has made so far, for playback (a fragment)."""
    job = owned(Job.objects.all(), signed_in(request), id=job_id, kind="train")
    return render(request, "trainer/samples.html", {"clips": services.clips_of_run(job, SAMPLES)})


@require_GET
def engines(request: HttpRequest) -> HttpResponse:
    """Show what works here, what is missing and how to enable it: ``doctor`` in the browser."""
    rows = [
        {
            "name": engine.name,
            "engine": engine,
            "readiness": readiness,
            "group": "ready" if readiness.ok else "add" if engine.by_default else "experts",
            "voices": len(voices),
            "speakers": len({voice.speaker for voice in voices}),
            "can_be_enabled": requirements(engine.name).is_file() and not is_enabled(engine.name),
        }
        for engine, readiness, voices in speech.all_engines("en")
    ]
    rows.sort(key=lambda row: ("ready", "add", "experts").index(str(row["group"])))
    context = {"rows": rows, "engines_and_models": list(engines_and_models()), "engines_source": source()}
    return render(request, "trainer/engines.html", context)


@require_POST
def enable(request: HttpRequest, engine: str) -> HttpResponse:
    """Queue the installation of an engine's environment. Only the owner may do this."""
    return redirect("jobs:detail", speech.enable_engine(user=signed_in(request), engine=engine).id)


@require_POST
def pull(request: HttpRequest, engine: str) -> HttpResponse:
    """Queue the download of a voice. Only the owner may do this."""
    voice = request.POST.get("voice", "").strip()[:80]
    return redirect("jobs:detail", speech.pull_voice(user=signed_in(request), engine=engine, voice=voice).id)


@require_POST
def pull_model(request: HttpRequest, kind: str) -> HttpResponse:
    """Queue the download of a model for recordings. Only the owner may do this."""
    size = request.POST.get("size", "").strip()[:40]
    return redirect("jobs:detail", speech.pull_model(user=signed_in(request), kind=kind, size=size).id)
