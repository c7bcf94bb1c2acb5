"""The command line: ``./hark COMMAND`` and ``python main.py COMMAND``. Without a command it asks for a keyphrase."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from command_line.application import main

    sys.exit(main())

if __name__ == "__mp_main__":  # multiprocessing imports this file again in each process that it starts
    from command_line.helper_process import follow_the_parent

    follow_the_parent()
