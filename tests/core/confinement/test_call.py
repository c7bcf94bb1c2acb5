"""Functions called on untrusted files: their results, and their limits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.confinement import call
from core.confinement.call import called
from core.confinement.confined import missing_confinement
from core.errors import HarkError
from tests.support.constants import replace_in

PROGRAM = """
import os, signal
from core.errors import HarkError
from core.worded import worded

def counts(most):
    yield from range(most)

def refuses():
    yield 1
    raise HarkError("What.", worded("Why: %(n)d.", n=3), "What to do.")

def lacks():
    open("/nowhere/at/all")

def reads(path):
    return open(path).read()

def writes(path):
    open(path, "w").write("mine")

def connects():
    import socket
    socket.create_connection(("127.0.0.1", 9))

def fails():
    raise KeyError("a bug")

def takes_all():
    return len(bytearray(8 << 30))

def ends():
    os.kill(os.getpid(), signal.SIGKILL)
"""
needs_kernel = pytest.mark.skipif(
    bool(missing_confinement()), reason=f"this kernel does not confine: {missing_confinement()}"
)


@pytest.fixture(autouse=True)
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package "untrusted" next to the real ones, of which the confined process runs its own copy."""
    core = Path(call.__file__).parents[1]
    shutil.copytree(core, tmp_path / "core", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "untrusted").mkdir()
    copy = tmp_path / "core" / "confinement" / "call.py"
    copy.write_text(copy.read_text().replace('"pipeline")', '"untrusted")'))
    (tmp_path / "untrusted" / "__init__.py").write_text(PROGRAM)
    replace_in(call, monkeypatch, __file__=str(copy), REPOSITORY=tmp_path, CODE=("core", "untrusted"))


def test_values_are_streamed_and_errors_are_preserved() -> None:
    assert list(called("untrusted:counts", [3])) == [0, 1, 2]
    values = called("untrusted:refuses", [])
    assert next(values) == 1
    with pytest.raises(HarkError) as refused:
        next(values)
    assert refused.value.as_dict() == {"what": "What.", "why": "Why: 3.", "what_to_do": "What to do."}
    assert refused.value.parts()["said"]["why"]["template"] == "Why: %(n)d."
    with pytest.raises(RuntimeError, match="KeyError: 'a bug'"):
        list(called("untrusted:fails", []))


def test_an_invalid_answer_is_reported() -> None:
    for line in (b"no JSON\n", b"[1]\n", b'{"value": NaN}\n', b'{"error": {}}\n', b'{"os_error": 7}\n', b"[" * 9_999):
        with pytest.raises(HarkError, match="gave an invalid answer"):
            call._value(line)


def test_closing_the_generator_stops_the_process() -> None:
    values = called("untrusted:counts", [10**12])
    assert next(values) == 0
    values.close()


@pytest.mark.parametrize("function", ["takes_all", "ends"])
def test_a_process_stopped_by_its_limits_is_reported(function: str) -> None:
    with pytest.raises(HarkError, match="too much memory or time"):
        list(called(f"untrusted:{function}", []))


@needs_kernel
def test_a_confined_call_can_access_only_the_given_files(tmp_path: Path) -> None:
    given, other, folder = tmp_path / "given", tmp_path / "other", tmp_path / "folder"
    folder.mkdir()
    for path in (given, other):
        path.write_text("words")
    assert list(called("untrusted:reads", [str(given)], reads=[given])) == ["words"]
    list(called("untrusted:writes", [str(folder / "new")], writes=[folder]))
    assert (folder / "new").read_text() == "mine"
    for function, path in (("reads", other), ("writes", other), ("writes", given)):
        with pytest.raises(PermissionError):
            list(called(f"untrusted:{function}", [str(path)], reads=[given], writes=[folder]))
    with pytest.raises(PermissionError):
        list(called("untrusted:connects", []))
    assert given.read_text() == other.read_text() == "words"
