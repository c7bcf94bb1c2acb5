"""The Django application of recordings: transcripts, speakers, answers and summaries."""

from __future__ import annotations

from django.apps import AppConfig


class RecordingsConfig(AppConfig):
    name = "webui.recordings"
    label = "audio"  # the prefix of its tables

    def ready(self) -> None:
        """Update recordings when their jobs end."""
        from webui.jobs.services import job_ended
        from webui.recordings.job_results import job_has_ended

        job_ended.connect(job_has_ended, dispatch_uid="recordings")
