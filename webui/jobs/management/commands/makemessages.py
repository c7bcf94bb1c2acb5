"""Django's ``makemessages``, extended to the messages of lower layers (``core.worded``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.commands import makemessages

SAYING = (
    "audio_augmentation",
    "audio_generation",
    "core",
    "db",
    "model",
    "phrase_augmentation",
    "pipeline",
)  # packages outside webui/ with translatable messages

TEMPLATES = ("pipeline/training/reporting/report.html",)


class Command(makemessages.Command):
    """The command; run it in ``webui/``: ``manage.py makemessages -l de --no-location --no-wrap``."""

    xgettext_options = makemessages.Command.xgettext_options + [
        *("--keyword=worded:1", "--keyword=worded:1,2"),
        *("--keyword=storing:1", "--keyword=storage_error:2"),  # activities, of core.data_folder
    ]

    def find_files(self, root: str) -> list[Any]:
        """Return the files of the portal, and the Python files and page templates of the packages below it."""
        below = sorted(path for package in SAYING for path in Path("..", package).rglob("*.py"))
        below += [Path("..", template) for template in TEMPLATES]
        file_class = self.translatable_file_class
        return super().find_files(root) + [
            file_class(str(path.parent), path.name, self.default_locale_path) for path in below
        ]
