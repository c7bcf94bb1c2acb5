"""Texts of pages for ordinary users: nothing about the command line, settings or the server's disk."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from core.data_folder import REPOSITORY
from core.errors import HarkError
from tests.support.every_page import every_page, fragments, pages_of_strangers
from tests.support.translated import messages_in_code, messages_in_template
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.template_filters import sentence

# Options, settings, Hark's own commands, its documents and environment, paths of the server.
NOT_FOR_USERS = re.compile(
    r"(?<![\w-])--[a-z][\w-]*|\b(?:HARK|HF)_[A-Z_]*|OPENAI_BASE_URL|\./hark\b|\bpip install\b|apt-get|\.venv"
    r"|constraints\.txt|\b[\w-]+\.md\b|(?<![\w.…:/*])/(?:bin|etc|home|mnt|opt|root|srv|tmp|usr|var|work|dev)/\S*"
)
TO_COPY = ("pre", "code", "textarea", "script", "style")
FILES = {"README.md", "MODEL_CARD.md"}  # files of a bundle that pages may name


class Seen(HTMLParser):
    """Collects the text of a page, folded parts and texts of pictures included, text to copy excluded."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in TO_COPY:
            self.inside.append(tag)
        self.text += [value or "" for name, value in attrs if name in ("title", "aria-label", "alt", "placeholder")]

    def handle_endtag(self, tag: str) -> None:
        if self.inside and tag == self.inside[-1]:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.text.append(data)


def operator_words_in(page: str) -> list[str]:
    seen = Seen()
    seen.feed(page)
    return [found for found in NOT_FOR_USERS.findall(" \n ".join(seen.text)) if found not in FILES]


@pytest.mark.parametrize("language", ["en", "de"])
def test_pages_for_users_name_no_commands_settings_or_paths(
    others: Client, owner: User, other: User, portal: Path, language: str
) -> None:
    pages = every_page(other)
    found = {}
    for name, path in {**pages, **fragments(others, pages)}.items():
        answer = others.get(path, headers={"Accept-Language": language})
        assert answer.status_code in (200, 204), (name, answer.status_code)
        page = answer.text
        assert str(portal) not in page, name
        if bad := operator_words_in(page) + re.findall(re.escape(str(portal)) + r"\S*", page):
            found[name] = bad
    assert not found


def test_public_pages_name_no_commands_settings_or_paths(owner: User, other: User) -> None:
    pages = pages_of_strangers(owner, other)
    assert {name: bad for name, page in pages.items() if (bad := operator_words_in(page.text))} == {}


def test_only_listed_messages_name_commands_or_settings() -> None:
    portal = REPOSITORY / "webui"
    said = {words for path in portal.rglob("*.py") for words in messages_in_code(path)}
    said |= {words for path in (portal / "templates").rglob("*.html") for words in messages_in_template(path)}
    assert {words for words in said if operator_words_in(words)} == {
        "To create one on the machine that runs Hark: ./hark admin link.",  # before there is an owner
        "Sign in. If you forgot the password, run ./hark admin link.",  # on the command line
        "Make a backup on the server instead: ./hark backup FILE.",  # to the owner, as these
        "It does not exist, or is not inside a folder that HARK_IMPORT_FOLDERS allows (%(folders)s).",
        "It does not exist, or is not inside an allowed folder: HARK_IMPORT_FOLDERS is not set.",
        "Start Hark with HARK_IMPORT_FOLDERS=/the/folder (separate several with colons), or upload an archive.",
    }


def test_the_check_finds_commands_settings_and_paths() -> None:
    bad = "Set HARK_X=1, run ./hark doctor --json, see docs/portal.md or /srv/corpora/a and .venv/bin/python"
    assert len(operator_words_in(f"<p>{bad}</p>")) == 6
    assert not operator_words_in(f"<pre>{bad}</pre><p>24/7 and/or README.md – pages like /inbox, a--b")


def test_an_error_links_the_page_instead_of_a_command(others: Client, other: User) -> None:
    error = HarkError(
        "No engine <b> can speak.", "None is ready.", "Enable one (./hark engines enable piper), or wait."
    )
    job = Job.objects.create(
        user=other, kind="train", queue="training", title="p", spec={"choices": {}}, state="failed", error=error.parts()
    )
    page = others.get(reverse("jobs:detail", args=[job.pk])).text
    assert 'Enable one (<a href="/engines">Voices and models</a>), or wait.' in page
    assert "No engine &lt;b&gt; can speak." in page and not operator_words_in(page)
    for message in ("See ./hark engines.", "./hark voices pull kokoro all", "Run ./hark engines enable tps again."):
        words = sentence(HarkError("what", "why", message), "what_to_do")
        assert "./hark" not in words and (not message.endswith("again.") or words.endswith("</a> again."))
    assert sentence(HarkError("what", "why", "Run ./hark enginesX."), "what_to_do") == "Run ./hark enginesX."
