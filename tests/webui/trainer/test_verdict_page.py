"""The advice of the result page, and each device's card about its own detector."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from django.test import Client
from django.urls import reverse

from pipeline.training.configuration.run_config import RunConfig
from tests.support.detector_versions import address, make_version
from webui.accounts.models import User
from webui.jobs.services import stages_of
from webui.template_filters import rate
from webui.trainer import results, services
from webui.trainer.models import Version

ABOUT = {
    "miss_rate_clean": {"value": 0.455}, "miss_rate_noisy": {"value": 0.636}, "confusables_accepted": {"value": 0.6},
    "fa_per_hour": {"value": 0.86}, "test_hours": 1.16,
}  # fmt: skip


def test_training_again_preselects_the_devices(version: Version) -> None:
    assert version.job is not None
    version.job.spec = {"targets": ["browser", "esphome"]}
    form = results.retrain_address(version, {"devices": {"openwakeword": ABOUT}}, "standard")
    assert form.startswith(f"{reverse('trainer:new')}?phrase=hey+compass&language=en&effort=standard")
    assert form.endswith("&targets=browser&targets=esphome&targets=openwakeword")


def test_a_card_summarizes_the_device_detectors_figures() -> None:
    said = results._device_summary(ABOUT)
    assert "detected 54 % of the utterances close and quiet, 36 % in noise" in said
    assert "60 % of confusable phrases trigger it" in said
    assert said.endswith("It had 1 false alarm in 70 minutes of other speech and noise.")
    assert results._device_summary({**ABOUT, "test_hours": 0.0}).endswith("60 % of confusable phrases trigger it.")
    assert results._device_summary(None) == ""


def test_misses_across_a_room_are_shown_with_the_verdict(owners: Client, version: Version) -> None:
    said = "Across a room, in noise and among other speech it missed"
    report = version.report()
    assert said not in owners.get(address("version", version)).text
    interval = {"value": 0.444, "low": 0.3, "high": 0.6}
    report["results"]["far"] = {"utterances": 45, "miss_rate": interval}
    (version.path / "report.json").write_text(json.dumps(report))
    assert f"{said} 44.4 % (30.0 to 60.0 %) of 45." in owners.get(address("version", version)).text


def test_a_retraining_lists_its_device_stage(version: Version, portal: Path) -> None:
    config = RunConfig("hey compass", effort="quick", devices=("esphome",))
    (portal / "jobs" / Path(version.folder).name / "plan.json").write_text(json.dumps({"config": asdict(config)}))
    job = services.retrain(version=version)
    assert job.spec["choices"]["devices"] == ["esphome"] and job.spec["run"] == Path(version.folder).name
    assert "devices" in dict(stages_of(job.kind, job.spec))


def test_a_trial_is_labelled_on_the_home_page(owners: Client, owner: User, portal: Path) -> None:
    made = make_version(owner, portal)
    home = reverse("home")
    assert "This was only a trial:" not in owners.get(home).text
    made.summary["effort"] = "trial"
    made.save()
    assert "This was only a trial:" in owners.get(home).text


def test_an_uninformative_interval_is_not_shown() -> None:
    assert rate({"value": 0.0, "low": 0.0, "high": 11066.64}).interval == "the test is too short to tell"
    assert rate({"value": 0.0, "low": 0.0, "high": 85.35}).interval == "0.00 to 85.35"
