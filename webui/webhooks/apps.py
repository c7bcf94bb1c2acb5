"""The Django application of webhooks."""

from __future__ import annotations

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "webui.webhooks"

    def ready(self) -> None:
        from webui.jobs.services import job_ended
        from webui.webhooks.services import notify

        job_ended.connect(notify, dispatch_uid="webhooks")
