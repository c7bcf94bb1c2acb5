"""The inbox: audio of detection errors that a user marked, with consent, and clips that devices sent."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.organizations.access import CHANGING, Things, organizations_of
from webui.trainer.models import Detector


class WakeIntake(models.Model):
    """The owner's consent that devices may send audio of a detector's activations; without a row they may not."""

    detector = models.OneToOneField(Detector, on_delete=models.CASCADE, primary_key=True, related_name="wake_intake")
    day = models.DateField(null=True)  # UTC day of the last clip sent
    sent = models.PositiveIntegerField(default=0)  # number on that day

    def __str__(self) -> str:
        return f"wakes of {self.detector}"


class Samples(Things["Sample"]):
    """Samples belong to the detector's user. Their sender also sees them while allowed to change the detector."""

    def _shared(self, user: User, roles: Collection[str]) -> Q:
        return Q(marked_by=user, detector__organization__in=organizations_of(user, CHANGING))


class Sample(models.Model):
    """A few seconds of audio with a user's verdict."""

    class Kind(models.TextChoices):
        """The reason why a device sent the sample."""

        WAKE = "wake"  # the detector triggered
        NEAR_MISS = "near_miss"  # its score was slightly below the threshold

    class Sorted(models.TextChoices):
        """A recognizer's verdict on a device's clip; see ``pipeline.serving.sorting``."""

        PHRASE = "phrase"
        OTHER = "other"
        UNSURE = "unsure"

    class Verdict(models.TextChoices):
        """The detector's error. For a device's clip, whether it is the phrase (missed) or not (false alarm)."""

        FALSE_ALARM = "false_alarm"
        MISSED = "missed"

    class State(models.TextChoices):
        NEW = "new"
        TAKEN = "taken"  # is a clip of the library, for the next training run

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="samples")
    marked_by = models.ForeignKey(  # the sender, if the detector is shared with them; None for its user
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    detector = models.ForeignKey(Detector, on_delete=models.CASCADE, related_name="samples")
    verdict = models.CharField(max_length=12, choices=Verdict.choices, blank=True)  # "" until a user has confirmed it
    state = models.CharField(max_length=6, choices=State.choices, default=State.NEW)
    file = models.CharField(max_length=200)  # relative to the user's data folder
    seconds = models.FloatField()
    version = models.IntegerField()  # the one that was wrong
    kind = models.CharField(max_length=10, choices=Kind.choices, blank=True)  # "" if a user marked it
    device = models.CharField(max_length=60, blank=True)  # the name that the device gives itself
    score = models.FloatField(null=True)
    sorted_as = models.CharField(max_length=6, choices=Sorted.choices, blank=True)
    text = models.CharField(max_length=200, blank=True)  # a recognizer's transcript
    created_at = models.DateTimeField(auto_now_add=True)
    taken_at = models.DateTimeField(null=True)

    objects: ClassVar = Samples.as_manager()

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = (models.Index(fields=("user", "-created_at")),)

    def __str__(self) -> str:
        return f"{self.verdict or self.kind} of {self.detector}"

    @property
    def path(self) -> Path:
        return user_data(self.user) / self.file
