"""``doctor``: what works here, what is missing, and how to enable it."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from command_line.console import PROGRAM, Screen, facts, table
from command_line.options import Commands, Parser, define_command
from core.confinement.confined import confined, missing_confinement
from core.data_folder import REPOSITORY, data_folder
from core.errors import HarkError
from core.processors import usable_cores
from core.settings import earlier as earlier_settings
from core.settings.given_secrets import check_given_secrets

if TYPE_CHECKING:
    from core.readiness import Readiness

SPACE_FOR_A_RUN = 2.0  # GB that a run needs for clips and features
OK, OPTIONAL, BROKEN = "ok", "optional", "broken"
STYLES = {OK: ("✓", "green"), OPTIONAL: ("-", "yellow"), BROKEN: ("✗", "bold red")}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: what was checked.
        status: "ok", "optional" (missing, but Hark works without it) or "broken" (Hark does not work without it).
        found: its state, or the problem.
        what_to_do: how to enable or fix it; "" if that is not necessary.
        extra: whether it is one of many engines and models to choose from; --all shows missing ones in full.
        real_speech: whether the library contains real speech.
    """

    name: str
    status: str
    found: str
    what_to_do: str = ""
    extra: bool = False
    real_speech: bool = False

    @property
    def folded(self) -> bool:
        """True if only the name is shown without --all."""
        return self.extra and self.status == OPTIONAL


def register(commands: Commands[Parser]) -> None:
    parser = define_command(commands, "doctor", "[--all]", run_doctor)
    parser.add_argument("--all", action="store_true", help="also show what can be added, and how")


def run_doctor(options: argparse.Namespace, screen: Screen) -> int:
    """Run ``doctor``; exit code 2 if something essential is missing."""
    from rich.text import Text

    findings: list[Finding] = []
    with screen.reporter() as reporter:
        reporter.stage("doctor", "Looking")
        for finding in _findings():
            findings.append(finding)
    suggestions = list(_suggestions(findings))
    ok = all(finding.status != BROKEN for finding in findings)
    screen.result({"ok": ok, "findings": [asdict(finding) for finding in findings], "suggestions": suggestions})
    broken = ", ".join(finding.name for finding in findings if finding.status == BROKEN)
    screen.show(
        Text("Hark can train here.", "green") if ok else Text(f"Hark cannot train here yet: {broken}.", "bold red")
    )
    folded = [] if options.all else [finding for finding in findings if finding.folded]
    shown = [finding for finding in findings if finding not in folded]
    screen.show(table(["", "", ""], [[Text(*STYLES[row.status]), row.name, row.found] for row in shown]))
    to_do = [f"{finding.name}: {finding.what_to_do}" for finding in shown if finding.what_to_do]
    for title, lines in (("To enable or repair:", to_do), ("Suggestions:", suggestions)):
        if lines:
            screen.show("", title)
            for line in lines:
                screen.show_line(f"  {line}")
    if folded:
        screen.show("", f"Optional, not installed ({PROGRAM} doctor --all shows what each is for and how to add it):")
        screen.show(facts(_by_use(folded)))
    return 0 if ok else 2


