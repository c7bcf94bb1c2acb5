"""The release: files in git, the changelog, and the licences of packages."""

from __future__ import annotations

import subprocess
import sysconfig
from email.message import Message
from pathlib import Path

import pytest

from command_line import release
from core.errors import HarkError


def test_a_release_needs_a_clean_tree_and_a_changelog_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def commit(changelog: str) -> None:
        (tmp_path / "CHANGELOG.md").write_text(changelog)
        as_somebody = ["-c", "user.name=x", "-c", "user.email=x@y"]
        for words in (["init", "-q"], ["add", "."], [*as_somebody, "commit", "-qm", "all"]):
            subprocess.run(["git", *words], cwd=tmp_path, check=True)

    monkeypatch.setattr(release, "REPOSITORY", tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "hark"\nversion = "0.2.0"\n')
    commit("## 0.1.0\n")
    with pytest.raises(HarkError, match="not in the changelog"):
        release._version()
    commit("## 0.2.0, 2026-11-26\n")
    assert release._version() == "0.2.0"
    (tmp_path / "CHANGELOG.md").write_text("## 0.2.0, later\n")
    with pytest.raises(HarkError, match="cannot be released"):
        release._version()


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT"), ("License", "other")], "MIT"),
        ([("Classifier", "License :: OSI Approved :: BSD License"), ("License", "see\nfile")], "BSD License"),
        ([("License", "Apache 2.0\nand so on")], "Apache 2.0"),
        ([], "not stated"),
    ],
)
def test_the_licence_comes_from_the_package_metadata(fields: list[tuple[str, str]], licence: str) -> None:
    about = Message()
    for name, value in fields:
        about[name] = value
    assert release.licence_of(about) == licence  # type: ignore[arg-type]


def test_all_packages_of_an_environment_are_listed() -> None:
    said = release.third_parties(Path(sysconfig.get_path("purelib")))
    assert "| Django | 5.2" in said and "| torch |" in said and said.count("\n|") > 60
    assert "| pip |" not in said
