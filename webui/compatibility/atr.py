"""The earlier system ATR: upload recordings, train on them, and ask questions by voice, with its three tabs."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from core.data_folder import atomic_path, storing
from core.errors import HarkError
from model.training_options import training_options
from pipeline.jobs import RECOGNIZER_STAGES, TRANSCRIPTION_STAGES
from pipeline.recordings.adapt_recognizer import (
    FOLDER,
    LANGUAGE,
    MAX_EPOCHS,
    MAX_TEXT_LENGTH,
    MIN_PASSAGES,
    forget_speech,
)
from pipeline.recordings.transcription.hark_engine import HarkCtc, own_weights
from pipeline.recordings.transcription.registry import AUTO, choose
from webui.accounts.models import User
from webui.accounts.signed_in import signed_in
from webui.accounts.storage import user_data
from webui.api.endpoints import endpoint, switch, wrong
from webui.compatibility.meetings import progress_of
from webui.compatibility.notes import json_or_form
from webui.compatibility.transcribing import text_of, transcribe_upload
from webui.compatibility.uploads import sent_file, sent_files
from webui.http.parameters import is_page
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.recordings.models import Recording
from webui.recordings.reading import asking, transcripts
from webui.recordings.reading.asking import MAX_QUESTION_S, spoken
from webui.recordings.transcribing import intake
from webui.recordings.uploading.whole_files import name_of, one_by_one, received
from webui.translation import explained

SESSION = "atr"  # the option ``session`` of recordings uploaded here
KIND = "train-recognizer"
UPLOADED = ("file", "files", "audio", "text", "language")  # fields of an upload
OPTIONS = ("epochs", "batch_size", "subset")  # of a training run
MAX_FILES = 50  # files per upload
REPLIES = Path("uploads") / "replies"  # spoken answers, below the user's data
REPLY_RETENTION_S = 3600.0
# Usual percentages of a run's time per stage, beginning with the transcription of the uploads that it waits for.
SHARES = {"transcribe": 10, **dict(zip(dict(RECOGNIZER_STAGES), (3, 2, 20, 3, 5, 52, 5), strict=True))}
TRANSCRIBING = tuple(dict(TRANSCRIPTION_STAGES))
SHOWN = 10  # recordings and runs per tab


@endpoint("POST", scopes=("audio",), fields=UPLOADED, form="compatibility:workspace")
def upload(request: HttpRequest) -> HttpResponse:
    """Handle ``POST /upload``: recordings, and their text if known (``text``, or a ``name.txt`` for each)."""
    sent = sent_files(request, "file", "files", "audio")
    texts = {Path(name_of(file)).stem: file for file in sent if name_of(file).lower().endswith(".txt")}
    sounds = [file for file in sent if not name_of(file).lower().endswith(".txt")]
    if len(sounds) > MAX_FILES:
        raise wrong("Too many files.", f"A request may contain {MAX_FILES}.", "Send the others in another request.")
    alone = set(texts) - {Path(name_of(file)).stem for file in sounds}
    if alone or not sounds:
        why = f"No recording belongs to {min(alone)}.txt." if alone else "None was sent."
        raise wrong("A recording is missing.", why, "Send name.wav with name.txt.")
    given = request.POST.get("text", "")
    if given.strip() and len(sounds) > 1:
        raise wrong(
            "A text belongs to one recording.", f"{len(sounds)} were sent.", "Send name.txt next to each instead."
        )
    if given.strip() and texts:
        raise wrong("There are two texts.", "text and name.txt were sent.", "Send one of them.")

    def take(sound: UploadedFile) -> Recording:
        text = given.strip() or _read_text(texts.get(Path(name_of(sound)).stem))
        return _keep(signed_in(request), sound, text, request.POST.get("language"))

    recordings, refused = one_by_one(sounds, take)
    if is_page(request):
        for file in refused:
            messages.error(request, _("Rejected: %(name)s. %(why)s") % {"name": file["filename"], "why": file["why"]})
        return redirect("compatibility:workspace")
    files = [{"id": str(file.pk), "name": file.name, "state": str(file.now)} for file in recordings]
    message = f"{len(recordings)} uploaded." + (f" {len(refused)} not taken." if refused else "")
    return JsonResponse({"message": message, "files": files, "refused": refused})


def _read_text(sent: UploadedFile | None) -> str:
    if sent is None:
        return ""
    try:
        text = sent.read(4 * MAX_TEXT_LENGTH + 1).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong("A text cannot be read.", f"{name_of(sent)} is not UTF-8.", "Save it as UTF-8.") from error
    if len(text) > MAX_TEXT_LENGTH:
        raise wrong("A text is too long.", f"It may have {MAX_TEXT_LENGTH:,} characters.", "Split the recording.", 413)
    return text


def _keep(user: User, sound: UploadedFile, text: str, language: str | None) -> Recording:
    with received(user, sound) as (path, _facts):
        return intake.create_recording(
            user=user, name=name_of(sound), source=path, text=" ".join(text.split()),
            options={"language": language, "session": SESSION},
        )  # fmt: skip


@endpoint("POST", scopes=("train",), fields=(*OPTIONS, "all"), form="compatibility:training")
def train_real(request: HttpRequest) -> HttpResponse:
    """Handle ``POST /train-real``: adapt the recognizer to the caller's corrected recordings, one run at a time."""
    body = json_or_form(request)
    options = {name: value for name, value in asdict(training_options(body, 0.0, MAX_EPOCHS)).items() if value}
    if switch(body, "all", False):
        why = "A recognizer learns nothing from words that it wrote itself."
        raise wrong("Unchecked transcripts are not trained on.", why, "Leave out all, and correct passages.")
    user = signed_in(request)
    coming = [str(one.job_id) for one in transcripts.recordings_of(user).filter(job__state__in=Job.GOING)]
    if not coming and not transcripts.recordings_of(user).filter(state=Recording.State.READY).exists():
        raise wrong("There is nothing to learn from.", "You have no transcribed recording.", "Upload one first.", 409)
    job = _runs(user).first()
    if job is None or not job.is_going:
        job = jobs.submit(user=user, kind=KIND, title="Recognizer", spec={**options, jobs.WAIT_FOR: coming})
    elif any(body.get(name) not in (None, "") and job.spec.get(name) != options.get(name) for name in OPTIONS):
        why = f"The job {job.id} is active, with other options."
        raise wrong("No training was started.", why, "Wait until it ends, or cancel it.", 409)
    if is_page(request):
        return redirect("compatibility:training")
    message = (
        "Your recordings are transcribed, and you can then ask about them. The recognizer is trained only if a person "
        f"has written or corrected the words of {MIN_PASSAGES} passages."
    )
    return JsonResponse({"message": message, "job": str(job.id), "status": job.state}, status=202)


