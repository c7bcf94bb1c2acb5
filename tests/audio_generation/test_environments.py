"""Engines' own environments, made by pip from a requirements file."""

from __future__ import annotations

from pathlib import Path

import pytest

from audio_generation import environments
from core.errors import HarkError


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A requirements file in place of an engine's own."""
    path = tmp_path / "requirements.txt"
    path.write_text("# nothing\n")
    monkeypatch.setattr(environments, "requirements", lambda name: path)
    monkeypatch.setenv("HARK_ENGINES_ENV", str(tmp_path / "engines"))
    return path


def test_an_environment_is_made_once_and_again_when_its_requirements_change(requirements: Path) -> None:
    lines: list[str] = []
    assert not environments.is_enabled("piper")
    folder = environments.enable("piper", lines.append)
    assert environments.is_enabled("piper") and environments.interpreter("piper") == folder / "bin" / "python"
    assert environments.lacking("piper", ["no_such_module"]) == []
    environments.enable("piper", lines.append)
    assert "enabled already" in lines[-1]
    requirements.write_text("# something else\n")
    assert not environments.is_enabled("piper")
    assert environments.lacking("piper", ["no_such_module"]) == ["no_such_module"]


def test_a_package_that_cannot_be_installed_is_explained(requirements: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    requirements.write_text("no-such-package-of-hark==1.0\n")
    with pytest.raises(HarkError) as caught:
        environments.enable("piper")
    assert "no-such-package-of-hark" in caught.value.why and "hark engines enable piper" in caught.value.what_to_do
    assert not environments.is_enabled("piper")


def test_engines_without_requirements_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARK_ENGINES_ENV", str(tmp_path))
    with pytest.raises(HarkError, match="needs no environment"):
        environments.enable("espeak")
    assert not environments.is_enabled("espeak")


@pytest.mark.parametrize("name", ["piper", "kokoro", "suno", "elevenlabs"])
def test_every_requirement_is_pinned(name: str) -> None:
    lines = environments.requirements(name).read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins and all("==" in line for line in pins)
