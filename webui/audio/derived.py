"""What is made of a transcript: files, summaries, translations."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.conf.locale import LANG_INFO
from django.http import FileResponse
from django.utils.translation import get_language_info
from django.utils.translation import gettext as _

from core.errors import HarkError
from pipeline.recordings import llm
from pipeline.recordings.captions import FORMATS, write
from pipeline.recordings.recording_folder import SUMMARY, TRANSCRIPT, TRANSLATIONS
from pipeline.recordings.summarization import check_engine, engines, words_of
from pipeline.recordings.transcript import Transcript, load_transcript
from pipeline.recordings.translation import translation_file
from webui.audio.models import Recording
from webui.audio.transcripts import newest_job, submit_alone, transcript_of, transcript_to_change
from webui.errors import StatusError
from webui.jobs.models import Job
from webui.transactions import alone

LANGUAGE_MODEL = "llm"  # the engine of summaries that may cost something
FOLLOWS_AFTER_S = 20.0  # without corrections, after which the summary follows them


def export(recording: Recording, wanted: str, language: str = "") -> FileResponse:
    """The transcript, or its translation into a language (its code), as a file of one of
    ``pipeline.recordings.captions.FORMATS``, without the names that nobody has confirmed. Raises HarkError: another
    format, or there is no such translation."""
    if language and language not in {one["language"] for one in translations_of(recording)}:
        raise StatusError(
            409,
            _("There is no such translation."),
            _("The transcript was not translated into that language."),
            _("Have it translated first."),
        )
    whole = load_transcript(translation_file(recording.path, language)) if language else transcript_of(recording)
    content = io.BytesIO(write(replace(whole, sounds_like={}), wanted, recording.name))
    name = f"{file_stem(recording)}{f' ({language})' if language else ''}.{wanted}"
    return FileResponse(content, as_attachment=True, filename=name, content_type=FORMATS[wanted].content_type)


def file_stem(recording: Recording) -> str:
    return re.sub(r"[.][A-Za-z0-9]{1,8}$", "", recording.name) or "recording"


def summary_of(recording: Recording) -> dict[str, Any] | None:
    """The summary as in ``summary.json``; None where there is none."""
    try:
        summary: dict[str, Any] = json.loads((recording.path / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary


def summary_is_outdated(summary: dict[str, Any], transcript: Transcript) -> bool:
    """Whether words were corrected after the summary was made."""
    if made_of := summary.get("made_of"):
        return bool(made_of != words_of(transcript))
    return any(segment.edited for segment in transcript.segments)  # made before that was kept


def summarize_again(*, recording: Recording, engine: str = "auto") -> Job:
    """Queue another summary, of the transcript as it is now; the one that is there stays until then. The job.

    Args:
        engine: of summaries; "auto", as at the first time, is the best that is ready.

    Raises StatusError (409): there is no transcript yet, or the recording is being transcribed or summarized;
    HarkError: no such engine, or it is not ready; webui.jobs.services.LimitReached: too many are waiting.
    """
    check_engine(engine)
    with alone():
        current, _transcript = transcript_to_change(recording)
        return submit_alone(current, "summarize", _("The recording is being summarized."), engine=engine)


def engine_that_follows(recording: Recording, summary: Mapping[str, Any]) -> str:
    """The engine by which an outdated summary is made again unasked: the one that made it; "" where none may.

    A language model that costs something, or is elsewhere, writes again only where the user has chosen it by name. What
    has been tried since the last correction is not tried again.
    """
    last = newest_job(recording, "summarize")
    if last is not None and (last.is_going or last.created_at.timestamp() > _changed_at(recording)):
        return ""
    made_by = str(summary.get("engine", ""))
    name = next((known.name for known in engines() if made_by.startswith(known.name)), LANGUAGE_MODEL)
    if name == LANGUAGE_MODEL and (last is None or last.spec.get("engine") != LANGUAGE_MODEL):
        return ""
    return name


def seconds_of_rest(recording: Recording) -> int:
    """How long a summary still waits for more corrections, before it follows them."""
    return max(1, round(FOLLOWS_AFTER_S - (time.time() - _changed_at(recording))))


def follow_corrections(*, recording: Recording) -> Job | None:
    """Queue another summary where words were corrected since, and :func:`engine_that_follows`. None where it waits."""
    summary = summary_of(recording)
    if summary is None or not summary_is_outdated(summary, transcript_of(recording)):
        return None
    engine = engine_that_follows(recording, summary)
    try:
        return summarize_again(recording=recording, engine=engine) if engine else None
    except HarkError:
        return None  # the page offers it still


def _changed_at(recording: Recording) -> float:
    try:
        return (recording.path / TRANSCRIPT).stat().st_mtime
    except OSError:
        return 0.0


def polish(*, recording: Recording) -> Job:
    """Queue the polishing of a transcript by the owner's language model, as files beside it. The job. Raises
    StatusError (409): there is no transcript yet, or the recording is being transcribed or polished; HarkError: no
    language model is set up; webui.jobs.services.LimitReached: too many are waiting."""
    llm.available().require(_("The recording cannot be polished here."))
    with alone():
        current, _transcript = transcript_to_change(recording)
        return submit_alone(current, "polish", _("The recording is being polished."))


def translate(*, recording: Recording, language: str) -> Job:
    """Queue the translation of a transcript by the owner's language model. The job.

    Args:
        language: the code of one of :func:`languages_of_translation`.

    Raises StatusError (409): there is no transcript yet, or the recording is being transcribed or translated;
    HarkError: no language model is set up, or there is no such language; webui.jobs.services.LimitReached: too many are
    waiting.
    """
    llm.available().require(_("The recording cannot be translated here."))
    if language not in dict(languages_of_translation()):
        raise HarkError(
            _("The recording cannot be translated like that."),
            _("There is no language %(code)s.") % {"code": language[:20]},
            _("Choose another language."),
        )
    name = str(get_language_info(language)["name"])
    with alone():
        current, _transcript = transcript_to_change(recording)
        going = _("The recording is being translated.")
        return submit_alone(current, "translate", going, language=language, name=name)


def languages_of_translation() -> list[tuple[str, str]]:
    """Codes and names, in the language of the page, of what a transcript can be translated into."""
    known = ((code, get_language_info(code)["name_translated"]) for code in LANG_INFO if "name" in LANG_INFO[code])
    return sorted(known, key=lambda one: str(one[1]).casefold())


def translations_of(recording: Recording) -> list[dict[str, Any]]:
    """The translations that there are: ``language``, its ``name``, and whether the transcript was changed since."""
    try:
        changed = (recording.path / TRANSCRIPT).stat().st_mtime
        files = sorted((recording.path / TRANSLATIONS).glob("*.json"))
        made = {file.stem: file.stat().st_mtime for file in files}
    except OSError:
        return []
    names = dict(languages_of_translation()) if made else {}
    return [{"language": code, "name": names.get(code, code), "outdated": at < changed} for code, at in made.items()]
