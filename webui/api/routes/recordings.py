"""Recordings: upload, transcripts, exports, search, questions, summaries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal
from uuid import UUID

from django.http import FileResponse, Http404, HttpRequest
from django.utils.translation import gettext as _
from ninja import File, Form, Query, Router, Status, UploadedFile

from core.errors import HarkError
from pipeline.recordings.transcripts.transcript import UNNAMED, as_json
from webui.api.authentication import caller, needs
from webui.api.documentation import file_of
from webui.api.idempotency import Made, creation
from webui.api.paging import Page, Paging, page
from webui.api.recording_schemas import (
    AnswerOut,
    ExportFormat,
    HitOut,
    HitsOut,
    PassageSpeakerIn,
    QuestionIn,
    RecordingOut,
    RecordingSummaryOut,
    SpeakerIn,
    SpeakersIn,
    TranscriptOut,
    VoiceIn,
    VoicesOut,
)
from webui.api.routes.jobs import job_out
from webui.api.schemas import JobOut
from webui.http.errors import StatusError
from webui.organizations.access import owned, to_change, visible
from webui.recordings import deletion
from webui.recordings.editing import corrections, speaker_changes
from webui.recordings.models import Recording
from webui.recordings.reading import asking, derived, transcripts
from webui.recordings.transcribing import intake
from webui.recordings.uploading.whole_files import name_of, received

router = Router(tags=["Recordings"])

ONE = "/recordings/{uuid:recording_id}"
MAX_HITS, USUAL_HITS = 200, 50
IN_ONE = Query(None, description="Search this recording only.", examples=[None])
FORMAT = Query("txt", examples=["srt"])
RECORDING = File(..., description="Any format that ffmpeg reads; at most 1 GB and 4 hours by default.")


def a_recording(request: HttpRequest, recording_id: UUID, who: Callable[..., Recording] = visible) -> Recording:
    """Return a recording to which the caller has the access that ``who`` checks. Raises Http404 if it is invisible."""
    return who(Recording.objects.select_related("user", "job", "organization"), caller(request).user, pk=recording_id)


@router.get("/recordings", response=Page[RecordingOut], summary="All recordings", **needs("read"))
def recordings(
    request: HttpRequest, paging: Query[Paging], state: Literal["uploaded", "working", "ready", "failed"] | None = None
) -> dict[str, Any]:
    """List recordings, newest first."""
    rows = transcripts.recordings_seen_by(caller(request).user).select_related("user")
    if state is not None:
        rows = rows.in_state(state)
    return page(request, rows, paging)


@router.post("/recordings", response={201: RecordingOut}, summary="Upload a recording", **needs("audio"))
@creation(in_transaction=False)
def create(
    request: HttpRequest,
    audio: UploadedFile = RECORDING,
    engine: str = Form("auto", max_length=40, examples=["auto"]),
    language: str | None = Form(None, max_length=20, description="null: detected automatically.", examples=["en"]),
    speakers: int | None = Form(None, ge=1, le=20, description="None: estimated.", examples=[2]),
    diarize: bool = Form(True, description="Detect the speakers.", examples=[True]),
    summarize: bool = Form(True, examples=[True]),
) -> Made:
    """Store a recording and queue its transcription. Its ``state`` is ready once the transcript exists."""
    user = caller(request).user
    options = {
        "engine": engine, "language": language, "speakers": speakers, "diarize": diarize, "summarize": summarize,
    }  # fmt: skip
    with received(user, audio) as (path, _facts):
        recording = intake.create_recording(user=user, name=name_of(audio), source=path, options=options)
    return Made(RecordingOut.from_orm(recording), f"/api/v1/recordings/{recording.pk}")


@router.get("/recordings/search", response=HitsOut, summary="Search transcripts", **needs("read"))
def search(
    request: HttpRequest,
    q: str = Query(..., max_length=400, description="Words; phrases in quotation marks.", examples=["compass"]),
    recording: UUID | None = IN_ONE,
    limit: int = Query(USUAL_HITS, ge=1, le=MAX_HITS, examples=[USUAL_HITS]),
) -> HitsOut:
    """List segments that contain all the words, best first."""
    one = a_recording(request, recording) if recording is not None else None
    hits = transcripts.search(user=caller(request).user, query=q, recording=one, limit=limit)
    return HitsOut(
        items=[
            HitOut(
                recording=hit.recording_id, name=hit.recording, segment=hit.number, start_s=hit.start_s,
                end_s=hit.end_s, speaker=hit.speaker, text=hit.text,
            )
            for hit in hits
        ]
    )  # fmt: skip


@router.post("/recordings/ask", response=AnswerOut, summary="Ask a question about recordings", **needs("read"))
def ask(request: HttpRequest, payload: QuestionIn) -> AnswerOut:
    """Answer a question, citing speaker, recording and time; with the language model if the owner has set one up."""
    one = a_recording(request, payload.recording) if payload.recording is not None else None
    answer = asking.answer(user=caller(request).user, question=payload.question, recording=one)
    return AnswerOut(**{name: answer[name] for name in AnswerOut.model_fields})


@router.get(ONE, response=RecordingOut, summary="A recording", **needs("read"))
def recording(request: HttpRequest, recording_id: UUID) -> Recording:
    """Return the recording's state and, if it failed, why."""
    return a_recording(request, recording_id)


