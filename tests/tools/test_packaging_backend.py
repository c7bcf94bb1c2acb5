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
from tools import packaging_backend as backend


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A wheel and a source archive."""
    folder = tmp_path_factory.mktemp("built")
    return folder / backend.build_wheel(str(folder)), folder / backend.build_sdist(str(folder))


def test_what_is_in_them(built: tuple[Path, Path]) -> None:
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
    assert packed - {"PKG-INFO"} == set(backend.files()) and "tests/conftest.py" in packed


def test_the_same_files_give_the_same_bytes(built: tuple[Path, Path], tmp_path: Path) -> None:
    for first, again in zip(built, (backend.build_wheel(str(tmp_path)), backend.build_sdist(str(tmp_path)))):
        assert first.read_bytes() == (tmp_path / again).read_bytes()


def test_a_folder_that_is_no_clone_gives_all_that_is_there(tmp_path: Path) -> None:
    for name in ("core/a.py", ".venv/b.py", "data/c", "core/__pycache__/d.pyc", "PKG-INFO"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert backend.files(tmp_path) == ["core/a.py"]


@pytest.mark.slow(reason="makes two environments")
@pytest.mark.parametrize("which", [0, 1], ids=["wheel", "source archive"])
def test_it_is_installed_and_starts(built: tuple[Path, Path], tmp_path: Path, which: int) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HARK_", "PIP_"))}
    environment["XDG_DATA_HOME"] = str(tmp_path / "share")
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "environment"], check=True)
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", built[which]]
    subprocess.run([python, *install], check=True, env=environment, cwd=tmp_path)
    (packages,) = (tmp_path / "environment").glob("lib/python*/site-packages")
    here = [entry for entry in sys.path if entry.endswith("site-packages")]
    (packages / "beside.pth").write_text("\n".join(here) + "\n")
    for command in ([python, "-m", "hark"], [python.with_name("hark")]):
        said = subprocess.run([*command, "--help"], capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert said.returncode == 0 and "Start here" in said.stdout, said.stderr
    stats = [python.with_name("hark"), "library", "stats", "--json"]
    said = subprocess.run(stats, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert said.returncode == 0 and (tmp_path / "share" / "hark" / "library.sqlite3").is_file(), said.stderr
    assert not (packages / "hark" / "application" / "data").exists()
    assert REPOSITORY not in packages.parents
