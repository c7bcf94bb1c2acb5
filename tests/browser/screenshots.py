"""Screenshots of every page, light and dark, wide and narrow: ``python -m tests.browser.screenshots DATA FOLDER``.

DATA is a data folder whose portal has an owner (it is copied, not changed). Pages whose data it lacks are skipped with
a message. ``--only a,b`` takes the pages whose names begin with these. ``--docs`` writes only small pictures for
docs/portal.md.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.audio_file import write_audio
from core.data_folder import REPOSITORY
from tests.support.portal_driver import chromium_running
from tests.support.processes import answers
from tests.support.untrained_bundle import spoken

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

SIZES: dict[str, Any] = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 360, "height": 780}}
SCHEMES: tuple[Any, ...] = ("light", "dark")
IN_DOCS = {
    "plan": ("wide", "light"),
    "version": ("wide", "light"),
    "try": ("wide", "dark"),
    "start": ("narrow", "dark"),
    "recording": ("wide", "light"),
}
COLOURS = 96  # colours per picture of the documents
PORT = 8193
ANSWER_MS = 60_000


def main() -> None:
    """Take the screenshots, in a few minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--only", default="", metavar="A,B")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data"
        shutil.copytree(options.data, data)
        os.environ["HARK_DATA"] = str(data)
        pages, session = _prepare()
        only = tuple(name for name in options.only.split(",") if name)
        pages = {name: address for name, address in pages.items() if not only or name.startswith(only)}
        server = subprocess.Popen([sys.executable, "main.py", "serve", "--port", str(PORT)], cwd=REPOSITORY)
        try:
            while not answers(PORT):
                assert server.poll() is None, "The portal did not start."
                time.sleep(0.5)
            _take(pages, session, options.folder, options.docs)
        finally:
            server.terminate()
            server.wait()


def _prepare() -> tuple[dict[str, str], str]:
    """Return URLs by name, and the key of a session of the owner."""
    from webui.setup import ready

    ready()
    from django.test import Client

    from webui.accounts.services import owner

    user = owner()
    assert user is not None
    client = Client()
    client.force_login(user)
    pages = {
        "start": "/",
        "new": "/new",
        **_of_detectors(user),
        **_of_recordings(user),
        "jobs": "/jobs/",
        "inbox": "/inbox",
        "library": "/library/",
        "record": "/library/record",
        "import": "/library/import",
        "engines": "/engines",
        "help": "/help",
        "account": "/account/",
        "users": "/account/users",
        "missing": "/nothing-here",
    }
    return pages, client.cookies["sessionid"].value


def _of_detectors(user: Any) -> dict[str, str]:
    from django.urls import reverse

    from webui.jobs.models import Job
    from webui.trainer.models import Version

    version = Version.objects.filter(detector__user=user).first()
    if version is None:
        print("There is no detector: its pages are left out.")
        return {}
    place = [version.detector_id, version.number]
    plan = Job.objects.filter(user=user, kind="plan", state=Job.State.DONE).first()
    return {
        **({"plan": reverse("trainer:plan", args=[plan.id])} if plan else {}),
        **({"job": reverse("jobs:detail", args=[version.job_id])} if version.job_id else {}),
        "version": reverse("trainer:version", args=place),
        "compare": reverse("trainer:compare", args=place[:1]),
        "use": reverse("trainer:use", args=place),
        "try": reverse("listening:try", args=place),
    }


