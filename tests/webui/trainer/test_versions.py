"""How versions come into being, and which one is in use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webui.accounts.models import User
from webui.jobs.models import Job
from webui.trainer import services
from webui.trainer.models import Detector, Version

SHARE = {"value": 0.1, "low": 0.0, "high": 0.2}


def finished_run(data: Path, run: str, **more: Any) -> dict[str, Any]:
    """What a run of the command line leaves."""
    folder = data / "models" / run
    folder.mkdir(parents=True)
    (folder / f"{run}.zip").write_bytes(b"PK")
    (folder / "report.json").write_text(json.dumps({"language": "en", "phrase": "hey compass"}))
    result = {
        "phrase": "hey compass", "bundle": str(folder / f"{run}.zip"), "metrics": {"miss_rate": SHARE}, **more,
    }  # fmt: skip
    (data / "jobs" / run).mkdir(parents=True)
    (data / "jobs" / run / "result.json").write_text(json.dumps(result))
    return result


def test_runs_of_the_command_line_are_the_owner_s_versions(owner: User, other: User, portal: Path) -> None:
    finished_run(portal, "hey-compass-quick-1")
    assert services.adopt_runs() == 1
    assert services.adopt_runs() == 0
    finished_run(portal, "hey-compass-quick-1-2")
    assert services.adopt_runs() == 1
    detector = Detector.objects.get()
    assert detector.user == owner
    assert [(v.number, v.folder) for v in detector.versions.all()] == [
        (2, "models/hey-compass-quick-1-2"),
        (1, "models/hey-compass-quick-1"),
    ]


def test_what_is_damaged_or_elsewhere_is_left_alone(owner: User, portal: Path) -> None:
    finished_run(portal, "cut")
    (portal / "jobs/cut/result.json").write_text('{"phrase": "hey')
    finished_run(portal, "gone")
    (portal / "models/gone/gone.zip").unlink()
    finished_run(portal, "moved", bundle="/somewhere/else/moved.zip")
    assert services.adopt_runs() == 0 and not Version.objects.exists()


def test_a_run_of_the_portal_is_one_version(owner: User, portal: Path) -> None:
    spec = services.as_spec(services.configuration(phrase="hey compass"))
    job = Job.objects.create(user=owner, kind="train", lane="training", title="hey compass", spec=spec, state="running")
    job.result = finished_run(portal, "run-1")
    assert services.adopt_runs() == 0  # its job will see to it
    services.trained(job)
    services.trained(job)
    Job.objects.filter(id=job.id).update(state=Job.State.DONE)
    assert services.adopt_runs() == 0
    assert Version.objects.get().job == job


@pytest.mark.parametrize(
    ("came_from", "better", "in_use"),
    [("run-2", True, 3), ("run-2", False, 2), ("run-1", True, 2)],
)
def test_a_retrained_version_is_in_use_if_it_is_better_than_the_one_in_use(
    owner: User, portal: Path, came_from: str, better: bool, in_use: int
) -> None:
    for run in ("run-1", "run-2"):
        finished_run(portal, run)
        services.adopt_runs()
    spec = {"phrase": "hey compass", "language": "en", "run": came_from}
    job = Job.objects.create(user=owner, kind="retrain", lane="training", title="hey compass", spec=spec)
    job.result = finished_run(portal, "run-3", compared={"better": better, "run": came_from})
    services.trained(job)
    current = Detector.objects.get().current
    assert current is not None and current.number == in_use
    assert Version.objects.count() == 3


def test_only_the_owner_speaks_with_the_people_of_the_owner_s_library(owner: User, other: User) -> None:
    assert "splice" not in services.free_engines("en", other)
    assert set(services.free_engines("en", owner)) - {"splice"} == set(services.free_engines("en", other))
