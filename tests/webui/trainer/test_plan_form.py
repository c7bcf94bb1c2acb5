"""What is chosen on the plan's page reaches the run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.test import Client

from tests.support.rendered_pages import flat
from webui.jobs.models import Job
from webui.trainer import services


def test_the_method_of_mining_is_chosen(owners: Client) -> None:
    pytest.importorskip("ctc_segmentation")
    wish = {"phrase": "hey compass", "language": "en", "effort": "quick", "mining": "on"}
    owners.post("/new", wish)
    assert Job.objects.get().spec["mining_method"] == "viterbi"
    owners.post("/new", {**wish, "mining_method": "ctc-segmentation"})
    job = Job.objects.latest("created_at")
    assert job.spec["mining_method"] == "ctc-segmentation"
    Job.objects.filter(pk=job.pk).update(state="done", result={"buckets": {}, "effort": "quick", "engines": {}})
    page = flat(owners.get(f"/plans/{job.id}"))
    assert '<option value="ctc-segmentation" selected>' in page and '<option value="viterbi">' in page
    assert owners.post("/new", {**wish, "mining_method": "guess"}).status_code == 422


def test_the_usual_voices_are_no_choice(owners: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that is changed without touching its voices still installs those that are missing."""
    engines = {
        name: SimpleNamespace(by_default=usual, languages=lambda: ["en"])
        for name, usual in (("one", True), ("two", True), ("other", False))
    }
    monkeypatch.setattr(services, "ready_engines", lambda user: engines)
    wish = {"phrase": "hey compass", "language": "en", "effort": "quick"}
    for chosen, spec in ((["one", "two"], []), (["one"], ["one"]), (["one", "two", "other"], ["one", "other", "two"])):
        owners.post("/new", {**wish, "engines": chosen})
        assert Job.objects.latest("created_at").spec["engines"] == spec
