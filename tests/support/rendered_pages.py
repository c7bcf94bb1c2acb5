"""Pages rendered by Django, in a real browser without a server, on a test's own data."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.contrib.staticfiles.finders import find
from django.http import HttpResponse
from django.test import Client

from tests.support.portal_driver import chromium_running

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

ADDRESS = "http://localhost"  # a browser gives the microphone to it

# What an audio worklet loads does not come past the page's routes; what the page itself loads does.
WORKLETS = """
const load = AudioWorklet.prototype.addModule;
AudioWorklet.prototype.addModule = async function (address) {
  return load.call(this, URL.createObjectURL(await (await fetch(address)).blob()));
};
"""


@contextmanager
def in_chromium(client: Client, paths: Mapping[str, str | HttpResponse], **options: Any) -> Iterator[Page]:
    """Yield a page of a browser that finds these paths, and nothing else, at :data:`ADDRESS`.

    Args:
        paths: the paths that the browser requests. Each has its answer, which may be an error's page, or an address
            that the client requests before the browser starts, because its event loop blocks the database.
        options: of the browser's context.
    """
    rendered = {}
    for path, asked in paths.items():
        answer = client.get(asked) if isinstance(asked, str) else asked
        assert answer.status_code == 200 or not isinstance(asked, str), (asked, answer.status_code)
        rendered[path] = (answer.headers["Content-Type"], answer.getvalue())

    def fulfil(route: Route) -> None:
        path = route.request.url.removeprefix(ADDRESS).split("?")[0]
        if path in rendered:
            kind, content = rendered[path]
            if wanted := re.match(r"bytes=(\d+)-", route.request.headers.get("range", "")):  # for seeking in a sound
                start, size = int(wanted[1]), len(content)
                headers = {"Content-Range": f"bytes {start}-{size - 1}/{size}", "Content-Type": kind}
                route.fulfill(status=206, body=content[start:], headers=headers)
                return
            route.fulfill(body=content, content_type=kind)
        elif path.startswith("/static/") and (file := find(path.removeprefix("/static/"))):
            route.fulfill(path=str(file), content_type=mimetypes.guess_type(path)[0])
        else:
            route.fulfill(status=204)

    with chromium_running() as browser:
        page = browser.new_context(**options).new_page()
        page.route("**/*", fulfil)
        page.add_init_script(WORKLETS)
        yield page


def flat(response: HttpResponse) -> str:
    """Return a page as a reader sees it, without the layout of its template."""
    page = re.sub(r" (?=/?>)", "", " ".join(response.content.decode().split()))
    return re.sub(r" (?=</)|(?<=>) (?=<)|(<\w[^<>]*>) ", r"\1", page)
