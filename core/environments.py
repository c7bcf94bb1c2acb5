"""Separate environments for the large optional engines, made on demand.

An engine's ``internals/requirements.txt`` lists the packages of its worker. (Recognition, speakers and corpora have
``environments/NAME.txt`` in their folders of ``pipeline/``.) ``enable`` installs these packages into
``<data>/engines/<name>/venv``; HARK_ENGINES_ENV replaces ``<data>/engines``. It then imports the modules in the file's
line ``# imports:``. An environment is ready once these imports have worked: success of pip is not enough.

Lines ``# sha256: FILE DIGEST`` give the digests of packaged files (voices, models) that Hark was tested with.

Until an environment is ready, the worker runs in Hark's own interpreter. That suffices for the embedded engines, and
for packages that happen to be installed there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from core.data_folder import REPOSITORY, installation_folder, storage_error
from core.errors import HarkError
from core.readiness import Readiness
from core.worded import listed, worded

# As ./hark does in the main environment (requirements.txt says why): without its extension torchaudio behaves like a
# build without one, and its transforms and Kaldi features are plain torch.
WITHOUT_CUDA = """
import importlib.util, pathlib, shutil
found = importlib.util.find_spec("torchaudio")
if found:
    import torch
    try:
        import torchaudio
    except OSError:
        if torch.version.cuda:
            raise
        shutil.rmtree(pathlib.Path(found.origin).parent / "lib")
        print("Installing torchaudio without its CUDA extension, which this build of torch cannot load")
"""
STAMP = "installed.txt"  # holds the digest of the installed requirements; written last, after all imports worked


class BadPackageError(HarkError):
    """Raised if an installed package cannot be used: the package is at fault, not the network or the disk."""


def requirements(name: str) -> Path:
    """Return the path of an engine's requirements. It exists only if the engine can have its own environment."""
    speech_engine = REPOSITORY / "audio_generation" / f"{name}_side" / "internals" / "requirements.txt"
    return _in_pipeline().get(name, speech_engine)


@cache
def _in_pipeline() -> dict[str, Path]:
    """Return the requirements of engines other than speech engines, by name."""
    return {path.stem: path for path in (REPOSITORY / "pipeline").glob("**/environments/*.txt")}


def environment(name: str) -> Path:
    base = os.environ.get("HARK_ENGINES_ENV")
    return (Path(base).expanduser().resolve() if base else installation_folder() / "engines") / name / "venv"


def is_enabled(name: str) -> bool:
    """Return whether the engine's own environment exists and matches its requirements."""
    stamp = environment(name) / STAMP
    return stamp.is_file() and requirements(name).is_file() and stamp.read_text().strip() == _digest(name)


def interpreter(name: str) -> Path:
    """Return the Python that runs the engine's worker: that of its own environment if it exists, otherwise Hark's."""
    return environment(name) / "bin" / "python" if is_enabled(name) else Path(sys.executable)


def lacking(name: str, packages: Sequence[str]) -> list[str]:
    """Return the top-level modules that are missing for the engine's interpreter."""
    if is_enabled(name):
        return []
    return [package for package in packages if importlib.util.find_spec(package) is None]


def readiness(name: str, lacks: Sequence[str]) -> Readiness:
    """Return whether an engine can start, given the packages that are missing."""
    if not lacks:
        return Readiness(True)
    why = worded(
        "The Python packages of %(engine)s are not installed (%(packages)s).", engine=name, packages=listed(lacks)
    )
    return Readiness(False, why, f"./hark engines enable {name}")


