"""The application of detectors: from a phrase to a download."""

from __future__ import annotations

from django.apps import AppConfig


class TrainerConfig(AppConfig):
    """Known to Django as ``trainer``."""

    name = "webui.trainer"
    label = "trainer"
