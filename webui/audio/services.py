"""Everything that is done to recordings: what the pages, the API and the earlier systems' addresses share."""

from __future__ import annotations

import io
import itertools
import json
import logging
import re
import secrets
import shutil
import statistics
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from django.conf.locale import LANG_INFO
from django.db import transaction
from django.db.models import QuerySet
from django.http import FileResponse
from django.utils import timezone
from django.utils.translation import get_language_info
from django.utils.translation import gettext as _

from core.data_folder import atomic_path, storing
from core.errors import HarkError
from pipeline.recordings.media import MediaLimits, clean_name, probe, shown_text, suffix_of
from pipeline.recordings.recording_folder import AUDIO, RECORDINGS, SUMMARY, TEXT, TRANSCRIPT, TRANSLATIONS
from pipeline.recordings.transcript import (
    Segment,
    Transcript,
    load_transcript,
    save_transcript,
)
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.accounts.services import digest
from webui.audio import history
from webui.audio import search as searching
from webui.audio.editing import (
    corrected,
    divided,
    joined,
    with_divided_segment,
    with_joined_segments,
    with_other_segments,
    without_segment,
)
from webui.audio.models import Recording, Share
from webui.audio.search import Hit
from webui.jobs import services as jobs
from webui.jobs.models import Job, JobEvent
from webui.jobs.quota import MOST_S, SECONDS, check_minutes, seconds_left, take_minutes
from webui.jobs.services import user_data
from webui.transactions import alone

log = logging.getLogger(__name__)

DEFAULTS: dict[str, Any] = {
    "engine": "auto",  # of recognition
    "language": None,  # as a code; None: found out
    "speakers": None,  # how many there are; None: estimated
    "diarize": True,
    "summarize": True,
    "translate": False,  # into English
    "session": None,  # what an earlier system called the session that a recording belongs to
}
MOST_SPEAKERS = 20
LANGUAGE_MODEL = "llm"  # the engine of summaries that may cost something
FOLLOWS_AFTER_S = 20.0  # without corrections, after which the summary follows them
PACED, LEAST_PACED_S = 50, 10.0  # recordings that say how fast recognizers are here, and their least length
LONGEST_NAME, LONGEST_TEXT = 100, 5000  # letters of a speaker's name, of a passage
SHARE_DAYS, MOST_SHARE_DAYS = 7, 90
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")


class NotReady(HarkError):
    """There is no transcript yet; answered with 409."""

    status = 409


class Changed(HarkError):
    """The transcript has changed meanwhile; answered with 409. ``version`` and ``text`` are the current ones."""

    status = 409
    version = 0
    text = ""


class Gone(HarkError):
    """A link that does not work any more; answered with 410."""

    status = 410


# ---- recordings


def recordings_of(user: User) -> QuerySet[Recording]:
    """A user's own recordings, newest first."""
    return Recording.objects.owned_by(user).select_related("job")


def recordings_seen_by(user: User) -> QuerySet[Recording]:
    """A user's own recordings and those that are shared with them, newest first."""
    return Recording.objects.visible_to(user).select_related("job", "organization")


def create_recording(
    *,
    user: User,
    name: str,
    source: Path,
    options: Mapping[str, Any] | None = None,
    more: Sequence[Path] = (),
    identifier: uuid.UUID | None = None,
    even_if_full: bool = False,
) -> Recording:
    """Take an audio file over (it is moved, and counts in its user's quota already) and queue its transcription.

    Args:
        name: as it is shown; a file's name, without its path and what cannot be shown. Where there are ``more``, that
            of ``source``: the recording's says how many more there are.
        options: of :data:`DEFAULTS`; others are refused.
        more: further files that belong to it, joined behind ``source`` in this order (moved, too).
        identifier: of the recording; a new one unless given.
        even_if_full: taken however many jobs wait, since it could not be had again.

    Raises:
        HarkError: an empty or too large file, options that make no sense, or a full disk.
        webui.jobs.services.LimitReached: too many are waiting. The files are where they were.
        webui.jobs.quota.QuotaUsedUp: the user's jobs of today, or minutes of this month, are.
    """
    chosen = checked_options(options or {})
    sources = [source, *more]
    size = _checked_size(user, sources)
    name = clean_name(name)
    originals = _kept_names(name, sources)
    seconds = 0.0 if seconds_left(user) is None else sum(map(_seconds_in, sources))
    if more:
        name = _("%(name)s and %(n)d more") % {"name": name, "n": len(more)}
    identifier = identifier or uuid.uuid4()
    recording = Recording(
        id=identifier, user=user, name=name, folder=f"{RECORDINGS}/{identifier}", options=chosen, bytes=size,
        originals=originals,
    )  # fmt: skip
    with storing("keeping the recording"), ExitStack() as undo:
        recording.path.mkdir(parents=True)  # of two who finish the same upload the second is refused here
        undo.callback(shutil.rmtree, recording.path, ignore_errors=True)
        for path, kept in zip(sources, recording.originals, strict=True):
            shutil.move(path, recording.path / kept)
            undo.callback(shutil.move, recording.path / kept, path)
        with alone():
            transaction.on_commit(undo.pop_all)  # first of all: whatever fails after the commit, the files stay
            recording.save(force_insert=True)
            _submit(recording, even_if_full, seconds)
        undo.pop_all()
    return recording


