"""Journeys through the portal in a browser."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.audio_file import SAMPLE_RATE, read_audio, write_audio
from core.data_folder import REPOSITORY
from model.runtime.detector import Bundle
from tests.support.portal_driver import SIZES, Portal, axe, comes_true, make_owner, watched
from tests.support.untrained_bundle import spoken

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHRASE = "hey compass"
TRAINING_MS = 800_000  # on a busy machine
DETECTOR = re.compile(r"/detectors/\d+/\d+$")


def journey_of_a_detector(page: Page, portal: Portal, folder: Path) -> None:
    """From the owner's account to a second version of a detector; files go into ``folder``."""
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
    page.wait_for_url(DETECTOR, timeout=TRAINING_MS)  # the page redirects a user who watched
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
    bundle = folder / "bundle.zip"
    download.value.save_as(bundle)
    assert Bundle(bundle).manifest["default_fa_per_day"] == 240  # what the dial was turned to

    # what was downloaded finds the phrase
    recording = folder / "said.wav"
    _said_twice(portal, recording)
    alone = folder / "alone"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(bundle), str(alone)], check=True)
    heard = subprocess.run(
        [sys.executable, "detect.py", "--wav", str(recording)], cwd=alone, capture_output=True, text=True, check=True
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

    # the microphone, over WebSocket (Chromium's own beeps, which contain no speech)
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
        field = page.get_by_label("Text of the passage")
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

        # the last passage is assigned to another speaker, and back
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

        # downloads
        menu = page.locator("details.menu", has_text="Export")
        for format, begins in (("SRT", b"1\r\n00:00:"), ("DOCX", b"PK")):
            menu.locator("summary").click()
            with page.expect_download() as download:
                page.get_by_role("link", name=format, exact=True).click()
            content = Path(download.value.path()).read_bytes()
            assert content.replace(b"\r\n", b"\n").startswith(begins.replace(b"\r\n", b"\n")), content[:40]
            assert format != "SRT" or b"Pomegranates" in content
            assert menu.get_attribute("open") is None

        # shared with a person without an account, and revoked
        page.get_by_role("tab", name="Share").click()
        page.get_by_role("button", name="Create a link").click()
        link = page.locator("#new-link")
        link.wait_for()
        shared = link.input_value() if link.evaluate("node => 'value' in node") else link.inner_text()
        with watched(browser, viewport=SIZES[size]) as visitor:
            visitor.goto(shared.strip())
            visitor.locator("[data-words] .word", has_text="Pomegranates").wait_for()
            problems += axe(visitor)
            assert visitor.get_by_role("button", name=re.compile("^Correct")).count() == 0
            page.get_by_role("button", name="Revoke").click()
            page.get_by_text("revoked").wait_for()
            assert visitor.reload().status == 410
        # and the live page
        page.goto(portal.address + "/recordings/live")
        problems += axe(page)
        page.goto(portal.address + "/recordings/search?q=pomegranates")
        page.get_by_text("Pomegranates").first.wait_for()
        problems += axe(page)
    assert not problems, "\n".join(problems)
