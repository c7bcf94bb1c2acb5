"""The Django application of jobs and their workers."""

from __future__ import annotations

from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "webui.jobs"

    def ready(self) -> None:
        """Start the heartbeat of each worker."""
        from django_q.signals import post_spawn

        from webui.jobs.heartbeat import keep_beating

        post_spawn.connect(keep_beating, dispatch_uid="heartbeat")
