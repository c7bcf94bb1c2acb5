"""Hark as deploy/ has it, natively: Nginx before two web servers, a worker for each lane, PostgreSQL and Redis."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.data_folder import REPOSITORY
from tests.support.portal_driver import PASSWORD
from tests.support.servers import answers, free_port, postgresql, program, redis_server, running, wait_for
from tests.test_deploy import FILLED_IN, nginx_settings
from webui.jobs.services import LANES

pytestmark = [pytest.mark.topology, pytest.mark.slow(reason="starts ten processes and a training run")]

STARTS_S, DONE_S = 300.0, 1200.0  # on two busy cores
HOST = FILLED_IN["HARK_HOST"]


@contextmanager
def started(log: Path, *command: str, **settings: str) -> Iterator[None]:
    """A process of Hark, ended in order afterwards; nothing in its log may be a traceback."""
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "main.py", *command],
            cwd=REPOSITORY, env={**os.environ, **settings}, stdout=said, stderr=said,
        )  # fmt: skip
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert "Traceback" not in log.read_text(), log.read_text()


@contextmanager
def nginx(folder: Path, *servers: int) -> Iterator[int]:
    """The port on which Nginx answers, with the settings of deploy/."""
    folder.mkdir()
    port, plain = free_port(), free_port()
    settings = nginx_settings(folder, " ".join(f"server 127.0.0.1:{server};" for server in servers))
    text = settings.read_text().replace("listen 443 ", f"listen 127.0.0.1:{port} ")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{plain};")
    settings.write_text(("user root;\n" if os.getuid() == 0 else "") + text)
    with running([program("nginx"), "-c", str(settings)], port, folder):
        yield port


class Browser:
    """Asks through Nginx, as the host of its certificate."""

    def __init__(self, port: int, folder: Path) -> None:
        import httpx2

        self.port = port
        self.trust = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))
        self.trust.check_hostname = False  # it is asked at 127.0.0.1
        base = f"https://127.0.0.1:{port}"
        self.client = httpx2.Client(base_url=base, verify=self.trust, headers={"Host": HOST}, timeout=120)

    def make_owner(self, link: str) -> None:
        """By the one-time link, as a person does."""
        path = link.removeprefix(f"https://{HOST}")
        page = self.client.get(path)
        (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text))
        form = {"username": "olivia", "new_password1": PASSWORD, "new_password2": PASSWORD}
        made = self.client.post(
            path,
            data={**form, "csrfmiddlewaretoken": token},
            headers={"Referer": f"https://{HOST}{path}", "Origin": f"https://{HOST}"},
        )
        assert made.status_code == 302, made.text

    def sign_in(self) -> dict[str, str]:
        """The header of a program's access token."""
        pair = self.client.post("/api/v1/pairs", json={"name": "olivia", "password": PASSWORD})
        assert pair.status_code == 201, pair.text
        return {"Authorization": f"Bearer {pair.json()['access']}"}

    def hear(self, path: str, *says: Any) -> Any:
        """The first message of a socket."""
        from websockets.sync.client import connect

        at = socket.create_connection(("127.0.0.1", self.port), 60)
        with connect(f"wss://{HOST}:{self.port}{path}", sock=at, ssl=self.trust, open_timeout=60) as heard:
            for said in says:
                heard.send(json.dumps(said))
            return json.loads(heard.recv(60))


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_run_whose_worker_is_killed_ends_done(tmp_path: Path) -> None:
    import psycopg

    program("nginx")
    data = tmp_path / "data"
    web = [free_port(), free_port()]
    with ExitStack() as stack:
        database = stack.enter_context(postgresql())
        redis = stack.enter_context(redis_server(tmp_path / "redis"))
        settings = {
            "DATABASE_URL": database, "REDIS_URL": redis, "HARK_DATA": str(data), "HARK_ALLOWED_HOSTS": HOST,
            "HARK_HTTPS": "1", "HARK_JOBS_LEASE_S": "15", "HARK_SPEECH_SOCKET": str(tmp_path / "speech.sock"),
        }  # fmt: skip
        link = subprocess.run(
            [sys.executable, "main.py", "admin", "link", "--url", f"https://{HOST}", "--json"],
            cwd=REPOSITORY, env={**os.environ, **settings}, capture_output=True, text=True, timeout=STARTS_S,
        )  # fmt: skip
        assert link.returncode == 0, link.stderr
        for lane in LANES:
            command = ("worker", "--lane", lane, "--workers", "1")
            stack.enter_context(started(tmp_path / f"{lane}.log", *command, **settings))
        for port in web:
            command = ("serve", "--no-workers", "--port", str(port))
            stack.enter_context(started(tmp_path / f"web-{port}.log", *command, **settings))
        for port in web:
            wait_for(lambda port=port: answers(port), STARTS_S)
        port = stack.enter_context(nginx(tmp_path / "nginx", *web))
        browser = Browser(port, tmp_path / "nginx")
        # Starting, the web servers have made a newer link each; the last one made counts.
        links = re.findall(r"http\S+/account/setup/\S+", "".join(log.read_text() for log in tmp_path.glob("web-*.log")))
        assert links, "no web server has said how the owner is made"
        made = [one for one in links if browser.client.get(re.sub(r"^http://[^/]+", "", one)).status_code == 200]
        browser.make_owner(re.sub(r"^http://[^/]+", f"https://{HOST}", made[-1]))
        wait_for(lambda: browser.client.get("/ready").json()["checks"]["workers_training"], STARTS_S)
        ready = browser.client.get("/ready").json()["checks"]
        assert ready["database"] and ready["queue"] and all(ready[f"workers_{lane}"] for lane in LANES)
        assert browser.client.get("/metrics").status_code == 404

        token = browser.sign_in()
        wish = {"phrase": "hey compass", "effort": "trial", "install_voices": False}
        asked = browser.client.post("/api/v1/jobs", json=wish, headers=token)
        assert asked.status_code == 201, asked.text
        job = asked.json()["id"]
        with psycopg.connect(database, autocommit=True) as rows:

            def now() -> tuple[str, int | None, int, str]:
                found = rows.execute(
                    "SELECT state, process_group, takeovers, stage FROM jobs_job WHERE id = %s", [job]
                ).fetchone()
                assert found is not None
                return found

            def at_work() -> bool:
                state, process_group, _takeovers, stage = now()
                assert state in ("queued", "running"), state
                return state == "running" and process_group is not None and stage == "synthesize"

            wait_for(at_work, DONE_S)
            said = browser.hear(f"/ws/jobs/{job}", {"token": token["Authorization"].split()[1]}, {"after": 0})
            assert said["job"]["state"] == "running" and said["job"]["id"] == job
            child = now()[1]
            assert child is not None
            os.kill(parent_of(child), signal.SIGKILL)  # the worker that supervises it
            wait_for(lambda: now()[2] == 1, STARTS_S)
            wait_for(lambda: not Path(f"/proc/{child}").exists(), 60.0)
            wait_for(lambda: now()[0] not in ("queued", "running"), DONE_S)
            assert now()[0] == "done"
            assert rows.execute("SELECT count(*) FROM trainer_version").fetchone() == (1,)
        (bundle,) = (data / "models").glob("*/*.zip")
        assert zipfile.is_zipfile(bundle)
        logged = (tmp_path / "nginx" / "access.log").read_text()
        assert "/api/v1/jobs" in logged and "/account/setup/" not in logged
        token = browser.sign_in()  # the first one works for a quarter of an hour
        # Both web servers know it.
        for _each in range(4):
            (detector,) = browser.client.get("/api/v1/detectors", headers=token).json()["items"]
            assert detector["phrase"] == "hey compass"
            time.sleep(0.1)
