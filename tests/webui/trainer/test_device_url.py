"""Devices of a version, and the URL of its files for them, which needs no account."""

from __future__ import annotations

import hashlib
import html
import json
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from tests.support.detector_versions import address, make_bundle, make_version
from tests.support.rendered_pages import flat
from tests.support.wakeword_samples import device_files
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.trainer import results
from webui.trainer.models import Version

FILES = device_files("hey_compass")
MANIFEST, NETWORK, HEAD = FILES


@pytest.fixture
def version(owner: User, portal: Path) -> Version:
    """A version with files for both devices."""
    made = make_version(owner, portal)
    more = {name: name.encode() for name in ("detect.html", "detect.js")}
    make_bundle(made.path / made.bundle, "hey compass", FILES | more)
    return made


@pytest.fixture
def visitor(db: None) -> Client:
    """A device: no session, no token of an account."""
    return Client()


def served_at(client: Client, version: Version) -> str:
    """Return the manifest's path, as in the page's YAML."""
    page = html.unescape(client.get(address("version", version)).text)
    found = re.search(r"micro_wake_word:\n  models:\n    - model: (\S+\.json)", page)
    return urlsplit(found[1]).path


def choose(client: Client, version: Version, **sent: str) -> Any:
    return client.post(address("address", version), sent)


def test_the_yaml_on_the_page_points_to_manifest_and_model(owners: Client, version: Version, visitor: Client) -> None:
    manifest = served_at(owners, version)
    answer = visitor.get(manifest)
    assert answer.status_code == 200 and answer["Content-Type"] == "application/json"
    assert answer.content == FILES[MANIFEST]
    model = visitor.get(urljoin(manifest, json.loads(answer.content)["model"]))  # as ESPHome looks for it
    assert model.content == FILES[NETWORK]
    root = manifest.removesuffix(MANIFEST)
    assert visitor.get(root + HEAD).content == FILES[HEAD]
    assert visitor.head(manifest).status_code == 200 and "sessionid" not in visitor.cookies


def test_a_token_gives_access_only_to_its_versions_device_files(
    owners: Client, owner: User, version: Version, visitor: Client, portal: Path
) -> None:
    later = make_version(owner, portal, number=2)
    make_bundle(later.path / later.bundle, "hey compass", FILES)
    renewed = make_version(owner, portal, number=3)
    old = renewed.token
    choose(owners, renewed, renew="")
    token = version.token
    keys = ("public", later.token, old, token[:-1], token + "x", token.swapcase(), "x" * 32, "%00")
    names = (
        *FILES, "model.onnx", "x/model.onnx", "esphome/model.onnx", "openwakeword/x.tflite", "esphome/", "esphome/..",
        "esphome/..%2Fmodel.onnx", "..%2F..%2Fmodels/hey_compass.json", "esphome/%2Fetc%2Fpasswd", "esphome/%00",
        "esphome/hey_compass.json%00.tflite", "ESPHOME/hey_compass.json", "esphome/hey_compass.json/",
        "esphome/manifest.json", "esphome/report.json", "esphome/dataset.jsonl", "esphome/*",
    )  # fmt: skip
    for key in (token, *keys):
        for name in names:
            opens = key == token and name in FILES
            for method in (visitor.get, visitor.head):
                answer = method(f"/models/{version.detector_id}/1/{key}/{name}")
                assert answer.status_code == (200 if opens else 404), (key, name)
    manifest = f"/models/{version.detector_id}/1/{token}/{MANIFEST}"
    for method in (visitor.post, visitor.put, visitor.patch, visitor.delete, visitor.options):
        assert method(manifest).status_code == 405


