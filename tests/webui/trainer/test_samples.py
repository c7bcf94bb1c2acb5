"""GET /jobs/<id>/samples: what a run has spoken so far."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from django.test import Client
from django.urls import reverse

from db.db_api import Library
from db.records import NewClip
from pipeline.training.config import job_folder
from tests.support.rendered_pages import flat
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.trainer.services import as_spec, configuration
from webui.trainer.views import SAMPLES


def test_the_phrase_is_among_them_however_much_else_was_spoken_since(owners: Client, owner: User, portal: Path) -> None:
    config = configuration(phrase="hello robin", effort="trial")
    job = Job.objects.create(user=owner, kind="train", lane="training", title="hello robin", spec=as_spec(config))
    run = job_folder(portal, config).name
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
