"""A recording's whole way in a real browser: upload, transcript, corrections, questions, sharing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE, read_audio, write_audio
from core.data_folder import REPOSITORY
from tests.support.portal_driver import (
    SIZES,
    Portal,
    axe,
    chromium_running,
    comes_true,
    make_owner,
    served,
    watched,
)
from tests.support.untrained_bundle import spoken

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.timeout(1800)

REAL = REPOSITORY.parent / "shared" / "data" / "conversation" / "google" / "commercial_mono.ogg"
WORK_MS = 600_000  # on a busy machine


def conversation_and_question(folder: Path) -> tuple[Path, Path]:
    """A telephone call of two people, or two voices that take turns without the shared recordings, and a question."""
    conversation, question = folder / "a call.wav", folder / "question.wav"
    turns = [
        spoken("the garden gate is open today", 0.3, 0.5),
        spoken("please close the window in the kitchen", 0.3, 0.5),
    ]
    write_audio(conversation, read_audio(REAL) if REAL.is_file() else np.concatenate(turns * 2))
    write_audio(
        question, np.concatenate([np.zeros(SAMPLE_RATE // 2, np.float32), spoken("what about the morning", 0.2, 0.5)])
    )
    return conversation, question


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_from_an_upload_to_a_link_that_was_taken_back(tmp_path: Path, size: str) -> None:
    conversation, question = conversation_and_question(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    with served(data) as portal, chromium_running(question) as browser:
        journey_of_a_recording(browser, portal, conversation, size)


def journey_of_a_recording(browser: Browser, portal: Portal, conversation: Path, size: str = "wide") -> None:
    """Go from the owner's account to a shared link."""
    problems: list[str] = []
    with watched(browser, viewport=SIZES[size]) as page:

        def read() -> None:
            """Open the transcript, which is a tab on a phone."""
            if size == "phone":
                page.get_by_role("tab", name="Transcript").click()

        make_owner(page, portal)

        # the upload, watched to its end
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Recordings").click()
        problems += axe(page)
        page.set_input_files("#audio", conversation)
        page.get_by_role("button", name="Transcribe").click()
        page.wait_for_url(re.compile(r"/recordings/[0-9a-f-]{36}$"))
        page.locator("[data-words] .word").first.wait_for(timeout=WORK_MS)
        problems += axe(page)

        # a word is corrected; it stays corrected
        page.get_by_role("button", name=re.compile("^Correct the passage")).first.click()
        field = page.get_by_label("Transcript")
        before = field.input_value().split()
        field.fill(" ".join(["Pomegranates", *before[1:]]))
        page.get_by_role("button", name="Save", exact=True).first.click()
        field.wait_for(state="detached")
        assert page.locator("[data-words] .word").first.inner_text() == "Pomegranates"
        assert page.locator("[data-edited]").first.is_visible()
        page.reload()
        first = page.locator("[data-words] .word").first
        first.wait_for()
        assert first.inner_text() == "Pomegranates"

        # the speakers get names
        page.get_by_role("tab", name="Speakers").click()
        names = ["Margaret", "Otto"][: page.locator(".speakers li").count()]
        for number, name in enumerate(names, 1):
            page.locator(f"#name-{number}").fill(name)
        page.get_by_role("button", name="Save the names").click()
        for name in names:
            page.locator(".who .name", has_text=name).first.wait_for(state="attached")
        read()

        # the last passage is somebody else's, and is given back
        last = page.locator(".passage").last
        for whose in ("Somebody else", "Margaret"):
            last.locator(".acts summary").click()
            last.get_by_label(whose, exact=True).check()
            with page.expect_navigation():
                last.get_by_role("button", name="Save").click()
            page.locator("[data-words] .word").first.wait_for()
        last.locator(".acts summary").click()
        last.get_by_label("Margaret", exact=True).wait_for()
        assert last.get_by_label("Margaret", exact=True).is_checked()

        # played from a word
        word = page.locator("[data-words] .word").nth(min(3, len(before) - 1))
        start = float(word.get_attribute("data-start") or "nan")
        word.click()
        comes_true(page, f"document.querySelector('[data-player]').currentTime >= {start} - 0.1")
        comes_true(page, "!document.querySelector('[data-player]').paused")

        # asked in writing; the answer cites the place, and is spoken
        page.get_by_role("tab", name="Ask").click()
        page.get_by_label("Your question").fill("Who said pomegranates?")
        page.get_by_role("button", name="Ask", exact=True).click()
        answer = page.locator("#answer .said")
        answer.wait_for(timeout=WORK_MS)
        page.locator("#answer .citations", has_text="Pomegranates").wait_for()
        page.locator("#answer .citations", has_text="Margaret").wait_for()
        with page.expect_response(re.compile("/speak")) as said:
            page.eval_on_selector("[data-aloud]", "player => { player.preload = 'auto'; player.load(); }")
        assert said.value.status in (200, 206)
        problems += axe(page)

        # asked aloud
        page.get_by_role("button", name="Ask aloud").click()
        stop = page.get_by_role("button", name="Stop and ask")
        stop.wait_for()  # the microphone takes its time to open
        page.wait_for_timeout(4000)
        stop.click()
        told = page.locator("#answer .error, #answer p:has-text('Question recognized:')")
        told.wait_for(timeout=WORK_MS)
        assert "Question recognized:" in told.inner_text()

        # the summary cites what was said
        page.get_by_role("tab", name="Summary").click()
        assert page.get_by_role("heading", name="Summary").count() == 1
        page.locator(".points .cite").first.click()

        # what can be taken away
        menu = page.locator("details.menu", has_text="Export")
        for format, begins in (("SRT", b"1\r\n00:00:"), ("DOCX", b"PK")):
            menu.locator("summary").click()
            with page.expect_download() as download:
                page.get_by_role("link", name=format, exact=True).click()
            content = Path(download.value.path()).read_bytes()
            assert content.replace(b"\r\n", b"\n").startswith(begins.replace(b"\r\n", b"\n")), content[:40]
            assert format != "SRT" or b"Pomegranates" in content
            assert menu.get_attribute("open") is None

        # shared with somebody who has no account, and revoked
        page.get_by_role("tab", name="Share").click()
        page.get_by_role("button", name="Create a link").click()
        link = page.locator("#new-link")
        link.wait_for()
        shared = link.input_value() if link.evaluate("node => 'value' in node") else link.inner_text()
        with watched(browser, viewport=SIZES[size]) as stranger:
            stranger.goto(shared.strip())
            stranger.locator("[data-words] .word", has_text="Pomegranates").wait_for()
            problems += axe(stranger)
            assert stranger.get_by_role("button", name=re.compile("^Correct")).count() == 0
            page.get_by_role("button", name="Revoke").click()
            page.get_by_text("revoked").wait_for()
            assert stranger.reload().status == 410
        # and the live page
        page.goto(portal.address + "/recordings/live")
        problems += axe(page)
        page.goto(portal.address + "/recordings/search?q=pomegranates")
        page.get_by_text("Pomegranates").first.wait_for()
        problems += axe(page)
    assert not problems, "\n".join(problems)
