"""User actions through Nginx, on PostgreSQL, Redis and one data folder, with three workers for training."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.jobs import QUEUES
from tests.support.compatibility_page import PAGE, ROWS, expected_of_nobody, filled
from tests.support.earlier_urls import Walk
from tests.support.journeys import conversation_and_question, journey_of_a_detector, journey_of_a_recording
from tests.support.portal_driver import HOST, PASSWORD, chromium_running, watched
from tests.support.processes import descendants, has_ended, kill_process
from tests.support.servers import wait_for
from tests.support.topology import STARTS_S, Topology, asking, topology

SOCKET = "/ws/jobs"
DONE_S = 1800.0  # on two busy cores
pytestmark = [
    pytest.mark.topology,
    pytest.mark.timeout(2 * (STARTS_S + DONE_S)),  # each wait is shorter, and its failure states for what
]


def owner_by_form(client: Any, portal: Topology) -> None:
    """Make the owner with the one-time link, as a person does."""
    path = portal.link.removeprefix(portal.address)
    (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get(path).text))
    form = {"username": "olivia", "new_password1": PASSWORD, "new_password2": PASSWORD, "csrfmiddlewaretoken": token}
    made = client.post(path, data=form, headers={"Referer": portal.link, "Origin": portal.address})
    assert made.status_code == 302, made.text


def sign_in(client: Any) -> dict[str, str]:
    """Return the header of a program's access token, which works for a quarter of an hour."""
    pair = client.post("/api/v1/pairs", json={"name": "olivia", "password": PASSWORD})
    assert pair.status_code == 201, pair.text
    return {"Authorization": f"Bearer {pair.json()['access']}"}


def first_message(portal: Topology, path: str, *says: Any) -> Any:
    """Return the first message of a socket."""
    from websockets.sync.client import connect

    at = socket.create_connection(("127.0.0.1", portal.port), 60)
    with connect(f"wss://{HOST}:{portal.port}{path}", sock=at, ssl=portal.trust, open_timeout=60) as heard:
        for said in says:
            heard.send(json.dumps(said))
        return json.loads(heard.recv(60))


def worker_of(portal: Topology, child: int | None) -> subprocess.Popen[bytes] | None:
    """Return the `./hark worker` that runs the job of that process."""
    return next((one for one in portal.training if child in descendants(one.pid)), None)


def test_another_worker_finishes_a_run_whose_worker_is_killed(tmp_path: Path) -> None:
    import psycopg

    with topology(tmp_path) as portal, asking(portal) as client:
        owner_by_form(client, portal)
        ready = client.get("/ready").json()["checks"]
        assert ready["database"] and ready["queue"] and all(ready[f"workers_{queue}"] for queue in QUEUES)
        assert client.get("/metrics").status_code == 404

        token = sign_in(client)
        payload = {"phrase": "hey compass", "effort": "trial", "install_voices": False}
        asked = client.post("/api/v1/jobs", json=payload, headers=token)
        assert asked.status_code == 201, asked.text
        job = asked.json()["id"]
        with psycopg.connect(portal.database, autocommit=True) as rows:

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
            said = first_message(portal, f"/ws/jobs/{job}", {"token": token["Authorization"].split()[1]}, {"after": 0})
            assert said["job"]["state"] == "running" and said["job"]["id"] == job
            killed, child = worker_of(portal, now()[1]), now()[1]
            assert killed is not None and child is not None
            below = descendants(killed.pid)
            killed.kill()  # `./hark worker` first, and all that it has started, as when its machine loses power
            for pid in below:
                if pid != child:  # which ends with its supervisor
                    kill_process(pid)
            wait_for(lambda: all(map(has_ended, below)), 60.0)
            wait_for(lambda: now()[2] == 1, STARTS_S)
            wait_for(lambda: worker_of(portal, now()[1]) not in (None, killed), STARTS_S)
            assert killed.poll() is not None and all(one.poll() is None for one in portal.training if one is not killed)
            wait_for(lambda: now()[0] not in ("queued", "running"), DONE_S)
            assert now()[0] == "done"
            assert rows.execute("SELECT count(*) FROM trainer_version").fetchone() == (1,)
        (bundle,) = portal.data.glob("models/*/*.zip")
        assert zipfile.is_zipfile(bundle)
        logged = (portal.folder / "access.log").read_text()
        assert "/api/v1/jobs" in logged and "/account/setup/" not in logged
        token = sign_in(client)  # the first one works for a quarter of an hour
        # Both web servers know it.
        for _each in range(4):
            (detector,) = client.get("/api/v1/detectors", headers=token).json()["items"]
            assert detector["phrase"] == "hey compass"
            time.sleep(0.1)
        number = detector["id"]
        fetched = client.get(f"/api/v1/detectors/{number}/versions/1/bundle", headers=token)
        assert fetched.status_code == 200 and fetched.content == bundle.read_bytes()
        for file in ("report.html", "dataset.jsonl"):
            page = client.get(f"/api/v1/detectors/{number}/versions/1/files/{file}", headers=token)
            assert page.status_code == 200 and "compass" in page.text

        # Another version, which is compared with the first.
        again = client.post("/api/v1/jobs", json={**payload, "seed": 1}, headers=token)
        assert again.status_code == 201, again.text
        with psycopg.connect(portal.database, autocommit=True) as rows:

            def ended(kind: str) -> list[str]:
                found = rows.execute("SELECT state FROM jobs_job WHERE kind = %s", [kind]).fetchall()
                return [state for (state,) in found if state not in ("queued", "running")]

            wait_for(lambda: len(ended("train")) == 2 and len(ended("compare")) == 1, DONE_S)
            assert ended("train") == ["done", "done"] and ended("compare") == ["done"]
        token = sign_in(client)
        compared = client.get(f"/api/v1/detectors/{number}/comparison", headers=token).json()
        assert len(compared["comparison"]["versions"]) == 2 and not compared["outdated"]


def test_compatible_endpoints_answer_behind_the_proxy(tmp_path: Path) -> None:
    with topology(tmp_path) as portal, asking(portal) as client:
        for method, address, scopes in ROWS:
            answer = client.request(method, filled(address))
            assert answer.status_code == expected_of_nobody(method, scopes), (method, address, answer.text)
        owner_by_form(client, portal)
        client.cookies.clear()  # programs have tokens
        walk = Walk(client, "olivia", PASSWORD)
        walk.sign_in()
        walk.say_how_they_are()
        walk.recognize()
        walk.meet()
        (heard_of,) = first_message(portal, SOCKET, {"token": walk.token}, {"language": "de"})["jobs"]
        assert heard_of["recording"] == walk.meeting and heard_of["state"] == "done"
        walk.forget_the_meeting()
        walk.call()
        walk.openai()
        walk.learn_and_answer()
        assert walk.asked == {(method, address) for method, address, _scopes in ROWS}
        assert f"| `{SOCKET}` (WebSocket) |" in PAGE


def test_a_detector_is_trained_through_the_browser(tmp_path: Path) -> None:
    with (
        topology(tmp_path) as portal,
        chromium_running(None, *portal.chromium) as browser,
        watched(browser) as page,
    ):
        journey_of_a_detector(page, portal, tmp_path)


def test_a_recording_is_transcribed_through_the_browser(tmp_path: Path) -> None:
    conversation, question = conversation_and_question(tmp_path)
    with topology(tmp_path) as portal, chromium_running(question, *portal.chromium) as browser:
        journey_of_a_recording(browser, portal, conversation)
