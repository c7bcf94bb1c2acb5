"""``remote``: a portal that runs elsewhere, driven from here."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import remote
from tests.support.command_line_samples import error_of
from tests.support.detector_versions import RUN, make_bundle, make_report
from tests.support.http_server import Reply, serving
from webui.accounts.models import User
from webui.accounts.services import create_token
from webui.jobs import services
from webui.jobs.models import Job, JobEvent

Main = Callable[..., int]


@pytest.fixture
def portal(live_server: Any, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a portal with an owner, whose token is in the environment."""
    settings.DATA = tmp_path / "server"
    settings.DATA.mkdir()
    user = User.objects.create_user("olivia", "olivia@example.org", "a-good-long-password", is_owner=True)
    monkeypatch.setenv("HARK_TOKEN", create_token(user=user, name="remote", scopes=["read", "train"])[1])
    monkeypatch.setenv("HARK_SERVER", live_server.url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote, "EVERY_S", 0.01)
    return str(live_server.url)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[Job], None]]:
    """What the portal's worker does with the job, a step each time that the client waits."""
    steps: list[Callable[[Job], None]] = []

    def wait(seconds: float) -> None:
        job = Job.objects.latest("created_at")
        if steps:
            steps.pop(0)(job)

    monkeypatch.setattr(remote, "sleep", wait)
    return steps


def begin(job: Job) -> None:
    claimed = services.claim(job.id)
    assert claimed is not None
    services.record(
        claimed,
        [
            {"event": "stage", "time": 1.0, "name": "train", "message": "Training"},
            {"event": "metric", "time": 1.0, "name": "loss", "value": 0.5},
            {"event": "log", "time": 1.0, "level": "warning", "message": "few voices"},
            {"event": "progress", "time": 1.0, "done": 3.0, "total": 10.0, "eta_s": 7.0},
        ],
    )


def end(job: Job) -> None:
    folder = services.user_data(job.user) / "models" / RUN
    folder.mkdir(parents=True)
    make_bundle(folder / f"{RUN}.zip", "hey compass")
    result = {"bundle": str(folder / f"{RUN}.zip"), "metrics": make_report()["summary"]}
    services.record(job, [{"event": "result", "time": 2.0, "result": result}])
    job.refresh_from_db()
    services.finish(job, Job.State.DONE)


