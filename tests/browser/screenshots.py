"""Pictures of every page, light and dark, wide and narrow: ``python -m tests.browser.screenshots DATA FOLDER``.

DATA is a data folder whose portal has an owner and a detector (it is copied, not changed). With ``--docs`` only the few
that docs/portal.md shows are written, small.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from core.data_folder import REPOSITORY

SIZES = {"wide": (1280, 900), "narrow": (390, 844)}
SCHEMES = ("light", "dark")
IN_DOCS = {
    "plan": ("wide", "light"),
    "version": ("wide", "light"),
    "try": ("wide", "dark"),
    "start": ("narrow", "dark"),
}
PORT = 8093


def main() -> int:
    """Takes a minute or two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data"
        shutil.copytree(options.data, data)
        os.environ["HARK_DATA"] = str(data)
        pages, session = _prepare()
        server = subprocess.Popen([sys.executable, "main.py", "serve", "--port", str(PORT)], cwd=REPOSITORY)
        try:
            _take(pages, session, options.folder, options.docs)
        finally:
            server.terminate()
            server.wait()
    return 0


def _prepare() -> tuple[dict[str, str], str]:
    """Addresses by name, and a session of the owner's."""
    from webui.setup import ready

    ready()
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from django.urls import reverse

    from webui.accounts.services import owner
    from webui.jobs.models import Job
    from webui.trainer.models import Version

    user = owner()
    assert user is not None
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    version = Version.objects.filter(detector__user=user)[0]
    place = [version.detector_id, version.number]
    plan = Job.objects.filter(user=user, kind="plan", state=Job.State.DONE).first()
    pages = {
        "start": "/",
        "new": "/new",
        **({"plan": reverse("trainer:plan", args=[plan.id])} if plan else {}),
        "jobs": "/jobs/",
        "job": reverse("jobs:detail", args=[version.job_id]),
        "version": reverse("trainer:version", args=place),
        "compare": reverse("trainer:compare", args=place[:1]),
        "use": reverse("trainer:use", args=place),
        "try": reverse("listening:try", args=place),
        "inbox": "/inbox",
        "library": "/library/",
        "record": "/library/record",
        "import": "/library/import",
        "engines": "/engines",
        "account": "/account/",
        "users": "/account/users",
        "missing": "/nothing-here",
    }
    return pages, str(session.session_key)


def _take(pages: dict[str, str], session: str, folder: Path, docs: bool) -> None:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        time.sleep(8)
        for scheme in SCHEMES:
            for size, (width, height) in SIZES.items():
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
                context.add_cookies([{"name": "sessionid", "value": session, "url": f"http://localhost:{PORT}"}])
                page = context.new_page()
                for name, address in pages.items():
                    if docs and IN_DOCS.get(name) != (size, scheme):
                        continue
                    page.goto(f"http://localhost:{PORT}{address}", wait_until="networkidle")
                    path = folder / (f"{name}.png" if docs else f"{name}-{size}-{scheme}.png")
                    page.screenshot(path=path, full_page=not docs)
                context.close()
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
