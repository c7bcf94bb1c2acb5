"""Engines' own environments, made by pip from a requirements file."""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audio_generation.hibari_side.hibari import Hibari
from core import environments
from core.errors import HarkError


@pytest.fixture
def requirements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A requirements file instead of an engine's own."""
    path = tmp_path / "requirements.txt"
    path.write_text("# nothing\n")
    monkeypatch.setattr(environments, "requirements", lambda name: path)
    monkeypatch.setenv("HARK_ENGINES_ENV", str(tmp_path / "engines"))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment without packages of its own, as Python and pip make it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "requirements.txt").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environments, "requirements", lambda name: folder / "requirements.txt")
        patch.setenv("HARK_ENGINES_ENV", str(folder / "engines"))
        return environments.enable("piper")


@pytest.fixture
def copied(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy that environment, because creating new ones takes longer."""
    run = environments._run

    def copy(command: list[str], name: str, report: Callable[[str], None]) -> None:
        if command[1:3] == ["-m", "venv"]:
            shutil.copytree(made, command[3], symlinks=True, ignore=shutil.ignore_patterns(environments.STAMP))
        else:
            run(command, name, report)

    monkeypatch.setattr(environments, "_run", copy)


@pytest.mark.usefixtures("copied")
def test_an_environment_is_rebuilt_only_if_its_requirements_change(requirements: Path) -> None:
    lines: list[str] = []
    assert not environments.is_enabled("piper")
    folder = environments.enable("piper", lines.append)
    assert environments.is_enabled("piper") and environments.interpreter("piper") == folder / "bin" / "python"
    assert environments.lacking("piper", ["no_such_module"]) == []
    environments.enable("piper", lines.append)
    assert "already enabled" in lines[-1]
    requirements.write_text("# something else\n")
    assert not environments.is_enabled("piper")
    assert environments.lacking("piper", ["no_such_module"]) == ["no_such_module"]


@pytest.mark.usefixtures("copied")
def test_a_package_that_cannot_be_installed_is_reported(requirements: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    requirements.write_text("no-such-package-of-hark==1.0\n")
    with pytest.raises(HarkError) as caught:
        environments.enable("piper")
    assert "no-such-package-of-hark" in caught.value.why and "hark engines enable piper" in caught.value.what_to_do
    assert not environments.is_enabled("piper")


def test_an_engine_without_requirements_needs_no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARK_ENGINES_ENV", str(tmp_path))
    with pytest.raises(HarkError, match="needs no environment"):
        environments.enable("espeak")
    assert not environments.is_enabled("espeak")


@pytest.mark.usefixtures("copied")
def test_an_environment_whose_imports_fail_is_not_enabled(requirements: Path) -> None:
    requirements.write_text("# imports: json, no_such_module\n")
    with pytest.raises(HarkError) as caught:
        environments.enable("pyannote")
    assert "no_such_module cannot be imported" in caught.value.why and "HARK_TORCH_INDEX" in caught.value.what_to_do
    assert not environments.is_enabled("pyannote")


@pytest.mark.usefixtures("copied")
def test_a_missing_truncated_or_altered_voice_is_not_used(requirements: Path) -> None:
    requirements.write_text("# nothing\n")
    voice = environments.enable("hibari") / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "voice.bin"
    voice.write_bytes(b"voice")
    digest = hashlib.sha256(b"voice").hexdigest()
    requirements.write_text(f"# sha256: voice.bin {digest}\n")
    assert not environments.damaged("hibari")
    (environments.environment("hibari") / environments.STAMP).write_text(environments._digest("hibari"))
    voice.write_bytes(b"voi")
    assert "voice.bin is cut off or altered" in environments.damaged("hibari")
    engine = Hibari()
    assert "cut off" in engine.available().why and engine.available().how_to_enable == "./hark engines enable hibari"
    assert engine.voices("en") == []
    voice.unlink()
    assert engine.available().why == "voice.bin is missing."
    with pytest.raises(HarkError, match="cannot be used"):  # nothing provides the file to a new environment
        environments.enable("hibari")
    assert not environments.environment("hibari").exists(), "an incomplete environment is removed"


def test_a_full_disk_leaves_no_incomplete_environment(requirements: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(command: list[str], name: str, report: object) -> None:
        environments.environment(name).mkdir(parents=True)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(environments, "_run", full)
    with pytest.raises(HarkError, match="disk is full"):
        environments.enable("hibari")
    assert not environments.environment("hibari").exists()


def test_torchaudio_works_without_its_broken_extension(tmp_path: Path) -> None:
    """With the wheel for a CPU build of torch the extension is found, but loading it fails."""
    (tmp_path / "torch.py").write_text("class version:\n    cuda = None\n")
    package = tmp_path / "torchaudio"
    (package / "lib").mkdir(parents=True)
    (package / "lib" / "libtorchaudio.so").write_bytes(b"linked against CUDA")
    loading = "if (pathlib.Path(__file__).parent / 'lib').is_dir():\n    raise OSError('libcudart')\n"
    (package / "__init__.py").write_text("import pathlib\n" + loading)
    command = [sys.executable, "-B", "-c", environments.WITHOUT_CUDA]
    subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, check=True)
    assert not (package / "lib").exists()
    (package / "lib").mkdir()
    (tmp_path / "torch.py").write_text("class version:\n    cuda = '13.0'\n")
    assert subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True).returncode
    assert (package / "lib").exists(), "with a CUDA build, the failure is reported"


ALL = ["piper", "kokoro", "kokoro_int8", "hibari", "suno", "elevenlabs"]
ALL += ["tps", "funasr", "whisper-timestamped", "pyannote"]


@pytest.mark.parametrize("name", ALL)
def test_requirements_are_pinned_and_list_their_imports(name: str) -> None:
    assert environments.imports(name)
    lines = environments.requirements(name).read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins and all("==" in line for line in pins)