@pytest.mark.django_db(transaction=True)
class TestAgainstThePortal:
    def test_a_phrase_becomes_a_bundle_here(
        self, main: Main, portal: str, work: list[Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        work += [begin, lambda job: None, end]
        assert main("remote", "train", "Hey", "Compass", "--effort", "quick", "--json") == 0
        said = capsys.readouterr()
        result = json.loads(said.out)
        assert Path(result["bundle"]).read_bytes()[:2] == b"PK" and Path(result["bundle"]).parent == tmp_path
        assert result["phrase"] == "hey compass" and result["version"] == 1 and "miss_rate" in result["metrics"]
        assert "Training" in said.err and "! few voices" in said.err
        job = Job.objects.get()
        assert job.spec["effort"] == "quick" and str(job.id) == result["job"]

    def test_for_people_it_says_where_the_bundle_is(
        self, main: Main, portal: str, work: list[Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        work += [begin, end]
        assert main("remote", "train", "hey compass", "--out", "mine.zip") == 0
        assert capsys.readouterr().out.splitlines()[-1] == "mine.zip"
        assert (tmp_path / "mine.zip").is_file()
        assert main("remote", "list") == 0
        assert "hey compass" in capsys.readouterr().out

    def test_ctrl_c_leaves_the_job_and_says_how_to_come_back(
        self, main: Main, portal: str, work: list[Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupt(job: Job) -> None:
            raise KeyboardInterrupt

        work += [begin, interrupt]
        assert main("remote", "train", "hey compass") == 130
        job = Job.objects.get()
        assert job.state == "running"
        assert f"remote follow {job.id}" in capsys.readouterr().err
        work += [interrupt]
        assert main("remote", "follow", str(job.id), "--json") == 130
        assert f"remote follow {job.id}" in error_of(capsys.readouterr().out)["what_to_do"]
        work += [end]
        assert main("remote", "follow", str(job.id), "--json") == 0
        assert json.loads(capsys.readouterr().out)["version"] == 1

    def test_what_the_job_failed_of_is_said_in_its_words(
        self, main: Main, portal: str, work: list[Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(job: Job) -> None:
            from core.errors import HarkError

            services.finish(job, Job.State.FAILED, HarkError("No voice.", "None is ready.", "Enable one."))

        work += [begin, fail]
        assert main("remote", "train", "hey compass", "--json") == 2
        assert error_of(capsys.readouterr().out) == {
            "what": "No voice.", "why": "None is ready.", "what_to_do": "Enable one."
        }  # fmt: skip

    def test_cancelling(self, main: Main, portal: str, work: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
        user = User.objects.get()
        job = Job.objects.create(user=user, kind="train", lane="training", title="hey compass", spec={})
        assert main("remote", "cancel", str(job.id), "--json") == 0
        assert json.loads(capsys.readouterr().out) == {"job": str(job.id), "state": "cancelled"}
        assert main("remote", "follow", str(job.id), "--json") == 2
        assert "cancelled" in error_of(capsys.readouterr().out)["what"]
        assert main("remote", "cancel", "00000000-0000-0000-0000-000000000000", "--json") == 2
        capsys.readouterr()
        assert main("remote", "list", "--json") == 0
        (row,) = json.loads(capsys.readouterr().out)["jobs"]
        assert row["state"] == "cancelled" and JobEvent.objects.count() == 0

    @pytest.mark.parametrize(
        ("token", "words"), [("hark_" + "x" * 40, "let in"), ("", "no token"), ("two words", "no token")]
    )
    def test_without_a_good_token(
        self, main: Main, portal: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        token: str, words: str,
    ) -> None:  # fmt: skip
        monkeypatch.setenv("HARK_TOKEN", token)
        assert main("remote", "list", "--json") == 2
        assert words in error_of(capsys.readouterr().out)["what"]

    def test_the_token_comes_from_a_file_too(
        self, main: Main, portal: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        tmp_path: Path,
    ) -> None:  # fmt: skip
        _token, text = create_token(user=User.objects.get(), name="file", scopes=["read"])
        monkeypatch.delenv("HARK_TOKEN")
        (tmp_path / "token").write_text(text + "\n")
        assert main("remote", "list", "--token-file", "token", "--json") == 0
        capsys.readouterr()
        assert main("remote", "train", "hey compass", "--token-file", "token", "--json") == 2
        assert "scope train" in error_of(capsys.readouterr().out)["why"]
        assert main("remote", "list", "--token-file", "gone", "--json") == 2


@pytest.fixture
def elsewhere() -> Iterator[dict[str, Any]]:
    """A server that is no Hark: answers with ``status`` and ``headers``, and keeps what it was sent."""
    state: dict[str, Any] = {"status": 200, "headers": {}, "body": b"hello", "heard": []}

    def answer(path: str, headers: dict[str, str], body: bytes) -> Reply:
        state["heard"].append((path, headers.get("Authorization")))
        return state["status"], state["headers"], state["body"]

    with serving(answer) as state["url"]:
        yield state


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_TOKEN", "hark_of_the_test")
    monkeypatch.setattr("core.http.sleep", lambda seconds: None)


@pytest.mark.usefixtures("token")
class TestElsewhere:
    @pytest.mark.parametrize(
        ("status", "body"), [(200, b"hello"), (200, b"[]"), (404, b"nothing"), (500, b"{}"), (401, b'{"what": 1}')]
    )
    def test_what_is_no_hark(
        self, main: Main, elsewhere: dict[str, Any], capsys: pytest.CaptureFixture[str], status: int, body: bytes
    ) -> None:
        elsewhere.update(status=status, body=body)
        assert main("remote", "list", "--server", elsewhere["url"], "--json") == 2
        assert "no Hark" in error_of(capsys.readouterr().out)["what"]

    def test_the_token_does_not_follow_a_redirect(
        self, main: Main, elsewhere: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        elsewhere.update(status=302, headers={"Location": f"{elsewhere['url']}/elsewhere"})
        assert main("remote", "list", "--server", elsewhere["url"], "--json") == 2
        assert "moved" in error_of(capsys.readouterr().out)["what"]
        assert [path for path, _token in elsewhere["heard"]] == ["/api/v1/jobs?limit=20"]

    def test_unreachable_server_is_explained(self, main: Main, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        assert main("remote", "list", "--server", f"http://127.0.0.1:{port}", "--json") == 2
        assert "cannot be reached" in error_of(capsys.readouterr().out)["what"]

    @pytest.mark.parametrize("url", ["ftp://x", "nothing", "http://", "http://a:b@c", "http://x:y", "http://x/?a"])
    def test_addresses_that_are_none(self, main: Main, capsys: pytest.CaptureFixture[str], url: str) -> None:
        assert main("remote", "list", "--server", url, "--json") == 2
        assert "no address" in error_of(capsys.readouterr().out)["what"]

    def test_the_name_of_a_bundle_cannot_lead_anywhere(self, tmp_path: Path) -> None:
        assert remote._target(tmp_path, "../../etc/passwd") == tmp_path / "passwd"
        assert remote._target(tmp_path, ".bashrc") == tmp_path / "bashrc"
        assert remote._target(tmp_path, "a b\n.zip") == tmp_path / "a_b_.zip"
        assert remote._target(tmp_path / "mine.zip", "theirs.zip") == tmp_path / "mine.zip"

    def test_a_download_that_breaks_off_leaves_nothing(self, elsewhere: dict[str, Any], tmp_path: Path) -> None:
        from core.errors import HarkError

        elsewhere.update(headers={"Content-Length": "100"})
        with pytest.raises(HarkError):
            remote.Portal(elsewhere["url"], "x").download("/bundle", tmp_path / "b.zip")
        assert list(tmp_path.iterdir()) == []

    def test_no_place_for_the_bundle_is_said_before_anything_runs(
        self, main: Main, elsewhere: dict[str, Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main("remote", "train", "x y z", "--out", "gone/b.zip", "--server", elsewhere["url"], "--json") == 2
        assert "written" in error_of(capsys.readouterr().out)["what"] and elsewhere["heard"] == []
