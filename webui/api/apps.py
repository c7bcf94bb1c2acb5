"""The Django application of the API."""

from __future__ import annotations

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "webui.api"

    def ready(self) -> None:
        from webui.api.webhooks import notify
        from webui.jobs.services import job_ended

        job_ended.connect(notify, dispatch_uid="webhooks")