@router.delete(ONE, response={204: None}, summary="Delete a recording", **needs("audio"))
def delete(request: HttpRequest, recording_id: UUID) -> Status:
    """Delete the recording with everything made from it: files, text, links, clips in the library."""
    deletion.delete(recording=a_recording(request, recording_id, owned))
    return Status(204, None)


@router.get(ONE + "/transcript", response=TranscriptOut, summary="The transcript", **needs("read"))
def transcript(request: HttpRequest, recording_id: UUID) -> dict[str, Any]:
    """Return words, times and speakers. Only the recording's user sees ``sounds_like``.

    Returns 409 if the recording has no transcript.
    """
    transcribed = a_recording(request, recording_id)
    content = as_json(transcripts.transcript_of(transcribed))
    if transcribed.user != caller(request).user:
        content["sounds_like"] = {}
    return {name: value for name, value in content.items() if name != "schema"}


@router.post(ONE + "/speakers", response={201: JobOut}, summary="Detect speakers again", **needs("audio"))
@creation()
def detect_speakers(request: HttpRequest, recording_id: UUID, payload: SpeakersIn) -> Made:
    """Queue a new detection of speakers. Words, corrections and names remain.

    Returns 409 while another job processes the recording.
    """
    mine = a_recording(request, recording_id, to_change)
    job = speaker_changes.detect_speakers_again(recording=mine, speakers=payload.speakers)
    return Made(job_out(job, caller(request).user), f"/api/v1/jobs/{job.id}")


@router.patch(ONE + "/speakers/{speaker}", response=TranscriptOut, summary="Name a speaker", **needs("audio"))
def name_speaker(request: HttpRequest, recording_id: UUID, speaker: str, payload: SpeakerIn) -> dict[str, Any]:
    """Name the speaker and return the transcript."""
    mine = a_recording(request, recording_id, to_change)
    speaker_changes.name_speakers(recording=mine, names={speaker: payload.name})
    return transcript(request, recording_id)


@router.post(ONE + "/speakers/{speaker}/voice", response=VoicesOut, summary="Remember a voice", **needs("audio"))
def remember_voice(request: HttpRequest, recording_id: UUID, speaker: str, payload: VoiceIn) -> dict[str, Any]:
    """Name the speaker and store their voiceprint, so that later recordings offer the name (``sounds_like``)."""
    mine = a_recording(request, recording_id, owned)
    name = payload.name.strip() or transcripts.transcript_of(mine).speakers.get(speaker, "")
    if not payload.consent or UNNAMED.fullmatch(name):
        raise HarkError(
            _("The voice was not remembered."),
            _("That needs a name, and the consent of the person whose voice it is."),
            _("Ask them; if they agree, send their name and consent: true."),
        )
    speaker_changes.name_speakers(recording=mine, names={speaker: name})
    speaker_changes.remember_voice(recording=mine, speaker=speaker, name=name)
    return voices(request)


@router.get("/remembered-voices", response=VoicesOut, summary="Remembered voices", **needs("read"))
def voices(request: HttpRequest) -> dict[str, Any]:
    """Return the names of remembered voices. They are personal data."""
    return {"voices": speaker_changes.voices_of(caller(request).user)}