def test_range_and_head_requests_reveal_no_more_than_the_file(
    owners: Client, version: Version, visitor: Client
) -> None:
    manifest = served_at(owners, version)
    whole = visitor.get(manifest)
    head = visitor.head(manifest)
    assert head.content == b"" and head["ETag"] == whole["ETag"] and head["Content-Length"] == str(len(whole.content))
    for part in ("bytes=0-9", "bytes=-1", "bytes=9-0", "bytes=0-99999999999", "x"):
        answer = visitor.get(manifest, headers={"Range": part})
        assert answer.status_code == 200 and answer.content == whole.content, part
    choose(owners, version, renew="")
    for header in ({"If-None-Match": whole["ETag"]}, {"If-None-Match": "*"}, {"If-Match": "x"}, {"Range": "bytes=0-9"}):
        gone = visitor.get(manifest, headers=header)
        assert gone.status_code == 404 and "ETag" not in gone, header


def test_a_wrong_token_gets_404(owners: Client, version: Version, visitor: Client, other: User, portal: Path) -> None:
    manifest = served_at(owners, version)
    for token in ("public", "x" * 32, version.token[:-1], "é", ""):
        assert visitor.get(manifest.replace(version.token, token)).status_code == 404, token
    theirs = make_version(other, portal / "users" / str(other.pk))
    assert visitor.get(manifest.replace(f"/{version.detector_id}/", f"/{theirs.detector_id}/")).status_code == 404
    assert visitor.get(manifest.replace(f"/{version.number}/", "/2/")).status_code == 404
    assert theirs.token != version.token


def test_an_unchanged_file_gets_304(owners: Client, version: Version, visitor: Client) -> None:
    manifest = served_at(owners, version)
    answer = visitor.get(manifest)
    assert answer["ETag"] == f'"{hashlib.sha256(FILES[MANIFEST]).hexdigest()}"'
    assert answer["Cache-Control"] == "private, no-cache"
    for header in ({"If-None-Match": answer["ETag"]}, {"If-Modified-Since": answer["Last-Modified"]}):
        again = visitor.get(manifest, headers=header)
        assert again.status_code == 304 and not again.content
    assert visitor.get(manifest, headers={"If-None-Match": '"x"'}).status_code == 200


def test_a_detector_can_be_made_public(owners: Client, version: Version, visitor: Client) -> None:
    secret = served_at(owners, version)
    assert choose(owners, version, served="public").status_code == 302
    public = served_at(owners, version)
    assert public == f"/models/{version.detector_id}/1/public/{MANIFEST}"
    assert visitor.get(public)["Cache-Control"] == "public, no-cache"
    assert visitor.get(secret).status_code == 200, "devices with the secret URL continue to work"
    choose(owners, version, served="link")
    assert visitor.get(public).status_code == 404 and visitor.get(secret).status_code == 200


def test_a_device_url_can_be_revoked_and_renewed(owners: Client, version: Version, visitor: Client) -> None:
    first = served_at(owners, version)
    assert choose(owners, version, renew="").status_code == 302
    told = owners.get(address("version", version)).text
    assert "The secret address has changed: copy the new one to your devices." in told
    second = served_at(owners, version)
    assert visitor.get(first).status_code == 404 and visitor.get(second).status_code == 200
    choose(owners, version, served="nobody")
    assert visitor.get(second).status_code == 404
    page = owners.get(address("version", version)).text
    assert "- model: hey_compass.json" in page and "/models/" not in page
    page = owners.post(address("address", version), {"served": "link"}, follow=True).text
    assert "The secret address has changed" in page
    assert visitor.get(second).status_code == 404, "a revoked token stays invalid"
    assert visitor.get(served_at(owners, version)).status_code == 200
    assert choose(owners, version, served="x").status_code == 422


def test_device_files_of_a_deactivated_user_get_404(
    owners: Client, owner: User, version: Version, visitor: Client
) -> None:
    manifest = served_at(owners, version)
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert visitor.get(manifest).status_code == 404


def test_a_missing_bundle_gets_410(owners: Client, version: Version, visitor: Client) -> None:
    manifest = served_at(owners, version)
    (version.path / version.bundle).unlink()
    answer = visitor.get(manifest, headers={"Accept": "application/json"})
    assert answer.status_code == 410 and str(version.path) not in answer.text