def _of_recordings(user: Any) -> dict[str, str]:
    """Return URLs of the fullest recording, one without words and a failed one, and of a link that shares one."""
    from urllib.parse import urlencode

    from django.urls import reverse

    from webui.recordings.models import Recording
    from webui.recordings.sharing.links import share

    pages = {
        "recordings": reverse("recordings:index"),
        "live": reverse("recordings:live"),
        "workspace": reverse("compatibility:workspace"),
        "workspace-training": reverse("compatibility:training"),
        "workspace-interact": reverse("compatibility:interact-tab"),
    }
    everything = list(Recording.objects.filter(user=user).select_related("job"))
    ready = [recording for recording in everything if recording.now == "ready"]
    with_words = sorted((one for one in ready if one.words), key=lambda one: (one.speakers > 1, one.words))
    if not with_words:
        print("There is no recording in which something is said: pages of transcripts are left out.")
        return pages
    best = with_words[-1]
    _, token = share(recording=best, days=1)
    words = " ".join(best.passages.values_list("text", flat=True)).split()
    about = next((word for word in words if len(word) > 4), words[0])
    pages |= {
        "recording": reverse("recordings:recording", args=[best.id]),
        "recording-answer": reverse("recordings:recording", args=[best.id]),
        "recording-correcting": reverse("recordings:recording", args=[best.id]),
        "recording-deleting": reverse("recordings:delete", args=[best.id]),
        "shared": reverse("recordings:shared", args=[token]),
        "search": reverse("recordings:search") + "?" + urlencode({"q": about}),
    }
    for name, found in (
        ("recording-silent", [one for one in ready if not one.words]),
        ("recording-failed", [one for one in everything if one.now == "failed"]),
    ):
        if found:
            pages[name] = reverse("recordings:recording", args=[found[0].id])
    return pages


def _ask(page: Page) -> None:
    """Ask a question in the words of the longest passage."""
    if page.get_by_role("tab", name="Ask").count():
        page.get_by_role("tab", name="Ask").click()
    said = max(page.locator("[data-words], .hits p").all_inner_texts(), key=len)
    page.get_by_label("Your question").fill(f"Who said {' '.join(said.split()[:12])}?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.locator("#answer .answer").wait_for(timeout=ANSWER_MS)


def _detect_in_file(page: Page) -> None:
    """Run the detector on the phrase, spoken twice."""
    phrase = re.findall("“(.*)”", page.locator("h1").inner_text())[0]
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said.wav"
        write_audio(said, np.concatenate([spoken(phrase, 1.0, 1.0), spoken(phrase, 1.5, 1.0)]))
        page.set_input_files("#audio", said)
        page.get_by_role("button", name="Detect in file").click()
        page.locator("[data-wave]").wait_for(timeout=ANSWER_MS)
        page.wait_for_load_state("networkidle")


def _show_clips(page: Page) -> None:
    page.locator("main details summary").first.click()


def _correct(page: Page) -> None:
    page.locator("[data-words] .word").first.wait_for()
    page.locator("[data-edit]").first.click()


def _ask_in_workspace(page: Page) -> None:
    page.get_by_label("Question").fill("What was decided?")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_load_state("networkidle")


def _show_engines(page: Page) -> None:
    for summary in (".options > summary", ".about-engines > summary"):
        page.locator(summary).click()


BEFORE: dict[str, Callable[[Page], None]] = {  # actions on a page before its screenshot
    "plan": _show_clips,
    "try": _detect_in_file,
    "recordings": _show_engines,
    "recording-answer": _ask,
    "recording-correcting": _correct,
    "search": _ask,
    "workspace-interact": _ask_in_workspace,
}


def _take(pages: dict[str, str], session: str, folder: Path, docs: bool) -> None:
    with chromium_running() as browser:
        for scheme, (size, viewport) in product(SCHEMES, SIZES.items()):
            context, visitor = (browser.new_context(viewport=viewport, color_scheme=scheme) for _ in range(2))
            context.add_cookies([{"name": "sessionid", "value": session, "url": f"http://localhost:{PORT}"}])
            for name, address in pages.items():
                if docs and IN_DOCS.get(name) != (size, scheme):
                    continue
                page = (visitor if name == "shared" else context).new_page()
                page.set_default_timeout(2 * ANSWER_MS)  # on a busy machine
                page.goto(f"http://localhost:{PORT}{address}", wait_until="networkidle")
                if name in BEFORE:
                    BEFORE[name](page)
                page.evaluate("document.activeElement.blur(), window.scrollTo(0, 0)")  # sticky elements are in place
                path = folder / (f"{name}.png" if docs else f"{name}-{size}-{scheme}.png")
                page.screenshot(path=path, full_page=not docs)
                if docs:
                    _make_small(path)
                page.close()
            context.close()
            visitor.close()


def _make_small(path: Path) -> None:
    """Reduce the colours, since the documents' pictures stay in the repository's history."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    main()
