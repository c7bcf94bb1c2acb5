"""The Django application of other systems' endpoints."""

from __future__ import annotations

from django.apps import AppConfig


class CompatibilityConfig(AppConfig):
    name = "webui.compatibility"

    def ready(self) -> None:
        """Clean up a meeting's transcript after its transcription, and delete a recording's audio cuts with it."""
        from django.db.models.signals import post_delete

        from webui.compatibility.atr import forget_cuts
        from webui.compatibility.meetings import polish_when_transcribed
        from webui.jobs.services import job_ended
        from webui.recordings.models import Recording

        job_ended.connect(polish_when_transcribed, dispatch_uid="meetings")
        post_delete.connect(forget_cuts, Recording, dispatch_uid="cuts of recordings")