def forget_cuts(sender: object, *, instance: Recording, **more: Any) -> None:
    """Delete audio cuts that an unfinished training run may have left, when a recording is deleted."""
    # An active run still reads the cuts.
    if not Job.objects.filter(user=instance.user, kind=KIND, state__in=Job.GOING).exists():
        forget_speech(user_data(instance.user) / FOLDER)


def _runs(user: User) -> QuerySet[Job]:
    return Job.objects.owned_by(user).filter(kind=KIND).order_by("-created_at")


@endpoint("GET", scopes=("audio", "train", "read"))
def progress(request: HttpRequest) -> HttpResponse:
    """Handle ``GET /progress``: the caller's newest training run, and uploads that are being transcribed."""
    return JsonResponse(progress_shape(signed_in(request)))


def progress_shape(user: User) -> dict[str, Any]:
    """Return the progress. Its percentage is that of the whole run, and ``stages`` lists all stages in order."""
    job = _runs(user).first()
    recordings = transcripts.recordings_of(user)
    queue = recordings.filter(job__state__in=Job.GOING)
    uploads = [{"id": str(one.pk), "name": one.name, **progress_of(one.job)} for one in queue if one.job is not None]
    newest = recordings.filter(options__session=SESSION).first()
    weights = own_weights(user_data(user))
    stage = ""
    if job is not None and job.is_going:  # before it begins, it waits for the transcripts of earlier uploads
        waits = jobs.active_jobs_of(job.spec.get(jobs.WAIT_FOR, ())).exists()
        stage = job.stage or ("transcribe" if waits else "")
    shape: dict[str, Any] = {
        "is_training": job is not None and job.is_going,
        "trained": weights is not None or _runs(user).filter(state=Job.State.DONE, result__has_key="steps").exists(),
        "last_uploaded": newest.name if newest is not None else None,
        "artifact": weights.name if weights is not None else None,
        "current_stage": stage or (job.state if job is not None else "idle"),
        "stages": list(SHARES),
        "uploads": uploads,
    }
    if job is None:
        nothing = dict.fromkeys(("eta_s", "job", "error", "result"))
        return {**shape, "status": "idle", "progress": 0.0, "stage": "", "message": "", **nothing}
    return {
        **shape,
        "status": job.state,
        "progress": _percent(job),
        "stage": stage or job.stage,
        "message": _outcome(user, job.result) if job.result else job.message,
        "eta_s": job.eta_s,
        "job": str(job.id),
        "error": explained(job.error) if job.error else None,
        "result": job.result and {name: value for name, value in job.result.items() if name != "weights"},
    }


def _percent(job: Job) -> float:
    """Return the percentage of a run that is done, from its stage's progress and the usual share of each stage."""
    if job.state == Job.State.DONE:
        return 100.0
    if job.stage not in SHARES:
        awaited = job.spec.get(jobs.WAIT_FOR, ())
        left = sum(1 - _transcribed(one) for one in jobs.active_jobs_of(awaited))
        return round(SHARES["transcribe"] * (1 - left / len(awaited)), 1) if awaited else 0.0
    names = list(SHARES)
    before = sum(SHARES[name] for name in names[: names.index(job.stage)])
    return round(before + _within(job) * SHARES[job.stage], 1)


