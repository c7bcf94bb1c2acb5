"""The inbox: audio that a person marked, with consent, because a detector was wrong about it."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import models

from webui.trainer.models import Detector


class Sample(models.Model):
    """A few seconds of audio beside what a person says about it."""

    class Verdict(models.TextChoices):
        """What the detector did wrong."""

        FALSE_ALARM = "false_alarm"
        MISSED = "missed"

    class State(models.TextChoices):
        """What became of it."""

        NEW = "new"
        TAKEN = "taken"  # it is a clip of the library, for the next training

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="samples")
    detector = models.ForeignKey(Detector, on_delete=models.CASCADE, related_name="samples")
    verdict = models.CharField(max_length=12, choices=Verdict.choices)
    state = models.CharField(max_length=6, choices=State.choices, default=State.NEW)
    file = models.CharField(max_length=200)  # relative to the user's data folder
    seconds = models.FloatField()
    version = models.IntegerField()  # that was wrong
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = (models.Index(fields=("user", "-created_at")),)

    def __str__(self) -> str:
        return f"{self.verdict} of {self.detector}"

    @property
    def path(self) -> Path:
        """Its audio."""
        from webui.jobs.services import user_data

        return user_data(self.user) / self.file
