"""The application of jobs and of the workers that do them."""

from __future__ import annotations

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Known to Django as ``jobs``."""

    name = "webui.jobs"

    def ready(self) -> None:
        """Each worker says from time to time that it lives."""
        from django_q.signals import post_spawn

        from webui.jobs.heartbeat import keep_beating

        post_spawn.connect(keep_beating, dispatch_uid="heartbeat")