def _by_use(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Group names by their first word: ``engine piper`` and ``engine kokoro`` give ``engine``, ``piper, kokoro``."""
    names: dict[str, list[str]] = {}
    for finding in findings:
        use, name = finding.name.split(" ", 1)
        names.setdefault(f"  {use.rstrip(':')}", []).append(name)
    return [(use, ", ".join(group)) for use, group in names.items()]


def _findings() -> Iterator[Finding]:
    # main.py rejects a Python that is too old.
    yield Finding("python", OK, f"{platform.python_version()} ({sys.prefix})")
    yield _packages()
    yield _torch()
    yield from _data_folder()
    yield from _engines()
    yield from _mining_methods()
    yield from _for_recordings()
    yield _ffmpeg()
    yield _confinement()
    yield _microphone()
    yield _library()
    yield from _given_settings()


def pinned(requirements: Path) -> dict[str, str]:
    """Read the pins of a requirements file: name and version."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    return {match[1]: match[2] for line in lines if (match := re.match(r"([A-Za-z0-9._-]+)==([^\s;#]+)", line))}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        if name != "onnxruntime":
            raise
        return metadata.version("onnxruntime-gpu")  # replaces onnxruntime


def _packages() -> Finding:
    lacking, others = [], []
    pins = pinned(REPOSITORY / "requirements.txt")
    for name, wanted in pins.items():
        try:
            version = _version(name)
        except metadata.PackageNotFoundError:
            lacking.append(name)
            continue
        if version.split("+")[0] != wanted:
            others.append(f"{name} {version} (pinned: {wanted})")
    to_do = "rm -f .venv/hark-stamp, then ./hark doctor: the launcher installs what is pinned"
    needed = [name for name in lacking if name != "ctc-segmentation"]
    if needed:
        return Finding("packages", BROKEN, f"missing: {', '.join(needed)}", to_do)
    if lacking:
        return Finding(
            "packages", OPTIONAL, "ctc-segmentation is missing: mining uses Hark's own method, which is better",
            "apt-get install gcc python3-dev; rm .venv/hark-stamp; ./hark doctor",
        )  # fmt: skip
    if others:
        return Finding("packages", OPTIONAL, f"other versions than tested: {', '.join(others)}", to_do)
    return Finding("packages", OK, f"all {len(pins)} as pinned")


def _torch() -> Finding:
    try:
        import torch
    except Exception as error:  # a broken build fails with its own OSError or ImportError
        return Finding("torch", BROKEN, f"cannot be imported: {error}", "rm -rf .venv, then ./hark doctor")
    from model.gpu import TO_DO, complaint
    from model.train import best_device

    device = best_device()
    if complaint():
        return Finding("torch", OPTIONAL, f"{torch.__version__}, trains on {device}. {complaint()}", TO_DO)
    if device == "cuda":
        name = torch.cuda.get_device_name()
        return Finding("torch", OK, f"{torch.__version__}, trains on {name}")
    cores = usable_cores()
    description = f"{torch.__version__}, trains on {device} ({cores} core{'s' if cores != 1 else ''})"
    if shutil.which("nvidia-smi") and torch.version.cuda is None:
        return Finding(
            "torch", OPTIONAL, f"{description}; an NVIDIA driver is installed", "HARK_TORCH=cuda ./hark doctor"
        )
    return Finding("torch", OK, description)


def _data_folder() -> Iterator[Finding]:
    folder = data_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    elsewhere = "make it writable, or name another one with --data DIR or HARK_DATA"
    if not existing.is_dir():
        yield Finding("data folder", BROKEN, f"{existing} is a file", elsewhere)
        return
    try:
        # os.access returns True for root even on a read-only file system.
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".hark-doctor-") as probe:
            probe.write(bytes(4096))
            probe.flush()
    except OSError as error:
        yield Finding("data folder", BROKEN, f"{folder} cannot be written: {error.strerror}", elsewhere)
        return
    yield Finding("data folder", OK, f"{folder}{'' if folder.exists() else ' (will be created)'}")
    free = shutil.disk_usage(existing).free / 1e9
    if free < SPACE_FOR_A_RUN:
        to_do = f"free some space (a run needs about {SPACE_FOR_A_RUN:g} GB), or use another disk with --data DIR"
        yield Finding("disk space", OPTIONAL, f"{free:.1f} GB free", to_do)
    else:
        yield Finding("disk space", OK, f"{free:.0f} GB free")


def _engines() -> Iterator[Finding]:
    from audio_generation.registry import engines

    ready = 0
    for name, engine in engines().items():
        try:
            finding = _readiness(f"engine {name}", engine.available())
            if finding.status == OK:
                speakers = {voice.speaker for voice in engine.voices("en")}
                finding = replace(finding, found=f"English speakers: {len(speakers)}")
                ready += engine.by_default
        except HarkError as error:
            finding = Finding(f"engine {name}", OPTIONAL, error.why, error.what_to_do, extra=True)
        yield finding
    if not ready:
        to_do = "./hark installs espeakng-loader; apt-get install flite adds more"
        yield Finding("speech", BROKEN, "no engine that is used by default is ready", to_do)


def _mining_methods() -> Iterator[Finding]:
    from pipeline.corpora.alignment_methods import METHODS, check_method

    for name, use in METHODS.items():
        try:
            check_method(name)
        except HarkError as error:
            yield Finding(f"mining: {name}", OPTIONAL, f"{use}; {error.why}", error.what_to_do)
        else:
            yield Finding(f"mining: {name}", OK, use)


def _for_recordings() -> Iterator[Finding]:
    from pipeline.recordings.engines_and_models import engines_and_models

    for one in engines_and_models():
        yield _readiness(f"{one.use}: {one.name}", one.readiness)


def _readiness(name: str, readiness: Readiness) -> Finding:
    if readiness.ok:
        return Finding(name, OK, "ready", extra=True)
    return Finding(name, OPTIONAL, readiness.why, readiness.how_to_enable, extra=True)


def _ffmpeg() -> Finding:
    if path := shutil.which("ffmpeg"):
        return Finding("ffmpeg", OK, path)
    return Finding("ffmpeg", OPTIONAL, "not installed; it reads M4A, WebM and other formats", "apt-get install ffmpeg")


def _confinement() -> Finding:
    """Check that programs that open untrusted files are confined here."""
    name = "untrusted files"
    if missing := missing_confinement():
        to_do = "use Linux 5.13 or newer, with Landlock; docs/security.md explains what it protects"
        return Finding(name, OPTIONAL, f"not fully confined: {missing}", to_do)
    ended = subprocess.run(confined([sys.executable, "-I", "-c", "pass"]), capture_output=True, text=True, timeout=60)
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or ["it printed no error message"])[-1]
        return Finding(
            name,
            BROKEN,
            f"the process that opens them cannot be started: {reason}",
            "report this as a bug, with the name and version of your system",
        )
    return Finding(name, OK, "opened without network, other files or privileges")


def _microphone() -> Finding:
    if importlib.util.find_spec("sounddevice") is None:
        problem = "sounddevice is not installed; detect.py --mic of a bundle needs it"
        return Finding(
            "microphone", OPTIONAL, problem, "python -m pip install sounddevice; apt-get install libportaudio2"
        )
    return Finding("microphone", OK, "sounddevice is installed")


def _library() -> Finding:
    from db.checking import check_library
    from db.db_api import Library, library_exists

    folder = data_folder()
    if not library_exists(folder):
        return Finding("library", OK, "none yet: training creates it")
    try:
        with Library(folder) as library:
            report = check_library(library, verify_audio=False)
            stats = library.stats()
    except HarkError as error:
        return Finding("library", BROKEN, f"{error.what} {error.why}", error.what_to_do)
    real = stats.hours_by_engine.get("corpus", 0.0)
    summary = f"clips: {stats.clips} ({stats.hours:.2f} h, of which {real:.2f} h are real speech)"
    if not report.ok:
        kinds = ", ".join(f"{count} {kind}" for kind, count in report.counts.items())
        return Finding("library", OPTIONAL, f"{summary}; {kinds}", f"{PROGRAM} library check --repair")
    return Finding("library", OK, summary, real_speech=real > 0)


def _given_settings() -> Iterator[Finding]:
    """Check the secrets as at start-up, and report settings of other systems."""
    try:
        check_given_secrets()
    except HarkError as error:
        yield Finding("secrets", BROKEN, f"{error.what} {error.why}", error.what_to_do)
    for setting in earlier_settings.checked():
        name = f"setting {setting.name}"
        if setting.refused:
            yield Finding(name, OPTIONAL, f"not taken: {setting.effect}", setting.what_to_do)
        else:
            yield Finding(name, OK, setting.effect)


def _suggestions(findings: list[Finding]) -> Iterator[str]:
    """Yield optional improvements for detectors on this machine."""
    by_name = {finding.name: finding for finding in findings}
    library = by_name["library"]
    if library.status == OK and not library.real_speech:
        yield f"Real speech makes the largest difference: {PROGRAM} library import FOLDER"
    if (
        by_name.get("engine piper", library).status == OPTIONAL
        and by_name.get("engine kokoro", library).status == OPTIONAL
    ):
        yield f"Neural voices sound like people: {PROGRAM} engines enable piper"
    if not (data_folder() / "noise").is_dir():
        yield f"Recordings of your own kitchen or workshop in {data_folder() / 'noise'} are used as noise in training"
