"""Visible recordings and their transcripts."""

from __future__ import annotations

from django.utils.translation import gettext as _

from core.errors import HarkError
from pipeline.recordings.files.recording_folder import TRANSCRIPT
from pipeline.recordings.transcripts.transcript import Segment, Transcript, load_transcript
from webui.accounts.models import User
from webui.http.errors import StatusError
from webui.recordings.models import Recording, Recordings
from webui.recordings.reading.search import Hit, find, terms


class Changed(HarkError):
    """Raised if the transcript has since changed. The response is 409. ``version`` and ``text`` are current."""

    status = 409
    version = 0
    text = ""


def recordings_of(user: User) -> Recordings:
    return Recording.objects.owned_by(user).select_related("job")


def recordings_seen_by(user: User) -> Recordings:
    """Return a user's own recordings and those shared with them, newest first."""
    return Recording.objects.visible_to(user).select_related("job", "organization")


def transcript_of(recording: Recording) -> Transcript:
    """Return the transcript. Raises StatusError (409) while it is being made, HarkError if the file is damaged."""
    if recording.version == 0:
        if recording.now == Recording.State.FAILED:
            raise StatusError(
                409,
                _("There is no transcript."),
                _("The transcription failed; the recording's page says why."),
                _("Retry it there."),
            )
        raise StatusError(
            409,
            _("There is no transcript yet."),
            _("The recording is being transcribed."),
            _("Try again when the recording is ready."),
        )
    return load_transcript(recording.path / TRANSCRIPT)


def transcript_to_change(recording: Recording) -> tuple[Recording, Transcript]:
    """Return the current recording and transcript; call it within ``serialized()``."""
    current = Recording.objects.select_related("user", "job").get(pk=recording.pk)
    if current.now == Recording.State.WORKING:
        raise StatusError(
            409,
            _("The recording is being transcribed again."),
            _("The new transcript would undo the change."),
            _("Try again when the recording is ready."),
        )
    return current, transcript_of(current)


def segments_with(transcript: Transcript, number: int, start_s: str = "") -> list[Segment]:
    """Return the segments of a transcript. Raises StatusError if segment ``number`` is not the one that the user saw.

    ``start_s`` is the start of that segment as displayed (409 if it has changed), or "" if only its number counts.
    """
    segments = list(transcript.segments)
    if not 0 <= number < len(segments) or start_s not in ("", f"{segments[number].start_s:.3f}"):
        status = 409 if start_s else 422
        raise StatusError(
            status, _("There is no such passage."), _("It has moved or was removed."), _("Reload the page.")
        )
    return segments


def check_version(recording: Recording, version: int | None, what_to_do: str, text: str = "") -> None:
    """Raise Changed, with the current ``text``, unless ``version`` is the current one or None (any)."""
    if version in (None, recording.version):
        return
    error = Changed(
        _("The transcript has changed in the meantime."), _("Another page or another program changed it."), what_to_do
    )
    error.version, error.text = recording.version, text
    raise error


def search(*, user: User, query: str, recording: Recording | None = None, limit: int = 50) -> list[Hit]:
    """Return visible segments with all words of a query, best first; [] for a query without words."""
    return find(user, terms(query), recording=recording, limit=limit, every=True)