def _seconds_in(path: Path) -> float:
    """How long a recording is by its header, which may lie: its job may not take more than is left."""
    with suppress(HarkError):
        return probe(path).duration_s
    return 0.0


def _submit(recording: Recording, even_if_full: bool = False, seconds: float = 0.0) -> None:
    """Queue the transcription with the recording's options; ``seconds``: how long it is, as far as that is known."""
    if not even_if_full:
        check_minutes(recording.user, seconds)
    left_s = seconds_left(recording.user)
    spec = {
        "recording": str(recording.pk), "folder": recording.folder, "originals": recording.originals,
        "name": recording.name, "options": recording.options, "owner": recording.user.is_owner,
        "words": expected_words(recording.user, recording.options.get("language")),
        **({} if even_if_full else {MOST_S: left_s}),
        **({} if left_s is None else {SECONDS: seconds}),
    }  # fmt: skip
    recording.job = jobs.submit(
        user=recording.user, kind="transcribe", title=recording.name, spec=spec, even_if_full=even_if_full,
        organization=recording.organization_id,
    )  # fmt: skip
    recording.state = Recording.State.WORKING
    recording.save(update_fields=["job", "state", "options"])


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a transcription, all of them, with what was not said as in :data:`DEFAULTS`. Raises HarkError."""
    from pipeline.recordings.transcription.registry import engines

    unknown = set(options) - set(DEFAULTS)
    chosen = {**DEFAULTS, **options}
    if unknown:
        raise _no_options(_("There is no option %(name)s.") % {"name": str(min(unknown))[:40]})
    engine, language, speakers = chosen["engine"] or "auto", chosen["language"] or None, chosen["speakers"] or None
    if engine != "auto" and engine not in [known.name for known in engines()]:
        raise _no_options(_("There is no engine of recognition called %(name)s.") % {"name": str(engine)[:40]})
    if language is not None and not (isinstance(language, str) and _LANGUAGE.fullmatch(language.lower())):
        raise _no_options(_("A language is a code such as en, de or pt-br."))
    if speakers is not None and not (
        isinstance(speakers, int) and not isinstance(speakers, bool) and 1 <= speakers <= MOST_SPEAKERS
    ):
        raise _no_options(_("The number of speakers is from 1 to %(most)d.") % {"most": MOST_SPEAKERS})
    session = chosen["session"]
    return {
        "engine": engine,
        "language": language.lower() if language else None,
        "speakers": speakers,
        "diarize": bool(chosen["diarize"]),
        "summarize": bool(chosen["summarize"]),
        "session": None if session is None else str(session)[:100],
        **({"translate": True} if chosen["translate"] else {}),
    }


def _no_options(why: str) -> HarkError:
    return HarkError(_("The recording cannot be transcribed like that."), why, _("Choose something else."))


def check_size(user: User, size: int) -> None:
    """Raise HarkError (413) for a recording of more bytes than are allowed."""
    limits = MediaLimits.from_environment(owner=user.is_owner)
    try:
        limits.check_bytes(size)
    except HarkError as error:
        error.__dict__["status"] = 413
        raise


def _checked_size(user: User, sources: Sequence[Path]) -> int:
    sizes = [path.stat().st_size for path in sources]
    if not min(sizes):
        raise HarkError(_("The recording is empty."), _("The file has 0 bytes."), _("Choose another file."))
    check_size(user, sum(sizes))
    return sum(sizes)


def _kept_names(name: str, sources: Sequence[Path]) -> list[str]:
    """Names of the files in the recording's folder: of what was sent they have a harmless suffix, nothing else."""
    if len(sources) == 1:
        return [f"original{suffix_of(name) or suffix_of(sources[0].name)}"]
    return [f"original-{number}{suffix_of(path.name)}" for number, path in enumerate(sources, 1)]


def transcribe_again(*, recording: Recording, options: Mapping[str, Any] | None = None) -> None:
    """Queue another transcription; what there is stays until the new one is there.

    Raises:
        HarkError: it is being transcribed, or options make no sense.
    """
    (recording.path / "progress.jsonl").unlink(missing_ok=True)
    with alone():
        try:
            current = Recording.objects.select_related("job").get(pk=recording.pk)
        except Recording.DoesNotExist:
            raise
        old = current.job
        if old is not None and old.is_going:
            raise NotReady(
                _("The recording is being transcribed."), _("One thing at a time."), _("Wait, or cancel the job.")
            )
        if options is not None:
            recording.options = checked_options({**recording.options, **options})
        recording.job = None
        recording.save(update_fields=["job"])
        _submit(recording, seconds=recording.duration_s or 0.0)
        if old is not None and old.pk != recording.job_id:
            jobs.forget(old)


