"""The documents as a site: built without a warning, complete, and readable without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from command_line.application import GROUPS, build_parser
from core.data_folder import REPOSITORY

COMMANDS = (REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")


class Loaded(HTMLParser):
    """Collects the URLs that a page loads when opened, without links."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if value and (name == "src" or (name == "href" and tag not in ("a", "base"))):
                self.addresses.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site; a warning is a failure."""
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=REPOSITORY, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return folder


def test_every_document_is_a_page_of_the_site(site: Path) -> None:
    pages = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    documents = {path.relative_to(REPOSITORY).with_suffix("") for path in (REPOSITORY / "docs").glob("*.md")}
    assert documents <= pages
    front = (site / "index.html").read_text(encoding="utf-8")
    linked = set(re.findall(r'class="md-nav__link"[^>]*href="([^"#]+)"|href="([^"#]+)" class="md-nav__link"', front))
    assert {f"{name}.html" for name in map(str, documents)} <= {one or other for one, other in linked}


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    outside, gone = set(), set()
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # it is for a server's root
            continue
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.addresses
        for address in loaded.addresses:
            if re.match(r"(https?:)?//", address):
                outside.add(address)
            elif not address.startswith("data:") and not (page.parent / re.split("[?#]", address)[0]).exists():
                gone.add(f"{page.name}: {address}")
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not outside and not gone
    assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", styles)


def test_every_table_row_is_inside_its_table(site: Path) -> None:
    """A row after an empty line would be shown as text, with its bars."""
    pages = [path.read_text(encoding="utf-8") for path in site.rglob("*.html")]
    assert not [row for page in pages for row in re.findall(r"^(?:<p>)?\|.*", page, re.MULTILINE)]


def test_the_commands_page_lists_the_options_of_each_command(site: Path) -> None:
    page = (site / "docs" / "commands.html").read_text(encoding="utf-8")
    for command in build_parser().commands():
        assert f"usage: {command.prog}" in page, command.prog
    assert "--fa-per-day" in page


def test_command_tables_match_the_help_text() -> None:
    """Every command once, in the groups and the order of ``./hark --help``."""
    found: dict[str, list[str]] = {}
    for section in COMMANDS.split("\n## ")[1:]:
        names = re.findall(r"^\| `\./hark ([a-z-]+)", section, re.MULTILINE)
        if names:
            found[section.splitlines()[0]] = names
    assert found == {title: list(names) for title, names in GROUPS.items()}
