"""``backup`` and ``restore`` as typed, with a portal's database."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.events import silent_reporter
from tests.support.command_line_samples import Cli, Run, assert_fixable, error_of


def test_restore_brings_back_the_accounts_of_a_portal(hark: Run, tmp_path: Path) -> None:
    create = [sys.executable, str(REPOSITORY / "main.py"), "--data", str(tmp_path / "data"), "admin", "create"]
    subprocess.run([*create, "--name", "ada", "--password-stdin"], input="turing-complete-7\n", text=True, check=True)
    made = hark("backup", "hark.zip", "--json")
    assert made.returncode == 0, made.stderr
    said = json.loads(made.stdout)
    assert said["ok"] and said["secrets"] == ["portal/secret.key"] and "store it where nobody else" in made.stderr
    for words in (("backup", "--check", "hark.zip"), ("restore", "--verify", "hark.zip")):
        checked = json.loads(hark(*words, "--json").stdout)
        assert checked["ok"] and checked["files"] == said["files"] and checked["created"] == said["created"]
    new = tmp_path / "new"
    assert hark("restore", "hark.zip", data=new).returncode == 0
    assert (new / "portal" / "secret.key").read_bytes() == (tmp_path / "data/portal/secret.key").read_bytes()
    users = json.loads(hark("admin", "--json", data=new).stdout)["users"]
    assert [user["user"] for user in users] == ["ada"] and users[0]["is_owner"]
    again = hark("restore", "hark.zip", data=new)
    assert_fixable(again)
    assert "--replace" in again.stderr
    replaced = json.loads(hark("restore", "hark.zip", "--replace", "--json", data=new).stdout)
    assert (Path(replaced["before"]) / "portal" / "portal.sqlite3").is_file()


def test_errors_have_what_why_and_what_to_do(cli: Cli, tmp_path: Path) -> None:
    for words in (("backup", "hark.zip"), ("backup", "hark.zip", "--check"), ("restore", "hark.zip")):
        error_of(cli(*words, "--json", "--data", str(tmp_path / "none"), code=2))
    cli("restore", "hark.zip", "--replace", "--verify", code=2)


def test_serve_and_restore_exclude_each_other(
    cli: Cli,
    data_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
    before_the_portal: list[Callable[[], None]],
) -> None:
    from core.lock import held
    from pipeline.backup import SERVING_LOCK, restore

    folder = tmp_path_factory.mktemp("elsewhere")
    (data_dir / "noise").mkdir()
    (data_dir / "noise" / "a.wav").write_bytes(b"noise")
    cli.json("backup", str(folder / "hark.zip"))
    while_serving: list[str] = []

    def while_it_starts() -> None:
        with pytest.raises(HarkError) as refused:
            restore(folder / "hark.zip", data_dir, silent_reporter(), replace=True)
        while_serving.append(refused.value.what)

    before_the_portal.append(while_it_starts)
    said = cli.json("serve", "--port", "18765", code=2)
    assert said["error"]["what"] == "No further." and while_serving == ["The portal is running on that data folder."]
    with held(data_dir / SERVING_LOCK, lambda process: HarkError(process, "", "")):  # as restore holds it
        said = cli.json("serve", "--port", "18765", code=2)
    assert said["error"]["what"] == "The portal cannot start now."
