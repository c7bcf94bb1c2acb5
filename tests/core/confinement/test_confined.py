"""Permissions of a confined process, with a real kernel, as root and as another user."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.confinement import confined as module
from core.confinement.confined import MEMORY_BYTES, confined, missing_confinement
from core.confinement.foreign_audio import read_foreign_audio
from core.data_folder import REPOSITORY
from tests.support.constants import replace_in
from tests.support.processes import has_ended
from tests.support.programs import run_python
from tests.support.servers import wait_for

needs_kernel = pytest.mark.skipif(
    bool(missing_confinement()), reason=f"this kernel does not confine: {missing_confinement()}"
)
NOBODY = 65_534
Run = Callable[..., str]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter. Pytest's are only its user's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.fixture(params=["as who runs the tests", "as nobody"])
def run(request: pytest.FixtureRequest, place: Path) -> Run:
    """Run code confined in a folder ``own``; ``secret`` is outside, and readable and writable by everybody."""
    own, secret, outside = place / "own", place / "secret", place
    own.mkdir()
    secret.write_text("the key")
    python, user, launcher = sys.executable, None, Path(module.__file__)
    if request.param == "as nobody":
        python, user = "/usr/bin/python3", NOBODY
        if os.geteuid() != 0 or not Path(python).exists():
            pytest.skip("only root can become somebody else, who needs a Python that everybody may start")
        launcher = Path(shutil.copy(launcher, own / "launcher.py"))
        for path in (own, secret):
            path.chmod(0o777)

    def go(code: str) -> str:
        program = f"import os, sys\nown, outside = {str(own)!r}, {str(outside)!r}\n{code}"
        command = confined([python, "-I", "-c", program], writes=[own])
        command[0], command[3] = python, str(launcher)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, user=user, cwd="/")
        return (done.stdout + done.stderr.strip().rpartition("\n")[2]).strip()

    assert go("print(1)") == "1"
    return go


@needs_kernel
@pytest.mark.parametrize(
    "kind", ["AF_INET, socket.SOCK_STREAM", "AF_INET, socket.SOCK_DGRAM", "AF_UNIX", "AF_NETLINK, 3"]
)
def test_a_confined_program_cannot_open_a_socket(run: Run, kind: str) -> None:
    assert "Operation not permitted" in run(f"import socket\nsocket.socket(socket.{kind})")


@needs_kernel
def test_a_confined_program_cannot_use_io_uring(run: Run) -> None:
    code = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    assert run(f"{code}print(libc.syscall(425, 8, bytes(120)), ctypes.get_errno())") == "-1 1"


@needs_kernel
@pytest.mark.parametrize(
    "act",
    [
        "open(outside + '/new', 'w')",
        "open(outside + '/secret', 'a')",
        "open(outside + '/secret', 'r+')",
        "os.truncate(outside + '/secret', 0)",
        "os.unlink(outside + '/secret')",
        "os.rename(outside + '/secret', own + '/mine')",
        "os.link(outside + '/secret', own + '/mine')",
        "os.mkdir(outside + '/folder')",
        "os.symlink('x', outside + '/link')",
        "os.chmod(outside + '/secret', 0o777)",
        "os.symlink(outside + '/secret', own + '/link'); open(own + '/link', 'a')",
        "open(own + '/../secret', 'a')",
        "open('/proc/self/cwd' + outside + '/secret', 'a')",
        "os.mknod(own + '/disk', 0o60600, os.makedev(8, 0))",
    ],
)
def test_a_confined_program_cannot_write_outside_its_folder(run: Run, place: Path, act: str) -> None:
    said = run(act)
    assert "PermissionError" in said or "OSError" in said, said
    assert (place / "secret").read_text() == "the key"
    assert {path.name for path in place.iterdir()} == {"own", "secret"}


@needs_kernel
def test_a_confined_program_has_full_access_to_its_folder(run: Run, place: Path) -> None:
    said = run(
        "os.makedirs(own + '/a/b')\nopen(own + '/a/one', 'w').write('1')\nos.rename(own + '/a/one', own + '/a/b/two')\n"
        "open(own + '/a/b/two', 'r+').truncate(0)\nprint(sorted(os.listdir(own + '/a/b')))"
    )
    assert said == "['two']" and (place / "own" / "a" / "b" / "two").read_bytes() == b""


@needs_kernel
@pytest.mark.parametrize("path", ["outside + '/secret'", "own + '/../secret'", "'/etc/passwd'", "'/proc/1/environ'"])
def test_a_confined_program_can_read_only_the_files_it_was_given(run: Run, path: str) -> None:
    assert "PermissionError" in run(f"print(open({path}).read())")


@needs_kernel
def test_a_confined_program_cannot_read_the_portals_secrets_and_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portal's data folder is at its default path, next to the code."""
    from core.confinement.decoding import run_decoder

    data = tmp_path / "data"
    (data / "portal").mkdir(parents=True)
    hidden = [data / "portal" / "secret-key", data / "portal" / "portal.sqlite3"]
    for path in hidden:
        path.write_text("secret")
    upload = data / "upload.wav"
    upload.write_text("sound")
    code = "import os, sys\nfor path in sys.argv[1:]:\n    try:\n        print(open(path).read())\n"
    code += "    except OSError as error:\n        print(error.strerror)\nprint(sorted(os.environ))"
    command = [sys.executable, "-I", "-c", code, *map(str, [upload, *hidden, REPOSITORY / ".env", REPOSITORY / "data"])]
    monkeypatch.setenv("HARK_SECRET_FOR_TEST", "secret")
    with run_decoder(command, upload) as (process, _):
        assert process.stdout is not None
        said = process.stdout.read().splitlines()
    assert said[0] == "sound" and set(said[1:3]) == {"Permission denied"}
    assert all(line in ("Permission denied", "No such file or directory") for line in said[3:5])
    assert "HARK_SECRET_FOR_TEST" not in said[5]


