"""A recording's whole way in a real browser: upload, transcript, corrections, questions, sharing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.journeys import conversation_and_question, journey_of_a_recording
from tests.support.portal_driver import chromium_running, served

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_a_recording_is_uploaded_transcribed_shared_and_revoked(tmp_path: Path, size: str) -> None:
    conversation, question = conversation_and_question(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    with served(data) as portal, chromium_running(question) as browser:
        journey_of_a_recording(browser, portal, conversation, size)
