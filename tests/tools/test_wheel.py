"""Hark as a wheel and a source archive, and started from them."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY


def build(folder: Path) -> tuple[Path, Path]:
    """Build a wheel and a source archive."""
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=REPOSITORY, check=True)
    return folder / "hark-0.1.0-py3-none-any.whl", folder / "hark-0.1.0.tar.gz"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("built"))


def test_the_wheel_and_the_source_archive_contain_all_files(built: tuple[Path, Path]) -> None:
    wheel, source = built
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = archive.read("hark-0.1.0.dist-info/METADATA").decode()
        record = archive.read("hark-0.1.0.dist-info/RECORD").decode()
    application = {name.removeprefix("hark/application/") for name in names if name.startswith("hark/application/")}
    assert {"main.py", "core/errors.py", "webui/templates/base.html", "model/shipped/MODEL_CARD.md"} <= application
    assert {"LICENSE", "docs/licences.md", "constraints.txt"} <= application
    assert not [name for name in application if name.startswith(("tests/", "lab/", "deploy/", ".")) or name == "hark"]
    assert "Requires-Dist: torch==" in info and "License-Expression: Apache-2.0" in info
    assert {line.partition(",")[0] for line in record.splitlines()} == names
    with tarfile.open(source) as archive:
        packed = {name.removeprefix("hark-0.1.0/") for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=REPOSITORY, capture_output=True)
    tracked = {name for name in listed.stdout.decode().split("\0") if name and (REPOSITORY / name).is_file()}
    assert packed - {"PKG-INFO"} == tracked and "tests/conftest.py" in packed


def test_builds_are_reproducible(built: tuple[Path, Path], tmp_path: Path) -> None:
    for first, again in zip(built, build(tmp_path)):
        assert first.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("which", [0, 1], ids=["wheel", "source archive"])
def test_an_installed_build_starts(built: tuple[Path, Path], tmp_path: Path, which: int) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HARK_", "PIP_"))}
    environment["XDG_DATA_HOME"] = str(tmp_path / "share")
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "environment"], check=True)
    (packages,) = (tmp_path / "environment").glob("lib/python*/site-packages")
    here = [entry for entry in sys.path if entry.endswith("site-packages")]
    (packages / "beside.pth").write_text("\n".join(here) + "\n")
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", built[which]]
    subprocess.run([python, *install], check=True, env=environment, cwd=tmp_path)
    for words, expected in ((["--help"], "Start here"), (["library", "stats", "--json"], "{")):
        command = [python.with_name("hark"), *words]
        said = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert said.returncode == 0 and expected in said.stdout, said.stderr
    assert (tmp_path / "share" / "hark" / "library.sqlite3").is_file()
    assert not (packages / "hark" / "application" / "data").exists()
    assert REPOSITORY not in packages.parents
