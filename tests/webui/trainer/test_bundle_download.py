"""GET /detectors/<id>/<number>/bundle."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.test import Client

from model.runtime.detector import Bundle
from tests.support.detector_versions import address, body
from webui.trainer.models import Version


def test_stored_bundle_is_sent_unchanged(owners: Client, version: Version) -> None:
    answer = owners.get(address("bundle", version))
    assert body(answer) == (version.path / version.bundle).read_bytes()
    assert answer["Content-Disposition"] == f'attachment; filename="{version.bundle}"'


def test_bundle_of_another_rate_is_valid(owners: Client, version: Version, tmp_path: Path) -> None:
    got = tmp_path / "got.zip"
    answer = owners.get(address("bundle", version), {"fa_per_day": "48"})
    got.write_bytes(body(answer))
    named = f'attachment; filename="{version.bundle.removesuffix(".zip")}-48-a-day.zip"'
    assert answer["Content-Disposition"] == named, "two settings are two files"
    bundle = Bundle(got)
    assert bundle.manifest["default_fa_per_day"] == 48.0 and bundle.threshold() == pytest.approx(0.4)
    for name in bundle.manifest["files"]:
        bundle.read(name)


@pytest.mark.parametrize("rate", ["", "x", "nan", "inf", "-1", "0", "0.1", "1e9"])
def test_invalid_rate_gets_422(owners: Client, version: Version, rate: str) -> None:
    answer = owners.get(address("bundle", version), {"fa_per_day": rate})
    assert answer.status_code == 422 and re.search("false.alarm", answer.content.decode())
