"""Exports, summaries and translations of a transcript."""

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
from pipeline.recordings.files.recording_folder import SUMMARY, TRANSCRIPT, TRANSLATIONS
from pipeline.recordings.language_models import llm
from pipeline.recordings.summarization import check_engine, engines, words_of
from pipeline.recordings.transcripts.captions import FORMATS, write
from pipeline.recordings.transcripts.transcript import Transcript, load_transcript
from pipeline.recordings.translation import translation_file
from webui.http.errors import StatusError
from webui.jobs.models import Job
from webui.recordings.models import Recording
from webui.recordings.reading.transcripts import transcript_of, transcript_to_change
from webui.recordings.transcribing.jobs import newest_job, submit_alone
from webui.transactions import serialized

LANGUAGE_MODEL = "llm"  # the summarizer that may cost money
FOLLOWS_AFTER_S = 20.0  # seconds without further corrections before the summary is updated


def export(recording: Recording, wanted: str, language: str = "") -> FileResponse:
    """Return the transcript or a translation (by language code) as a file of ``captions.FORMATS``.

    Unconfirmed names are omitted. Raises HarkError if the format is unknown, and StatusError (409) if the
    translation does not exist.
    """
    if language and language not in {one["language"] for one in translations_of(recording)}:
        raise StatusError(
            409,
            _("There is no such translation."),
            _("The transcript was not translated into that language."),
            _("Translate it first."),
        )
    whole = load_transcript(translation_file(recording.path, language)) if language else transcript_of(recording)
    content = io.BytesIO(write(replace(whole, sounds_like={}), wanted, recording.name))
    name = f"{file_stem(recording)}{f' ({language})' if language else ''}.{wanted}"
    return FileResponse(content, as_attachment=True, filename=name, content_type=FORMATS[wanted].content_type)


def file_stem(recording: Recording) -> str:
    return re.sub(r"[.][A-Za-z0-9]{1,8}$", "", recording.name) or "recording"


def summary_of(recording: Recording) -> dict[str, Any] | None:
    """Return the summary from ``summary.json``; None if the file is missing or damaged."""
    try:
        summary: dict[str, Any] = json.loads((recording.path / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary


def summary_is_outdated(summary: dict[str, Any], transcript: Transcript) -> bool:
    """Return whether words were corrected after the summary was made."""
    return bool(summary["made_of"] != words_of(transcript))


def summarize_again(*, recording: Recording, engine: str = "auto") -> Job:
    """Queue another summary of the current transcript, which then replaces the present one.

    Args:
      engine: the summarizer; "auto", as for the first summary, is the best that is ready.

    Raises StatusError (409) if the recording has no transcript, or while it is being transcribed or summarized,
    HarkError if the engine is unknown or not ready, and webui.jobs.services.TooManyJobs if too many jobs wait.
    """
    check_engine(engine)
    with serialized():
        current, _transcript = transcript_to_change(recording)
        return submit_alone(current, "summarize", _("The recording is being summarized."), engine=engine)


def engine_that_follows(recording: Recording, summary: Mapping[str, Any]) -> str:
    """Return the summarizer that may update an outdated summary automatically: the one that made it; "" for none.

    A language model that costs money or runs elsewhere may do so only if the user chose it by name. It is not tried
    again until the next correction.
    """
    last = newest_job(recording, "summarize")
    if last is not None and (last.is_going or last.created_at.timestamp() > _changed_at(recording)):
        return ""
    author = str(summary["engine"])
    name = next((known.name for known in engines() if author.startswith(known.name)), LANGUAGE_MODEL)
    if name == LANGUAGE_MODEL and (last is None or last.spec.get("engine") != LANGUAGE_MODEL):
        return ""
    return name


def debounce_left_s(recording: Recording) -> int:
    """Return the seconds to wait before a summary may be updated, at least 1: the user may still be correcting."""
    return max(1, round(FOLLOWS_AFTER_S - (time.time() - _changed_at(recording))))


def follow_corrections(*, recording: Recording) -> Job | None:
    """Queue an update of an outdated summary if :func:`engine_that_follows` permits it; return None otherwise."""
    summary = summary_of(recording)
    if summary is None or not summary_is_outdated(summary, transcript_of(recording)):
        return None
    engine = engine_that_follows(recording, summary)
    try:
        return summarize_again(recording=recording, engine=engine) if engine else None
    except HarkError:
        return None  # too many jobs wait, for example; the page still has a button for it


def _changed_at(recording: Recording) -> float:
    try:
        return (recording.path / TRANSCRIPT).stat().st_mtime
    except OSError:
        return 0.0


def polish(*, recording: Recording) -> Job:
    """Queue the clean-up of a transcript by the owner's language model, stored next to it.

    Raises StatusError (409) if the recording has no transcript, or while it is being transcribed or cleaned up;
    HarkError if no language model is set up; and webui.jobs.services.TooManyJobs if too many jobs wait.
    """
    llm.available().require(_("The transcript cannot be cleaned up here."))
    with serialized():
        current, _transcript = transcript_to_change(recording)
        return submit_alone(current, "polish", _("The transcript is being cleaned up."))


def translate(*, recording: Recording, language: str) -> Job:
    """Queue the translation of a transcript by the owner's language model.

    Args:
      language: the code of one of :func:`languages_of_translation`.

    Raises StatusError (409) if the recording has no transcript, or while it is being transcribed or translated;
    HarkError if no language model is set up or the language is unknown; and webui.jobs.services.TooManyJobs if too
    many jobs wait.
    """
    llm.available().require(_("The recording cannot be translated here."))
    if language not in dict(languages_of_translation()):
        raise HarkError(
            _("The recording cannot be translated into that language."),
            _("Hark does not know the language %(code)s.") % {"code": language[:20]},
            _("Choose another language."),
        )
    name = str(get_language_info(language)["name"])
    with serialized():
        current, _transcript = transcript_to_change(recording)
        refusal = _("The recording is being translated.")
        return submit_alone(current, "translate", refusal, language=language, name=name)


def languages_of_translation() -> list[tuple[str, str]]:
    """Return the codes and names (in the page's language) of the languages of translations."""
    known = ((code, get_language_info(code)["name_translated"]) for code in LANG_INFO if "name" in LANG_INFO[code])
    return sorted(known, key=lambda one: str(one[1]).casefold())


def translations_of(recording: Recording) -> list[dict[str, Any]]:
    """Return existing translations: ``language``, its ``name``, and whether the transcript has since changed."""
    try:
        changed = (recording.path / TRANSCRIPT).stat().st_mtime
        files = sorted((recording.path / TRANSLATIONS).glob("*.json"))
        times = {file.stem: file.stat().st_mtime for file in files}
    except OSError:
        return []
    names = dict(languages_of_translation()) if times else {}
    return [{"language": code, "name": names.get(code, code), "outdated": at < changed} for code, at in times.items()]