def test_each_device_has_a_card(owners: Client, version: Version) -> None:
    page = html.unescape(owners.get(address("version", version)).text)
    for device in ("esphome", "openwakeword", "browser", "pi", "python"):
        assert f'id="target-{device}"' in page and f'data-copy="code-{device}-1"' in page
    assert f"wget -O /share/openwakeword/hey_compass.tflite http://testserver/models/{version.detector_id}/1/" in page
    assert f"./hark wyoming --uri tcp://0.0.0.0:10400 {version.bundle}" in page
    assert "opened as localhost" not in page
    here = owners.get(address("version", version), headers={"Host": "localhost:8000"}).text
    assert "opened as localhost" in here
    name = socket.gethostname().lower()
    assert f"HARK_ALLOWED_HOSTS={name} ./hark serve --host 0.0.0.0 --port 8000" in here
    assert f"the address then begins with http://{name}:8000:" in here
    assert "- model: hey_compass.json" in page, "the instructions without a URL"


def test_the_browser_card_has_a_qr_code_for_a_phone(owners: Client, version: Version) -> None:
    page = owners.get(address("version", version)).text
    path = reverse("listening:try", args=[version.detector_id, 1])
    assert page.split("<main")[1].count("<svg") == 3 and 'fill="#fff"' in page, "the code can be read in the dark theme"
    assert f'href="http://testserver{path}"' in page and "only on pages opened over https" in page
    assert "only on pages opened over https" not in owners.get(address("version", version), secure=True).text
    assert results.qr_code("http://a") != results.qr_code("http://b")


def test_a_device_without_a_file_explains_how_to_get_one(owners: Client, owner: User, portal: Path) -> None:
    version = make_version(owner, portal)
    report = json.loads((version.path / "report.json").read_text())
    (version.path / "report.json").write_text(json.dumps(report | {"devices_left_out": ["esphome"]}))
    page = html.unescape(flat(owners.get(address("version", version))))
    assert "The package pymicro-wakeword was not installed." in page and "--for" not in page
    again = re.search(r'href="(/new\?[^"]*targets=openwakeword)"', page)
    form = flat(owners.get(again[1]))
    assert 'value="openwakeword" checked' in form and 'value="esphome" checked' not in form
    assert re.search(r'value="quick"[^>]* checked', form), "the effort of this version"
    (version.path / "report.json").write_text(json.dumps(report | {"effort": "trial"}))
    page = flat(owners.get(address("version", version)))
    assert "effort=standard" in page and "effort=trial" not in page, "a trial is not good enough for a device"
    assert "Who can download" not in page


def test_devices_can_be_chosen_on_the_form(owners: Client) -> None:
    form = {"phrase": "hey compass", "language": "en", "effort": "trial", "mining": "on"}
    owners.post("/new", {**form, "targets": ["pi", "esphome"]})
    plan = Job.objects.get()
    assert plan.spec["choices"]["devices"] == ["esphome"] and plan.spec["targets"] == ["pi", "esphome"]
    Job.objects.filter(pk=plan.pk).update(state="done", result={"buckets": {}, "effort": "trial", "engines": {}})
    page = flat(owners.get(f"/plans/{plan.id}"))
    assert 'value="pi" checked' in page and 'value="browser" checked' not in page
    owners.post("/start", {"plan": str(plan.id)})
    run = Job.objects.get(kind="train")
    assert run.spec["choices"]["devices"] == ["esphome"] and run.spec["targets"] == ["pi", "esphome"]
    assert owners.post("/new", {**form, "targets": ["toaster"]}).status_code == 422


def test_chosen_targets_are_listed_first(owners: Client, version: Version) -> None:
    version.job.spec = {"targets": ["python"]}
    version.job.save()
    page = owners.get(address("version", version)).text
    order = re.findall(r'<h3 id="target-(\w+)"', page)
    assert order == ["python", "esphome", "openwakeword", "small", "browser", "pi"]
