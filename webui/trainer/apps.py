"""The application of detectors: from a phrase to a download."""

from __future__ import annotations

from django.apps import AppConfig


class TrainerConfig(AppConfig):
    """Known to Django as ``trainer``."""

    name = "webui.trainer"

    def ready(self) -> None:
        """A run that is done becomes a version."""
        from webui.jobs.services import job_ended
        from webui.trainer.services import job_has_ended

        job_ended.connect(job_has_ended, dispatch_uid="versions")
