"""MkDocs hooks, which keep the repository's layout on the site, and add options to the page of commands.

README.md and other files are next to docs/ on the site too, so that relative links work in both.

Build:  .venv/bin/mkdocs build --strict      (into site/)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[1]
# Targets of links outside docs/: pages, and files that are copied unchanged.
ALSO = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "deploy/README.md", "lab/README.md",
    "lab/experiments.md", "model/shipped/MODEL_CARD.md", "pipeline/recordings/transcripts/transcript.py",
)  # fmt: skip
COMMANDS_PAGE = "docs/commands.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put every file of docs/ below ``docs/``, next to those of :data:`ALSO`."""
    from mkdocs.structure.files import File
    from mkdocs.structure.files import Files as Collection

    docs = [file for file in files if file.abs_src_path and Path(file.abs_src_path).is_relative_to(config.docs_dir)]
    paths = [(f"docs/{file.src_uri}", str(file.abs_src_path)) for file in docs]
    paths += [(name, str(REPOSITORY / name)) for name in ALSO]
    moved = [File.generated(config, uri, abs_src_path=path) for uri, path in paths]
    return Collection([*(file for file in files if file not in docs), *moved])


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Append the ``--help`` of every command to the page of commands."""
    if page.file.src_uri != COMMANDS_PAGE:
        return markdown
    sys.path.insert(0, str(REPOSITORY))
    from command_line.application import build_parser

    helps = [f"### {command.prog}\n\n```text\n{command.format_help()}```\n" for command in build_parser().commands()]
    return "\n".join([markdown, "## Options\n", *helps])
