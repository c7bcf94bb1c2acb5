"""The command line: ``./hark COMMAND`` and ``python main.py COMMAND``. Without a command, it asks for a keyphrase."""

from __future__ import annotations

import os
import signal
import sys


def _stop(number: int, frame: object) -> None:
    """Exit immediately on a signal: importing takes a second, and no clean-up is needed before a command begins."""
    os.write(2, b"stopped\n")
    os._exit(130)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036  (started manually, this file may run on any Python)
        sys.stderr.write(
            f"Hark needs Python 3.11 or newer, and this is {sys.version.split()[0]}. Start it with ./hark.\n"
        )
        sys.exit(2)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    from command_line.application import main

    sys.exit(main())
