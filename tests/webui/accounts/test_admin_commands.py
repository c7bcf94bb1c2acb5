"""``./hark admin`` and ``webui.setup.ready``, in processes and data folders of their own."""

from __future__ import annotations

import json
import os
import pty
import select
import sqlite3
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.data_folder import REPOSITORY
from tests.support.programs import answering, run_python

PASSWORD = "correct horse battery"
Run = Callable[..., subprocess.CompletedProcess[str]]


# Starting Django takes longer than any of these commands: one process does several, each as if it were alone.
COMMANDS = """
import contextlib, io, json, sys
from command_line.application import main
for line in sys.stdin:
    arguments, says = json.loads(line)
    sys.stdin = io.TextIOWrapper(io.BytesIO(says.encode()))
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as errors:
        code = main(["admin", *arguments])
    print(json.dumps([code, out.getvalue(), errors.getvalue()]), flush=True)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of those commands."""
    return tmp_path_factory.mktemp("admin") / "data"


@pytest.fixture(scope="module")
def hark(data: Path) -> Iterator[Run]:
    """Do what ``./hark admin ARGUMENTS`` does, with this stdin."""
    with answering(COMMANDS, HARK_DATA=str(data)) as ask:

        def run(*arguments: str, says: str = "") -> subprocess.CompletedProcess[str]:
            done = subprocess.CompletedProcess[str](arguments, *ask([arguments, says]))
            assert "Traceback" not in done.stderr + done.stdout, done.stderr
            return done

        yield run


@pytest.fixture
def alone(tmp_path: Path) -> Run:
    """Run ``./hark admin ARGUMENTS`` in a process and data folder of its own."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / "main.py"), "admin", *arguments],
            cwd=tmp_path, env={**os.environ, "HARK_DATA": str(tmp_path / "data")},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        return done

    return run


def result(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def error(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 2, done.stderr
    return json.loads(done.stdout)["error"]


def create(hark: Run, name: str, *more: str) -> subprocess.CompletedProcess[str]:
    return hark("create", "--name", name, "--password-stdin", "--json", *more, says=PASSWORD + "\n")


def test_admin_commands_create_users_links_and_tokens(hark: Run, data: Path) -> None:
    assert result(hark("--json")) == {"users": []}
    assert "admin create" in error(hark("token", "--name", "ci", "--json"))["what_to_do"]
    assert "/account/setup/" in result(hark("link", "--url", "http://hark.local:8000/", "--json"))["link"]
    assert result(create(hark, "olga", "--email", "olga@example.org")) == {"user": "olga", "is_owner": True}
    assert result(create(hark, "otto")) == {"user": "otto", "is_owner": False}
    assert "taken" in error(create(hark, "OLGA"))["why"]
    token = result(hark("token", "--name", "ci", "--json"))["token"]
    assert token.startswith("hark_") and len(token) == 45
    plain = hark("token", "--name", "ci", "--user", "Otto", "--scopes", "read", "--days", "3")
    assert plain.returncode == 0 and plain.stdout.startswith("hark_") and plain.stdout.count("\n") == 1
    assert "owner" in error(hark("token", "--name", "x", "--user", "otto", "--scopes", "admin", "--json"))["why"]
    assert "called 'eve'" in error(hark("token", "--name", "x", "--user", "eve", "--json"))["why"]
    link = hark("link", "--user", "otto")
    assert link.stdout.startswith("http://127.0.0.1:8000/account/setup/") and "otto" in link.stderr
    assert "olga" in hark("link").stderr
    listed = hark().stdout
    assert "olga" in listed and "owner" in listed and "otto" in listed

    database = data / "portal" / "portal.sqlite3"
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    dump = "\n".join(sqlite3.connect(database).iterdump())
    assert "argon2$argon2id$" in dump and token not in dump and PASSWORD not in dump

    with sqlite3.connect(database) as opened:  # as if olga had turned the second factor on, and lost it
        row = "INSERT INTO mfa_authenticator (user_id, type, data, created_at) VALUES (?, 'totp', '{}', '2026-01-01')"
        opened.execute(row, opened.execute("SELECT id FROM accounts_user WHERE username = 'olga'").fetchone())
    assert result(hark("factor-off", "--json")) == {"user": "olga"}
    assert not sqlite3.connect(database).execute("SELECT 1 FROM mfa_authenticator").fetchall()


@pytest.mark.parametrize(
    ("arguments", "says", "said"),
    [
        (("create", "--name", "olga"), "", "not running in a terminal"),
        (("create", "--password-stdin"), PASSWORD, "not running in a terminal"),
        (("create", "--name", "olga", "--password-stdin"), "", "first line of stdin is empty"),
        (("create", "--name", "olga", "--password-stdin"), "short\n", "too short"),
        (("create", "--name", "a b", "--password-stdin"), PASSWORD, "letters, digits"),
        (("create", "--name", "olga", "--email", "x", "--password-stdin"), PASSWORD, "valid email"),
        (("token", "--name", "ci", "--days", "0"), "", "could not be read"),
        (("token",), "", "could not be read"),
        (("link", "--url", "javascript:x"), "", "could not be read"),
        (("link", "--user", "nobody"), "", "No user is called"),
    ],
)
def test_an_invalid_command_is_rejected(hark: Run, arguments: tuple[str, ...], says: str, said: str) -> None:
    assert said in error(hark(*arguments, "--json", says=says))["why"]


def test_admin_create_asks_for_values_at_a_terminal(tmp_path: Path) -> None:
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "main.py"), "admin", "create", "--json"],
        env={**os.environ, "HARK_DATA": str(tmp_path), "TERM": "dumb"},
        stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    try:
        for answer in ("olga", PASSWORD, "another", PASSWORD, PASSWORD):
            seen = b""
            while not seen.rstrip().endswith(b":"):
                assert select.select([main], [], [], 60)[0], seen
                seen += os.read(main, 1000)
            assert PASSWORD.encode() not in seen
            while answer != "olga" and termios.tcgetattr(terminal)[3] & termios.ECHO:
                time.sleep(0.01)  # text typed before the echo is off is discarded
            os.write(main, answer.encode() + b"\n")
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(terminal)
        os.close(main)
    assert json.loads(out) == {"user": "olga", "is_owner": True}


def test_several_processes_can_prepare_the_database_at_the_same_time(tmp_path: Path) -> None:
    program = """
import sys
import django
django.setup()
from tests.support.racing import race

def prepare(number):
    from webui.setup import ready
    ready()
    ready()
    from webui.accounts.services import owner
    return owner()

sys.exit(not race(prepare))
"""
    done = run_python(program, HARK_DATA=str(tmp_path), DJANGO_SETTINGS_MODULE="webui.settings")
    assert (done.returncode, done.stdout) == (0, 4 * "None\n"), done.stderr


def test_a_data_folder_that_is_a_file_is_reported(alone: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert "Check the disk" in error(alone("--json"))["what_to_do"]