def retry(*, recording: Recording) -> None:
    """Go on with a transcription that did not end well, from where it was."""
    if recording.job is None:
        transcribe_again(recording=recording)
    elif recording.job.can_be_retried:
        jobs.retry(job=recording.job)
        Recording.objects.filter(pk=recording.pk).update(state=Recording.State.WORKING)


def transcribed(job: Job) -> None:
    """A transcription is done. Called within the job's transaction."""
    result = job.result or {}
    recording = Recording.objects.select_related("user").filter(pk=job.spec["recording"]).first()
    if recording is None:
        return  # deleted meanwhile
    try:
        transcript = load_transcript(recording.path / TRANSCRIPT)
    except HarkError:
        log.exception("recording %s has no transcript although its job is done", recording.pk)
        Recording.objects.filter(pk=recording.pk).update(state=Recording.State.FAILED)
        return
    recording.state = Recording.State.READY
    recording.duration_s, recording.language = transcript.duration_s, transcript.language[:20]
    recording.engine, recording.speakers = transcript.engine[:200], len(transcript.speakers)
    recording.channels, recording.words = result.get("channels"), result.get("words", 0)
    recording.version += 1
    recording.save()
    history.forget_all(recording.path)
    take_minutes(recording.user, transcript.duration_s, len(transcript.speakers))
    searching.index(recording, transcript)
    if recording.minable:
        _bring_library_up_to_date(recording)


def job_has_ended(sender: object, job: Job, **more: Any) -> None:
    """However a job has ended: its recording's state; and what it wrote after its recording was deleted goes, too."""
    if "recording" not in job.spec:
        return
    recording = Recording.objects.filter(pk=job.spec["recording"])
    if not recording.exists():
        transaction.on_commit(lambda: _remove_leftovers(job))
    elif job.kind == "transcribe" and job.state == Job.State.DONE:
        transcribed(job)
    elif job.kind == "transcribe":
        recording.update(state=Recording.State.FAILED)
    elif job.kind == "speakers" and job.state == Job.State.DONE:
        _speakers_detected(recording.select_related("user", "job").get(), job.result or {})
    elif job.kind == "minable":
        current = recording.select_related("user").get()
        if job.spec["minable"] != current.minable:  # it was switched meanwhile, and who ended last must not decide
            _bring_library_up_to_date(current, after=job)


def _remove_leftovers(job: Job) -> None:
    from pipeline.recordings.job import remove_from_library

    remove_from_library(user_data(job.user), job.spec["recording"])
    folder = user_data(job.user) / job.spec["folder"]
    shutil.rmtree(folder, ignore_errors=True)
    jobs.forget(job)  # its title and log say what was in the recording


def delete(*, recording: Recording) -> None:
    """Delete a recording with all that was made of it: files, text, links, clips in the library, its job and its log.

    Raises:
        HarkError: a file could not be removed; the recording is still there then.
    """
    from pipeline.recordings.job import remove_from_library

    going = list(Job.objects.filter(user=recording.user, spec__recording=str(recording.pk)))
    for job in going:
        jobs.cancel(job=job)
    with storing("deleting the recording"):
        remove_from_library(user_data(recording.user), str(recording.pk))
        if recording.path.exists():
            # Renamed first: a job that still writes cannot keep half of it here.
            doomed = recording.path.with_name(f".deleted-{recording.pk}-{secrets.token_hex(4)}")
            recording.path.rename(doomed)
            shutil.rmtree(doomed)
    with alone():
        record(Action.RECORDING_DELETED, what=str(recording.pk), about=recording.user)
        recording.delete()
    for job in going:
        job.refresh_from_db()
        if not job.is_going:
            _remove_leftovers(job)  # of one that is going, when it has ended


def seconds_a_minute() -> dict[str, float]:
    """How long the recognition of a minute of audio took on this machine, by recognizer: the median over the newest
    recordings."""
    done = Recording.objects.filter(job__kind="transcribe", job__state=Job.State.DONE, duration_s__gte=LEAST_PACED_S)
    newest = {
        job: (engine, seconds)
        for job, engine, seconds in done.order_by("-created_at").values_list("job_id", "engine", "duration_s")[:PACED]
    }
    stages: dict[uuid.UUID, list[dict[str, Any]]] = {}
    for job, event in JobEvent.objects.filter(job__in=newest, event__event="stage").values_list("job_id", "event"):
        stages.setdefault(job, []).append(event)
    found: dict[str, list[float]] = {}
    for job, events in stages.items():
        engine, seconds = newest[job]
        for event, following in itertools.pairwise(events):
            if event["name"] == "transcribe":
                found.setdefault(engine, []).append(60 * (following["time"] - event["time"]) / seconds)
    return {engine: statistics.median(times) for engine, times in found.items()}


