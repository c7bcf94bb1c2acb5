"""Transcription of recordings for clients that wait.

Short ones go to the speech service, where the models are already loaded, and are not stored. Longer ones are
transcribed by a job, like those on the page of recordings, and removed after the response. If the client would wait too
long, the response states where the transcript will be.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from django.core.exceptions import ObjectDoesNotExist
from django.core.files.uploadedfile import UploadedFile

from core.errors import HarkError
from pipeline.recordings.files.media import MediaLimits, normalize
from pipeline.recordings.recording_options import RecordingOptions
from pipeline.recordings.summarization import Summary, summarize
from pipeline.recordings.transcribing import transcribed
from pipeline.recordings.transcription.transcribe import PROGRESS_FILE
from pipeline.recordings.transcripts.transcript import Segment, Transcript
from pipeline.speech_service import client as speech_client
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.http.errors import StatusError
from webui.http.slots import slot
from webui.jobs.quota import check_minutes, take_minutes
from webui.recordings import deletion
from webui.recordings.models import Recording
from webui.recordings.reading import transcripts
from webui.recordings.transcribing import expected_words, intake
from webui.recordings.uploading.whole_files import name_of, received

AT_ONCE_S = 120.0  # seconds of audio that is transcribed without a job
AT_ONCE_TIMEOUT_S = 300.0  # seconds; long, because the first request loads the model
MAX_WAIT_S = 300.0  # seconds that a request waits for a job
LOOK_EVERY_S = 0.5
SENTENCE_S = 5.0  # nominal length of a sentence of plain text, so that it can be cited


def transcribe_upload(
    *,
    user: User,
    upload: UploadedFile,
    engine: str = "auto",
    language: str | None = None,
    most_s: float | None = None,
    translate: bool = False,
    on_progress_file: Callable[[Path], None] = lambda progress: None,
) -> Transcript:
    """Transcribe an upload of at most ``most_s`` seconds; with ``translate``, into English.

    ``on_progress_file`` is called with the file of finished chunks (which may not exist yet). Raises HarkError if it is
    not a recording, exceeds the limits, or cannot be transcribed, and StatusError if it takes longer than this endpoint
    waits (504), or too many already wait (429).
    """
    options = RecordingOptions(engine, language, diarize=False, summarize=False, translate=translate)
    with slot(user), received(user, upload) as (path, facts):
        limits = MediaLimits.from_environment(owner=user.is_owner)
        if most_s is not None:
            limits = replace(limits, max_seconds=min(most_s, limits.max_seconds))
            limits.check_seconds(facts.duration_s)
        check_minutes(user, facts.duration_s)
        if facts.duration_s <= AT_ONCE_S:
            flac = path.with_name(f"{path.stem}.16k.flac")
            try:
                measured = normalize(path, flac, limits)
                if measured.duration_s <= AT_ONCE_S:
                    words = expected_words.expected(user, language)
                    check_minutes(user, measured.duration_s)
                    with tempfile.TemporaryDirectory(dir=path.parent) as work:
                        on_progress_file(Path(work) / PROGRESS_FILE)
                        transcript = speech_client.call(
                            AT_ONCE_TIMEOUT_S, transcribed, flac, options, data=user_data(user), work=Path(work),
                            words=words,
                        )  # fmt: skip
                    take_minutes(user, measured.duration_s)
                    return transcript
            finally:
                flac.unlink(missing_ok=True)
        recording = intake.create_recording(user=user, name=name_of(upload), source=path, options=asdict(options))
        on_progress_file(recording.path / PROGRESS_FILE)
    return _waited_for(recording)


def _waited_for(recording: Recording) -> Transcript:
    until = time.monotonic() + MAX_WAIT_S
    while time.monotonic() < until:
        try:
            recording.refresh_from_db()
        except ObjectDoesNotExist:
            raise StatusError(
                410,
                "The recording was deleted.",
                "Another request deleted it during the transcription.",
                "Send the recording again if that was a mistake.",
            ) from None
        if recording.state == recording.State.READY:
            transcript = transcripts.transcript_of(recording)
            deletion.delete(recording=recording)
            return transcript
        if recording.state == recording.State.FAILED:
            error = failure_of(recording)
            deletion.delete(recording=recording)
            raise error
        time.sleep(LOOK_EVERY_S)
    raise StatusError(
        504,
        "The transcription takes longer than this URL waits.",
        f"A recording longer than {AT_ONCE_S / 60:.0f} minutes is transcribed in a job. This one did not end in time, "
        "but continues.",
        f"Poll GET /api/v1/recordings/{recording.pk} until its state is ready, then GET its /transcript.",
    )


def failure_of(recording: Recording) -> HarkError:
    """Return the reason for a missing transcript, from its job."""
    error = (recording.job.error if recording.job is not None else None) or {}
    return HarkError(
        error.get("what", "The recording could not be transcribed."),
        error.get("why", "Its job ended before it was finished."),
        error.get("what_to_do", "Send it again."),
    )


def text_of(transcript: Transcript) -> str:
    return " ".join(segment.text.strip() for segment in transcript.segments if segment.text.strip())


def summary_of_transcript(transcript: Transcript, user: User) -> Summary:
    """Summarize a transcript with the best ready engine. Raises StatusError (429) if too many already wait."""
    with slot(user):
        return speech_client.call(AT_ONCE_TIMEOUT_S, summarize, transcript)


def as_transcript(text: str) -> Transcript:
    """Return a plain text as a transcript with a segment for each sentence."""
    sentences = [" ".join(sentence.split()) for sentence in re.split(r"(?<=[.!?…])\s+|\n+|(?<=[。！？])", text)]
    segments = tuple(
        Segment(number * SENTENCE_S, (number + 1) * SENTENCE_S, sentence, 1.0)
        for number, sentence in enumerate(filter(None, sentences))
    )
    return Transcript(len(segments) * SENTENCE_S, "", "text", segments)
