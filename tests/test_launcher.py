"""The launcher ./hark with a fake Python, pip and apt-get: nothing is installed and no network is used."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.servers import wait_for

REPOSITORY = Path(__file__).resolve().parents[1]
COPIED = (
    "hark", "requirements.txt", "requirements-alone.txt", "requirements-dev.txt", "requirements-dev-alone.txt",
    "constraints.txt",
)  # fmt: skip
REQUIREMENTS = tuple(sorted(path.name for path in REPOSITORY.glob("requirements*.txt")))
TOOLS = (
    "sh readlink dirname cat cksum grep sed awk date df env cp mkdir mktemp mv rm touch tail cut uname sleep timeout"
)
PACKAGES = "flite ffmpeg festival festvox-us-slt-hts festvox-kallpc16k"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the launcher is a POSIX shell script")

# Stands for python3 and, copied, for the environment's Python. Each pip call is written to $CALLS; the call that finds
# the file $PIP_FAILS, and has $PIP_FAILS_AT in its arguments, prints $PIP_SAYS and fails. The real Python does
# everything else.
FAKE_PYTHON = f"""#!/bin/sh
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" "$3/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        cp "$0" "$3/bin/python" ;;
    "-m pip --version") ;;
    "-m pip "*) echo "$*" >>"$CALLS"; sleep "${{PIP_SLEEPS:-0}}"
        case "$*" in *"${{PIP_FAILS_AT:-}}"*)
            if [ -e "$PIP_FAILS" ]; then rm "$PIP_FAILS"; echo "$PIP_SAYS"; exit 1; fi ;;
        esac ;;
    "- http"*) exit 1 ;;
    "-c import torchaudio") [ -z "${{TORCHAUDIO_FAILS:-}}" ] ;;
    *importlib.metadata*) exit 1 ;;
    *ensurepip*) [ -z "${{NO_ENSUREPIP:-}}" ] ;;
    *"< (3, 11)"*) [ -z "${{OLD_PYTHON:-}}" ] ;;
    */main.py*) shift; echo "main:$*" ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""


