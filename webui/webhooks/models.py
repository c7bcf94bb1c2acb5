"""Webhooks, and their deliveries."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class Webhook(models.Model):
    """A user's URL that is notified when their jobs end."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=500)
    events = models.JSONField(default=list)  # a subset of webui.webhooks.services.EVENTS
    sealed_secret = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return self.url


class Delivery(models.Model):
    """A message to a webhook, and its progress."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=40)
    body = models.TextField()  # as signed and sent
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    created_at = models.DateTimeField(auto_now_add=True)
    tries = models.IntegerField(default=0)
    tried_at = models.DateTimeField(null=True)
    next_try_at = models.DateTimeField(null=True)
    # Set while a worker sends it; a worker that has not finished by then is presumed dead.
    sending_until = models.DateTimeField(null=True)
    answer_status = models.IntegerField(null=True)  # status of the last attempt
    problem = models.CharField(max_length=400, default="")  # problem of the last attempt

    class Meta:
        ordering = ("-created_at", "id")
        indexes = (models.Index(fields=("webhook", "-created_at")),)
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook_id} ({self.state})"
