"""Trials of a detector, and storage of samples of its errors."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from django.conf import settings
from django.db.models import QuerySet
from django.http import FileResponse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from core.audio_file import SAMPLE_RATE, read_audio, write_audio
from core.confinement.foreign_audio import read_foreign_audio
from core.data_folder import storing
from core.errors import HarkError
from core.events import silent_reporter
from db.db_api import Library, source_id
from db.records import NewClip
from model.languages import is_known
from model.runtime.detector import BundleError
from model.runtime.detector import Detector as Runtime
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.normalize import normalize
from pipeline.corpora.enrolment import TRAIN
from pipeline.recordings.files.media import peaks
from pipeline.serving.detection import as_hark_error, listen, open_detector
from pipeline.serving.sorting import sort_wake
from pipeline.serving.zero_shot import ZeroShotStream
from pipeline.training.planning.marked import CORPUS, FALSE_ALARM_OF
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.http.errors import StatusError
from webui.jobs.models import Job
from webui.jobs.quota import take_room
from webui.listening.models import Sample, WakeIntake
from webui.trainer.models import Detector, Version
from webui.trainer.services import only_trained
from webui.transactions import serialized

MAX_FILE_S = 600.0  # seconds of a recording that is scored while the user waits
PEAKS = 1200  # peaks of a displayed waveform
MIN_DURATION_S, MAX_DURATION_S = 0.3, 10.0  # seconds of a sample
MAX_WAKE_S = 5.0  # seconds of a device's clip
SEND_AGAIN_AFTER_S = 3600  # seconds to wait if no more clips are accepted


# Streams in use, and the file and modification time [ns] of each one's bundle. A model is freed after its last stream.
_streams: WeakKeyDictionary[Runtime, tuple[Path, int]] = WeakKeyDictionary()
_streams_lock = Lock()


def runtime_of(version: Version, fa_per_day: float | None = None) -> Runtime:
    """Return a new stream of a version's detector; streams of a bundle share its loaded model.

    Raises HarkError if the bundle is missing or damaged, or the false-alarm rate is invalid.
    """
    path = version.bundle_path
    bundle = path, path.stat().st_mtime_ns if path.exists() else 0
    with _streams_lock:
        shared = next((stream for stream, of in _streams.items() if of == bundle), None)
    runtime = shared.on_a_new_stream() if shared else open_detector(path)
    try:
        runtime.threshold = runtime.bundle.threshold(fa_per_day)  # only of this stream, not of the shared model
    except BundleError as error:
        raise as_hark_error(error) from error
    with _streams_lock:
        _streams[runtime] = bundle
    return runtime


def zero_shot_runtime(phrase: str, language: str) -> ZeroShotStream:
    """Return a detector of a phrase without training. Raises HarkError if there is none."""
    keyphrase = Keyphrase.of(phrase, language)
    if not is_known(keyphrase.language):
        raise HarkError(
            _("This phrase cannot be tried yet."), only_trained(), _("Train it first; a trial takes a minute.")
        )
    return ZeroShotStream(keyphrase)


def scores_of(runtime: Runtime | ZeroShotStream, audio: np.ndarray) -> np.ndarray:
    """Return the scores of the next samples of a stream. Raises HarkError if the detector fails."""
    try:
        return runtime.scores(audio)
    except BundleError as error:
        raise as_hark_error(error) from error


def detect_in_file(version: Version, path: Path, fa_per_day: float | None = None) -> dict[str, Any]:
    """Return detections, scores and waveform of a recording as JSON values.

    Raises HarkError if it is unreadable or too long, or the detector fails.
    """
    audio = read_foreign_audio(path, MAX_FILE_S + 1.0)
    if len(audio) > MAX_FILE_S * SAMPLE_RATE:
        raise HarkError(
            _("The recording is too long for this page."),
            _("The limit is %(most)d minutes.") % {"most": MAX_FILE_S / 60},
            _("Cut it, and try the parts."),
        )
    detector = runtime_of(version, fa_per_day)
    result = listen(detector, path, silent_reporter(), keep_scores=True)
    if result.failure is not None:
        raise result.failure
    return {
        "seconds": round(len(audio) / SAMPLE_RATE, 3),
        "frame_s": detector.score_period_s,
        "threshold": detector.threshold,
        "scores": [round(score, 4) for score in result.scores],
        "detections": [{"time_s": hit.time_s, "score": round(hit.score, 4)} for hit in result.detections],
        "peaks": peaks(audio, PEAKS),
        "silent": result.silent,
    }


def save_sample(*, user: User, version: Version, verdict: str, audio: np.ndarray, **more: Any) -> Sample:
    """Put marked audio [samples, 16 kHz] into the inbox of the detector's user; ``more`` are fields of a device's clip.

    The sender sees it too, if the detector is shared with them. Raises HarkError if its length is invalid, or the quota
    or the disk is full.
    """
    seconds = len(audio) / SAMPLE_RATE
    if not MIN_DURATION_S <= seconds <= MAX_DURATION_S or not (verdict in Sample.Verdict.values or more):
        raise HarkError(
            _("The sample was not saved."),
            _("A sample must last %(least)s to %(most)d seconds.")
            % {"least": number_format(MIN_DURATION_S), "most": MAX_DURATION_S},
            _("Mark it again."),
        )
    owner = version.detector.user
    take_room(owner, 2 * len(audio))
    name = f"inbox/{uuid.uuid4().hex}.flac"
    path = user_data(owner) / name
    with storing("saving the sample"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, audio)
    return Sample.objects.create(
        user=owner,
        marked_by=None if user == owner else user,
        detector=version.detector,
        verdict=verdict,
        file=name,
        seconds=seconds,
        version=version.number,
        **more,
    )


def allow_wakes(*, detector: Detector, allowed: bool) -> None:
    """Store the owner's choice whether devices may send clips. Earlier clips remain."""
    if allowed:
        WakeIntake.objects.get_or_create(detector=detector)
    else:
        WakeIntake.objects.filter(detector=detector).delete()


