"""Marks made while a detector is tried on the microphone, in a real browser: none is lost."""

from __future__ import annotations

import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np

from core.audio_file import SAMPLE_RATE, write_audio
from db.db_api import Library
from tests.support.portal_driver import chromium_running, comes_true, make_owner, served, watched
from tests.support.untrained_bundle import keyword_hmm_bundle, spoken

PHRASE = "hey compass"
ADOPTED_S = 60


def test_marks_after_stopping_and_restarting_are_stored(tmp_path: Path) -> None:
    said, data = tmp_path / "said.wav", tmp_path / "data"
    write_audio(said, np.concatenate([spoken(PHRASE, 0.5, 0.5), np.zeros(2 * SAMPLE_RATE, np.float32)]))
    _a_detector(data)
    with served(data) as portal, chromium_running(said) as browser, watched(browser) as page:
        make_owner(page, portal)
        attempt = f"{portal.address}/detectors/1/1/try"
        until = time.monotonic() + ADOPTED_S
        while page.request.get(attempt).status != 200 and time.monotonic() < until:
            page.wait_for_timeout(500)
        page.goto(attempt)
        page.get_by_role("button", name="Listen").click()
        page.get_by_role("button", name="That was a false alarm").first.wait_for()
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="That was a false alarm").first.click()
        page.get_by_text(re.compile(r"\d s: saved in the inbox")).wait_for()
        page.get_by_role("button", name="It missed me").click()
        comes_true(page, "!document.querySelector('[data-missed]').disabled")
        page.goto(f"{portal.address}/inbox")
        assert page.get_by_role("row", name=re.compile("false alarm")).count() == 1
        assert page.get_by_role("row", name=re.compile("missed")).count() == 1
        page.get_by_role("button", name="This is not the phrase").click()
        page.get_by_text("in the library").wait_for()

        # a detection of an earlier session is marked with its own audio
        page.goto(attempt)
        page.get_by_role("button", name="Listen").click()
        page.get_by_role("button", name="That was a false alarm").first.wait_for()
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="Listen").click()
        page.wait_for_timeout(500)  # less than the phrase takes
        page.get_by_role("button", name="That was a false alarm").last.click()
        page.get_by_text(re.compile(r"\d s: saved in the inbox")).wait_for()
        page.get_by_role("button", name="Stop").click()
        page.goto(f"{portal.address}/inbox")
        page.get_by_role("button", name="This is not the phrase").click()
        page.get_by_role("button", name="This is not the phrase").wait_for(state="detached")
    with Library(data) as library:
        marked = [library.read_audio(clip) for clip in library.with_source("inbox")]
    assert len(marked) == 2
    for audio in marked:  # long and loud enough to contain the phrase
        assert 0.5 * SAMPLE_RATE < len(audio) <= 2.5 * SAMPLE_RATE and np.abs(audio).max() > 0.05


def _a_detector(data: Path) -> None:
    """Make the files of a run on the command line that the portal needs for a version. Nothing is trained."""
    folder = data / "models" / "run-1"
    bundle = keyword_hmm_bundle(folder / "files", PHRASE, size="standard")
    (data / "jobs" / "run-1").mkdir(parents=True)
    with zipfile.ZipFile(folder / "run-1.zip", "w") as archive:
        for path in bundle.iterdir():
            archive.write(path, path.name)
    (folder / "report.json").write_text(json.dumps({"language": "en"}))
    metrics = {"miss_rate": {"value": 0.1, "low": 0.0, "high": 0.2}}
    result = {"bundle": str(folder / "run-1.zip"), "phrase": PHRASE, "metrics": metrics}
    (data / "jobs" / "run-1" / "result.json").write_text(json.dumps(result))