# ---- transcripts


def transcript_of(recording: Recording) -> Transcript:
    """Return the transcript. Raises NotReady while it is being made, HarkError where the file is damaged."""
    if recording.version == 0:
        if recording.now == Recording.State.FAILED:
            raise NotReady(
                _("There is no transcript."),
                _("The transcription failed; the recording's page says why."),
                _("Try again there."),
            )
        raise NotReady(_("There is no transcript yet."), _("The recording is being transcribed."), _("Wait a little."))
    return load_transcript(recording.path / TRANSCRIPT)


def export(recording: Recording, wanted: str, language: str = "") -> FileResponse:
    """The transcript, or its translation into a language (its code), as a file of one of
    ``pipeline.recordings.captions.FORMATS``, without the names that nobody has confirmed.

    Raises:
        HarkError: another format, or there is no such translation.
    """
    from pipeline.recordings.captions import FORMATS, write
    from pipeline.recordings.translation import translation_file

    if language and language not in {one["language"] for one in translations_of(recording)}:
        raise NotReady(
            _("There is no such translation."),
            _("The transcript was not translated into that language."),
            _("Have it translated first."),
        )
    whole = load_transcript(translation_file(recording.path, language)) if language else transcript_of(recording)
    content = io.BytesIO(write(replace(whole, sounds_like={}), wanted, recording.name))
    name = f"{file_stem(recording)}{f' ({language})' if language else ''}.{wanted}"
    return FileResponse(content, as_attachment=True, filename=name, content_type=FORMATS[wanted].content_type)


def file_stem(recording: Recording) -> str:
    """The recording's name without the suffix of a file."""
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
    from pipeline.recordings.summarization import words_of

    if made_of := summary.get("made_of"):
        return bool(made_of != words_of(transcript))
    return any(segment.edited for segment in transcript.segments)  # made before that was kept


def summarize_again(*, recording: Recording, engine: str = "auto") -> Job:
    """Queue another summary, of the transcript as it is now; the one that is there stays until then. The job.

    Args:
        engine: of summaries; "auto", as at the first time, is the best that is ready.

    Raises:
        NotReady: there is no transcript yet, or the recording is being transcribed or summarized.
        HarkError: no such engine, or it is not ready.
        webui.jobs.services.LimitReached: too many are waiting.
    """
    _check_summary_engine(engine)
    with alone():
        current, _transcript = _to_change(recording)
        return _submit_alone(current, "summarize", _("The recording is being summarized."), engine=engine)


def engine_that_follows(recording: Recording, summary: Mapping[str, Any]) -> str:
    """The engine by which an outdated summary is made again unasked: the one that made it; "" where none may.

    A language model that costs something, or is elsewhere, writes again only where the user has chosen it by name. What
    has been tried since the last correction is not tried again.
    """
    from pipeline.recordings.summarization import engines

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


def _check_summary_engine(engine: str) -> None:
    from pipeline.recordings.summarization import AUTO, engines

    known = {found.name: found for found in engines()}
    if engine == AUTO:
        return
    if engine not in known:
        raise HarkError(
            _("The recording cannot be summarized like that."),
            _("There is no engine of summaries called %(name)s.") % {"name": engine[:40]},
            _("Choose something else."),
        )
    ready = known[engine].available()
    if not ready.ok:
        raise HarkError(_("The recording cannot be summarized like that."), ready.why, ready.how_to_enable)


def polish(*, recording: Recording) -> Job:
    """Queue the polishing of a transcript by the owner's language model, as files beside it. The job.

    Raises:
        NotReady: there is no transcript yet, or the recording is being transcribed or polished.
        HarkError: no language model is set up.
        webui.jobs.services.LimitReached: too many are waiting.
    """
    from pipeline.recordings import llm

    ready = llm.available()
    if not ready.ok:
        raise HarkError(_("The recording cannot be polished here."), ready.why, ready.how_to_enable)
    with alone():
        current, _transcript = _to_change(recording)
        return _submit_alone(current, "polish", _("The recording is being polished."))


def translate(*, recording: Recording, language: str) -> Job:
    """Queue the translation of a transcript by the owner's language model. The job.

    Args:
        language: the code of one of :func:`languages_of_translation`.

    Raises:
        NotReady: there is no transcript yet, or the recording is being transcribed or translated.
        HarkError: no language model is set up, or there is no such language.
        webui.jobs.services.LimitReached: too many are waiting.
    """
    from pipeline.recordings import llm

    ready = llm.available()
    if not ready.ok:
        raise HarkError(_("The recording cannot be translated here."), ready.why, ready.how_to_enable)
    if language not in dict(languages_of_translation()):
        raise HarkError(
            _("The recording cannot be translated like that."),
            _("There is no language %(code)s.") % {"code": language[:20]},
            _("Choose another language."),
        )
    name = str(get_language_info(language)["name"])
    with alone():
        current, _transcript = _to_change(recording)
        going = _("The recording is being translated.")
        return _submit_alone(current, "translate", going, language=language, name=name)


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


