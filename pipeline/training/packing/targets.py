"""The files of a bundle that each device takes, and the commands to install them."""

from __future__ import annotations

import json
import shlex
import zipfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from core.worded import Worded, worded
from pipeline.training.configuration.devices import ALONE, DEVICES, OWN_FORMAT, SMALL, TRAINED
from pipeline.training.reporting.report_types import Report, RunFigures

SHARE = "/share/openwakeword"  # folder of the add-on's models
UNPACK = "unzip {bundle} -d {folder}\ncd {folder}\n"
INSTALL = "pip install numpy onnxruntime soundfile sounddevice\n"
YAML = "micro_wake_word:\n  models:\n    - model: "
# Instructions by device, with the lines to copy. {bundle} is the bundle's path, {name} its file name, {folder} the
# folder that it is unpacked into, {file} the path of the device's file in the bundle, {file_name} that file's name, and
# {address} the URL of the files for devices.
STEPS = (
    (
        "esphome",
        worded(
            "Unpack the bundle and copy both files into the folder of the ESPHome configuration. In the ESPHome "
            "dashboard, edit the device: if it has a block micro_wake_word, add the last line to its models; "
            "otherwise add the whole block, then install. Then choose the wake word on the device's page in Home "
            "Assistant."
        ),
        YAML + "{file_name}",
    ),
    (
        "esphome, served",
        worded(
            "In the ESPHome dashboard (Home Assistant, add-on ESPHome Device Builder), edit the device. If it has "
            "a block micro_wake_word, add the last line to its models; otherwise add the whole block, then "
            "install. Then choose the wake word on the device's page in Home Assistant."
        ),
        YAML + "{address}{file}",
    ),
    (
        "openwakeword",
        worded(
            "Unpack the bundle on the machine that runs Home Assistant (add-on Terminal & SSH). Then restart the "
            "add-on openWakeWord and choose the wake word in the voice assistant's settings."
        ),
        f"mkdir -p {SHARE}\ncp {{file}} {SHARE}/{{file_name}}",
    ),
    (
        "openwakeword, served",
        worded(
            "Run this on the machine that runs Home Assistant (add-on Terminal & SSH). Then restart the add-on "
            "openWakeWord and choose the wake word in the voice assistant's settings."
        ),
        f"mkdir -p {SHARE}\nwget -O {SHARE}/{{file_name}} {{address}}{{file}}",
    ),
    (
        SMALL,
        worded(
            "The folder %(folder)s of the bundle is a complete bundle of its own, also for a web page.", folder=SMALL
        ),
        f"{UNPACK}cd {SMALL}\n{INSTALL}python detect.py --mic",
    ),
    (
        "small alone",
        worded("The bundle's own detector is small enough, also for a web page."),
        f"{UNPACK}{INSTALL}python detect.py --mic",
    ),
    (
        "browser",
        worded(
            "Run this in Hark's folder. The first line adds onnxruntime-web, which it downloads once. Then open "
            "http://localhost:8080/detect.html. Any other web server can serve the folder."
        ),
        "./hark bundle-web {bundle} --to web\npython -m http.server --bind 127.0.0.1 --directory web 8080",
    ),
    (
        "pi",
        worded("Copy the bundle to a Raspberry Pi with the 64-bit system and a microphone, then run this there:"),
        "sudo apt-get install python3-venv libportaudio2 unzip\n"
        "unzip {name} -d {folder}\n"
        "cd {folder}\n"
        "python3 -m venv venv\n"
        "venv/bin/pip install numpy onnxruntime sounddevice\n"
        "venv/bin/python detect.py --mic",
    ),
    (
        "pi",
        worded(
            "As a wake-word service for Home Assistant, run in Hark's folder. In Home Assistant: Settings, Devices "
            "& services, Add integration, Wyoming Protocol; the host is this machine, the port 10400."
        ),
        "./hark wyoming --uri tcp://0.0.0.0:10400 {bundle}",
    ),
    (
        "python",
        worded("A recording, then the microphone until Ctrl-C."),
        f"{UNPACK}{INSTALL}python detect.py --wav recording.wav\npython detect.py --mic",
    ),
)


@dataclass(frozen=True)
class Step:
    """A step of the instructions, and the lines to copy for it."""

    about: Worded
    code: str


