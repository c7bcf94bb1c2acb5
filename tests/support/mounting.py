"""Mounts, if this machine permits them."""

from __future__ import annotations

import shutil
import subprocess


def mount(*arguments: str) -> bool:
    """Run ``mount``; return whether it worked."""
    if shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0
