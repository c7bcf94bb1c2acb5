"""A newcomer's whole way through the portal, in a real browser, against ``./hark serve`` itself."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.audio_file import read_audio, write_audio
from model.runtime.detector import Bundle
from tests.support.portal_driver import SIZES, Portal, axe, comes_true, make_owner, served, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.timeout(1800)

PHRASE = "hey compass"
TRAINING_MS = 800_000  # on a busy machine
DETECTOR = re.compile(r"/detectors/\d+/\d+$")


@pytest.fixture
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with served(tmp_path_factory.mktemp("portal")) as portal:
        yield portal


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with watched(chromium, viewport=SIZES["wide"]) as page:
        yield page


def test_from_the_first_start_to_a_detector_that_hears(page: Page, portal: Portal, tmp_path: Path) -> None:
    problems: list[str] = []

    # the owner's account, by the one-time link
    make_owner(page, portal)
    problems += axe(page)
    page.goto(portal.link)
    assert page.get_by_role("button", name="Create the account").count() == 0  # it works once
    page.goto(portal.address)

    # a phrase, its advice, its plan
    problems += axe(page)
    page.get_by_label("Which phrase should it detect?").press_sequentially(PHRASE, delay=20)
    page.get_by_role("button", name="Hear it and try it").click()
    page.locator("#advice").get_by_text("3 syllables", exact=False).first.wait_for()
    problems += axe(page)
    page.get_by_label("trial", exact=False).check()
    page.get_by_role("button", name="Show the plan").click()
    page.get_by_role("button", name="Start training").wait_for(timeout=TRAINING_MS)
    page.locator("summary", has_text="Clips, samples and voices").click()
    assert page.get_by_role("row", name=re.compile("Your phrase")).get_by_text("60", exact=True).count() == 2
    problems += axe(page)

    # an example of it, spoken
    with page.expect_response(re.compile("/speak")) as spoken:
        page.get_by_role("button", name=re.compile("^Play “hey compass”")).first.click()
    assert spoken.value.status in (200, 206)

    # the plan is changed: two voices less take less time
    page.locator("summary", has_text="Change the plan").click()
    for engine in ("splice", "festival", "flite"):
        if (box := page.locator(f"input[name=engines][value={engine}]")).count():
            box.uncheck()
    with page.expect_navigation():
        page.get_by_role("button", name="Plan again").click()
    page.get_by_role("button", name="Start training").wait_for(timeout=TRAINING_MS)
    page.locator("summary", has_text="Clips, samples and voices").click()
    voices = page.get_by_role("region", name="Voices")
    assert voices.get_by_text("espeak", exact=True).count() and not voices.get_by_text("splice", exact=True).count()

    # the run, watched to its end
    page.get_by_role("button", name="Start training").click()
    page.locator("li.now").wait_for()
    job = page.url
    page.reload()  # closing and opening again changes nothing
    page.locator(".log li").first.wait_for()
    page.wait_for_url(DETECTOR, timeout=TRAINING_MS)  # who watched it is taken there
    page.goto(job)
    comes_true(page, "document.querySelectorAll('[data-stage].past').length === 7")
    assert page.locator("[data-stage=calibrate]").count() and not page.locator(".curve").count(), "nothing is trained"
    problems += axe(page)

    # the result: the dial, the download
    page.get_by_role("link", name="See the detector").click()
    page.locator("svg.chart [class*=curve]").first.wait_for(state="attached")
    detector = page.url
    dial = page.get_by_role("slider")
    before = page.locator("main").inner_text()
    dial.focus()
    dial.press("End")
    assert page.locator("main").inner_text() != before
    problems += axe(page)
    with page.expect_download() as download:
        page.get_by_role("link", name=re.compile("Download this")).click()
    bundle = tmp_path / "bundle.zip"
    download.value.save_as(bundle)
    assert Bundle(bundle).manifest["default_fa_per_day"] == 240  # what the dial was turned to

    # what was downloaded finds the phrase
    recording = tmp_path / "said.wav"
    _said_twice(portal, recording)
    folder = tmp_path / "alone"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(bundle), str(folder)], check=True)
    heard = subprocess.run(
        [sys.executable, "detect.py", "--wav", str(recording)], cwd=folder, capture_output=True, text=True, check=True
    )
    assert len(re.findall(r"\d", heard.stdout)) > 0 and "was not detected" not in heard.stdout, heard.stdout

    # tried on a recording in the page, and a hit marked as a false alarm
    page.get_by_role("link", name="Try a recording").click()
    page.set_input_files("#audio", recording)
    page.get_by_role("button", name="Detect in file").click()
    mark = page.get_by_role("button", name="That was a false alarm")
    mark.first.wait_for(timeout=90_000)
    problems += axe(page)
    mark.first.click()
    page.get_by_text("saved in the inbox").wait_for()

    # the microphone, over WebSocket (Chromium's own beeps: nothing to be heard in them)
    page.get_by_role("button", name="Listen").click()
    page.locator("svg[data-chart] .curve[points*=',']").wait_for(state="attached")
    page.get_by_role("button", name="Stop").click()

    page.locator("summary", has_text="Activity").click()
    page.get_by_role("navigation", name="Activity").get_by_role("link", name="Inbox").click()
    page.get_by_role("row", name=re.compile("false alarm")).wait_for()
    problems += axe(page)
    for address in ("", "/jobs/", "/engines", "/account/", "/library/"):
        page.goto(portal.address + address)
        problems += axe(page)

    # what was marked makes the next version
    page.goto(portal.address + "/inbox")
    page.get_by_role("button", name="This is not the phrase").click()
    page.get_by_text("in the library").wait_for()
    page.goto(detector)
    page.get_by_role("button", name="Retrain").click()
    page.wait_for_url(re.compile(r"/detectors/\d+/2$"), timeout=TRAINING_MS)
    page.get_by_role("row", name=re.compile("marked false alarms that trigger it, of 1")).wait_for()
    problems += axe(page)
    page.get_by_role("link", name="Compare", exact=True).click()
    page.get_by_text("Version 2").first.wait_for()
    assert page.get_by_text("Version 1").count() > 0
    problems += axe(page)
    page.goto(job)
    page.get_by_role("link", name="See the detector").wait_for()
    assert not problems, "\n".join(problems)


def _said_twice(portal: Portal, recording: Path) -> None:
    """Return the phrase by a voice of the test split, twice, with silence around it."""
    import pandas as pd

    clips = pd.read_csv(portal.file("jobs/*/clips.csv"), keep_default_na=False)
    mine = clips[(clips.label == 1) & (clips.split == "test") & (clips.engine == "espeak")]
    audio = [np.zeros(24_000, np.float32)]
    for path in mine.path[:2]:
        clip = portal.file("/".join(Path(path).parts[-3:]))  # clips/ab/abcd.flac, wherever it was trained
        audio += [read_audio(clip), np.zeros(32_000, np.float32)]
    write_audio(recording, np.concatenate(audio))
