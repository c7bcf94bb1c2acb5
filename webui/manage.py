"""Django's commands: ``python webui/manage.py migrate``, ``makemessages``, ``qcluster``.

``runserver`` starts ``./hark serve``, because Django's own would serve pages without workers and sockets.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def serve(arguments: list[str]) -> None:
    """Replace this process with ``serve`` at the host and port given to ``runserver`` ("8000", "0.0.0.0:8000")."""
    host, _colon, port = next((text for text in arguments if not text.startswith("-")), "8000").rpartition(":")
    command = [sys.executable, str(REPOSITORY / "main.py"), "serve", "--host", host.strip("[]") or "127.0.0.1"]
    sys.stderr.write("runserver starts ./hark serve: the pages, with the workers and sockets that they need.\n")
    os.execv(command[0], [*command, "--port", port])


if __name__ == "__main__":
    if sys.argv[1:2] == ["runserver"] and "--help" not in sys.argv:
        serve(sys.argv[2:])
    sys.path[0] = str(REPOSITORY)  # imports begin at the repository, not in webui/
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webui.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