def save_wake(*, user: User, version: Version, path: Path, kind: str, score: float, device: str) -> Sample:
    """Put a device's clip of an activation or a near miss into the inbox, sorted by a recognizer.

    Raises StatusError (403 if the owner has not allowed it, 429 if there are too many today or waiting), and HarkError
    if the audio is unusable.
    """
    detector = version.detector
    _check_intake(detector)  # checked first, because decoding is expensive
    audio = read_foreign_audio(path, MAX_WAKE_S + 1.0)
    if len(audio) > MAX_WAKE_S * SAMPLE_RATE:
        raise HarkError(
            _("The recording is too long."),
            _("A recording from a device can last %(most)d seconds.") % {"most": MAX_WAKE_S},
            _("Send only the seconds around the detection."),
        )
    with serialized():  # if storing fails, the count is undone
        today, sent = _check_intake(detector)
        WakeIntake.objects.filter(detector=detector).update(day=today, sent=sent + 1)
        sample = save_sample(
            user=user,
            version=version,
            verdict="",
            audio=audio,
            kind=kind,
            score=score,
            device=device,
            sorted_as=Sample.Sorted.UNSURE,
        )
    # It is already stored, so it is not lost if no recognizer responds.
    verdict = sort_wake(detector.phrase, detector.language, audio)
    sample.sorted_as, sample.text = verdict.kind, verdict.text
    Sample.objects.filter(pk=sample.pk).update(sorted_as=verdict.kind, text=verdict.text)
    return sample


def _check_intake(detector: Detector) -> tuple[date, int]:
    """Return today (UTC) and the number of clips accepted today.

    Raises StatusError for the same reasons as :func:`save_wake`.
    """
    intake = WakeIntake.objects.filter(detector=detector).first()
    if intake is None:
        raise StatusError(
            403,
            _("This detector does not accept recordings from devices."),
            _("Its owner has not enabled that."),
            _("Enable it on the detector's page."),
        )
    waiting = Sample.objects.filter(detector=detector, state=Sample.State.NEW).exclude(kind="").count()
    if waiting >= settings.WAKES_WAITING:
        raise StatusError(
            429,
            _("The inbox is full."),
            _("Recordings of this detector that wait for confirmation: %(n)d.") % {"n": waiting},
            _("Confirm or discard some in the inbox."),
            SEND_AGAIN_AFTER_S,
        )
    today = timezone.now().date()
    sent = intake.sent if intake.day == today else 0
    if sent >= settings.WAKES_PER_DAY:
        raise StatusError(
            429,
            _("The daily limit of this detector is reached."),
            _("Its daily limit of recordings is %(n)d.") % {"n": settings.WAKES_PER_DAY},
            _("Continue tomorrow."),
            SEND_AGAIN_AFTER_S,
        )
    return today, sent


def confirm(*, sample: Sample, is_phrase: bool) -> None:
    """Store a user's verdict on a device's clip, and make it a clip of the library, like a marked sample.

    Another verdict replaces that clip.
    """
    sample.verdict = Sample.Verdict.MISSED if is_phrase else Sample.Verdict.FALSE_ALARM
    with serialized():  # if two users decide at once, inbox and library agree
        judged_otherwise = Sample.objects.filter(pk=sample.pk).exclude(verdict=sample.verdict)
        judged_otherwise.update(verdict=sample.verdict, state=Sample.State.NEW)
        take(sample=sample)


