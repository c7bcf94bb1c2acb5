"""The page of a plan."""

from __future__ import annotations

import pytest
from django.test import Client

from webui.accounts.models import User
from webui.jobs.models import Job
from webui.trainer.services import as_spec, configuration

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
def test_a_run_that_was_stopped_is_said_and_counted(
    client: Client, owner: User, spoken: int, goes_on_with: str, said: str
) -> None:
    client.force_login(owner)
    spec = as_spec(configuration(phrase="hey compass", effort="trial"))
    job = Job.objects.create(user=owner, kind="plan", lane="audio", title="hey compass", spec=spec, state="done")
    for unfinished in ({"planned": 20, "spoken": spoken, "goes_on_with": goes_on_with}, None):
        job.result = {**PLAN, "unfinished": unfinished}
        job.save()
        page = client.get(f"/plans/{job.id}").content.decode()
        assert "Start training" in page
        assert (f"An unfinished run is here: {spoken} of 20 clips are spoken." in page) == bool(unfinished)
        assert (said in page) == bool(unfinished)
