"""GET /detectors/<id>/<number>/use."""

from __future__ import annotations

import zipfile

from django.test import Client

from tests.support.detector_versions import RUN, address
from webui.trainer.models import Version


def test_commands_name_this_bundle(owners: Client, version: Version) -> None:
    page = owners.get(address("use", version)).content.decode()
    assert f"unzip {RUN}.zip -d {RUN}" in page
    assert f"./hark wyoming --uri tcp://0.0.0.0:10400 {RUN}.zip" in page
    assert "pip install numpy onnxruntime sounddevice" in page and "detect.html" not in page
    with zipfile.ZipFile(version.path / version.bundle, "a") as archive:
        archive.writestr("detect.html", "")
    assert "detect.html" in owners.get(address("use", version)).content.decode()
