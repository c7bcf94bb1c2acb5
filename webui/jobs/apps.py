"""The application of jobs: what takes longer than a page may."""

from __future__ import annotations

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Known to Django as ``jobs``."""

    name = "webui.jobs"
    label = "jobs"