@pytest.fixture
def other() -> Iterator[subprocess.Popen]:
    """Another process of the same user."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@needs_kernel
def test_a_confined_program_cannot_inspect_other_processes(run: Run, other: subprocess.Popen) -> None:
    code = f"import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nprint(libc.ptrace(16, {other.pid}, 0, 0))"
    assert run(code) == "-1"
    assert "PermissionError" in run(f"open('/proc/{other.pid}/mem', 'rb')")


@needs_kernel
def test_a_confined_program_cannot_kill_other_processes(run: Run, other: subprocess.Popen) -> None:
    assert "PermissionError" in run(f"os.kill({other.pid}, 9)")
    code = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    tgkill = module.SIGNALS[os.uname().machine]["tgkill"]
    assert run(f"{code}print(libc.syscall({tgkill}, {other.pid}, {other.pid}, 9))") == "-1"
    assert other.poll() is None


@needs_kernel
@pytest.mark.parametrize("act", ["os.fork()", "os.posix_spawn('/bin/true', ['true'], {})", "os.forkpty()"])
def test_a_confined_program_cannot_escape_limits_by_forking(run: Run, act: str) -> None:
    said = run(f"print({act})")
    assert "PermissionError" in said or "OSError" in said, said


@needs_kernel
def test_a_confined_program_can_start_threads_and_abort_itself(run: Run) -> None:
    code = "import threading\nthread = threading.Thread(target=lambda: print('here'))\nthread.start()\nthread.join()"
    assert run(code) == "here"
    assert run(f"{code}\nprint('ends', flush=True)\nos.abort()").splitlines()[:2] == ["here", "ends"]


@needs_kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights beyond those of a user")
def test_root_drops_its_capabilities() -> None:
    code = "import ctypes\nlibc = ctypes.CDLL(None)\nprint([n for n in range(41) if libc.prctl(23, n) == 1])"
    done = subprocess.run(confined([sys.executable, "-c", code]), capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == f"[{module.CAP_DAC_READ_SEARCH}]", done.stderr


def test_memory_and_files_are_limited(run: Run) -> None:
    assert "MemoryError" in run(f"bytearray({MEMORY_BYTES})")
    assert "File too large" in run("open(own + '/x', 'wb').write(bytes(2 << 20))")


def test_its_cpu_time_is_limited(run: Run) -> None:
    assert run("import resource\nprint(resource.getrlimit(resource.RLIMIT_CPU))") == f"({module.CPU_S}, {module.CPU_S})"


def test_a_confined_program_ends_with_its_parent() -> None:
    code = (
        "import subprocess, sys, time\nfrom core.confinement.confined import confined\n"
        "child = subprocess.Popen(confined([sys.executable, '-c', 'import time; time.sleep(600)']))\n"
        "print(child.pid, flush=True)\ntime.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.5)
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.wait()
    wait_for(lambda: has_ended(child), 10)


@pytest.mark.parametrize("by", ["ffmpeg", "libsndfile"])
@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_confined_decoding_reads_every_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, ending: str
) -> None:
    from core.confinement import decoding

    if by == "libsndfile":
        monkeypatch.setenv("PATH", "")
    elif not decoding.have_ffmpeg():
        pytest.skip("ffmpeg is not installed")
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
    soundfile.write(tmp_path / f"a.{ending}", tone, 16_000)
    audio = read_foreign_audio(tmp_path / f"a.{ending}")
    assert abs(len(audio) - 32_000) < 3_000 and 0.25 < np.abs(audio[4_000:-4_000]).max() < 0.35


def test_missing_kernel_support_is_logged_once_and_decoding_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace_in(module, monkeypatch, _landlock_version=lambda: -1, _can_filter=lambda: False)
    module.missing_confinement.cache_clear()
    try:
        soundfile.write(tmp_path / "a.wav", np.full(16_000, 0.1), 16_000)
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert len(read_foreign_audio(tmp_path / "a.wav")) == 16_000
        (said,) = [record.getMessage() for record in caplog.records]
        assert "no Landlock" in said and "no seccomp" in said
    finally:
        module.missing_confinement.cache_clear()


def test_a_program_is_not_run_if_the_kernel_cannot_confine_it() -> None:
    code = (
        "import os, sys\nfrom core.confinement import confined as module\n"
        "def refuse(*rules):\n    raise OSError(7, 'too many rules')\n"
        "module._give_up_rights = refuse\n"
        "command = module.confined([sys.executable, '-c', 'print(1)'])\n"
        "command[4] = command[4].replace(str(os.getpid()), str(os.getppid()), 1)\n"
        "sys.argv = command[3:]\nmodule.main()"
    )
    done = run_python(code)
    assert (done.returncode, done.stdout) == (module.NOT_CONFINED, "") and "too many rules" in done.stderr
