"""Stored responses to creations, for a day."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class KeptAnswer(models.Model):
    """The response to a creation with an Idempotency-Key; ``status`` is None while it is being processed."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key_digest = models.CharField(max_length=64)
    request_digest = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    claimed_at = models.DateTimeField()  # time at which the request began
    status = models.IntegerField(null=True)
    location = models.CharField(max_length=400, default="")
    sealed_answer = models.TextField(default="")  # sealed, because it may hold a new token

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "key_digest"), name="one_answer_a_key"),)

    def __str__(self) -> str:
        return f"answer {self.key_digest[:8]} ({self.status or 'being made'})"
