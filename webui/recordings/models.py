"""Recordings, their searchable passages, uploads in progress, and links that share a recording."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from pipeline.recordings.transcripts.captions import clock
from webui.accounts.storage import user_data
from webui.jobs.models import Job
from webui.organizations.access import Owned, Things, shared_with

IN_CHUNKS = Path("uploads") / "recordings"  # below a user's data: unfinished uploads


class Recordings(Things["Recording"]):
    """Recordings, with a filter by the state that pages show."""

    def in_state(self, state: str) -> Self:
        """Return those whose :attr:`Recording.now` is ``state``."""
        active = Q(job__state__in=Job.GOING)
        if state == Recording.State.WORKING:
            return self.filter(active | Q(state=state))
        return self.filter(~active, state=state)


class Recording(models.Model):
    """Audio to transcribe. Its files are in its own folder below the user's data."""

    class State(models.TextChoices):
        UPLOADED = "uploaded", _("Uploaded")
        WORKING = "working", _("In progress")
        READY = "ready", _("Ready")
        FAILED = "failed", _("Failed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="recordings")
    name = models.CharField(max_length=200)
    state = models.CharField(max_length=8, choices=State.choices, default=State.UPLOADED, db_index=True)
    job = models.OneToOneField(Job, on_delete=models.SET_NULL, null=True, related_name="recording")
    folder = models.CharField(max_length=200)  # relative to the user's data folder
    originals = models.JSONField(default=list)  # names of the uploaded files in it, in order
    options = models.JSONField(default=dict)  # options of the transcription
    bytes = models.BigIntegerField(default=0)  # size of the originals
    duration_s = models.FloatField(null=True)
    channels = models.IntegerField(null=True)
    language = models.CharField(max_length=20, default="")
    engine = models.CharField(max_length=200, default="")
    speakers = models.IntegerField(default=0)
    words = models.IntegerField(default=0)
    version = models.IntegerField(default=0)  # version of the transcript; each change increments it
    minable = models.BooleanField(default=False)  # whether it may be used for training
    organization = shared_with(related_name="recordings")
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar = Recordings.as_manager()

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = (models.Index(fields=("user", "-created_at")),)

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        return user_data(self.user) / self.folder

    @property
    def minutes(self) -> str:
        return clock(self.duration_s or 0.0)

    @property
    def now(self) -> str:
        """The recording's state; WORKING while its job is active: the user may have retried it on the job's page."""
        return self.State.WORKING if self.job is not None and self.job.is_going else self.state

    @property
    def error(self) -> dict[str, str] | None:
        """The error of the last transcription (what, why, what_to_do); None while it runs, or if it succeeded."""
        return self.job.error if self.job is not None and not self.job.is_going else None


class Passages(Things["Passage"]):
    """Passages belong to the user of their recording."""

    to_thing = "recording__"


class Passage(models.Model):
    """A segment of a transcript for the search. Triggers update the full-text index of this table."""

    recording = models.ForeignKey(Recording, on_delete=models.CASCADE, related_name="passages")
    number = models.IntegerField()  # number of the segment
    start_s = models.FloatField()
    end_s = models.FloatField()
    speaker = models.CharField(max_length=100, default="")  # as displayed
    text = models.TextField()

    objects: ClassVar = Passages.as_manager()

    class Meta:
        ordering = ("recording", "number")
        constraints = (models.UniqueConstraint(fields=("recording", "number"), name="one_passage_a_segment"),)

    def __str__(self) -> str:
        return self.text[:80]


class UploadInProgress(models.Model):
    """A file that is uploaded in chunks. Its length on disk is the progress."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="recording_uploads")
    name = models.CharField(max_length=200)
    size = models.BigIntegerField()  # bytes, as announced at the beginning
    touched_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar = Owned.as_manager()

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        return user_data(self.user) / IN_CHUNKS / self.id.hex


class Share(models.Model):
    """A link with which anyone can read and play a recording until it expires. Only its token's SHA-256 is stored."""

    recording = models.ForeignKey(Recording, on_delete=models.CASCADE, related_name="shares")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return f"share of {self.recording}"

    @property
    def works(self) -> bool:
        return self.revoked_at is None and self.expires_at > timezone.now()