def _submit_alone(recording: Recording, kind: str, going: str, **more: str | int | None) -> Job:
    """Queue a job about a recording. Raises NotReady, which says ``going``, while one of its kind goes on."""
    newest = newest_job(recording, kind)
    if newest is not None and newest.is_going:
        raise NotReady(going, _("One thing at a time."), _("Wait, or cancel the job."))
    spec = {"recording": str(recording.pk), "folder": recording.folder, **more}
    return jobs.submit(
        user=recording.user, kind=kind, title=recording.name, spec=spec, organization=recording.organization_id
    )


def newest_jobs(recording: Recording, *kinds: str) -> dict[str, Job]:
    """The newest job of each kind about a recording."""
    about = Job.objects.filter(user_id=recording.user_id, kind__in=kinds, spec__recording=str(recording.pk))
    return {job.kind: job for job in about.order_by("created_at")}


def newest_job(recording: Recording, kind: str) -> Job | None:
    """The newest job of a kind about a recording."""
    return newest_jobs(recording, kind).get(kind)


class Correction(NamedTuple):
    """What a correction made: the segment (None: it is gone), the transcript's version, and words (``heard``, ``said``)
    that may be wrong in other ``places``, too."""

    segment: Segment | None
    version: int
    heard: str = ""
    said: str = ""
    places: int = 0


def update_segment(*, recording: Recording, number: int, text: str, version: int | None = None) -> Correction:
    """Correct a segment's text; without any text the segment goes.

    Args:
        version: that the person saw; None changes whatever is there.

    Raises:
        Changed: the transcript is another one by now.
        HarkError: no such segment, or a text that is too long.
    """
    from pipeline.recordings import vocabulary

    text = " ".join(searching.plain(text).split())
    if len(text) > LONGEST_TEXT:
        raise HarkError(
            _("The text is too long."), _("A passage has %(most)d letters at most.") % {"most": LONGEST_TEXT},
            _("Write what is said in it."),
        )  # fmt: skip
    with alone():
        recording, transcript = _to_change(recording)
        segments = list(transcript.segments)
        there = segments[number].text if number < len(segments) else ""
        kept = _("Your text is still in its field: read what is there now, then save again.")
        _check_version(recording, version, kept, there)
        if not 0 <= number < len(segments):
            raise HarkError(_("There is no such passage."), _("It was removed."), _("Reload the page."))
        before = segments[number]
        changed = corrected(before, text) if text else None
        segments[number : number + 1] = [changed] if changed is not None else []
        summary = summary_of(recording) if changed is None else None
        _keep(
            recording,
            transcript.with_segments(tuple(segments)),
            None if summary is None else without_segment(summary, number),
        )
    language = before.language or recording.language
    words, heard, said = vocabulary.learned(before.text, text, language)
    _learn(recording, words, language)
    others = [one.text for place, one in enumerate(segments) if heard and place != number]
    places = sum(vocabulary.put(other, heard, said) != other for other in others)
    return Correction(changed, recording.version, heard, said, places)


def replace_words(
    *, recording: Recording, heard: str, said: str, besides: int | None, version: int | None = None
) -> int:
    """Put words in place of others in all segments, as one change; in how many. One that would become too long stays.

    Args:
        besides: the number of a segment that stays as it is.
        version: that the person saw; None changes whatever is there.

    Raises:
        Changed: the transcript is another one by now.
        HarkError: the words are missing.
    """
    from pipeline.recordings import vocabulary

    heard, said = (" ".join(searching.plain(words).split()) for words in (heard, said))
    if not (heard and said):
        raise HarkError(
            _("The words were not replaced."),
            _("What was heard and what was said are both needed."),
            _("Correct the passages one by one."),
        )
    with alone():
        recording, transcript = _to_change(recording)
        _check_version(recording, version, _("Reload the page, then correct the word in one passage once more."))
        segments, changed = [], 0
        for number, one in enumerate(transcript.segments):
            text = one.text if number == besides else vocabulary.put(one.text, heard, said)
            if text != one.text and len(text) <= LONGEST_TEXT:
                one, changed = corrected(one, text), changed + 1
            segments.append(one)
        if changed:
            _keep(recording, transcript.with_segments(tuple(segments)))
    return changed


def _learn(recording: Recording, words: Sequence[str], language: str) -> None:
    """Keep the words of a correction for the user's next transcripts; the correction stands anyway."""
    from pipeline.recordings import vocabulary

    if words:
        try:
            vocabulary.learn(_words(recording.user), words, language)
        except HarkError as error:
            log.warning("words of a correction are not kept: %s", error)


