"""What the version before left behind is still good: its bundles and checkpoints, its library, its portal's database.

``fixtures/earlier-data.zip`` is a data folder as commit c2029cb leaves it after a tiny run (espeak, size micro), with
the scores that its detector gave then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data_folder import REPOSITORY
from db.db_api import Library
from model.runtime.detector import Detector
from pipeline.training.plan import config_of_run
from pipeline.training.run import retraining_of

RUN = "hey-compass-trial-0c6786f3"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    with zipfile.ZipFile(Path(__file__).with_name("fixtures") / "earlier-data.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def expected(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "expected.json").read_text())
    return found


@pytest.fixture(scope="module")
def audio(data: Path, expected: dict[str, Any]) -> np.ndarray:
    with Library(data) as library:
        assert library.stats().clips == expected["clips"]
        return np.concatenate([np.pad(library.read_audio(clip), 8000) for clip in library.clips(expected["ids"])])


def test_its_bundles_and_checkpoints_score_the_same(data: Path, expected: dict[str, Any], audio: np.ndarray) -> None:
    from model.checkpoint import load_checkpoint

    folder = data / "models" / RUN
    assert Detector(folder / f"{RUN}.zip").scores(audio) == pytest.approx(expected["scores"], abs=1e-3)
    detector, about = load_checkpoint(str(folder / "model.pt"))
    assert detector.stream_scores(audio) == pytest.approx(expected["pt"], abs=1e-4)
    assert about["manifest"]["phrase"] == "hey compass" and max(expected["scores"]) > 0.9


def test_its_runs_can_be_retrained(data: Path) -> None:
    config = config_of_run(data / "jobs" / RUN)
    assert config is not None and (config.phrase, config.size, config.engines) == ("hey compass", "micro", ("espeak",))
    assert retraining_of(data, RUN).start_from == RUN


def test_its_portal_is_brought_up_to_date(data: Path) -> None:
    program = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.test import Client
from webui.accounts.models import User
from webui.trainer.models import Version
client = Client(HTTP_HOST="127.0.0.1")
client.force_login(User.objects.get(is_owner=True), backend="django.contrib.auth.backends.ModelBackend")
version = Version.objects.get()
pages = ["/", f"/detectors/{version.detector_id}", f"/jobs/{version.job_id}", "/library/", "/recordings/"]
print(version.report()["phrase"], *(client.get(page, follow=True).status_code for page in pages))
"""
    environment = {**os.environ, "HARK_DATA": str(data), "DJANGO_SETTINGS_MODULE": "webui.settings"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "hey compass 200 200 200 200 200", done.stderr[-3000:]
