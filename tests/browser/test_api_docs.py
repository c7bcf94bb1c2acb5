"""The documentation of the API in a real browser: Swagger UI from this server, under the portal's own policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.portal_driver import make_owner, served, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow(reason="drives a browser")


def test_operations_are_listed_and_called_with_the_session(chromium: Browser, tmp_path: Path) -> None:
    with served(tmp_path) as portal, watched(chromium) as page:
        make_owner(page, portal)
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
