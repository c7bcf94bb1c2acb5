"""GET /recordings/<id>: the page of a transcript."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from django.test import Client

from pipeline.recordings import recording_folder
from pipeline.recordings.summarization import Point, Sentiment, Summary, save_summary
from tests.webui.audio.conftest import ready_recording, transcript_of_words
from webui.accounts.models import User
from webui.audio import derived, sharing, transcripts
from webui.audio.models import Recording


def test_words_and_summary_are_escaped_text(owners: Client, recording: Recording) -> None:
    page = owners.get(f"/recordings/{recording.pk}").content.decode()
    assert "We meet in the harbour" in page and "&lt;b&gt;lantern&lt;/b&gt;" in page and "<b>lantern" not in page
    assert "Anna brings the lantern." in page and 'data-seek="2.000"' in page
    assert "test engine" in page and "Play from 0:00:01" in page


def test_recording_of_another_user_gets_404(client: Client, other: User, recording: Recording) -> None:
    client.force_login(other)
    for rest in ("", "/audio", "/words", "/waveform", "/export", "/delete", "/original", "/segments/0/speaker"):
        assert client.get(f"/recordings/{recording.pk}{rest}").status_code == 404
    assert client.post(f"/recordings/{recording.pk}/delete").status_code == 404
    assert transcripts.search(user=other, query="lantern") == []


def test_summary_is_plain_json(recording: Recording, owner: User) -> None:
    json.dumps(derived.summary_of(recording))
    assert transcripts.recordings_of(owner).count() == 1


@pytest.mark.parametrize(("engine", "said"), [("hark", "four wrong words"), ("pocketsphinx en-us", "many wrong")])
def test_weak_engine_gets_a_warning(owners: Client, owner: User, engine: str, said: str) -> None:
    one = ready_recording(owner, transcript=replace(transcript_of_words(), engine=engine))
    page = owners.get(f"/recordings/{one.pk}").content.decode()
    assert said in page and '<a href="/engines">Get one</a>' in page
    made = sharing.share(recording=one)[1]
    page = Client().get(f"/recordings/shared/{made}").content.decode()
    assert said in page and "Get one" not in page


def test_better_engine_gets_no_warning(owners: Client, recording: Recording) -> None:
    assert "Get one" not in owners.get(f"/recordings/{recording.pk}").content.decode()


def test_summary_older_than_corrections_is_marked(owners: Client, recording: Recording) -> None:
    address = f"/recordings/{recording.pk}"
    assert "data-outdated hidden" in owners.get(address).content.decode()
    owners.post(f"{address}/segments/0", {"text": "We meet at the lighthouse", "version": "1"})
    page = owners.get(address).content.decode()
    assert "Made before your corrections, " in page and "data-outdated hidden" not in page


def test_summary_that_repeats_its_points_is_left_out(owners: Client, recording: Recording) -> None:
    points = Point("Tuesday.", (0,)), Point("In the harbour!", (0,))
    summary = Summary("Tuesday. In the  harbour!", points, (), Sentiment("neutral", 0.0), "test")
    save_summary(summary, recording.path / recording_folder.SUMMARY)
    page = owners.get(f"/recordings/{recording.pk}").content.decode()
    assert "Tuesday. In the" not in page and page.count("In the harbour!") == 1


def test_share_form_leads_back_to_its_section(owners: Client, recording: Recording) -> None:
    address = f"/recordings/{recording.pk}"
    assert f'action="{address}/share#sharing"' in owners.get(address).content.decode()
    again = owners.get(f"{address}/share")
    assert again.status_code == 302 and again["Location"] == f"{address}#sharing"


def test_transcript_without_words_has_no_search_and_no_questions(owners: Client, owner: User) -> None:
    silent = ready_recording(owner, transcript=replace(transcript_of_words(), segments=(), speakers={}))
    page = owners.get(f"/recordings/{silent.pk}").content.decode()
    assert "No words were recognized" in page
    for part in ("data-shade", "data-find", 'id="ask"', 'name="minable"', "Next unsure word"):
        assert part not in page


def test_answer_equal_to_its_citation_is_shown_once(owners: Client, recording: Recording) -> None:
    form = {"question": "Who brings the lantern and the map?"}
    answer = owners.post(f"/recordings/{recording.pk}/ask", form, headers={"HX-Request": "true"}).content.decode()
    assert answer.count("Anna brings the lantern and the map") == 1 and "The nearest passage:" in answer
