"""The application of listening: detectors tried on live audio and files, and the inbox of what went wrong."""

from __future__ import annotations

from django.apps import AppConfig


class ListeningConfig(AppConfig):
    """Known to Django as ``listening``."""

    name = "webui.listening"
    label = "listening"
