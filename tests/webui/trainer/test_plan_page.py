"""The page of a plan."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import reverse

from pipeline.training.configuration.specification import as_spec
from tests.support.rendered_pages import flat
from webui import speech
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.jobs.services import stages_of
from webui.trainer.services import configuration, plan, train

PLAN = {
    "phrase": "hey compass",
    "effort": "trial",
    "buckets": {"positive": {"phrases": 1, "target": 20, "reused": 12, "mined": 0, "generate": 8}},
    "engines": {},
    "engines_missing": {},
    "estimate_s": 60,
}


@pytest.mark.parametrize(
    ("spoken", "goes_on_with", "said"),
    [
        (12, "synthesize", "It continues by synthesizing the rest."),
        (20, "features", "It continues by adding rooms and noise."),
        (20, "calibrate", "It continues with calibration."),
        (20, "train", "It continues with training."),
    ],
)
def test_a_stopped_run_is_reported_with_its_progress(
    client: Client, owner: User, spoken: int, goes_on_with: str, said: str
) -> None:
    client.force_login(owner)
    spec = as_spec(configuration(phrase="hey compass", effort="trial"))
    job = Job.objects.create(user=owner, kind="plan", queue="general", title="hey compass", spec=spec, state="done")
    for unfinished in ({"planned": 20, "spoken": spoken, "goes_on_with": goes_on_with}, None):
        job.result = {**PLAN, "unfinished": unfinished}
        job.save()
        page = client.get(f"/plans/{job.id}").text
        assert "Start training" in page
        assert (f"An unfinished run is here: {spoken} of 20 clips are synthesized." in page) == bool(unfinished)
        assert (said in page) == bool(unfinished)


def test_the_owners_run_installs_neural_voices_unless_opted_out(
    client: Client, owner: User, other: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.trainer.services.voices_to_install", lambda config: {"hibari": 55, "piper": 95})
    spec = as_spec(configuration(phrase="hey compass"))
    result = {**PLAN, "unfinished": None, "to_install_mb": {"hibari": 55, "piper": 95}}
    for user, asked, installs in ((owner, True, True), (owner, False, False), (other, True, False)):
        client.force_login(user)
        job = Job.objects.create(user=user, kind="plan", queue="general", title="hey compass", spec=spec, state="done")
        job.result = result
        job.save()
        page = client.get(f"/plans/{job.id}").text
        assert ("Install neural voices first (hibari, piper; 150 MB, once)" in page) == (user == owner)
        client.post(reverse("trainer:start"), {"plan": job.id, **({"install_voices": "on"} if asked else {})})
        run = Job.objects.get(kind="train", user=user, state="queued")
        assert run.spec["install_voices"] is installs
        assert ("enable" in dict(stages_of("train", run.spec))) is installs
        run.delete()


def test_a_plan_in_training_is_marked(client: Client, owner: User) -> None:
    client.force_login(owner)
    config = configuration(phrase="hey compass", effort="trial")
    planned = plan(user=owner, config=config, targets=["esphome"])
    Job.objects.filter(pk=planned.pk).update(state="done", result={**PLAN, "unfinished": None})
    said = "This phrase is being trained now."
    train(user=owner, config=configuration(phrase="hey compass", effort="quick"), targets=["esphome"])
    assert said not in flat(client.get(f"/plans/{planned.id}"))
    going = client.post("/start", {"plan": planned.id})["Location"]
    page = flat(client.get(f"/plans/{planned.id}"))
    assert said in page and f'href="{going}"' in page
    assert "Where will you use it? ESPHome: Voice PE, ESP32-S3</p>" in page
    Job.objects.filter(kind="train").update(state="done")
    assert said not in flat(client.get(f"/plans/{planned.id}"))


def test_the_mining_method_can_be_chosen(owners: Client) -> None:
    pytest.importorskip("ctc_segmentation")
    form = {"phrase": "hey compass", "language": "en", "effort": "quick", "mining": "on"}
    owners.post("/new", form)
    assert Job.objects.get().spec["choices"]["mining_method"] == "viterbi"
    owners.post("/new", {**form, "mining_method": "ctc-segmentation"})
    job = Job.objects.latest("created_at")
    assert job.spec["choices"]["mining_method"] == "ctc-segmentation"
    Job.objects.filter(pk=job.pk).update(state="done", result={"buckets": {}, "effort": "quick", "engines": {}})
    page = flat(owners.get(f"/plans/{job.id}"))
    assert '<option value="ctc-segmentation" selected>' in page and '<option value="viterbi">' in page
    assert owners.post("/new", {**form, "mining_method": "guess"}).status_code == 422


def test_default_voices_are_not_stored_as_a_choice(owners: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that is changed without touching its voices still installs missing ones."""
    engines = {
        name: SimpleNamespace(by_default=usual, languages=lambda: ["en"])
        for name, usual in (("one", True), ("two", True), ("other", False))
    }
    monkeypatch.setattr(speech, "ready_engines", lambda user: engines)
    form = {"phrase": "hey compass", "language": "en", "effort": "quick"}
    for chosen, spec in ((["one", "two"], []), (["one"], ["one"]), (["one", "two", "other"], ["one", "other", "two"])):
        owners.post("/new", {**form, "engines": chosen})
        assert Job.objects.latest("created_at").spec["choices"]["engines"] == spec
