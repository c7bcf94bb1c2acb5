"""From the choice of a device on the form to the model that it loads, in a real browser."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import numpy as np
import pytest
import yaml

from tests.support.detector_versions import RUN, make_bundle, make_report
from tests.support.portal_driver import axe, chromium_running, make_owner, served, watched
from tests.support.wakeword_samples import device_files

PHRASE = "hey compass"
FILES = device_files("hey_compass")
ADOPTED_S = 60
PLANNED_MS = 400_000
TRAINED_MS = 3_600_000  # on two busy cores
DETECTOR = re.compile(r"/detectors/\d+/\d+$")


def fetched(address: str) -> bytes:
    """Fetch as a device does, without a session."""
    with urllib.request.urlopen(address, timeout=20) as answer:
        content: bytes = answer.read()
    return content


def copied(page: Any, card: Any) -> str:
    """Return what the card's first button copies to the clipboard."""
    card.get_by_role("button", name="Copy").first.click()
    card.get_by_role("button", name="Copied").first.wait_for()
    return page.evaluate("navigator.clipboard.readText()")


@pytest.mark.parametrize(
    "trains", [False, pytest.param(True, marks=[pytest.mark.devices, pytest.mark.timeout(TRAINED_MS // 1000 + 900)])]
)
def test_a_device_can_load_the_files_that_the_portal_serves(trains: bool, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    allowed = {"permissions": ["clipboard-read", "clipboard-write"]}
    with served(data) as portal, chromium_running() as browser, watched(browser, **allowed) as page:
        make_owner(page, portal)
        page.goto(f"{portal.address}/new")
        page.fill("#id_phrase", PHRASE)
        page.get_by_label("trial", exact=False).check()
        page.get_by_label("ESPHome", exact=False).check()
        page.get_by_label("Home Assistant", exact=False).check()
        problems = axe(page)
        page.get_by_role("button", name="Show the plan").click()
        page.get_by_role("button", name="Start training").wait_for(timeout=PLANNED_MS)
        page.locator("summary", has_text="Change the plan").click()
        assert page.get_by_label("ESPHome", exact=False).is_checked()
        assert not page.get_by_label("Browser", exact=True).is_checked()

        if trains:
            page.get_by_role("button", name="Start training").click()
            page.wait_for_url(DETECTOR, timeout=TRAINED_MS)  # the page redirects a user who watched
        else:
            _finished_run(data)
            page.goto(f"{portal.address}/")
            until = time.monotonic() + ADOPTED_S
            while not page.get_by_role("link", name=PHRASE).count() and time.monotonic() < until:
                page.wait_for_timeout(500)
                page.reload()
            page.get_by_role("link", name=PHRASE).first.click()
        page.get_by_role("tab", name="Where will you use it?").click()

        # the YAML leads to the manifest, the manifest to the network
        card = page.get_by_role("region", name=re.compile("^ESPHome"))
        address = yaml.safe_load(copied(page, card))["micro_wake_word"]["models"][0]["model"]
        manifest = json.loads(fetched(address))
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        (tmp_path / manifest["model"]).write_bytes(fetched(urljoin(address, manifest["model"])))
        _esphome_hears(tmp_path / "manifest.json")

        # the command leads to the head
        card = page.get_by_role("region", name=re.compile("^Home Assistant"))
        command = re.search(r"wget -O /share/openwakeword/hey_compass\.tflite (\S+)$", copied(page, card))
        (tmp_path / "head.tflite").write_bytes(fetched(command[1]))
        _openwakeword_hears(tmp_path / "head.tflite")
        problems += axe(page)

        # after a renewal the old URL leads nowhere
        page.get_by_text("Create a new secret address").click()
        page.get_by_role("button", name="Replace the address").click()
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetched(address)
        assert refused.value.code == 404
        newer = yaml.safe_load(copied(page, page.get_by_role("region", name=re.compile("^ESPHome"))))
        assert newer["micro_wake_word"]["models"][0]["model"] != address
        assert not problems, "\n".join(problems)


def _finished_run(data: Path) -> None:
    """Make a run as the command line leaves it, with untrained files for devices."""
    run, report = data / "models" / RUN, make_report(PHRASE)
    run.mkdir(parents=True)
    make_bundle(run / f"{RUN}.zip", PHRASE, FILES)
    (run / "report.json").write_text(json.dumps(report))
    job = data / "jobs" / RUN
    job.mkdir(parents=True)
    result = {"phrase": PHRASE, "bundle": str(run / f"{RUN}.zip"), "metrics": report["summary"]}
    (job / "result.json").write_text(json.dumps(result))


def _esphome_hears(manifest: Path) -> None:
    runtime = pytest.importorskip("pymicro_wakeword").MicroWakeWord.from_config(manifest)
    runtime.process_streaming(np.zeros((1, 1, 40), np.float32))


def _openwakeword_hears(head: Path) -> None:
    loaded = pytest.importorskip("pyopen_wakeword").OpenWakeWord.from_model(head)
    list(loaded.process_streaming(np.zeros((1, 1, 1, 96), np.float32)))
