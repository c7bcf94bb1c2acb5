"""Environments of their own for the large optional engines, made on demand.

An engine's ``internals/requirements.txt`` (of recognition: ``pipeline/transcription/environments/NAME.txt``) names
what its worker needs. ``enable`` installs that into ``<data>/engines/<name>/venv`` (HARK_ENGINES_ENV names another
folder than ``<data>/engines``). Until then the worker runs in Hark's own interpreter, which is enough for the embedded
engines and for packages that happen to be there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from core.data_folder import REPOSITORY, installation_folder, storage_error
from core.errors import HarkError

STAMP = "installed.txt"  # digest of the requirements that are in the environment; written last


def requirements(name: str) -> Path:
    """The requirements file of an engine; it exists only where the engine can have its own environment."""
    speaks = REPOSITORY / "audio_generation" / f"{name}_side" / "internals" / "requirements.txt"
    hears = REPOSITORY / "pipeline" / "transcription" / "environments" / f"{name}.txt"
    return hears if hears.is_file() else speaks


def environment(name: str) -> Path:
    """The folder of an engine's environment, made or not."""
    base = os.environ.get("HARK_ENGINES_ENV")
    return (Path(base).expanduser().resolve() if base else installation_folder() / "engines") / name / "venv"


def is_enabled(name: str) -> bool:
    """True where the engine's own environment is made and matches its requirements."""
    stamp = environment(name) / STAMP
    return requirements(name).is_file() and stamp.is_file() and stamp.read_text().strip() == _digest(name)


def interpreter(name: str) -> Path:
    """The Python that runs the engine's worker: its own environment's, else the one that runs Hark."""
    return environment(name) / "bin" / "python" if is_enabled(name) else Path(sys.executable)


def lacking(name: str, packages: Sequence[str]) -> list[str]:
    """Those top-level modules that the engine's interpreter does not have."""
    if is_enabled(name):
        return []
    return [package for package in packages if importlib.util.find_spec(package) is None]


def enable(name: str, report: Callable[[str], None] = lambda line: None) -> Path:
    """Make the engine's environment with pip, or bring it up to date; returns its folder.

    Args:
        name: an engine with ``internals/requirements.txt``.
        report: called with each line that pip prints.

    Raises:
        HarkError: no such requirements, no network, no space, or a package that cannot be installed.
    """
    if not requirements(name).is_file():
        raise HarkError(
            f"The engine {name} needs no environment of its own.",
            "It has no internals/requirements.txt.",
            "./hark engines shows what each engine needs.",
        )
    folder = environment(name)
    if is_enabled(name):
        report(f"{name} is enabled already: {folder}")
        return folder
    try:
        # A half-made environment of an earlier attempt would hide what is missing in it.
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "venv", str(folder)], name, report)
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--progress-bar",
            "off",
        ]
        for extra in _options(name):
            pip.append(extra)
        _run([*pip, "-r", str(requirements(name))], name, report)
        (folder / STAMP).write_text(_digest(name) + "\n")
    except OSError as error:
        raise storage_error(error, f"making the environment of {name}") from error
    return folder


def _options(name: str) -> list[str]:
    """Extra pip options: HARK_TORCH_INDEX names the package index that has the torch build for this machine.

    Where a requirements file says that it names everything (``# complete``), what its packages declare is left out.
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
        said = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "nothing")
        raise HarkError(
            f"The environment of {name} could not be made.",
            f"{' '.join(command[1:4])} ended with code {process.returncode}: {said[:300]}",
            "Check the network (packages come from the package index that pip uses) and the free disk space, then run "
            f"./hark engines enable {name} again.",
        )
