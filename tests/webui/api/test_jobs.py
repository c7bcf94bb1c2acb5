"""/jobs and /plans."""

from __future__ import annotations

import pytest

from tests.support.api_calls import Call, World, a_token, problem_of
from webui.accounts.models import User

pytestmark = pytest.mark.django_db


def test_a_list_is_paged(call: Call, owner: User) -> None:
    from webui.jobs.models import Job

    for number in range(5):
        Job.objects.create(user=owner, kind="train", queue="training", title=str(number))
    headers = a_token(owner, "read")
    seen, following, pages = [], "/jobs?limit=2&kind=train", 0
    while following:
        said = call("get", following, headers=headers).json()
        assert said["total"] == 5 and said["limit"] == 2
        seen += [job["title"] for job in said["items"]]
        following, pages = said["next"], pages + 1
    assert seen == ["4", "3", "2", "1", "0"] and pages == 3
    for wrong in ("limit=0", "limit=101", "offset=-1", "limit=x", "state=unknown"):
        problem_of(call("get", f"/jobs?{wrong}", headers=headers), 422)


def test_events_hide_server_paths(call: Call, world: World) -> None:
    said = call("get", f"/jobs/{world.failed.id}/events", headers=a_token(world.user, "read")).json()
    assert said["events"] == [{"event": "artifact", "time": 1.0, "kind": "log", "path": "log"}]
    assert said["job"]["state"] == "failed" and said["job"]["error"]["what_to_do"] == "C." and not said["more"]
    address = f"/jobs/{world.failed.id}/events?after={said['last']}"
    assert call("get", address, headers=a_token(world.user, "read")).json()["events"] == []


def test_a_job_is_cancelled_and_retried(call: Call, world: World) -> None:
    headers = a_token(world.user, "train", "read")
    address = f"/jobs/{world.failed.id}"
    assert call("post", f"{address}/retry", headers=headers).json()["state"] == "queued"
    problem_of(call("post", f"{address}/retry", headers=headers), 409)
    assert call("post", f"{address}/cancel", headers=headers).json()["state"] == "cancelled"
    assert call("post", f"{address}/cancel", headers=headers).json()["state"] == "cancelled"
    problem_of(call("post", f"{address}/cancel", headers=a_token(world.user, "audio")), 403)


def test_a_plan_is_trained(call: Call, world: World) -> None:
    headers = a_token(world.user, "train")
    made = call("post", "/jobs", body={"plan": str(world.plan.id)}, headers=headers)
    assert made.status_code == 201 and made.json()["spec"].items() >= world.plan.spec["choices"].items()
    assert "choices" not in made.json()["spec"], "a client sees the choices as it sends them"
    for body in ({}, {"plan": str(world.plan.id), "phrase": "hey compass"}, {"plan": str(world.plan.id), "seed": 1}):
        problem_of(call("post", "/jobs", body=body, headers=headers), 422)
    problem_of(call("post", "/jobs", body={"plan": str(world.failed.id)}, headers=headers), 404)


def test_a_done_job_names_its_version(call: Call, world: World) -> None:
    said = call("get", f"/jobs/{world.version.job_id}", headers=a_token(world.user, "read")).json()
    assert said["result"] == {"detector": world.version.detector_id, "version": 1}


def test_paid_and_unknown_engines_are_rejected(call: Call, owner: User) -> None:
    headers = a_token(owner, "train")
    for engine in ("elevenlabs", "unknown"):
        said = problem_of(
            call("post", "/plans", body={"phrase": "hey compass", "engines": [engine]}, headers=headers), 422
        )
        assert engine in said["what"] and "espeak" in said["what_to_do"]
        problem_of(call("post", "/jobs", body={"phrase": "hey compass", "engines": [engine]}, headers=headers), 422)
    made = call("post", "/plans", body={"phrase": "hey compass", "engines": ["espeak"]}, headers=headers)
    assert made.json()["spec"]["engines"] == ["espeak"]
