"""GET /recordings/: the list of recordings; what all pages of recordings have in common."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client

from tests.support.rendered_pages import flat
from tests.webui.audio.conftest import ready_recording
from webui.accounts.models import User
from webui.audio import intake, sharing
from webui.audio.models import Recording
from webui.jobs.models import Job, JobEvent


def test_list_shows_state_and_progress(owners: Client, owner: User, recording: Recording, wav: Path) -> None:
    assert b"every 2s" not in owners.get("/recordings/").content
    going = intake.create_recording(user=owner, name="going.wav", source=wav)
    Job.objects.filter(pk=going.job_id).update(state="running", done=3.0, total=10.0, message="Writing it down")
    page = owners.get("/recordings/").content.decode()
    assert "every 2s" in page and 'value="3.000"' in page and "Writing it down" in page
    assert "meeting.wav" in owners.get("/recordings/rows").content.decode()


def test_empty_pages_explain_what_they_are_for(owners: Client, owner: User) -> None:
    assert b"What was said, when and by whom" in owners.get("/recordings/").content
    assert b"nothing to search yet" in owners.get("/recordings/search").content
    assert b"Transcribe while you speak" in owners.get("/recordings/live").content


@pytest.mark.parametrize("number", [1, 20])
def test_number_of_queries_is_constant(
    owners: Client, owner: User, number: int, django_assert_max_num_queries: object
) -> None:
    for index in range(number):
        one = ready_recording(owner, f"{index}.wav")
    for _ in range(number):
        sharing.share(recording=one)
    for address in ("/recordings/", "/recordings/search?q=lantern", f"/recordings/{one.pk}"):
        with django_assert_max_num_queries(10):  # type: ignore[operator]
            assert owners.get(address).status_code == 200


def test_menu_marks_the_current_page(owners: Client, recording: Recording) -> None:
    for address, mark in (("", "page"), ("live", "true"), (str(recording.pk), "true")):
        page = flat(owners.get(f"/recordings/{address}"))
        assert re.search(rf'<a href="/recordings/" aria-current="{mark}">', page)


def test_who_chooses_a_recognizer_sees_its_size_time_and_errors(owners: Client, owner: User) -> None:
    page = owners.get("/recordings/").content.decode()
    assert "<b>moonshine tiny-en</b> · 42 MB · a minute of audio takes about 4 s · 6 of 100 words wrong" in page
    assert "749 words of LibriSpeech dev-clean" in page
    for seconds in (30, 50, 90):
        made = ready_recording(owner)
        made.engine, made.duration_s = "moonshine tiny-en", 300.0
        made.save()
        # What speakers and the summary take, and a job that waited, do not count.
        for name, at in (("listen", 0.0), ("transcribe", 200.0), ("speakers", 200.0 + seconds), ("summarize", 900.0)):
            JobEvent.objects.create(job_id=made.job_id, event={"event": "stage", "name": name, "time": at})
    cache.clear()  # for a minute it would say what it said
    page = owners.get("/recordings/").content.decode()
    assert "<b>moonshine tiny-en</b> · 42 MB · a minute of audio took 10 s here" in page
