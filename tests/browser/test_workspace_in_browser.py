"""The workspace's tab Interact in a real browser: a question is recorded, recognized and answered."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from playwright.sync_api import TimeoutError

from core.audio_file import SAMPLE_RATE, write_audio
from tests.support.portal_driver import axe, chromium_running, make_owner, served
from tests.support.untrained_bundle import spoken

ANSWER_MS = 60_000


def test_a_question_is_recorded_and_answered(tmp_path: Path) -> None:
    question, data = tmp_path / "question.wav", tmp_path / "data"
    silence = np.zeros(SAMPLE_RATE // 2, np.float32)
    write_audio(question, np.concatenate([silence, spoken("what about the morning", 0.2, 0.5)]))
    data.mkdir()
    with served(data) as portal, chromium_running(question) as browser:
        page, wrong = browser.new_page(), []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        make_owner(page, portal)
        answer = page.locator("section[role=status]")
        for _ in range(8):  # Chromium's microphone stutters where the machine is busy
            page.goto(f"{portal.address}/workspace/interact")
            assert not axe(page)
            page.get_by_label("Question", exact=True).fill("typed before, and not what is asked")
            page.get_by_role("button", name="Record", exact=True).click()
            page.get_by_role("button", name="Stop", exact=True).wait_for()
            page.get_by_text("Listening").wait_for()
            page.wait_for_timeout(4_000)
            page.get_by_role("button", name="Stop", exact=True).click()
            with contextlib.suppress(TimeoutError):
                answer.wait_for(timeout=ANSWER_MS)
                if "morning" in answer.inner_text():
                    break
        assert not wrong
        assert "morning" in answer.inner_text() and "typed" not in answer.inner_text()
        assert answer.locator("audio").count() == 1
