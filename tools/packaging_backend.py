"""Hark as a wheel and as a source archive: what pip asks (PEP 517), with nothing to install for it.

The wheel holds the application as it lies in the repository, below ``hark/application/``, and a command ``hark`` that
starts it there: names such as ``core`` and ``db`` are nobody else's this way. The same files give the same bytes.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Of the repository, that is not needed to run: tests, what builds and deploys, what is only for whoever works on it.
NOT_RUN = (
    "tests/", "lab/", ".github/", ".ci/", "deploy/", "docs/images/", ".gitignore", ".dockerignore", "hark",
    "mkdocs.yml",
)  # fmt: skip
LEFT_OUT = {".git", ".venv", "data", "site", "__pycache__", "build", "dist"}
DAY = (1980, 1, 1, 0, 0, 0)  # of all files in a zip, which knows none before

LAUNCHER = '''"""Hark: type a phrase, get a small detector that you can trust."""

import os
import sys
from pathlib import Path

APPLICATION = Path(__file__).resolve().parent / "application"


def main() -> None:
    """Start Hark's command line. Its data lies in HARK_DATA, or else in ~/.local/share/hark."""
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    os.environ.setdefault("HARK_DATA", str(Path(base).expanduser() / "hark"))
    os.execv(sys.executable, [sys.executable, str(APPLICATION / "main.py"), *sys.argv[1:]])
'''


def project(root: Path = ROOT) -> Mapping[str, Any]:
    """The table ``project`` of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def files(root: Path = ROOT) -> list[str]:
    """What belongs to the source: what git tracks, or all that is there where it is no clone."""
    if (root / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout.decode()
        return sorted(name for name in listed.split("\0") if name and (root / name).is_file())
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(str(path) for path in found if not LEFT_OUT & set(path.parts) and path.name != "PKG-INFO")


def requirements(root: Path = ROOT) -> Iterator[str]:
    """What is installed with the wheel, at the versions that were tried."""
    for line in (root / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if wanted := re.sub(r"\s*#.*", "", line).strip():
            yield wanted


def metadata(root: Path = ROOT) -> str:
    """As packages have it (Metadata 2.4)."""
    about = project(root)
    lines = [
        "Metadata-Version: 2.4", f"Name: {about['name']}", f"Version: {about['version']}",
        f"Summary: {about['description']}", f"Requires-Python: {about['requires-python']}",
        f"License-Expression: {about['license']}", "License-File: LICENSE",
        "Description-Content-Type: text/markdown", *(f"Requires-Dist: {one}" for one in requirements(root)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n\n" + (root / "README.md").read_text(encoding="utf-8")


def build_wheel(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None, root: Path = ROOT
) -> str:
    """Called by pip; the name of the wheel."""
    about = project(root)
    name = f"{about['name']}-{about['version']}"
    info = f"{name}.dist-info"
    content = {
        f"hark/application/{one}": (root / one).read_bytes() for one in files(root) if not one.startswith(NOT_RUN)
    }
    content["hark/__init__.py"] = LAUNCHER.encode()
    content["hark/__main__.py"] = b"from hark import main\n\nmain()\n"
    content[f"{info}/METADATA"] = metadata(root).encode()
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: hark\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content[f"{info}/entry_points.txt"] = b"[console_scripts]\nhark = hark:main\n"
    content[f"{info}/licenses/LICENSE"] = (root / "LICENSE").read_bytes()
    rows = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in content.items()]
    content[f"{info}/RECORD"] = ("\n".join([*rows, f"{info}/RECORD,,"]) + "\n").encode()
    wheel = Path(wheel_directory) / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            entry = zipfile.ZipInfo(path, DAY)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return wheel.name


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def build_sdist(sdist_directory: str, config_settings: object = None, root: Path = ROOT) -> str:
    """Called by pip; the name of the source archive."""
    about = project(root)
    name = f"{about['name']}-{about['version']}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        content = {one: (root / one).read_bytes() for one in files(root)} | {"PKG-INFO": metadata(root).encode()}
        for path, data in content.items():
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(data)
            entry.mode = 0o755 if path != "PKG-INFO" and (root / path).stat().st_mode & 0o100 else 0o644
            archive.addfile(entry, io.BytesIO(data))
    target = Path(sdist_directory) / f"{name}.tar.gz"
    with target.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped:
        zipped.write(packed.getvalue())
    return target.name


if __name__ == "__main__":
    for build in (build_sdist, build_wheel):
        sys.stdout.write(build(sys.argv[1]) + "\n")