@router.delete("/remembered-voices/{person}", response={204: None}, summary="Forget a voice", **needs("audio"))
def forget_voice(request: HttpRequest, person: str) -> Status[None]:
    """Delete a remembered voice. Names in transcripts remain."""
    if not speaker_changes.forget_voice(user=caller(request).user, name=person):
        raise Http404
    return Status(204, None)


@router.patch(
    ONE + "/segments/{int:number}/speaker", response=TranscriptOut, summary="Assign a speaker", **needs("audio")
)
def assign_speaker(request: HttpRequest, recording_id: UUID, number: int, payload: PassageSpeakerIn) -> dict[str, Any]:
    """Set the speaker of a passage, or of all passages of its speaker; return the transcript."""
    mine = a_recording(request, recording_id, to_change)
    speaker_changes.assign_speaker(
        recording=mine, number=number, speaker=payload.speaker, from_word=payload.from_word,
        all_of_theirs=payload.all_of_theirs,
    )  # fmt: skip
    return transcript(request, recording_id)


@router.post(ONE + "/segments/{int:number}/join", response=TranscriptOut, summary="Join two passages", **needs("audio"))
def join_segments(request: HttpRequest, recording_id: UUID, number: int) -> dict[str, Any]:
    """Join a passage and the next one by the same speaker; return the transcript."""
    corrections.join_with_next(recording=a_recording(request, recording_id, to_change), number=number)
    return transcript(request, recording_id)


@router.post(ONE + "/undo", response=TranscriptOut, summary="Undo the last change", **needs("audio"))
def undo(request: HttpRequest, recording_id: UUID) -> dict[str, Any]:
    """Undo the last change of the transcript; return the transcript. Returns 422 if there is nothing to undo."""
    corrections.undo(recording=a_recording(request, recording_id, to_change))
    return transcript(request, recording_id)


@router.get(
    ONE + "/export",
    response=None,
    summary="Export the transcript",
    **needs("read", **file_of("application/octet-stream")),
)
def export(
    request: HttpRequest,
    recording_id: UUID,
    format: ExportFormat = FORMAT,
    language: str = Query(
        "", max_length=20, description="The language of a translation; without it, the transcript.", examples=[""]
    ),
) -> FileResponse:
    """Export as text, captions (SRT, VTT), JSON, table (CSV) or document (DOCX).

    Returns 409 if the translation does not exist.
    """
    return derived.export(a_recording(request, recording_id), format, language)


@router.post(ONE + "/translations", response={201: JobOut}, summary="Translate the transcript", **needs("audio"))
@creation()
def translate(
    request: HttpRequest,
    recording_id: UUID,
    language: str = Query(..., max_length=20, description="Its code.", examples=["de"]),
) -> Made:
    """Queue a translation by the owner's language model. Export it with its ``language``.

    The transcript does not change.
    """
    job = derived.translate(recording=a_recording(request, recording_id, to_change), language=language)
    return Made(job_out(job, caller(request).user), f"/api/v1/jobs/{job.id}")


@router.post(ONE + "/summary", response={201: JobOut}, summary="Summarize again", **needs("audio"))
@creation()
def summarize(
    request: HttpRequest,
    recording_id: UUID,
    engine: str = Query("auto", max_length=40, description="Of summaries.", examples=["auto"]),
) -> Made:
    """Queue another summary, which replaces the present one.

    Returns 409 while the recording is transcribed or summarized.
    """
    job = derived.summarize_again(recording=a_recording(request, recording_id, to_change), engine=engine)
    return Made(job_out(job, caller(request).user), f"/api/v1/jobs/{job.id}")


@router.get(ONE + "/summary", response=RecordingSummaryOut, summary="The summary", **needs("read"))
def summary(request: HttpRequest, recording_id: UUID) -> dict[str, Any]:
    """Return the text, key points and action items, each with its segments, and the sentiment.

    Returns 409 without a summary.
    """
    mine = a_recording(request, recording_id)
    transcripts.transcript_of(mine)
    content = derived.summary_of(mine)
    if content is None:
        raise StatusError(
            409,
            _("There is no summary."),
            _("None was requested, the recording has no speech, or no engine could write one."),
            _("Request a summary (POST), or look at the job of the recording."),
        )
    return content