@dataclass(frozen=True)
class Target:
    """A device and its files in one bundle.

    Attributes:
        name: one of :data:`pipeline.training.configuration.devices.DEVICES`.
        files: names in the bundle; () if it lacks one of them.
        size: the ``--size`` that suits it.
        steps: () without files.
        missing: instructions to get the files; None if the bundle has them.
        typed: the command that makes them, if Hark is installed.
    """

    name: str
    title: str
    files: tuple[str, ...]
    size: str
    steps: tuple[Step, ...]
    missing: Worded | None
    typed: str = ""

    @property
    def missing_instructions(self) -> str:
        """The text of ``missing``, followed by the command to type."""
        return f"{self.missing} ({self.typed})" if self.typed else str(self.missing or "")

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        steps = [{"about": str(step.about), "code": step.code} for step in self.steps]
        missing = self.missing_instructions or None
        return {
            "title": self.title, "files": list(self.files), "size": str(self.size), "steps": steps, "missing": missing
        }  # fmt: skip


def files_for(target: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return a target's files in a bundle; () if the bundle lacks one of them."""
    there, needed = set(names), DEVICES[target].files
    if not needed:
        return tuple(sorted(name for name in there if name.startswith(f"{target}/")))
    return needed if there.issuperset(needed) else ()


def targets_of(
    bundle: str, names: Collection[str], is_small: bool, left_out: Collection[str] = (), address: str = ""
) -> dict[str, Target]:
    """Return every target by its name.

    Args:
        bundle: the path of the zip in the steps.
        names: of the files in it.
        is_small: its own detector is smaller than large (:func:`is_small`).
        left_out: devices whose package was not installed when the bundle was made.
        address: base URL of the files for devices, with the last slash; "" if they are not served.
    """
    targets = {}
    for target in DEVICES:
        files = files_for(target, names)
        if target == SMALL and is_small:
            files = tuple(name for name in ALONE if name in names)
        steps = tuple(_steps(target, bundle, files, address)) if files else ()
        missing = None if files else _missing(target, target in left_out)
        typed = "" if files else _typed(target, target in left_out)
        targets[target] = Target(target, DEVICES[target].title, files, DEVICES[target].size, steps, missing, typed)
    return targets


def targets_of_bundle(bundle: Path, shown_as: str, left_out: Collection[str] = ()) -> dict[str, Target]:
    """Return the targets (:func:`targets_of`) of a zip on this machine."""
    with zipfile.ZipFile(bundle) as archive:
        return targets_of(shown_as, archive.namelist(), is_small(json.loads(archive.read("report.json"))), left_out)


def is_small(report: RunFigures) -> bool:
    """Return whether the detector of a report is smaller than large."""
    return bool(report["size"] != "large")


def _missing(target: str, left_out: bool) -> Worded:
    if left_out:
        return worded(
            "The package %(package)s was not installed. Install it, then train the phrase again for this device.",
            package=DEVICES[target].package,
        )
    if target == SMALL:
        return worded(
            "This device needs a detector of size standard, which this bundle lacks. Train the phrase again with "
            "a standard detector in addition to the large one."
        )
    return worded("This device needs its own detector, which this bundle lacks. Train the phrase again for it.")


def _typed(target: str, left_out: bool) -> str:
    install = f".venv/bin/python -m pip install {DEVICES[target].package} -c constraints.txt; then " if left_out else ""
    return f"{install}./hark train, with --for {target}" if target in TRAINED else ""


def _steps(target: str, path: str, files: tuple[str, ...], address: str) -> Iterable[Step]:
    way = f"{target}, served" if address and target in OWN_FORMAT else target
    if target == SMALL and not files[0].startswith(f"{SMALL}/"):
        way = "small alone"
    file = next((name for name in files if name.endswith(".json")), files[0])
    places = {
        "bundle": shlex.quote(path), "name": shlex.quote(Path(path).name), "folder": shlex.quote(Path(path).stem),
        "file": file, "file_name": PurePosixPath(file).name, "address": address,
    }  # fmt: skip
    return [Step(about, lines.format(**places)) for named, about, lines in STEPS if named == way]


def readme(bundle: str, names: Collection[str], report: Report, measured: Mapping[str, str]) -> str:
    """Return the bundle's ``README.md``: for each device its file and the commands.

    ``measured``: sentences on the detectors that devices have of their own, by device.
    """
    targets = targets_of(bundle, names, is_small(report), report["devices_left_out"]).values()
    lines = [f"# Where “{report['phrase']}” runs", "", "| device | takes | which size |", "| --- | --- | --- |"]
    for target in targets:
        files = ", ".join(f"`{name}`" for name in target.files) or "not in this bundle"
        lines.append(f"| {target.title} | {files} | {target.size} |")
    for target in targets:
        lines += ["", f"## {target.title}", ""]
        lines += [target.missing_instructions, ""] if target.missing else []
        lines += [measured[target.name], ""] if target.name in measured else []
        for step in target.steps:
            lines += [str(step.about), "", "```yaml" if target.name == "esphome" else "```sh", step.code, "```", ""]
        lines.pop()
    end = "MODEL_CARD.md says what was measured; LICENSES.txt lists the voices and corpora that were used."
    return "\n".join([*lines, "", end, ""])
