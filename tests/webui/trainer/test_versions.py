"""The making of versions, and the choice of the one in use."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from core.errors import HarkError
from db.db_api import Library
from db.records import NewClip
from pipeline.training.configuration.specification import as_spec
from pipeline.training.workspace.run_folder import RunFolder
from tests.support.api_calls import a_token
from tests.support.detector_versions import address, make_version
from tests.support.rendered_pages import flat
from webui import speech
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.recordings.uploading.leftovers import remove_leftovers
from webui.trainer import services
from webui.trainer.models import Detector, Version
from webui.trainer.services import configuration
from webui.trainer.views import SAMPLES
from webui.transactions import serialized

SHARE = {"value": 0.1, "low": 0.0, "high": 0.2}


def finished_run(data: Path, run: str, **more: Any) -> dict[str, Any]:
    """Make a run as the command line leaves it."""
    folder = data / "models" / run
    folder.mkdir(parents=True)
    (folder / f"{run}.zip").write_bytes(b"PK")
    (folder / "report.json").write_text(json.dumps({"language": "en", "phrase": "hey compass"}))
    result = {
        "phrase": "hey compass", "bundle": str(folder / f"{run}.zip"),
        "metrics": {"miss_rate": SHARE, "effort": "quick"}, **more,
    }  # fmt: skip
    (data / "jobs" / run).mkdir(parents=True)
    (data / "jobs" / run / "result.json").write_text(json.dumps(result))
    return result


def test_command_line_runs_become_the_owners_versions(owner: User, other: User, portal: Path) -> None:
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


def test_a_command_line_trial_is_labelled_as_a_trial(owners: Client, portal: Path) -> None:
    finished_run(portal, "hey-compass-trial-1", metrics={"miss_rate": SHARE, "effort": "trial"})
    services.adopt_runs()
    assert "This was only a trial: train it properly before you use it." in owners.get("/").text


def test_damaged_or_foreign_versions_are_not_changed(owner: User, portal: Path) -> None:
    finished_run(portal, "cut")
    (portal / "jobs/cut/result.json").write_text('{"phrase": "hey')
    finished_run(portal, "gone")
    (portal / "models/gone/gone.zip").unlink()
    finished_run(portal, "list")
    (portal / "jobs/list/result.json").write_text("[]")
    finished_run(portal, "moved", bundle="/somewhere/else/moved.zip")
    assert services.adopt_runs() == 0 and not Version.objects.exists()


def test_a_run_may_disappear_while_runs_are_listed(owner: User, portal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, names: [*glob(self, names), self / "gone" / "result.json"])
    finished_run(portal, "run-1")
    assert services.adopt_runs() == 1


def test_a_deleted_detector_is_not_made_again(owner: User, portal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def noticed_at_once() -> Iterator[None]:
        with serialized():
            yield
        services.adopt_runs()

    finished_run(portal, "run-1")
    services.adopt_runs()
    monkeypatch.setattr(services, "serialized", noticed_at_once)
    services.remove_detector(detector=Detector.objects.get())
    assert not Detector.objects.exists()
    assert not [*(portal / "jobs").iterdir(), *(portal / "models").iterdir()]


def test_the_next_start_removes_what_a_deletion_could_not(
    owner: User, portal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    finished_run(portal, "run-1")
    services.adopt_runs()
    with monkeypatch.context() as patched, pytest.raises(HarkError):
        patched.setattr(shutil, "rmtree", fail)
        services.remove_detector(detector=Detector.objects.get())
    assert services.adopt_runs() == 0 and not Detector.objects.exists()
    remove_leftovers()
    assert not [*(portal / "jobs").iterdir(), *(portal / "models").iterdir()]


def test_a_portal_run_becomes_one_version(owner: User, portal: Path) -> None:
    spec = services.as_spec(services.configuration(phrase="hey compass"))
    job = Job.objects.create(
        user=owner, kind="train", queue="training", title="hey compass", spec=spec, state="running"
    )
    job.result = finished_run(portal, "run-1")
    assert services.adopt_runs() == 0  # its job will see to it
    services.trained(job)
    services.trained(job)
    Job.objects.filter(id=job.id).update(state=Job.State.DONE)
    assert services.adopt_runs() == 0
    assert Version.objects.get().job == job


@pytest.mark.parametrize(
    ("came_from", "better", "in_use"), [("run-2", True, 3), ("run-2", False, 2), ("run-1", True, 2)]
)
def test_a_retrained_version_replaces_the_current_one_if_better(
    owner: User, portal: Path, came_from: str, better: bool, in_use: int
) -> None:
    for run in ("run-1", "run-2"):
        finished_run(portal, run)
        services.adopt_runs()
    services.use(version=Version.objects.get(number=2))
    spec = {"choices": {"phrase": "hey compass"}, "run": came_from}
    job = Job.objects.create(user=owner, kind="retrain", queue="training", title="hey compass", spec=spec)
    job.result = finished_run(portal, "run-3", compared={"better": better, "run": came_from})
    services.trained(job)
    current = Detector.objects.get().current
    assert current.number == in_use
    assert Version.objects.count() == 3


FIGURES = {"missed": 9, "false_alarms": 2, "marked_fired": 0, "marked_missed": 0}


def run_of_the_portal(user: User, data: Path, run: str) -> None:
    """Make a training job that ends well."""
    spec = services.as_spec(services.configuration(phrase="hey compass"))
    job = Job.objects.create(user=user, kind="train", queue="training", title="hey compass", spec=spec, state="done")
    job.result = finished_run(data, run)
    services.trained(job)


@pytest.mark.parametrize("by", ["the portal", "the command line"])
@pytest.mark.parametrize(("missed", "in_use"), [(5, 2), (9, 1), (14, 1)])
def test_a_new_version_is_activated_if_better_on_the_same_streams(
    owner: User, portal: Path, by: str, missed: int, in_use: int
) -> None:
    finished_run(portal, "run-1")
    services.adopt_runs()
    if by == "the portal":
        run_of_the_portal(owner, portal, "run-2")
    else:
        finished_run(portal, "run-2")
        services.adopt_runs()
    detector = Detector.objects.get()
    assert detector.versions.count() == 2 and detector.current.number == 1
    job = Job.objects.get(kind="compare")
    assert job.spec["runs"] == ["run-2", "run-1"] and services.active_comparison(detector) == job
    figures = [{"run": "run-2", **FIGURES, "missed": missed}, {"run": "run-1", **FIGURES}]
    job.result = {"versions": figures}
    services.compared(job)
    assert detector.current.number == in_use


def test_a_users_choice_stays_until_a_new_version_is_better(owner: User, portal: Path) -> None:
    for run in ("run-1", "run-2"):
        finished_run(portal, run)
        services.adopt_runs()
    detector = Detector.objects.get()
    first, second = (detector.versions.get(number=number) for number in (1, 2))
    services.use(version=second)
    assert detector.current == second
    services.use(version=first)
    better = [{"run": "run-2", **FIGURES, "missed": 0}, {"run": "run-1", **FIGURES}]
    services.compared(Job(spec={"detector": detector.pk}, result={"versions": better}))  # requested only for display
    assert detector.current == first
    left_out = Job(spec={"detector": detector.pk, "decides": 2}, result={"versions": better[:1]})
    services.compared(left_out)
    assert detector.current == first


def test_a_version_can_be_chosen_on_its_page_and_by_the_api(owners: Client, owner: User, portal: Path) -> None:
    make_version(owner, portal)
    Version.objects.update(offered=True)
    second = make_version(owner, portal, 2)
    Version.objects.filter(pk=second.pk).update(offered=False)
    address = f"/detectors/{second.detector_id}/2"
    page = flat(owners.get(address))
    assert "Version 1 is in use. This one was not compared with it." in page and "Use this version" in page
    assert owners.post(f"{address}/make-current")["Location"] == address
    page = flat(owners.get(address))
    assert "Use this version" not in page and "Version 2 (in use)" in page
    program = Client(headers=a_token(owner, "train", "read"))
    versions = f"/api/v1/detectors/{second.detector_id}/versions"
    assert program.post(f"{versions}/1/use").json()["in_use"] is True
    listed = program.get(versions).json()["items"]
    assert [(row["number"], row["in_use"]) for row in listed] == [(2, False), (1, True)]


def test_one_click_reverts_to_the_previous_version(owners: Client, owner: User, portal: Path) -> None:
    made = [make_version(owner, portal, number) for number in (1, 2, 3)]
    Version.objects.filter(pk=made[1].pk).update(offered=False)  # never was in use
    page = owners.get(address("version", made[2])).text
    assert "Go back to version 1" in page and "before=1&amp;after=3#changed" in page
    back = re.search(r'<form method="post" action="([^"]+)"[^>]*>(?:(?!</form>).)*Go back', page, re.S)
    owners.post(back[1])
    detector = Detector.objects.get()
    assert detector.current == made[0]
    assert "Go back" not in owners.get(address("version", made[0])).text, "there is no previous version"
    assert "Use this version" in owners.get(address("version", made[2])).text, "the version still exists"


def test_figures_on_the_same_streams_are_shown_first(owners: Client, owner: User, portal: Path) -> None:
    first, second = make_version(owner, portal), make_version(owner, portal, 2)
    Version.objects.filter(pk=second.pk).update(offered=False)
    share = {"value": 0.125, "low": 0.1, "high": 0.2}
    figures = {**FIGURES, "miss_rate": dict.fromkeys(("all", "clean", "noisy"), share), "people": share}
    figures |= {"confusables": share, "fa_per_hour": share}
    asked = [second.path.name, first.path.name]
    comparison = {"asked": asked, "versions": [{"run": run, **figures} for run in asked], "left_out": {}}
    (second.path / "comparison.json").write_text(json.dumps(comparison))
    page = owners.get(f"/detectors/{second.detector_id}/2").text
    places = [page.index(text) for text in ("Version 1 is in use.", "On the same audio<", "In its own run's test<")]
    assert places == sorted(places) and page.count("12.5 %") == 4 and "was not compared" not in page
    assert places[-1] < page.index('class="figures"')


def test_only_the_owner_can_use_splice_voices(owner: User, other: User) -> None:
    assert "splice" not in speech.free_engines("en", other)
    assert set(speech.free_engines("en", owner)) - {"splice"} == set(speech.free_engines("en", other))


def test_deleting_a_version_preserves_the_others(owners: Client, owner: User, version: Version, portal: Path) -> None:
    second, third = (make_version(owner, portal, number) for number in (2, 3))
    page = owners.get(address("version", third)).text
    assert "Delete version 3" in page and "Version 2 will then be in use." in page
    assert owners.get(address("delete_version", third)).status_code == 405
    assert owners.post(address("delete_version", third)).status_code == 302
    assert not third.path.exists() and second.path.exists() and version.path.exists()
    assert version.detector.current == second and services.adopt_runs() == 0
    assert owners.post(address("delete_version", version)).status_code == 302
    assert "Delete version 2" not in owners.get(address("version", second)).text
    assert owners.post(address("delete_version", second)).status_code == 422
    assert second.path.exists() and list(Version.objects.all()) == [second]


def test_a_version_can_have_a_note(owners: Client, owner: User, version: Version, portal: Path) -> None:
    make_version(owner, portal, 2)
    assert owners.post(address("note", version), {"note": "  with <b>May's</b>\n recordings "}).status_code == 302
    for page in ("version", "compare"):
        assert "with &lt;b&gt;May&#x27;s&lt;/b&gt; recordings" in owners.get(address(page, version)).text
    assert owners.post(address("note", version), {"note": "x" * 201}).status_code == 422
    at, program = f"/api/v1/detectors/{version.detector_id}/versions/1", Client(headers=a_token(owner, "read", "train"))
    assert program.get(at).json()["note"] == "with <b>May's</b> recordings"
    said = program.patch(at, {"note": ""}, "application/json")
    assert said.status_code == 200 and said.json()["note"] == ""
    assert program.patch(at, {"note": "x" * 201}, "application/json").status_code == 422
    assert program.delete(at).status_code == 204
    assert program.get(at).status_code == 404


def test_samples_of_a_job_always_include_the_phrase(owners: Client, owner: User, portal: Path) -> None:
    config = configuration(phrase="hello robin", effort="trial")
    job = Job.objects.create(user=owner, kind="train", queue="training", title="hello robin", spec=as_spec(config))
    run = RunFolder.of(portal, config).name
    spoken = [("positive", "hello robin")] * 10 + [("plain_negative", "many small words")] * 30
    with Library(portal) as library:
        library.add_clips(
            NewClip(np.full(160 + n, 0.1, np.float32), text, text, "en", "espeak", request_id=f"{run}:{bucket}:{n}")
            for n, (bucket, text) in enumerate(spoken)
        )
    page = flat(owners.get(reverse("trainer:samples", args=[job.pk])))
    assert page.count("data-play") == SAMPLES == 12
    assert page.count("▶</button> hello robin") == 6
    assert page.index("▶</button> hello robin") < page.index("▶</button> many small words")