def expected_words(user: User, language: str | None) -> list[str]:
    """Words of a user's corrections that the next transcript in a language expects (None: in any), newest first; none
    where they cannot be read."""
    from pipeline.recordings import vocabulary

    try:
        return list(vocabulary.expected(_words(user), language))
    except HarkError as error:
        log.warning("words of corrections are not expected: %s", error)
        return []


def forget_word(*, user: User, word: str) -> None:
    """Expect a word no longer; nothing where it was not expected."""
    from pipeline.recordings import vocabulary

    vocabulary.forget(_words(user), word)


def _words(user: User) -> Path:
    from pipeline.recordings.vocabulary import FILE

    return user_data(user) / FILE


def name_speakers(*, recording: Recording, names: Mapping[str, str], version: int | None = None) -> None:
    """Call speakers by names, all or none of them; "" takes a name back.

    Args:
        names: what they are called, by the id of the speaker; who is called that already is left as they are.
        version: that the person saw; None names them in whatever is there.

    Raises:
        Changed: the transcript is another one by now.
        HarkError: there is no such speaker, or two who speak would have one name.
    """
    with alone():
        recording, transcript = _to_change(recording)
        _check_version(recording, version, _("Open the recording again, then type the names once more."))
        named = {}
        for speaker, name in names.items():
            _check_speaker(transcript, speaker)
            name = shown_text(name)[:LONGEST_NAME] or _unnamed(speaker)
            if name != transcript.speakers[speaker]:
                named[speaker] = name
        if not named:
            return
        speakers = {**transcript.speakers, **named}
        for speaker, name in named.items():
            others = {one.speaker for one in transcript.segments} - {speaker}
            if name.casefold() in (speakers.get(one, one).casefold() for one in others):
                raise HarkError(
                    _("Another speaker is called “%(name)s”.") % {"name": name},
                    _("Two speakers of one name could not be told apart."),
                    _("If they are one person, choose Speaker beside a passage and give all passages to them."),
                )
        like = {who: known for who, known in transcript.sounds_like.items() if who not in named}
        _keep(recording, replace(transcript, speakers=speakers, sounds_like=like))


def _unnamed(speaker: str) -> str:
    """What a speaker whom nobody has named is called: "Speaker 1" for S1."""
    return f"Speaker {speaker[1:]}" if re.fullmatch(r"S\d+", speaker) else speaker


def _check_speaker(transcript: Transcript, speaker: str) -> None:
    if speaker not in transcript.speakers:
        raise HarkError(
            _("There is no such speaker."), _("The recording has no speaker with that name."), _("Reload the page.")
        )


def assign_speaker(
    *,
    recording: Recording,
    number: int,
    speaker: str | None,
    start_s: str = "",
    from_word: int = 0,
    all_of_theirs: bool = False,
) -> None:
    """Say who speaks in a passage; it can be undone by assigning it back.

    Args:
        speaker: an id of the transcript's, "" (unknown), or None: a new speaker.
        start_s: where the passage begins that the person saw, as the page has it.
        from_word: the passage becomes two, and the second, which begins with this word, is assigned; 0: all of it.
        all_of_theirs: also assign all passages of its present speaker: two speakers become one.

    Raises:
        HarkError: no such passage, word or speaker.
    """
    with alone():
        recording, transcript = _to_change(recording)
        segments = list(transcript.segments)
        if not 0 <= number < len(segments) or start_s not in ("", f"{segments[number].start_s:.3f}"):
            raise HarkError(_("There is no such passage."), _("It was removed."), _("Reload the page."))
        speakers = dict(transcript.speakers)
        if speaker is None:
            new = next(n for n in itertools.count(1) if f"S{n}" not in speakers)
            speaker = f"S{new}"
            speakers[speaker] = f"Speaker {new}"
        elif speaker:
            _check_speaker(transcript, speaker)
        before, summary = segments[number].speaker, None
        if from_word:
            if not 0 < from_word < len(segments[number].words):
                raise HarkError(_("There is no such word."), _("The passage was corrected."), _("Reload the page."))
            segments[number : number + 1] = divided(segments[number], from_word)
            summary = summary_of(recording)
            summary = None if summary is None else with_divided_segment(summary, number)
            number += 1
        for n, one in enumerate(segments):
            if n == number or (all_of_theirs and not from_word and one.speaker == before):
                segments[n] = replace(one, speaker=speaker)
        recording.speakers = len({one.speaker for one in segments} - {""})
        _keep(recording, replace(transcript, segments=tuple(segments), speakers=speakers), summary)


