"""A passkey of Chromium's virtual authenticator in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.portal_driver import PASSWORD, Portal, axe, make_owner, served, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


PHONE = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
    "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip


def test_a_passkey_is_added_and_signs_in(chromium: Browser, tmp_path: Path) -> None:
    with served(tmp_path) as portal, watched(chromium) as page:
        devices = page.context.new_cdp_session(page)
        devices.send("WebAuthn.enable")
        authenticator = devices.send("WebAuthn.addVirtualAuthenticator", {"options": PHONE})["authenticatorId"]
        make_owner(page, portal)
        page.goto(f"{portal.address}/account/second-factor")
        page.get_by_role("link", name="Add a passkey").click()
        page.fill("[name=password]", PASSWORD)
        page.get_by_role("button", name="Continue").click()
        page.fill("[name=name]", "phone")
        page.get_by_role("button", name="Add a passkey").click()
        page.get_by_text("The passkey was added.").wait_for()
        assert page.locator("li code").count() == 10 and not axe(page)
        assert len(devices.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]) == 1

        page.context.clear_cookies()
        sign_in(page, portal)
        page.get_by_role("button", name="Use a passkey").wait_for()
        assert not axe(page)
        page.get_by_role("button", name="Use a passkey").click()
        page.get_by_label("Which phrase should it detect?").wait_for()

        # the same browser without the device that has it
        page.context.clear_cookies()
        devices.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": authenticator})
        devices.send("WebAuthn.addVirtualAuthenticator", {"options": PHONE})
        sign_in(page, portal)
        page.get_by_role("button", name="Use a passkey").click()
        page.get_by_text("No passkey was provided.").wait_for()
        sign_in(page, Portal(portal.address.replace("localhost", "127.0.0.1"), "", tmp_path))
        page.get_by_text("or as localhost").wait_for()


def sign_in(page: Page, portal: Portal) -> None:
    """Enter the password, which does not suffice."""
    page.goto(f"{portal.address}/account/login")
    page.fill("[name=name]", "olivia")
    page.fill("[name=password]", PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
