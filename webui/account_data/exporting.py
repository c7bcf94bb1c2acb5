"""Export of everything Hark stores about a user, as one zip: their files, and ``account.json`` with their rows."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone
from django.utils.translation import gettext as _

from core.data_folder import atomic_path, storing
from core.errors import HarkError
from pipeline.backup import ACCOUNT, EXPORTS
from webui.accounts.audit import Action, entries_of, record
from webui.accounts.models import ApiToken, User
from webui.accounts.storage import user_data
from webui.http.errors import StatusError
from webui.jobs import services as jobs
from webui.jobs.models import Job, Usage
from webui.listening.models import Sample
from webui.organizations.models import Membership
from webui.recordings.models import Recording, Share
from webui.trainer.models import Detector, Version
from webui.transactions import serialized
from webui.webhooks.models import Webhook

RETENTION_S = 24 * 3600
TABLES: dict[str, tuple[Any, str, str]] = {  # by kind: the model, its path to the user, the exported columns
    "tokens": (ApiToken, "user", "name prefix scopes created_at last_used_at expires_at revoked_at"),
    "webhooks": (Webhook, "user", "url events created_at"),
    "organizations": (Membership, "user", "organization__name role joined_at"),
    "detectors": (Detector, "user", "id phrase language organization__name created_at"),
    "versions": (
        Version, "detector__user", "detector_id number folder bundle summary offered served created_at",
    ),
    "samples": (Sample, "user", "detector_id verdict state file seconds marked_by__username created_at"),
    "recordings": (
        Recording, "user",
        "id name folder originals options duration_s language speakers minable organization__name created_at",
    ),
    "shares": (Share, "recording__user", "recording_id created_at expires_at revoked_at"),
    "jobs": (Job, "user", "id kind title spec state created_at finished_at result error"),
    "usage": (Usage, "user", "day jobs seconds speakers"),
}  # fmt: skip


def export_file(user: User) -> Path:
    """Return the path of a user's zip, which may not exist."""
    return Path(settings.DATA) / EXPORTS / f"{user.pk}.zip"


def begin_export(*, user: User) -> Job:
    """Queue the job that creates the zip.

    Raises HarkError if the user is the owner or the disk is full, and StatusError (429) if the account was already
    exported within the last day.
    """
    if user.is_owner:
        raise HarkError(
            _("The owner's account is not exported."),
            _("The owner's data is the installation's data, including that of all users."),
            _("Make a backup on the server instead: ./hark backup FILE."),
        )
    with serialized():
        exports = Job.objects.filter(user=user, kind="export").exclude(state__in=Job.CAN_BE_RETRIED)
        if exports.filter(finished_at__gt=timezone.now() - timedelta(seconds=RETENTION_S)).exists():
            raise StatusError(
                429,
                _("Your account was exported less than a day ago."),
                _("An account can be exported once a day."),
                _("Download that export, or come back tomorrow."),
            )
        if not exports.filter(state__in=Job.GOING).exists():
            with storing("exporting the account"), atomic_path(user_data(user) / ACCOUNT, 0o600) as temporary:
                content = json.dumps(rows_of(user), cls=DjangoJSONEncoder, ensure_ascii=False, indent=1)
                temporary.write_text(content, encoding="utf-8")
        job = jobs.submit(user=user, kind="export", title=user.username, spec={"user": user.pk}, even_if_full=True)
        record(Action.EXPORTED, about=user)
    return job


def rows_of(user: User) -> dict[str, Any]:
    """Return the user's rows by kind, without digests and sealed secrets."""
    fields = ("username", "email", "date_joined", "last_login", "recordings_days", "jobs_days")
    rows: dict[str, Any] = {"account": User.objects.values(*fields).get(pk=user.pk)}
    for kind, (model, whose, columns) in TABLES.items():
        rows[kind] = [*model.objects.filter(**{whose: user}).values(*columns.split())]
    entries = entries_of(user).values("at", "action", "what", "by_name", "about_name", "address")
    return {**rows, "audit_log": [*entries]}


def remove_old_exports() -> None:
    """Delete exports that are older than a day. Called every few seconds."""
    for path in (Path(settings.DATA) / EXPORTS).glob("*.zip"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - RETENTION_S:
                path.unlink()