def join_with_next(*, recording: Recording, number: int, start_s: str = "") -> None:
    """Make a passage and the next one, by the same speaker, into one.

    Args:
        start_s: where the passage begins that the person saw, as the page has it.

    Raises:
        HarkError: no such passage, none after it, or somebody else says that.
    """
    with alone():
        recording, transcript = _to_change(recording)
        segments = list(transcript.segments)
        if not 0 <= number < len(segments) or start_s not in ("", f"{segments[number].start_s:.3f}"):
            raise HarkError(_("There is no such passage."), _("It was removed."), _("Reload the page."))
        if number + 1 == len(segments) or segments[number + 1].speaker != segments[number].speaker:
            raise HarkError(
                _("The passages cannot be joined."),
                _("The next one is said by somebody else, or there is none."),
                _("Give both to one speaker first."),
            )
        segments[number : number + 2] = [joined(segments[number], segments[number + 1])]
        summary = summary_of(recording)
        summary = None if summary is None else with_joined_segments(summary, number)
        _keep(recording, transcript.with_segments(tuple(segments)), summary)


def undo(*, recording: Recording, version: int | None = None) -> None:
    """Take the last change of the transcript back: words, speakers, names. Words that it taught are still expected.

    Args:
        version: that the person saw; None takes back whatever was changed last.

    Raises:
        Changed: the transcript is another one by now.
        HarkError: nothing was changed, or what was before cannot be read.
    """
    with alone():
        recording, _transcript = _to_change(recording)
        _check_version(recording, version, _("Reload the page, then see what the last change is."))
        before = history.newest(recording.path)
        if before is None:
            raise HarkError(
                _("There is nothing to take back."),
                _("The transcript was not changed, or its changes were taken back."),
                _("Reload the page."),
            )
        transcript, summary = history.read(before)
        recording.speakers = len({one.speaker for one in transcript.segments} - {""})
        _write(recording, transcript, summary)
        history.forget(before)


def detect_speakers_again(*, recording: Recording, speakers: int | None = None) -> Job:
    """Queue another detection of who speaks when; words, corrections and names stay. The job.

    Args:
        speakers: how many there are; None: estimated.

    Raises:
        NotReady: there is no transcript yet, or the recording is being transcribed, or its speakers are being detected.
        HarkError: no such number of speakers.
        webui.jobs.services.LimitReached: too many are waiting.
    """
    speakers = checked_options({"speakers": speakers})["speakers"]
    with alone():
        current, _transcript = _to_change(recording)
        return _submit_alone(current, "speakers", _("The speakers are being detected."), speakers=speakers)


def _speakers_detected(recording: Recording, found: Mapping[str, Any]) -> None:
    """Take up what the job "speakers" has found, in the transcript as it is now."""
    from pipeline.recordings.diarization.speakers import assign_again
    from pipeline.recordings.diarization.turns import Diarization, Turn

    if recording.now == Recording.State.WORKING:
        return  # the new transcript will have its own
    before = transcript_of(recording)
    turns = tuple(Turn(**turn) for turn in found["turns"])
    detected = Diarization(
        turns, found["method"], found["names"], found["versions"], sounds_like=found.get("sounds_like", {})
    )
    after = assign_again(before, detected)
    summary = summary_of(recording)
    recording.speakers = len(after.speakers)
    _keep(recording, after, None if summary is None else with_other_segments(summary, before.segments, after.segments))


def _to_change(recording: Recording) -> tuple[Recording, Transcript]:
    """The recording as it is now; SQLite's transactions that write are one after another (settings.DATABASES)."""
    current = Recording.objects.select_related("user", "job").get(pk=recording.pk)
    if current.now == Recording.State.WORKING:
        raise NotReady(
            _("The recording is being transcribed again."),
            _("The new transcript would undo the change."),
            _("Wait a little."),
        )
    return current, transcript_of(current)


def _check_version(recording: Recording, version: int | None, what_to_do: str, text: str = "") -> None:
    """Raise Changed, with the current ``text``, where a person saw another version; None is whatever is there."""
    if version in (None, recording.version):
        return
    error = Changed(
        _("The transcript was changed meanwhile."), _("By another page, or by another program."), what_to_do
    )
    error.version, error.text = recording.version, text
    raise error


def _keep(recording: Recording, transcript: Transcript, summary: Mapping[str, Any] | None = None) -> None:
    """Write a changed transcript (and summary), so that it can be taken back, or, on failure, nowhere."""
    with storing("keeping the transcript"):
        before = history.remember(recording.path, recording.version)
    try:
        _write(recording, transcript, summary)
    except BaseException:
        history.forget(before)
        raise


def _write(recording: Recording, transcript: Transcript, summary: Mapping[str, Any] | None) -> None:
    """Write a transcript (and summary) to files, search index and clip library, or, on failure, nowhere."""
    from pipeline.recordings.captions import write
    from pipeline.recordings.job import bring_up_to_date

    with _undone_on_failure(recording.path, TRANSCRIPT, TEXT, SUMMARY):
        with storing("keeping the transcript"):
            save_transcript(transcript, recording.path / TRANSCRIPT)
            with atomic_path(recording.path / TEXT) as temporary:
                temporary.write_bytes(write(transcript, "txt", recording.name))
            if summary is not None:
                with atomic_path(recording.path / SUMMARY) as temporary:
                    temporary.write_text(json.dumps(summary, ensure_ascii=False), encoding="utf-8")
        recording.version += 1
        recording.words = sum(len(segment.text.split()) for segment in transcript.segments)
        recording.save(update_fields=["version", "speakers", "words"])
        searching.index(recording, transcript)
        if recording.minable:
            bring_up_to_date(user_data(recording.user), str(recording.pk), recording.path, transcript)


