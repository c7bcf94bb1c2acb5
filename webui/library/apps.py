"""The application of the clip library: looking into it, recording for it, importing into it."""

from __future__ import annotations

from django.apps import AppConfig


class LibraryConfig(AppConfig):
    """Known to Django as ``library``; it has no tables: clips are in the user's own clip library."""

    name = "webui.library"

    def ready(self) -> None:
        """What was uploaded for an import goes when the import has ended."""
        from webui.jobs.services import job_ended
        from webui.library.import_views import forget_upload

        job_ended.connect(forget_upload, dispatch_uid="imports")
