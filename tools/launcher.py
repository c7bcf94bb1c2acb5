"""The wheel's command `hark`, which runs the application in ``hark/application/``."""

import os
import sys
from pathlib import Path

APPLICATION = Path(__file__).resolve().parents[1]


def main() -> None:
    """Start Hark's command line with its data in HARK_DATA or, by default, in ~/.local/share/hark."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    os.environ.setdefault("HARK_DATA", str(Path(base).expanduser() / "hark"))
    os.execv(sys.executable, [sys.executable, str(APPLICATION / "main.py"), *sys.argv[1:]])
