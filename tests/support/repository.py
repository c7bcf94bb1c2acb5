"""The repository's own files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY


def repository_files() -> list[Path]:
    """Return the files that are, or would be, committed."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(git, cwd=REPOSITORY, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and its checkout to tell the repository's files from others")
    return [path for path in (REPOSITORY / name for name in names if name) if path.is_file()]
