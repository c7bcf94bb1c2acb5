"""The name that the command line goes by."""

from __future__ import annotations

PROGRAM = "./hark"