def _within(job: Job) -> float:
    return min(1.0, job.done / job.total) if job.total else 0.0


def _transcribed(job: Job) -> float:
    if job.stage not in TRANSCRIBING:
        return 0.0
    return (TRANSCRIBING.index(job.stage) + _within(job)) / len(TRANSCRIBING)


def _outcome(user: User, result: dict[str, Any]) -> str:
    """Describe the result of a run, and what the recognizer is used for."""
    if "steps" not in result:
        return _(
            "You can now ask about your recordings. The recognizer was not trained: people have written or corrected "
            "the words of %(n)s passages, and training needs %(least)s."
        ) % {"n": result["segments"], "least": MIN_PASSAGES}
    if not result.get("better"):
        return _("The trained recognizer does not make fewer word errors, so it was discarded.")
    engine, _why = choose(AUTO, LANGUAGE, user_data(user))
    if engine.name == HarkCtc.name:
        return _("The trained recognizer now transcribes your recordings.")
    return _("The trained recognizer is used if you choose the engine hark; otherwise Hark uses %(engine)s.") % {
        "engine": engine.name
    }


@endpoint("POST", scopes=("audio",), fields=("text", "message", "audio", "file"), form="compatibility:interact-tab")
def interact(request: HttpRequest) -> HttpResponse:
    """Handle ``POST /interact``: answer a typed or recorded question from the caller's recordings, with speech."""
    user = signed_in(request)
    body = json_or_form(request)
    typed = {str(body[name]).strip() for name in ("text", "message") if body.get(name)} - {""}
    if len(typed) + bool(request.FILES) > 1:
        raise wrong("There are several questions.", "text, message and a recording exclude each other.", "Send one.")
    question = body.get("text") or body.get("message") or ""
    if not isinstance(question, str):
        raise wrong("The question cannot be read.", "text is not a string.", 'Send {"text": "..."}, or a recording.')
    if not question.strip():
        if not request.FILES:
            raise wrong("The question is missing.", "Neither text nor a recording was sent.", "Send one of them.")
        sound = sent_file(request, "audio", "file")
        question = text_of(transcribe_upload(user=user, upload=sound, most_s=MAX_QUESTION_S))
        if not question:
            raise wrong("The question was not recognized.", "It contains no words.", "Speak closer, or type it.")
    answer = asking.answer(user=user, question=question)
    fields = ("question", "found", "how", "citations", "nearest", "note")
    reply = {name: answer[name] for name in fields}
    reply |= {"reply": answer["text"], "audio_url": None, "audio_problem": None}
    try:
        name = _keep_reply(user, spoken(user=user, text=answer["text"], language=answer["language"]))
        reply["audio_url"] = reverse("compatibility:reply", args=[name])
    except HarkError as error:  # the answer is useful without speech too
        reply["audio_problem"] = explained(error)
    if is_page(request):
        return _tab(request, "interact", {"reply": reply})
    return JsonResponse(reply)


def _keep_reply(user: User, wav: bytes) -> UUID:
    """Store a spoken answer, and delete answers that are older than an hour."""
    folder, name = user_data(user) / REPLIES, uuid4()
    with storing("saving the spoken answer"):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.wav"):
            with suppress(FileNotFoundError):  # another request is removing it too
                if _is_over(old):
                    old.unlink()
        with atomic_path(folder / f"{name}.wav") as temporary:
            temporary.write_bytes(wav)
    return name


def _is_over(reply: Path) -> bool:
    """Return whether an answer has expired. Raises OSError if it does not exist."""
    return time.time() - reply.stat().st_mtime > REPLY_RETENTION_S


@endpoint("GET", scopes=("audio",))
def reply_audio(request: HttpRequest, reply_id: UUID) -> FileResponse:
    """Handle ``GET /interact/<id>.wav``: a spoken answer to the caller, for an hour."""
    path = user_data(signed_in(request)) / REPLIES / f"{reply_id}.wav"
    try:
        if _is_over(path):  # it remains on disk until the next answer is stored
            raise Http404
        return FileResponse(path.open("rb"), content_type="audio/wav")
    except OSError as error:
        raise Http404 from error


@require_safe
def upload_tab(request: HttpRequest) -> HttpResponse:
    recordings = transcripts.recordings_of(signed_in(request)).filter(options__session=SESSION)[:SHOWN]
    return _tab(request, "upload", {"recordings": recordings})


@require_safe
def training_tab(request: HttpRequest) -> HttpResponse:
    """Show the Training tab; while a run is active, also as a fragment."""
    user = signed_in(request)
    context = {"runs": _runs(user)[:SHOWN], "run": progress_shape(user), "most_epochs": MAX_EPOCHS}
    return _tab(request, "training", context)


@require_safe
def interact_tab(request: HttpRequest) -> HttpResponse:
    return _tab(request, "interact", {"reply": None})


def _tab(request: HttpRequest, tab: str, context: dict[str, Any]) -> HttpResponse:
    return render(request, f"compatibility/{tab}.html", {"tab": tab, **context})
