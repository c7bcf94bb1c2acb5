"""Questions about recordings, and their answers: text with citations, and speech."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from pipeline.recordings.answers.question_answering import answer as answer_from
from pipeline.recordings.answers.question_answering import passages
from pipeline.recordings.answers.reader import READER, read_passages
from pipeline.recordings.language_models import llm
from pipeline.recordings.language_models.local_models import LocalModel
from pipeline.recordings.language_models.text_similarity import EMBEDDING, similarities
from pipeline.recordings.transcription.registry import choose
from pipeline.recordings.transcription.transcribe import recognize
from pipeline.speech_service import client as speech_client
from webui import speech
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.http.slots import slot
from webui.recordings.models import Recording
from webui.recordings.reading import search, transcripts
from webui.translation import shown

MAX_RECORDINGS = 20  # recordings read per question on all recordings
MAX_SEGMENTS = 300  # segments from which those recordings are chosen
MAX_SPOKEN_LENGTH = 600  # maximum characters of a spoken answer
MAX_QUESTION_S = 30.0  # seconds of a recorded question
T = TypeVar("T")


def answer(*, user: User, question: str, recording: Recording | None = None) -> dict[str, Any]:
    """Answer a question with citations, as JSON values.

    Returns ``question``, ``language``, ``text``, ``found``, ``how``, ``score``, ``note``, ``citations`` and, without an
    answer, ``nearest`` (see :class:`pipeline.recordings.answers.question_answering.Answer`). Each entry of the last two
    has ``recording`` (id), ``name``, ``segment``, ``start_s``, ``end_s``, ``speaker`` and ``text``. Raises HarkError if
    the question is empty or too long, or the recording has no transcript yet.
    """
    searched = {recording.pk: recording} if recording is not None else _promising(user, question)
    texts = []
    language = "en"
    for searched_recording in searched.values():
        try:
            transcript = transcripts.transcript_of(searched_recording)
        except HarkError:
            if recording is not None:
                raise
            continue  # skip a damaged or just deleted recording, and search the others
        language = transcript.language or language
        texts += passages(str(searched_recording.pk), transcript)
    reply = answer_from(
        question,
        texts,
        read=_in_service(read_passages, READER),
        compare=_in_service(similarities, EMBEDDING),
        language_model=llm.settings() if llm.available().ok else None,
    )
    text = reply.text
    if not reply.found:  # a fixed sentence, not a quotation
        text = shown(reply.text)
        language = (get_language() or "en").split("-")[0]
    citations, nearest = (
        [{**asdict(place), "name": searched[UUID(place.recording)].name} for place in places]
        for places in (reply.citations, reply.nearest)
    )
    return {
        **asdict(reply), "question": question.strip(), "text": text, "note": shown(reply.note), "language": language,
        "citations": citations, "nearest": nearest,
    }  # fmt: skip


def _promising(user: User, question: str) -> dict[UUID, Recording]:
    """Return visible recordings that contain words of the question, best first; with a model, also the newest ones."""
    words = search.terms(question.replace('"', " "))
    hits = search.find(user, words, recording=None, limit=MAX_SEGMENTS, every=False)
    ids = list(dict.fromkeys(hit.recording_id for hit in hits))[:MAX_RECORDINGS]
    transcribed = transcripts.recordings_seen_by(user).filter(version__gt=0)
    if EMBEDDING.readiness().ok or llm.available().ok:
        newest = transcribed.values_list("pk", flat=True)[:MAX_RECORDINGS]
        ids = list(dict.fromkeys([*ids, *newest]))[:MAX_RECORDINGS]
    recordings = {one.pk: one for one in transcripts.recordings_seen_by(user).select_related("user").filter(pk__in=ids)}
    return {pk: recordings[pk] for pk in ids if pk in recordings}


def _in_service(function: Callable[[str, list[str]], T], model: LocalModel) -> Callable[[str, list[str]], T] | None:
    """Return ``function`` as a call to the speech service; None if the model is not ready."""
    if not model.readiness().ok:
        return None
    return lambda question, texts: speech_client.call(60.0, function, question, texts)


def too_long() -> HarkError:
    return HarkError(
        _("The question is too long."),
        _("It can last %(most)d seconds.") % {"most": MAX_QUESTION_S},
        _("Ask a shorter question, or type it."),
    )


def question_of(user: User, audio: np.ndarray, language: str | None = None) -> str:
    """Recognize a recorded question (float32 [samples], 16 kHz).

    Raises HarkError if it is too long or has no words, and StatusError (429) if too many requests already wait.
    """
    if len(audio) > MAX_QUESTION_S * SAMPLE_RATE:
        raise too_long()
    engine, _why = choose("auto", language, user_data(user))
    with slot(user):
        text = " ".join(segment.text for segment in recognize(engine, audio, language)).strip()
    if not text:
        raise HarkError(
            _("The question was not recognized."),
            _("No words were recognized in the recording."),
            _("Speak closer to the microphone, or type the question."),
        )
    return text


def spoken(*, user: User, text: str, language: str) -> bytes:
    """Synthesize a text as a WAV file with the best voice. Raises HarkError if no voice exists."""
    voice = speech.voice_for(user, language)
    if voice is None:
        raise HarkError(
            _("The answer cannot be spoken."),
            _("No engine that is ready here speaks %(language)s.") % {"language": language},
            _("Add a voice on the page Voices and models."),
        )
    return speech.speak(user=user, engine=voice[0], voice=voice[1], text=text[:MAX_SPOKEN_LENGTH], language=language)
