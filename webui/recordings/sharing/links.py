"""Links with which anyone can read and play a recording."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from core.errors import HarkError
from webui.accounts.audit import Action, record
from webui.accounts.services import digest
from webui.http.errors import StatusError
from webui.recordings.models import Recording, Share
from webui.recordings.reading.transcripts import transcript_of
from webui.transactions import serialized

SHARE_DAYS, MAX_SHARE_DAYS = 7, 90


def share(*, recording: Recording, days: int = SHARE_DAYS) -> tuple[Share, str]:
    """Create a link that works for ``days`` days; return it and its token, which is shown only once."""
    transcript_of(recording)
    if not 1 <= days <= MAX_SHARE_DAYS:
        raise HarkError(
            _("The link was not created."), _("A link is valid for 1 to %(most)d days.") % {"most": MAX_SHARE_DAYS},
            _("Choose another number of days."),
        )  # fmt: skip
    token = secrets.token_urlsafe(24)
    until = timezone.now() + timedelta(days=days)
    with serialized():
        link = Share.objects.create(recording=recording, digest=digest(token), expires_at=until)
        record(Action.RECORDING_SHARED, what=str(recording.pk), about=recording.user)
    return link, token


def revoke(*, share: Share) -> None:
    with serialized():
        if Share.objects.filter(pk=share.pk, revoked_at=None).update(revoked_at=timezone.now()):
            record(Action.SHARE_REVOKED, what=str(share.recording_id), about=share.recording.user)


def shared(token: str) -> Share:
    """Return the share of a token. Raises Share.DoesNotExist, or StatusError (410) if it has expired."""
    link = Share.objects.select_related("recording__user", "recording__job").get(digest=digest(token))
    if not link.works or not link.recording.user.is_active:
        raise StatusError(
            410,
            _("This link no longer works."),
            _("It has expired or was revoked."),
            _("Ask the person who sent it for a new one."),
        )
    return link
