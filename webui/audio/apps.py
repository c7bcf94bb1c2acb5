"""The Django application of recordings: transcripts, speakers, answers and summaries."""

from __future__ import annotations

from django.apps import AppConfig


class AudioConfig(AppConfig):
    name = "webui.audio"

    def ready(self) -> None:
        """Update recordings when their jobs end."""
        from webui.audio.job_results import job_has_ended
        from webui.jobs.services import job_ended

        job_ended.connect(job_has_ended, dispatch_uid="recordings")
