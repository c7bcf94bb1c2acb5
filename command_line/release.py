"""``release``: make the files of a release: wheel, source archive, their packages and licences, and digests."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from command_line.console import Screen
from command_line.options import Commands, Parser, define_command
from core.data_folder import REPOSITORY
from core.errors import HarkError

LICENCES, DIGESTS, COMPONENTS = "THIRD-PARTY.md", "SHA256SUMS", "sbom.cdx.json"
CYCLONEDX = "cyclonedx-bom==7.5.0"  # has its own environment
TRIED = ("--help", "doctor --json", "confusables lantern --json")  # commands that the installed package must run


def register(commands: Commands[Parser]) -> None:
    command = define_command(commands, "release", "FOLDER [options]", run_release)
    command.add_argument("folder", type=Path, metavar="FOLDER", help="output folder; it is created")
    command.add_argument(
        "--no-sbom", action="store_true", help="leave out the list of components; pip fetches its generator"
    )
    command.add_argument(
        "--advisories",
        type=Path,
        metavar="PLACE",
        help="audit the pinned packages against the advisories in PLACE (docs/security.md)",
    )


def run_release(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``release FOLDER``. The exit code is 2 if a check fails; files made before it remain."""
    version = _version()
    folder: Path = options.folder.expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with screen.reporter() as reporter:
        reporter.stage("build", "Building the wheel and the source archive")
        _python("-m", "hatchling", "build", "-d", str(folder))
        wheel, source = folder / f"hark-{version}-py3-none-any.whl", folder / f"hark-{version}.tar.gz"
        with tempfile.TemporaryDirectory(prefix="hark-release-") as beside:
            installed, built = Path(beside) / "wheel", Path(beside) / "source"
            reporter.stage("try", f"Installing {wheel.name} with its requirements, and starting it")
            _python("-m", "venv", str(installed))
            _pip(installed, "-c", "constraints.txt", str(wheel))
            _pip(installed, "--no-deps", "-r", "requirements-alone.txt")
            _start(installed)
            reporter.stage("try", f"Building {source.name}, installing it, and starting it")
            _python("-m", "venv", str(built))
            _pip(built, "--no-deps", str(source))
            (_packages(built) / "of-the-wheel.pth").write_text(f"{_packages(installed)}\n")
            _start(built)
            reporter.stage("licences", "Listing what was installed with the wheel, and its licences")
            (folder / LICENCES).write_text(third_parties(_packages(installed)), encoding="utf-8")
            if not options.no_sbom:
                _write_components(installed, folder / COMPONENTS)
        if options.advisories is not None:
            _python("-m", "tools.audit_pins", str(options.advisories))
    files = sorted(path for path in folder.iterdir() if path.name != DIGESTS)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in files]
    (folder / DIGESTS).write_text("\n".join(lines) + "\n")
    screen.result({"version": version, "files": [path.name for path in files]})
    screen.show("\n".join(lines))
    return 0


def _version() -> str:
    """Return the version to release, after checking that git has no changes and the changelog mentions it."""
    version = str(tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    state = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=no"], cwd=REPOSITORY, capture_output=True, text=True
    )
    if state.returncode or state.stdout.strip():
        why = (
            "Files differ from the last commit." if state.returncode == 0 else "This is not a clone of the repository."
        )
        raise HarkError(
            "This tree cannot be released.", why, "Commit the changes, or clone the repository, then try again."
        )
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## {re.escape(version)}\b", changelog, re.MULTILINE):
        raise HarkError(
            f"Version {version} is not in the changelog.",
            "CHANGELOG.md has no section with that name.",
            "Add a section that says what users will notice, or change the version in pyproject.toml.",
        )
    return version


def _python(*arguments: str, program: str = sys.executable) -> str:
    done = subprocess.run([program, *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode:
        text = (done.stdout + done.stderr).strip()[-2000:]
        raise HarkError(
            f"python {' '.join(arguments)} failed.",
            text or "It printed nothing.",
            "Fix the cause, then run ./hark release again.",
        )
    return done.stdout


def _pip(environment: Path, *arguments: str) -> None:
    program = str(environment / "bin" / "python")
    _python("-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments, program=program)


def _packages(environment: Path) -> Path:
    (folder,) = environment.glob("lib/python*/site-packages")
    return folder


def _start(environment: Path) -> None:
    for words in TRIED:
        _python(str(environment / "bin" / "hark"), *words.split(), program=str(environment / "bin" / "python"))


def third_parties(packages: Path) -> str:
    """List the packages in a folder, except Hark, with the version and licence that each declares."""
    rows = ["# Packages that Hark is installed with", "", "| package | version | licence |", "| --- | --- | --- |"]
    distributions = [one.metadata for one in importlib.metadata.distributions(path=[str(packages)])]
    for about in sorted(distributions, key=lambda about: str(about["Name"]).lower()):
        if about["Name"] not in ("hark", "pip", "setuptools"):
            rows.append(f"| {about['Name']} | {about['Version']} | {licence_of(about)} |")
    return "\n".join(rows) + "\n"


def licence_of(about: importlib.metadata.PackageMetadata) -> str:
    """Return a package's licence: its licence expression, classifiers or first line of the licence field."""
    if "License-Expression" in about:
        return str(about["License-Expression"])
    named = [one.rpartition(" :: ")[2] for one in about.get_all("Classifier") or () if one.startswith("License ::")]
    text = str(about["License"]).splitlines()[0] if "License" in about and str(about["License"]).strip() else ""
    return ", ".join(named) or text[:80] or "not stated"


def _write_components(environment: Path, target: Path) -> None:
    """Write the components of an environment, in CycloneDX's format."""
    with tempfile.TemporaryDirectory(prefix="hark-sbom-") as folder:
        _python("-m", "venv", folder)
        maker = f"{folder}/bin/python"
        _python("-m", "pip", "install", "-q", CYCLONEDX, program=maker)
        options = ("--pyproject", "pyproject.toml", "--output-reproducible", "--of", "JSON", "-o", str(target))
        installed = str(environment / "bin" / "python")
        _python("-m", "cyclonedx_py", "environment", *options, installed, program=maker)
    json.loads(target.read_text(encoding="utf-8"))
