"""The Django application of detectors, from a phrase to a download."""

from __future__ import annotations

from django.apps import AppConfig


class TrainerConfig(AppConfig):
    name = "webui.trainer"

    def ready(self) -> None:
        """Create versions of finished runs."""
        from webui.jobs.services import job_ended
        from webui.trainer.services import job_has_ended

        job_ended.connect(job_has_ended, dispatch_uid="versions")