def sorted_waiting(user: User) -> QuerySet[Sample]:
    """Return unconfirmed clips from devices about which a recognizer is certain."""
    sure = Sample.objects.editable_by(user).filter(state=Sample.State.NEW, verdict="").exclude(kind="")
    return sure.exclude(sorted_as=Sample.Sorted.UNSURE)


def confirm_sorted(*, user: User) -> None:
    for sample in sorted_waiting(user).select_related("user", "detector"):
        confirm(sample=sample, is_phrase=sample.sorted_as == Sample.Sorted.PHRASE)


@dataclass(frozen=True)
class Retrainable:
    """A detector with errors marked after its training."""

    version: Version  # the version in use
    recordings: int  # number of samples taken since its training
    job: Job | None  # a job that retrains it


def retrainable(user: User) -> list[Retrainable]:
    """Return the detectors with samples that no training run has used yet, and those that are being retrained."""
    rows = []
    detectors = Detector.objects.owned_by(user).filter(samples__taken_at__isnull=False).distinct()
    for detector in detectors.prefetch_related("versions__job"):
        versions, in_use = list(detector.versions.all()), detector.current
        if in_use is None:
            continue
        about = {"spec__phrase": detector.phrase, "spec__language": detector.language}
        last = Job.objects.filter(user=user, kind="retrain", **about).order_by("created_at").last()
        active_job = last if last is not None and last.is_going else None
        begun = [(each.job or each).created_at for each in versions]
        if last is not None and (active_job or last.state == Job.State.DONE):
            begun.append(last.created_at)
        recordings = detector.samples.filter(taken_at__gt=max(begun)).count()
        if recordings or active_job:
            rows.append(Retrainable(in_use, recordings, active_job))
    return rows


def save_segment(*, user: User, version: Version, path: Path, verdict: str, start_s: float, end_s: float) -> Sample:
    """Put a segment [s] of a recording into the inbox.

    Raises the errors of :func:`save_sample`, and HarkError if the segment has no audio.
    """
    audio = read_foreign_audio(path, max_seconds=MAX_FILE_S)
    start, end = (round(min(max(0.0, time_s), MAX_FILE_S) * SAMPLE_RATE) for time_s in (start_s, end_s))
    return save_sample(user=user, version=version, verdict=verdict, audio=audio[start:end])


def audio_response(sample: Sample) -> FileResponse:
    """Return the audio of a sample. Raises StatusError if it cannot be read."""
    try:
        return FileResponse(sample.path.open("rb"), content_type="audio/flac", filename=f"sample-{sample.pk}.flac")
    except OSError as error:
        why = str(error.strerror)
        raise StatusError(410, _("The sample's audio cannot be read."), why, _("Discard the sample.")) from error


def discard(*, sample: Sample) -> None:
    path = sample.path
    sample.delete()
    path.unlink(missing_ok=True)


def take(*, sample: Sample) -> None:
    """Make the sample a clip of the user's library: a miss as the phrase, a false alarm as other speech.

    Taking it twice stores it once. Raises HarkError if it is unconfirmed.
    """
    if not sample.verdict:
        raise HarkError(
            _("This recording is not confirmed."),
            _("A device sent it, and nobody has confirmed whether it is the phrase."),
            _("Choose in the inbox, or send phrase=true or phrase=false."),
        )
    detector = sample.detector
    missed = sample.verdict == Sample.Verdict.MISSED
    source = source_id(CORPUS, Path(sample.file).name)
    clip = NewClip(
        audio=read_audio(sample.path),
        text=detector.phrase if missed else "",
        text_normalized=normalize(detector.phrase, detector.language) if missed else "",
        text_known=missed,
        language=detector.language,
        engine="corpus",
        speaker=f"user-{sample.user_id}",
        licence="private",
        source=source,
        settings={"role": TRAIN} if missed else {FALSE_ALARM_OF: detector.phrase},
    )
    with Library(user_data(sample.user)) as library:
        # A clip of an earlier verdict is removed with the parts that a person cut out of it.
        outdated = [old.id for old in library.of_sources([source]) if (FALSE_ALARM_OF in old.settings) == missed]
        library.delete_clips(outdated + [cut.id for cut in library.cuts_of(outdated)])
        library.add_clips([clip])
    new = Sample.objects.filter(id=sample.pk, state=Sample.State.NEW)
    new.update(state=Sample.State.TAKEN, taken_at=timezone.now())
