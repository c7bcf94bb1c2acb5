"""The first success: from the one-time link to a detected phrase, before any training."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE, write_audio
from tests.support.portal_driver import axe, chromium_running, comes_true, fill_in_owner, served, watched
from tests.support.untrained_bundle import spoken

PHRASE = "hey compass"
MAX_S, MAX_CLICKS = 60, 4
PHONE = {"width": 390, "height": 844}


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 800}, PHONE], ids=["wide", "phone"])
def test_a_new_owner_reaches_a_detected_phrase_in_few_clicks(tmp_path: Path, viewport: dict[str, int]) -> None:
    said, data = tmp_path / "said.wav", tmp_path / "data"
    data.mkdir()
    write_audio(said, np.concatenate([spoken(PHRASE, 0.5, 0.5), np.zeros(2 * SAMPLE_RATE, np.float32)]))
    clicks = 0
    problems: list[str] = []
    with served(data) as portal, chromium_running(said) as browser, watched(browser, viewport=viewport) as page:

        def press(name: str) -> None:
            nonlocal clicks
            clicks += 1
            page.get_by_role("button", name=name).click()

        began = time.monotonic()
        page.goto(portal.link)
        fill_in_owner(page)
        press("Create the account")
        page.get_by_label("Which phrase should it detect?").fill(PHRASE)
        press("Hear it and try it")
        with page.expect_response(re.compile("/speak")) as spoken_now:
            press("Hear it")
        press("Try it now")
        page.get_by_text("Say the phrase").wait_for(timeout=MAX_S * 1000)
        page.locator("[data-hits] li").first.wait_for(timeout=MAX_S * 1000)
        took = time.monotonic() - began
        assert spoken_now.value.status in (200, 206)
        page.locator("[data-lamp].hit", has_text="Detected!").wait_for()
        comes_true(page, "document.querySelector('[data-level]').value > 10")
        problems += axe(page)
        page.get_by_role("button", name="Stop").click()

        # another phrase, which is not spoken
        page.locator("#id_phrase").fill("purple elephant")
        page.locator("[data-try*=purple]").click()
        page.get_by_text("Say the phrase").wait_for(timeout=MAX_S * 1000)
        heard_before = page.locator("[data-hits] li").count()
        page.wait_for_timeout(8000)
        assert page.locator("[data-hits] li").count() == heard_before

        # a language in which untrained phrases cannot be tried
        page.locator("#id_language").select_option("de")
        page.get_by_text("Without training, Hark detects English phrases only.").wait_for()
        assert page.get_by_role("button", name="Try it now").count() == 0
        assert not page.get_by_role("button", name="Stop").is_visible()
    assert took < MAX_S and clicks <= MAX_CLICKS, (took, clicks)
    assert not problems, "\n".join(problems)
