"""GET /detectors/<id>/<number>/use."""

from __future__ import annotations

import ast
import html
import re

from django.test import Client

from tests.support.detector_versions import RUN, address
from webui.trainer.models import Version


def test_programs_name_this_bundle(owners: Client, version: Version) -> None:
    page = html.unescape(owners.get(address("use", version)).content.decode())
    assert f"./hark detect {RUN}.zip recording.wav" in page and f'Detector("{RUN}.zip"' in page
    assert f'href="{address("version", version)}#where"' in page


def test_the_programs_can_be_copied(owners: Client, version: Version) -> None:
    page = html.unescape(owners.get(address("use", version)).content.decode())
    programs = re.findall(r"<textarea[^>]*>((?:from|import) .*?)</textarea>", page, re.S)
    assert [len(ast.parse(program).body) for program in programs] == [3, 10]
