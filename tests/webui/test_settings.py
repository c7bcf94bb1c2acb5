"""Django's settings, as the environment makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import run_python

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
    done = run_python(ASK, DJANGO_SETTINGS_MODULE="webui.settings", HARK_DATA=str(tmp_path), HARK_HTTPS=https)
    assert done.stdout.split() == said
