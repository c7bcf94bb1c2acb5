"""The Django application of the clip library."""

from __future__ import annotations

from django.apps import AppConfig


class LibraryConfig(AppConfig):
    """The application ``library``. It has no tables, because clips are in the user's own clip library."""

    name = "webui.library"

    def ready(self) -> None:
        """Remove the uploads of imports that have ended."""
        from webui.jobs.services import job_ended
        from webui.library.import_views import forget_upload

        job_ended.connect(forget_upload, dispatch_uid="imports")