def enable(name: str, report: Callable[[str], None] = lambda line: None) -> Path:
    """Make or update the engine's environment with pip; return its folder.

    Args:
        name: an engine with ``internals/requirements.txt``.
        report: called with each line that pip prints.

    Raises:
        HarkError: the requirements, the network or disk space is missing, or a package cannot be installed.
    """
    if not requirements(name).is_file():
        raise HarkError(
            worded("The engine %(name)s needs no environment of its own.", name=name),
            worded("It has no file of requirements."),
            worded("./hark engines shows what each engine needs."),
        )
    folder = environment(name)
    if is_enabled(name) and not damaged(name):
        report(f"{name} is already enabled: {folder}")
        return folder
    try:
        # An unfinished environment of an earlier attempt would hide missing packages.
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "venv", str(folder)], name, report)
        python = str(folder / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", *_options(name)]
        _run([*pip, "-r", str(requirements(name))], name, report)
        _run([python, "-c", WITHOUT_CUDA], name, report)
        _import(python, name)
        if why := damaged(name):
            raise BadPackageError(
                worded("The environment of %(name)s was created but cannot be used.", name=name),
                f"{why}.",
                worded(
                    "Run ./hark engines enable %(name)s again; if it fails again, the package index serves "
                    "a corrupt file.",
                    name=name,
                ),
            )
        (folder / STAMP).write_text(_digest(name) + "\n")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)  # on a full disk it would occupy the space that everything else needs
        if isinstance(error, OSError):
            raise storage_error(error, worded("creating the environment of %(name)s", name=name)) from error
        raise
    return folder


def packages_folder(name: str) -> Path:
    return next(environment(name).glob("lib/python*/site-packages"), environment(name) / "none")


def damaged(name: str) -> str:
    """Check the files whose digests the requirements give; return why one is missing or altered, or ""."""
    for line in requirements(name).read_text().splitlines() if requirements(name).is_file() else ():
        if line.startswith("# sha256:"):
            file, digest = line.split()[2:]
            path = packages_folder(name) / file
            if not path.is_file():
                return f"{file} is missing"
            state = path.stat()
            if _sha256(path, state.st_size, state.st_mtime_ns) != digest:
                return f"{file} is cut off or altered: its digest is not the one that Hark was tested with"
    return ""


@cache
def _sha256(path: Path, size: int, changed_ns: int) -> str:
    """Hash a file in its current state, once per process."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def imports(name: str) -> list[str]:
    """Return the modules that must be importable in an engine's environment."""
    lines = requirements(name).read_text().splitlines()
    named = next((line.partition(":")[2] for line in lines if line.startswith("# imports:")), "")
    return [module.strip() for module in named.split(",") if module.strip()]


def _import(python: str, name: str) -> None:
    for module in imports(name):
        ended = subprocess.run([python, "-W", "ignore", "-c", f"import {module}"], capture_output=True, text=True)
        if ended.returncode:
            last_line = (ended.stderr.strip().splitlines() or ["nothing"])[-1]
            raise BadPackageError(
                worded("The environment of %(name)s was created but cannot be used.", name=name),
                worded("%(module)s cannot be imported: %(said)s", module=module, said=last_line[:300]),
                worded(
                    "If it came with a build of torch for another machine, set HARK_TORCH_INDEX to an index with "
                    "the right one and run ./hark engines enable %(name)s again.",
                    name=name,
                ),
            )


def _options(name: str) -> list[str]:
    """Return extra options for pip.

    These are the package index in HARK_TORCH_INDEX if torch is required, and ``--no-deps`` if the requirements are
    marked ``# complete``.
    """
    text = requirements(name).read_text()
    index = os.environ.get("HARK_TORCH_INDEX")
    options = ["--extra-index-url", index] if index and "torch==" in text else []
    return [*options, "--no-deps"] if "# complete" in text else options


def _digest(name: str) -> str:
    return hashlib.sha256(requirements(name).read_bytes()).hexdigest()


def _run(command: list[str], name: str, report: Callable[[str], None]) -> None:
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.strip())
            report(line.strip())
    if process.returncode:
        last_line = lines[-1] if lines else "nothing"
        last_error = next((line for line in reversed(lines) if "error" in line.lower()), last_line)
        shown = " ".join(command[1:4])
        raise HarkError(
            worded("The environment of %(name)s could not be created.", name=name),
            worded(
                "%(command)s ended with code %(returncode)s: %(said)s",
                command=shown,
                returncode=process.returncode,
                said=last_error[:300],
            ),
            worded(
                "Check the network (packages come from pip's package index) and the free disk space, then run "
                "./hark engines enable %(name)s again.",
                name=name,
            ),
        )
