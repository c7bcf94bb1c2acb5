"""POST /recordings/<id>/minable."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from core.events import silent_reporter
from db.db_api import Library
from pipeline.recordings import jobs as recording_jobs
from webui.jobs.models import Job
from webui.recordings.models import Recording


def test_a_minable_recording_has_up_to_date_clips_in_the_library(
    owners: Client, recording: Recording, at: str, portal: Path
) -> None:
    owners.post(f"{at}/minable", {"minable": "on"})
    job = Job.objects.get(kind="minable")
    assert job.spec["minable"] is True
    assert recording_jobs.make_minable(job.spec, portal, silent_reporter()) == {"clips": 3, "removed": 0}
    with Library(portal) as library:
        (clip,) = library.search("harbour on tuesday", 10)
        assert clip.engine == "corpus" and clip.language == "en" and clip.licence == "private"
        assert clip.duration_s == pytest.approx(1.0, abs=0.11)
    assert recording_jobs.make_minable(job.spec, portal, silent_reporter()) == {"clips": 3, "removed": 0}
    # a correction reaches the library immediately
    Job.objects.update(state=Job.State.DONE)
    owners.post(f"{at}/segments/0", {"text": "We meet on the pier"})
    with Library(portal) as library:
        assert library.search("harbour", 10) == [] and len(library.search("the pier", 10)) == 1
    # and so does the speaker: splits are by speaker
    owners.post(f"{at}/segments/0/speaker", {"speaker": "S2"})
    with Library(portal) as library:
        assert [clip.speaker for clip in library.search("the pier", 10)] == [f"{recording.pk}-S2"]
    owners.post(f"{at}/minable", {})
    assert Recording.objects.get().minable is False
    job = Job.objects.filter(kind="minable", spec__minable=False).get()
    assert recording_jobs.make_minable(job.spec, portal, silent_reporter()) == {"clips": 0, "removed": 3}
    with Library(portal) as library:
        assert library.stats().clips == 0