@dataclass
class Launcher:
    """A copy of the launcher in its own folder, with only the test's programs on the PATH."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    def program(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.folder / "hark"), *arguments], env=self.environment | environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run it; return (exit code, stdout, stderr)."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def pip_calls(self, alone: bool = False) -> list[str]:
        """Return the new calls of pip: those with --no-deps, or those without it."""
        calls = self.folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return [line for line in lines if line.endswith("-alone.txt") is alone]

    def pip_fails(self, saying: str, at: str = "") -> dict[str, str]:
        """Return the environment of a run whose next pip call with ``at`` in its arguments fails."""
        (self.folder / "pip-fails").touch()
        return {"PIP_SAYS": saying, "PIP_FAILS_AT": at}


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    for name in COPIED:
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS.split():
        found = shutil.which(tool)
        if found:
            (tmp_path / "bin" / tool).symlink_to(found)
    launcher = Launcher(tmp_path)
    launcher.environment = {
        "PATH": str(tmp_path / "bin"),
        "HARK_PYTHON": str(tmp_path / "bin" / "fake-python"),
        "CALLS": str(tmp_path / "calls"),
        "PIP_FAILS": str(tmp_path / "pip-fails"),
    }
    launcher.program("fake-python", FAKE_PYTHON.removeprefix("#!/bin/sh\n"))
    launcher.program("id", "echo 1000")
    return launcher


@pytest.fixture
def installed(launcher: Launcher) -> Launcher:
    """The launcher after its first run."""
    launcher.run()
    launcher.pip_calls()
    return launcher


def test_the_scripts_are_valid_and_executable() -> None:
    for script, shell in (("hark", "sh"), (".ci/run", "bash")):
        path = REPOSITORY / script
        assert os.access(path, os.X_OK)
        if shutil.which(shell):
            subprocess.run([shell, "-n", str(path)], check=True)


def test_every_requirement_is_pinned_and_agrees_with_the_constraints() -> None:
    def pins(name: str) -> dict[str, str]:
        found = {}
        for line in (REPOSITORY / name).read_text().splitlines():
            if requirement := line.split("#")[0].strip():
                pin = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?==([\w.]+)", requirement)
                assert pin, f"{name}: {line}"
                found[re.sub(r"[-_.]+", "-", pin[1]).lower()] = pin[2]
        return found

    constraints = pins("constraints.txt")
    for name in REQUIREMENTS:
        for package, version in pins(name).items():
            assert constraints.get(package) == version, f"{name}: {package}"


def test_the_first_start_installs_and_later_ones_only_run(launcher: Launcher) -> None:
    code, out, err = launcher.run("plan", "hey compass", "--json")
    assert code == 0, err
    assert out == "main:plan hey compass --json\n"  # nothing but main.py on stdout
    (install,) = launcher.pip_calls()
    assert f"-r {launcher.folder}/requirements.txt" in install
    assert f"-c {launcher.folder}/constraints.txt" in install
    assert "setting up in" in err

    code, out, err = launcher.run("train")
    assert (code, out, err) == (0, "main:train\n", "")
    assert launcher.pip_calls() == []


def test_some_packages_are_installed_without_dependencies(launcher: Launcher) -> None:
    launcher.run("test")
    base, dev = launcher.pip_calls(alone=True)
    assert f"--no-deps -r {launcher.folder}/requirements-alone.txt" in base
    assert f"--no-deps -r {launcher.folder}/requirements-dev-alone.txt" in dev


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-alone.txt", "constraints.txt"])
def test_a_changed_pin_reinstalls(installed: Launcher, name: str) -> None:
    with (installed.folder / name).open("a") as file:
        file.write("one-more==1.0\n")
    assert installed.run()[0] == 0
    assert len(installed.pip_calls()) == 1


def test_a_replaced_python_rebuilds_the_environment(installed: Launcher) -> None:
    (site,) = installed.venv.glob("lib/python*/site-packages")
    site.parent.rename(site.parents[1] / "python3.5")
    (installed.venv / "hark-stamp").write_text("python 3 5\n")
    assert installed.run()[0] == 0
    assert len(installed.pip_calls()) == 1
    assert site.is_dir() and not (installed.venv / "lib" / "python3.5").exists()


def test_test_requirements_have_a_separate_stamp(launcher: Launcher) -> None:
    assert launcher.run("test", "-k", "x")[1] == "main:test -k x\n"
    base, dev = launcher.pip_calls()
    assert "requirements-dev.txt" in dev and "requirements-dev.txt" not in base
    launcher.run("test")
    assert launcher.pip_calls() == []
    with (launcher.folder / "requirements-dev.txt").open("a") as file:
        file.write("one-more==1.0\n")
    launcher.run("plan")
    assert launcher.pip_calls() == []
    launcher.run("test")
    assert len(launcher.pip_calls()) == 1


@pytest.mark.parametrize(
    ("pip_says", "why"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full"),
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError('<object at 0x1>: [Errno -2] Name or "
            "service not known')': /simple/numpy/\nERROR: Could not find a version that satisfies numpy==2.4.6",
            "The package index cannot be reached: NewConnectionError('[Errno -2] Name or service not known",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'",
            "no permission to write",
        ),
        ("ERROR: something that nobody foresaw", "ERROR: something that nobody foresaw"),
    ],
)
def test_a_failed_installation_is_explained_and_resumed(launcher: Launcher, pip_says: str, why: str) -> None:
    code, out, err = launcher.run("train", **launcher.pip_fails(pip_says))
    assert (code, out) == (2, "")
    assert why in err
    assert "run the same command again" in err
    assert not (launcher.venv / "hark-stamp").exists()
    launcher.pip_calls()
    assert launcher.run("train")[1] == "main:train\n"
    assert len(launcher.pip_calls()) == 1


def test_packages_that_cannot_be_compiled_are_skipped(launcher: Launcher) -> None:
    code, out, err = launcher.run("train", **launcher.pip_fails("  ERROR: Failed building wheel for ctc-segmentation"))
    assert (code, out) == (0, "main:train\n")
    assert "apt-get install gcc python3-dev" in err
    assert "Hark's own alignment" in err and "cannot cut" not in err, "the message names the replacement"
    first, second = launcher.pip_calls()
    assert f"{launcher.folder}/requirements.txt" in first
    assert f"{launcher.venv}/tmp/requirements.txt" in second


NO_WHEEL = "ERROR: No matching distribution found for moonshine-voice==0.0.73"


@pytest.mark.parametrize(
    ("package", "consequence"),
    [("moonshine-voice==0.0.73", "Hark's own recognizer"), ("tflite-micro==0.dev1", "checked in TensorFlow Lite")],
)
def test_packages_unavailable_for_this_system_are_skipped(launcher: Launcher, package: str, consequence: str) -> None:
    says = f"ERROR: No matching distribution found for {package}"
    code, out, err = launcher.run("train", **launcher.pip_fails(says, at="-alone.txt"))
    assert (code, out) == (0, "main:train\n")
    name = package.split("==")[0]
    assert f"{name} is not available for this system" in err and consequence in err
    first, second = launcher.pip_calls(alone=True)
    assert f"{launcher.folder}/requirements-alone.txt" in first
    assert f"--no-deps -r {launcher.venv}/tmp/without-{name}-alone.txt" in second


def test_an_unreachable_index_is_not_taken_for_a_missing_package(launcher: Launcher) -> None:
    says = f"WARNING: Retrying (Retry(total=2)) after NewConnectionError('no route')\n{NO_WHEEL}"
    code, _, err = launcher.run("train", **launcher.pip_fails(says, at="-alone.txt"))
    assert code == 2 and "cannot be reached" in err
    assert not (launcher.venv / "hark-stamp").exists()


def test_leftovers_of_a_killed_installation_are_removed(launcher: Launcher) -> None:
    launcher.run(**launcher.pip_fails("ERROR"))
    (site,) = launcher.venv.glob("lib/python*/site-packages")
    for name in ("half-1.0.dist-info", "whole-1.0.dist-info", "~set-aside"):
        (site / name).mkdir()
    (site / "whole-1.0.dist-info" / "INSTALLER").write_text("pip\n")
    assert launcher.run()[0] == 0
    assert [path.name for path in site.iterdir()] == ["whole-1.0.dist-info"]


def test_simultaneous_starts_install_once(launcher: Launcher) -> None:
    starts = [launcher.start("plan", name, PIP_SLEEPS="1") for name in ("a", "b", "c")]
    outputs = [process.communicate(timeout=60) for process in starts]
    assert [process.returncode for process in starts] == [0, 0, 0]
    assert [out for out, _ in outputs] == ["main:plan a\n", "main:plan b\n", "main:plan c\n"]
    assert len(launcher.pip_calls()) == 1


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_installation_ends_pip_and_reports_it(launcher: Launcher, kind: signal.Signals) -> None:
    process = launcher.start("train", PIP_SLEEPS="30")
    wait_for((launcher.folder / "calls").exists, 30)
    os.killpg(process.pid, kind)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert "interrupted" in err
    assert not (launcher.venv / "hark-stamp").exists()


def test_the_cuda_build_is_installed_where_there_is_a_gpu(launcher: Launcher) -> None:
    launcher.run()
    assert all("onnxruntime-gpu" not in call for call in launcher.pip_calls())

    launcher.program("nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9")
    launcher.run()
    assert launcher.pip_calls() == []

    launcher.program("nvidia-smi", "echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'")
    assert launcher.run()[0] == 0
    uninstall, install, both, onnxruntime = launcher.pip_calls()
    assert "uninstall -y torch onnxruntime onnxruntime-gpu" in uninstall
    assert "uninstall -y onnxruntime onnxruntime-gpu" in both, "the packages share a folder"
    assert "--no-deps onnxruntime-gpu==" in onnxruntime
    assert f"-r {launcher.folder}/requirements.txt" in install

    launcher.program("nvidia-smi", "exit 9")  # missing now, as in a container without the device
    launcher.run()
    assert launcher.pip_calls() == []

    assert launcher.run(HARK_TORCH="cpu")[0] == 0
    assert "uninstall -y torch" in launcher.pip_calls()[0]


@pytest.mark.parametrize("fails", ["", "1"])
def test_torchaudio_works_without_its_broken_extension(launcher: Launcher, fails: str) -> None:
    assert launcher.run()[0] == 0
    (site,) = launcher.venv.glob("lib/python*/site-packages")
    (site / "torchaudio" / "lib").mkdir(parents=True)
    (launcher.venv / "hark-stamp").unlink()
    assert launcher.run(TORCHAUDIO_FAILS=fails)[0] == 0
    assert (site / "torchaudio" / "lib").exists() is not bool(fails) and (site / "torchaudio").is_dir()


def test_torch_comes_from_hark_torch_index(launcher: Launcher) -> None:
    assert launcher.run(HARK_TORCH_INDEX="https://torch.invalid/cpu")[0] == 0
    torch, rest = launcher.pip_calls()
    assert "--no-deps --index-url https://torch.invalid/cpu torch==" in torch
    assert "--index-url" not in rest


def test_an_unknown_torch_build_is_rejected(launcher: Launcher) -> None:
    code, out, err = launcher.run(HARK_TORCH="rocm")
    assert (code, out) == (2, "")
    assert "HARK_TORCH=rocm" in err and "cpu or cuda" in err


def test_missing_debian_packages_are_named_once(launcher: Launcher) -> None:
    launcher.program("apt-get", "echo apt-get must not run; exit 1")
    code, out, err = launcher.run(HARK_NO_APT="1")
    assert (code, out) == (0, "main:\n")
    assert re.search(rf"^hark:     apt-get install {PACKAGES}( gcc)?( python3-dev)?$", err, re.MULTILINE)
    assert "apt-get" not in launcher.run()[2]  # once is enough


def test_root_installs_debian_packages_after_a_notice(launcher: Launcher) -> None:
    launcher.program("id", "echo 0")
    launcher.program("flite", "")
    launcher.program("cc", "")
    launcher.program("apt-get", 'echo "$*" >>"$CALLS.apt"')
    _, out, err = launcher.run()
    assert out == "main:\n"
    assert "installing Debian packages as root: ffmpeg festival" in err
    (call,) = (launcher.folder / "calls.apt").read_text().splitlines()
    assert call.startswith("install -y ") and "ffmpeg festival festvox-us-slt-hts" in call and " flite" not in call


def test_a_failing_apt_get_is_retried_then_reported(launcher: Launcher) -> None:
    launcher.program("sudo", '[ "$1" = -n ] && shift; exec "$@"')
    launcher.program("true", "")
    launcher.program(
        "apt-get", 'echo "$1" >>"$CALLS.apt"; [ "$1" = update ] || { echo "E: Unable to locate it"; exit 100; }'
    )
    code, out, err = launcher.run()
    assert (code, out) == (0, "main:\n")
    assert (launcher.folder / "calls.apt").read_text().split() == ["install", "update", "install"]
    assert "through sudo" in err
    assert "apt-get failed: E: Unable to locate it" in err
    assert f"apt-get install {PACKAGES}" in err


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"NO_ENSUREPIP": "1"}, "apt-get install python3-venv"),
        ({"OLD_PYTHON": "1"}, "cannot be used"),
        ({"HARK_PYTHON": ""}, "apt-get install python3 python3-venv"),
    ],
)
def test_a_missing_python_gives_installation_advice(
    launcher: Launcher, environment: dict[str, str], message: str
) -> None:
    code, out, err = launcher.run("train", HARK_NO_APT="1", **environment)
    assert (code, out) == (2, "")
    assert message in err
    assert launcher.pip_calls() == []


def test_the_launcher_runs_from_any_folder_and_through_a_symlink(launcher: Launcher, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere"
    link.symlink_to(launcher.folder / "hark")
    done = subprocess.run(
        [str(link), "plan"], cwd="/", env=launcher.environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "main:plan\n"), done.stderr
    assert launcher.venv.is_dir()
