"""Creation of recordings from uploads, and their repeated transcription."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from core.data_folder import storing
from core.errors import HarkError
from pipeline.recordings.files.media import clean_name, probe, suffix_of
from pipeline.recordings.files.recording_folder import GIVEN_TEXT, RECORDINGS
from pipeline.recordings.recording_options import RecordingOptions
from pipeline.recordings.transcription.registry import engines
from pipeline.recordings.transcription.transcribe import PROGRESS_FILE
from webui.accounts.models import User
from webui.http.errors import StatusError
from webui.jobs import services as jobs
from webui.jobs.quota import MAX_SECONDS_KEY, SECONDS, check_minutes, seconds_left
from webui.recordings.models import Recording
from webui.recordings.transcribing import expected_words
from webui.recordings.transcribing.jobs import submit
from webui.transactions import serialized
from webui.upload_limits import check_size

MAX_SPEAKERS = 20
_LANGUAGE = re.compile(r"([a-z]{2,3}(-[a-z0-9]{2,8})*)?")


def create_recording(
    *,
    user: User,
    name: str,
    source: Path,
    options: Mapping[str, Any] | None = None,
    more: Sequence[Path] = (),
    identifier: uuid.UUID | None = None,
    text: str = "",
    even_if_full: bool = False,
) -> Recording:
    """Move an audio file, which already counts in its user's quota, into a recording; queue its transcription.

    Args:
      name: the file name of ``source``, which becomes the recording's name, without path and control characters; with
          ``more``, followed by the number of further files.
      options: fields of :class:`RecordingOptions`; others are rejected.
      more: further files, which are also moved and are appended to ``source`` in this order.
      identifier: identifier of the recording; by default a new one.
      text: the user's text of it, for training; "" for none.
      even_if_full: accept it regardless of the number of waiting jobs, because it cannot be recorded again.

    Raises HarkError if the file is empty or too large, an option is invalid, or the disk is full;
    webui.jobs.services.TooManyJobs if too many jobs wait; StatusError (429) if the user's quota of jobs today or
    minutes this month is exhausted. In these cases, the files are not moved.
    """
    chosen = checked_options(options or {})
    sources = [source, *more]
    sizes = [path.stat().st_size for path in sources]
    if not min(sizes):
        raise HarkError(_("The recording is empty."), _("The file has 0 bytes."), _("Choose another file."))
    check_size(user, sum(sizes))
    name = clean_name(name)
    # Only a safe suffix of the uploaded name becomes part of a path.
    originals = [f"original{suffix_of(name) or suffix_of(source.name)}"]
    if more:
        originals = [f"original-{number}{suffix_of(path.name)}" for number, path in enumerate(sources, 1)]
    seconds = 0.0
    if seconds_left(user) is not None:  # the header may be wrong, so the job enforces the limit too
        for path in sources:
            with suppress(HarkError):
                seconds += probe(path).duration_s
    if more:
        name = _("%(name)s and %(n)d more") % {"name": name, "n": len(more)}
    identifier = identifier or uuid.uuid4()
    recording = Recording(
        id=identifier, user=user, name=name, folder=f"{RECORDINGS}/{identifier}", options=chosen, bytes=sum(sizes),
        originals=originals,
    )  # fmt: skip
    with storing("saving the recording"), ExitStack() as undo:
        recording.path.mkdir(parents=True)  # fails if another request has finished the same upload
        undo.callback(shutil.rmtree, recording.path, ignore_errors=True)
        for path, file_name in zip(sources, recording.originals, strict=True):
            shutil.move(path, recording.path / file_name)
            undo.callback(shutil.move, recording.path / file_name, path)
        if text:
            with storing("saving the text"):
                (recording.path / GIVEN_TEXT).write_text(text, encoding="utf-8")
        with serialized():
            transaction.on_commit(undo.pop_all)  # registered first: the files remain even if a later callback fails
            recording.save(force_insert=True)
            _submit(recording, even_if_full, seconds)
        undo.pop_all()
    return recording


def _submit(recording: Recording, even_if_full: bool = False, seconds: float = 0.0) -> None:
    """Queue the transcription with the recording's options; ``seconds`` is its duration, 0 if unknown."""
    if not even_if_full:
        check_minutes(recording.user, seconds)
    left_s = seconds_left(recording.user)
    recording.job = submit(
        recording, "transcribe", even_if_full, originals=recording.originals, name=recording.name,
        options=recording.options, owner=recording.user.is_owner,
        words=expected_words.expected(recording.user, recording.options.get("language")),
        **({} if even_if_full else {MAX_SECONDS_KEY: left_s}),
        **({} if left_s is None else {SECONDS: seconds}),
    )  # fmt: skip
    recording.state = Recording.State.WORKING
    recording.save(update_fields=["job", "state", "options"])


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all fields of :class:`RecordingOptions`, with defaults for missing and empty ones.

    Raises HarkError if an option is invalid.
    """
    defaults = asdict(RecordingOptions())
    chosen = defaults | dict(options)
    if unknown := options.keys() - defaults.keys():
        raise _no_options(_("The option %(name)s does not exist.") % {"name": str(min(unknown))[:40]})
    engine, language, speakers = chosen["engine"] or "auto", chosen["language"] or "", chosen["speakers"] or None
    if engine != "auto" and engine not in [known.name for known in engines()]:
        raise _no_options(_("There is no recognition engine called %(name)s.") % {"name": str(engine)[:40]})
    if not (isinstance(language, str) and _LANGUAGE.fullmatch(language := language.strip().lower())):
        raise _no_options(_("A language code looks like en, de or pt-br."))
    if speakers is not None and not (
        isinstance(speakers, int) and not isinstance(speakers, bool) and 1 <= speakers <= MAX_SPEAKERS
    ):
        raise _no_options(_("The number of speakers must be from 1 to %(most)d.") % {"most": MAX_SPEAKERS})
    if speakers is not None and not chosen["diarize"]:
        raise _no_options(_("Without diarize, Hark does not distinguish speakers."))
    session = None if chosen["session"] is None else str(chosen["session"])[:100]
    return asdict(
        RecordingOptions(
            engine=engine,
            language=language or None,
            speakers=speakers,
            diarize=bool(chosen["diarize"]),
            summarize=bool(chosen["summarize"]),
            translate=bool(chosen["translate"]),
            session=session,
        )
    )


def _no_options(why: str) -> HarkError:
    return HarkError(_("The recording cannot be transcribed with these options."), why, _("Choose another option."))


def transcribe_again(*, recording: Recording, options: Mapping[str, Any] | None = None) -> None:
    """Queue another transcription. The present one remains until then.

    Raises StatusError (409) while a job transcribes it, HarkError if an option is invalid, and TooManyJobs or
    StatusError (429) as :func:`create_recording` does.
    """
    with serialized():
        old = Recording.objects.select_related("job").get(pk=recording.pk).job
        if old is not None and old.is_going:
            raise StatusError(
                409,
                _("The recording is being transcribed."),
                _("Only one job can change a recording at a time."),
                _("Wait, or cancel the job."),
            )
        if options is not None:
            recording.options = checked_options({**recording.options, **options})
        recording.job = None
        recording.save(update_fields=["job"])
        _submit(recording, seconds=recording.duration_s or 0.0)
        (recording.path / PROGRESS_FILE).unlink(missing_ok=True)
        if old is not None and old.pk != recording.job_id:
            jobs.forget(old)


def retry(*, recording: Recording) -> None:
    """Continue a failed transcription."""
    if recording.job is None:
        transcribe_again(recording=recording)
    elif recording.job.can_be_retried:
        jobs.retry(job=recording.job)
