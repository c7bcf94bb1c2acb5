"""A newcomer's whole way through the portal, in a real browser, against ``./hark serve`` itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.journeys import journey_of_a_detector
from tests.support.portal_driver import SIZES, Portal, served, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with served(tmp_path_factory.mktemp("portal")) as portal:
        yield portal


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with watched(chromium, viewport=SIZES["wide"]) as page:
        yield page


def test_a_first_start_leads_to_a_working_detector(page: Page, portal: Portal, tmp_path: Path) -> None:
    journey_of_a_detector(page, portal, tmp_path)
