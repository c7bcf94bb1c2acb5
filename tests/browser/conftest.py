"""A real browser. Without Debian's chromium or Python's playwright these tests are skipped with that reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.portal_driver import chromium_running

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")  # an open browser keeps an event loop running, which other tests could not start
def chromium() -> Iterator[Browser]:
    """Headless Chromium, allowed to use a microphone that plays a tone."""
    with chromium_running() as browser:
        yield browser
