"""The application of the clip library: looking into it, recording for it, importing into it."""

from __future__ import annotations

from django.apps import AppConfig


class LibraryConfig(AppConfig):
    """Known to Django as ``library``; it has no tables: clips are in the user's own clip library."""

    name = "webui.library"
    label = "library"
