"""From a phrase to a version of its detector: what the pages and the API do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Max

from core.errors import HarkError
from pipeline.config import RunConfig
from pipeline.training_pipeline import prepare
from webui.accounts.models import User
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.trainer.models import Detector, Version

# What a person may choose; the rest of RunConfig has one right value in the portal.
CHOICES = ("phrase", "language", "effort", "seed", "size", "mining", "from_scratch", "engines")


def configuration(**choices: Any) -> RunConfig:
    """The run's configuration, its phrase normalized. Raises HarkError for what cannot be trained."""
    return prepare(RunConfig(**{name: value for name, value in choices.items() if name in CHOICES}))


def as_spec(config: RunConfig) -> dict[str, Any]:
    """A configuration as a job's spec."""
    return {name: list(value) if isinstance(value := getattr(config, name), tuple) else value for name in CHOICES}


def plan(*, user: User, config: RunConfig) -> Job:
    """A job that works out what training would do."""
    return jobs.submit(user=user, kind="plan", title=config.phrase, spec=as_spec(config))


def train(*, user: User, config: RunConfig) -> Job:
    """A job that trains."""
    return jobs.submit(user=user, kind="train", title=config.phrase, spec=as_spec(config))


def trained(job: Job) -> None:
    """A training job is done: its bundle becomes the newest version. Called within the job's transaction."""
    result = job.result
    assert result is not None
    bundle = Path(result["bundle"])
    config = configuration(**job.spec)
    with transaction.atomic():
        detector, _ = Detector.objects.get_or_create(user=job.user, phrase=config.phrase, language=config.language)
        newest = detector.versions.aggregate(newest=Max("number"))["newest"] or 0
        Version.objects.get_or_create(
            job=job,
            defaults={
                "detector": detector,
                "number": newest + 1,
                "folder": str(bundle.parent.relative_to(jobs.user_data(job.user))),
                "bundle": bundle.name,
                "summary": result["metrics"],
            },
        )


def read_report(version: Version) -> dict[str, Any]:
    """The report of a version. Raises HarkError where its file is gone or cut off."""
    path = version.path / "report.json"
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarkError(
            "The report of this version cannot be read.", f"{path.name} is gone or damaged.", "Train the phrase again."
        ) from error
    return report
