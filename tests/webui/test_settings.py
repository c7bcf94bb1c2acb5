"""Django's settings, as the environment makes them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY

ASK = """
from django.http import HttpResponse
from django.middleware.security import SecurityMiddleware
from django.test import RequestFactory
for scheme in "https", "http":
    request = RequestFactory().get("/", headers={"X-Forwarded-Proto": scheme})
    print(SecurityMiddleware(lambda request: HttpResponse())(request).get("Strict-Transport-Security"))
"""


@pytest.mark.parametrize(("https", "said"), [("1", ["max-age=31536000", "None"]), ("", ["None", "None"])])
def test_behind_tls_browsers_are_told_to_stay_there(https: str, said: list[str], tmp_path: Path) -> None:
    environment = {
        **os.environ, "DJANGO_SETTINGS_MODULE": "webui.settings", "HARK_DATA": str(tmp_path), "HARK_HTTPS": https,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == said
