"""Trying a detector, and keeping what it was wrong about."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.http import FileResponse
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from core.audio_file import SAMPLE_RATE, read_audio, write_audio
from core.data_folder import storing
from core.errors import HarkError
from core.events import silent_reporter
from core.foreign_audio import read_foreign_audio
from db.db_api import Library, source_id
from db.records import NewClip
from model.runtime.detector import Detector as Runtime
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.normalize import normalize
from pipeline.corpora.enrolment import TRAIN
from pipeline.recordings.media import peaks
from pipeline.serving.detection import listen, open_detector
from pipeline.training.config import is_known
from pipeline.training.retraining import CORPUS, FALSE_ALARM_OF
from webui.accounts.models import User
from webui.jobs.services import check_room, user_data
from webui.listening.models import Sample
from webui.trainer.models import Version
from webui.trainer.results import FileGone

if TYPE_CHECKING:
    from pipeline.serving.untrained import UntrainedStream

LONGEST_FILE_S = 600.0  # of a recording that is scored while a person waits
PEAKS = 1200  # of a waveform that is drawn
SHORTEST_S, LONGEST_S = 0.3, 10.0  # of a sample


def runtime_of(version: Version, fa_per_day: float | None = None) -> Runtime:
    """The detector of a version, ready to listen. Raises HarkError where its bundle is gone or damaged."""
    return open_detector(version.path / version.bundle, fa_per_day)


def untrained_runtime(phrase: str, language: str) -> UntrainedStream:
    """A phrase that nothing was trained for, ready to be heard. Raises HarkError where it cannot be."""
    from pipeline.serving.untrained import UntrainedStream

    keyphrase = Keyphrase.of(phrase, language)
    if not is_known(keyphrase.language):
        raise HarkError(_("This phrase cannot be tried yet."), only_trained(), _("Train it; a trial takes a minute."))
    return UntrainedStream(keyphrase)


def only_trained() -> str:
    """Why phrases of some languages cannot be tried before they were trained."""
    return _("Without training Hark hears phrases in English only.")


def detect_in_file(version: Version, path: Path, fa_per_day: float | None = None) -> dict[str, Any]:
    """What a version detects in a recording: detections, scores, and the outline of the waveform, as plain JSON.

    Raises:
        HarkError: the recording cannot be read, or is longer than :data:`LONGEST_FILE_S`.
    """
    audio = read_foreign_audio(path, LONGEST_FILE_S + 1.0)
    if len(audio) > LONGEST_FILE_S * SAMPLE_RATE:
        raise HarkError(
            _("The recording is too long for this page."),
            _("The limit is %(most)d minutes.") % {"most": LONGEST_FILE_S / 60},
            _("Use ./hark detect, which has no limit."),
        )
    detector = runtime_of(version, fa_per_day)
    found = listen(detector, path, silent_reporter(), keep_scores=True)
    if found.failure is not None:
        raise found.failure
    return {
        "seconds": round(len(audio) / SAMPLE_RATE, 3),
        "frame_s": detector.score_period_s,
        "threshold": detector.threshold,
        "scores": found.scores,
        "detections": [{"time_s": hit.time_s, "score": round(hit.score, 4)} for hit in found.detections],
        "peaks": peaks(audio, PEAKS),
        "silent": found.silent,
    }


def keep_sample(*, user: User, version: Version, verdict: str, audio: np.ndarray) -> Sample:
    """Put marked audio [samples, 16 kHz] into the inbox.

    Raises:
        HarkError: too short or too long, or the disk is full.
    """
    seconds = len(audio) / SAMPLE_RATE
    if not SHORTEST_S <= seconds <= LONGEST_S or verdict not in Sample.Verdict.values:
        raise HarkError(
            _("That cannot be kept."),
            _("A sample has %(least)s to %(most)d seconds.") % {"least": number_format(SHORTEST_S), "most": LONGEST_S},
            _("Mark it once more."),
        )
    check_room(user, 2 * len(audio))
    name = f"inbox/{uuid.uuid4().hex}.flac"
    path = user_data(user) / name
    with storing("keeping the sample"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, audio)
    return Sample.objects.create(
        user=user, detector=version.detector, verdict=verdict, file=name, seconds=seconds, version=version.number
    )


def keep_stretch(*, user: User, version: Version, path: Path, verdict: str, start_s: float, end_s: float) -> Sample:
    """Put a stretch [s] of a recording into the inbox. Raises HarkError as :func:`keep_sample`, or for no recording."""
    audio = read_foreign_audio(path, max_seconds=LONGEST_FILE_S)
    start, end = (round(min(max(0.0, time_s), LONGEST_FILE_S) * SAMPLE_RATE) for time_s in (start_s, end_s))
    return keep_sample(user=user, version=version, verdict=verdict, audio=audio[start:end])


def audio_response(sample: Sample) -> FileResponse:
    """The audio of a sample. Raises FileGone where it is not there."""
    try:
        return FileResponse(sample.path.open("rb"), content_type="audio/flac", filename=f"sample-{sample.pk}.flac")
    except OSError as error:
        raise FileGone(_("The sample's audio is gone."), str(error.strerror), _("Discard the sample.")) from error


def discard(*, sample: Sample) -> None:
    """Forget a sample and its audio."""
    path = sample.path
    sample.delete()
    path.unlink(missing_ok=True)


def take(*, sample: Sample) -> None:
    """Make the sample a clip of the user's library: a miss is the phrase by a person, a false alarm is not the phrase.

    Taking it twice stores it once.
    """
    detector = sample.detector
    missed = sample.verdict == Sample.Verdict.MISSED
    clip = NewClip(
        audio=read_audio(sample.path),
        text=detector.phrase if missed else "",
        text_normalized=normalize(detector.phrase, detector.language) if missed else "",
        text_known=missed,
        language=detector.language,
        engine="corpus",
        speaker=f"user-{sample.user_id}",
        licence="private",
        source=source_id(CORPUS, Path(sample.file).name),
        settings={"role": TRAIN} if missed else {FALSE_ALARM_OF: detector.phrase},
    )
    with Library(user_data(sample.user)) as library:
        library.add_clips([clip])
    Sample.objects.filter(id=sample.pk).update(state=Sample.State.TAKEN)
