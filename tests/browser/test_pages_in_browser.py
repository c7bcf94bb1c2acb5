"""Behaviour of several pages in a real browser: API documentation, oversized fields, the account menu, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE, write_audio
from tests.support.portal_driver import Portal, is_elsewhere, make_owner, served, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with served(tmp_path_factory.mktemp("portal"), HARK_UPLOAD_MAX_SECONDS="3") as portal:
        yield portal


@pytest.fixture(scope="module")
def page(chromium: Browser, portal: Portal) -> Iterator[Page]:
    with watched(chromium) as page:
        make_owner(page, portal)
        yield page


def test_api_operations_can_be_called_with_the_session(page: Page, portal: Portal) -> None:
    page.goto(f"{portal.address}/api/docs")
    page.locator(".opblock").first.wait_for()
    assert page.locator(".opblock").count() > 40
    block = page.locator("#operations-Tokens-tokens_me")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    block.locator(".live-responses-table").wait_for()
    assert "curl -X" in block.locator(".curl-command").inner_text()
    assert '"is_owner": true' in block.locator(".live-responses-table").inner_text()


def test_an_oversized_field_is_reported_before_it_is_sent(page: Page, portal: Portal, tmp_path: Path) -> None:
    short, long = tmp_path / "short.wav", tmp_path / "long.wav"
    for path, seconds in ((short, 2), (long, 5)):
        write_audio(path, np.zeros(seconds * SAMPLE_RATE, np.float32))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/recordings/uploads" in request.url else None)
    page.goto(f"{portal.address}/recordings")
    page.set_input_files("#audio", long)
    page.locator(".uploads .error", has_text="longer than 0.05 minutes").wait_for()
    page.set_input_files("#audio", [short, long])
    page.get_by_label("Join into one recording").check()
    page.get_by_role("button", name="Transcribe").click()
    page.locator(".uploads .error", has_text="together they are longer").first.wait_for()
    assert sent == []
    page.get_by_role("button", name="Remove: long.wav").click()
    page.get_by_role("button", name="Transcribe").click()
    page.wait_for_url(re.compile(r"/recordings/[0-9a-f-]{36}$"))
    assert sent


def test_the_account_menu_changes_the_theme_and_signs_out(page: Page, portal: Portal) -> None:
    """The buttons of the account menu share one form, which is outside of the menu."""
    page.goto(f"{portal.address}/jobs/?page=1")
    page.locator(".own-menus summary").last.click()
    page.get_by_role("button", name="Dark theme").click()
    page.locator("html[data-theme=dark]").wait_for(state="attached")
    assert page.url == f"{portal.address}/jobs/?page=1"
    page.locator(".own-menus summary").last.click()
    assert page.get_by_role("button", name="Dark theme").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("/account/login"))
    page.goto(f"{portal.address}/jobs/")
    page.wait_for_url(re.compile("/account/login"))


def test_external_urls_are_distinguished_from_local_ones() -> None:
    assert is_elsewhere("https://cdn.example.org/a.js") and is_elsewhere("wss://example.org/ws")
    assert not any(map(is_elsewhere, ("http://localhost:8000/", "ws://127.0.0.1:1/ws", "data:,x", "blob:http://x/y")))
