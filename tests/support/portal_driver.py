"""Helpers for tests in a browser: a running portal, its first account, a page that records errors."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.data_folder import REPOSITORY
from tests.support.processes import answers, free_port
from tests.support.servers import missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PASSWORD = "a-good-long-password"
SIZES = {"wide": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}  # window sizes
HOST = "hark.example.org"  # host name of a deployment in tests
COMES_TRUE_S = 30


@dataclass
class Portal:
    """A running portal: its URL, the one-time link, its data."""

    address: str
    link: str
    data: Path

    def file(self, pattern: str) -> Path:
        return next(self.data.glob(pattern))


@contextmanager
def chromium_running(microphone: Path | None = None, *more: str) -> Iterator[Browser]:
    """Run headless Chromium with a tone or that WAV as microphone, and ``more`` arguments. Skips without a browser."""
    try:
        from playwright import sync_api as playwright
    except ImportError:
        missing("needs playwright (requirements-dev.txt)")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        missing("needs chromium (apt-get install chromium)")
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", *more]
    if microphone is not None:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@contextmanager
def served(data: Path, files: int | None = None, **settings: str) -> Iterator[Portal]:
    """Run ``serve`` on a free port, with at most ``files`` open files a process and without tracebacks in its log."""
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (files, files)) if files else None
    port = free_port()
    log = data / "serve.log"
    environment = {**os.environ, "HARK_DATA": str(data), **settings}
    command = [sys.executable, "main.py", "serve", "--port", str(port)]
    with log.open("w") as said:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=said, stdout=said, preexec_fn=limit)
    try:
        until = time.monotonic() + 90
        while not (found := re.search(r"http\S+/account/setup/\S+", log.read_text())) or not answers(port):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.3)
        yield Portal(f"http://localhost:{port}", found.group(0), data)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert "Traceback" not in log.read_text(), log.read_text()


@contextmanager
def watched(browser: Browser, **options: Any) -> Iterator[Page]:
    """Yield a page that records script errors and policy violations, and requests nothing from other machines."""
    context = browser.new_context(accept_downloads=True, **options)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    context.on("request", lambda request: wrong.append(f"asked {request.url}") if is_elsewhere(request.url) else None)
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    wrong = [said for said in wrong if "status of 410" not in said]  # of links that no longer work
    assert not wrong, "\n".join(wrong)


def is_elsewhere(address: str) -> bool:
    """Return whether a URL is on another machine; ``data:`` and ``blob:`` are not."""
    return urlsplit(address).hostname not in (None, "localhost", "127.0.0.1", HOST)


def comes_true(page: Page, condition: str) -> None:
    """Wait until the JavaScript expression is true.

    Playwright's own ``wait_for_function`` polls from within the page, where the portal's content-security policy
    forbids it; ``evaluate`` uses the debugger.
    """
    until = time.monotonic() + COMES_TRUE_S
    while not page.evaluate(condition):
        assert time.monotonic() < until, f"not true after {COMES_TRUE_S} s: {condition}"
        page.wait_for_timeout(100)


def make_owner(page: Page, portal: Portal) -> None:
    page.goto(portal.link)
    fill_in_owner(page)
    page.get_by_role("button", name="Create the account").click()
    page.get_by_label("Which phrase should it detect?").wait_for()


def fill_in_owner(page: Page) -> None:
    """Fill in the form behind the one-time link."""
    page.fill("[name=username]", "olivia")
    page.fill("[name=new_password1]", PASSWORD)
    page.fill("[name=new_password2]", PASSWORD)


def axe(page: Page, *rules: str) -> list[str]:
    """Return serious and critical findings of the accessibility checker axe on the page, by all rules or these."""
    from importlib.resources import files

    script = files("axe_core_python").joinpath("axe.min.js").read_text()
    # The portal's content-security policy allows no inline scripts, so the checker comes through the debugger.
    if not page.evaluate("'axe' in window"):
        page.evaluate(script + "\nundefined")
    options = {
        "resultTypes": ["violations"],
        "preload": False,
        **({"runOnly": {"type": "rule", "values": rules}} if rules else {}),
    }
    found: dict[str, Any] = page.evaluate("options => axe.run(options)", options)
    return [
        f"{page.url}: {problem['id']}: {problem['help']}: {[node['html'] for node in problem['nodes']][:3]}"
        for problem in found["violations"]
        if problem["impact"] in ("serious", "critical")
    ]
