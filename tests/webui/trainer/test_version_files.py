"""GET /detectors/<id>/<number>/files/<name>."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from django.test import Client

from core.worded import worded
from model.runtime.detector import Bundle
from tests.support.detector_versions import RUN, address, body
from webui.trainer.models import Version


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx", "model.pt", "det.png", "MODEL_CARD.md"])
def test_files_of_folder_and_bundle_can_be_downloaded(owners: Client, version: Version, name: str) -> None:
    answer = owners.get(address("file", version, name))
    assert body(answer) == name.encode()
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'


def test_the_report_is_a_download(owners: Client, version: Version) -> None:
    answer = owners.get(address("file", version, "report.html"))
    assert answer["Content-Disposition"].startswith("attachment") and answer["X-Content-Type-Options"] == "nosniff"


def test_the_report_is_in_the_readers_language(owners: Client, version: Version) -> None:
    report = json.loads((version.path / "report.json").read_text())
    report["in_words_parts"] = [worded("The engine %(engine)s is in the test only.", engine="piper").parts()]
    (version.path / "report.json").write_text(json.dumps(report))
    answer = owners.get(address("file", version, "report.html"), headers={"Accept-Language": "de"})
    page = unescape(body(answer).decode())
    assert '<html lang="de">' in page and "<h1>“hey compass”</h1>" in page
    for words in ("Die Engine piper kommt nur im Test vor.", "Schwellen", "Bedingung", "Fehlalarme pro Stunde"):
        assert words in page, words
    left = re.findall(
        r"\b(?:the|of|missed|threshold|condition|false alarms|utterances)\b",
        re.sub(r"(?s)<style>.*?</style>|<svg.*?</svg>|<[^>]*>", " ", page),
    )
    assert not left
    assert answer["Content-Disposition"].startswith("attachment")
    assert b"<script>" in body(owners.get(address("file", version, "report.html"))), (
        "in English, the stored file is sent"
    )


def test_a_report_that_cannot_be_rebuilt_is_sent_unchanged(owners: Client, version: Version) -> None:
    (version.path / "report.json").write_text('{"phrase": "hey comp')
    answer = owners.get(address("file", version, "report.html"), headers={"Accept-Language": "de"})
    assert b"<script>" in body(answer)


def test_the_dataset_is_a_manifest_that_the_library_imports(owners: Client, version: Version, portal: Path) -> None:
    from pipeline.corpora.layouts import nemo_manifest

    content = body(owners.get(address("file", version, "dataset.jsonl"))).decode()
    assert json.loads(content) == {
        "audio_filepath": "clips/ab/abcd.flac", "text": "héy, compass", "duration": 1.25, "bucket": "positive",
        "engine": "espeak", "voice": "en+f3", "speaker": "f3", "split": "train", "licence": "GPL-3.0",
    }  # fmt: skip
    (portal / "dataset.jsonl").write_text(content)
    (only,) = nemo_manifest.utterances(portal)
    assert only.audio == portal / "clips" / "ab" / "abcd.flac" and only.text == "héy, compass"


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "..", "../report.json", "..%2freport.json", "%2e%2e%2freport.json", "/etc/passwd", "model.pt%00",
     "MODEL.PT", "..\\report.json", "models", RUN + ".zip", "secret.key"],
)  # fmt: skip
def test_other_file_names_get_404(owners: Client, version: Version, name: str) -> None:
    answer = owners.get(f"{address('version', version)}/files/{name}")
    assert answer.status_code == 404


def test_a_stored_bundle_is_sent_unchanged(owners: Client, version: Version) -> None:
    answer = owners.get(address("bundle", version))
    assert body(answer) == (version.path / version.bundle).read_bytes()
    assert answer["Content-Disposition"] == f'attachment; filename="{version.bundle}"'


def test_a_bundle_at_a_different_rate_is_valid(owners: Client, version: Version, tmp_path: Path) -> None:
    got = tmp_path / "got.zip"
    answer = owners.get(address("bundle", version), {"fa_per_day": "48"})
    got.write_bytes(body(answer))
    named = f'attachment; filename="{version.bundle.removesuffix(".zip")}-48-a-day.zip"'
    assert answer["Content-Disposition"] == named, "each setting has its own file name"
    bundle = Bundle(got)
    assert bundle.manifest["default_fa_per_day"] == 48.0 and bundle.threshold() == pytest.approx(0.4)
    for name in bundle.manifest["files"]:
        bundle.read(name)


@pytest.mark.parametrize("rate", ["", "x", "nan", "inf", "-1", "0", "0.1", "1e9"])
def test_an_invalid_rate_gets_422(owners: Client, version: Version, rate: str) -> None:
    answer = owners.get(address("bundle", version), {"fa_per_day": rate})
    assert answer.status_code == 422 and re.search("false.alarm", answer.text)