@contextmanager
def _undone_on_failure(folder: Path, *names: str) -> Iterator[None]:
    """Where the block fails, these files are what they were, as the database is; needs no room on the disk."""
    kept = [(folder / name, folder / f".{name}.before") for name in names if (folder / name).is_file()]
    for path, before in kept:
        before.unlink(missing_ok=True)
        before.hardlink_to(path)
    try:
        yield
    except BaseException:
        for path, before in kept:
            before.replace(path)
        raise
    finally:
        for _path, before in kept:
            before.unlink(missing_ok=True)


def remember_voice(*, recording: Recording, speaker: str, name: str) -> None:
    """Remember a speaker's voice under a name, to be offered in later recordings. Only with that person's consent.

    Raises:
        HarkError: no such speaker, or too little speech of theirs.
    """
    from pipeline.recordings.diarization import channels, voiceprints

    transcript = transcript_of(recording)
    _check_speaker(transcript, speaker)
    alone = [part for part in transcript.segments if part.speaker == speaker and not part.overlap]
    side = list(channels.NAMES).index(speaker) if transcript.diarization == "channels" else None
    audio = voiceprints.voice_of(recording.path / AUDIO, [(part.start_s, part.end_s) for part in alone], side)
    voiceprints.remember(_voices(recording.user), shown_text(name)[:LONGEST_NAME], audio, consent=True)


def voices_of(user: User) -> list[str]:
    """The names of the voices that are remembered for a user."""
    from pipeline.recordings.diarization import voiceprints

    return voiceprints.names(_voices(user))


def forget_voice(*, user: User, name: str) -> bool:
    """Delete a remembered voice; whether there was one of that name."""
    from pipeline.recordings.diarization import voiceprints

    return voiceprints.forget(_voices(user), name)


def _voices(user: User) -> Path:
    from pipeline.recordings.diarization.voiceprints import FILE

    return user_data(user) / FILE


# ---- finding


def search(*, user: User, query: str, recording: Recording | None = None, limit: int = 50) -> list[Hit]:
    """Segments of what a user may see that hold all words of a query, best first. Any text is a query; one without
    words finds nothing."""
    return searching.find(user, searching.terms(query), recording=recording, limit=limit, every=True)


# ---- sharing


def share(*, recording: Recording, days: int = SHARE_DAYS) -> tuple[Share, str]:
    """A link that works for ``days`` days, and its token, which is shown now and never again."""
    transcript_of(recording)
    if not 1 <= days <= MOST_SHARE_DAYS:
        raise HarkError(
            _("The link was not made."), _("It works for 1 to %(most)d days.") % {"most": MOST_SHARE_DAYS},
            _("Choose another time."),
        )  # fmt: skip
    token = secrets.token_urlsafe(24)
    until = timezone.now() + timedelta(days=days)
    with alone():
        made = Share.objects.create(recording=recording, digest=digest(token), expires_at=until)
        record(Action.RECORDING_SHARED, what=str(recording.pk), about=recording.user)
    return made, token


def revoke(*, share: Share) -> None:
    """The link stops working."""
    with alone():
        if Share.objects.filter(pk=share.pk, revoked_at=None).update(revoked_at=timezone.now()):
            record(Action.SHARE_REVOKED, what=str(share.recording_id), about=share.recording.user)


def shared(token: str) -> Share:
    """The share of a token. Raises Share.DoesNotExist where there is none, Gone where it works no more."""
    found = Share.objects.select_related("recording__user", "recording__job").get(digest=digest(token))
    if not found.works or not found.recording.user.is_active:
        raise Gone(
            _("This link does not work any more."),
            _("It has expired or was revoked."),
            _("Ask the person who sent it for a new one."),
        )
    return found


# ---- detectors


def set_minable(*, recording: Recording, minable: bool) -> Job | None:
    """Let phrases of a recording go into detectors, or take them out again; the job that does it, None if none must."""
    transcript_of(recording)
    with alone():
        Recording.objects.filter(pk=recording.pk).update(minable=minable)
        recording.minable = minable
        return _bring_library_up_to_date(recording)


def _bring_library_up_to_date(recording: Recording, after: Job | None = None) -> Job | None:
    spec = {
        "recording": str(recording.pk), "folder": recording.folder, "minable": recording.minable,
        "version": recording.version, "after": str(after.pk) if after is not None else None,
    }  # fmt: skip
    return jobs.submit(
        user=recording.user, kind="minable", title=recording.name, spec=spec, even_if_full=True,
        organization=recording.organization_id,
    )  # fmt: skip
