"""A data folder with a portal of one owner, a detector with a version, and a few clips."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from core.data_folder import REPOSITORY

CLIPS = 4
PROGRAM = f"""
import sys
from pathlib import Path
from webui.setup import ready; ready()
import numpy as np
from db.db_api import Library
from db.records import NewClip
from tests.support.detector_versions import make_version
from webui.accounts.models import User
data = Path(sys.argv[1])
make_version(User.objects.create(username="owner", email="owner@localhost", is_owner=True), data)
with Library(data) as library:
    noise = np.random.default_rng(1).normal(0, 0.1, ({CLIPS}, 1600)).astype(np.float32)
    library.add_clips([NewClip(audio, "hey compass", "hey compass", "en", "fake") for audio in noise])
"""


def make_data(folder: Path) -> None:
    """Fill ``folder`` in a process of its own, as a portal on SQLite does."""
    environment = {**os.environ, "HARK_DATA": str(folder), "DATABASE_URL": ""}
    subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], cwd=REPOSITORY, env=environment, check=True)
