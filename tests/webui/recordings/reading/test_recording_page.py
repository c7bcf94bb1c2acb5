"""GET /recordings/<id>: the page of a transcript."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from django.test import Client

from pipeline.recordings.files import recording_folder
from pipeline.recordings.summarization import Point, Sentiment, Summary, save_summary
from tests.support.ready_recordings import ready_recording, transcript_of_words
from webui.accounts.models import User
from webui.recordings.models import Recording
from webui.recordings.reading import derived, transcripts
from webui.recordings.sharing import links


def test_words_and_summary_are_escaped_text(owners: Client, at: str) -> None:
    page = owners.get(at).text
    assert "We meet in the harbour" in page and "&lt;b&gt;lantern&lt;/b&gt;" in page and "<b>lantern" not in page
    assert "Anna brings the lantern." in page and 'data-seek="2.000"' in page
    assert "test engine" in page and "Play from 0:00:01" in page


def test_a_summary_is_plain_json(recording: Recording, owner: User) -> None:
    json.dumps(derived.summary_of(recording))
    assert transcripts.recordings_of(owner).count() == 1


def test_a_weak_engine_gets_a_warning(owners: Client, owner: User) -> None:
    one = ready_recording(owner, transcript=replace(transcript_of_words(), engine="hark ctc"))
    page = owners.get(f"/recordings/{one.pk}").text
    assert "four wrong words" in page and '<a href="/engines">Get one</a>' in page
    made = links.share(recording=one)[1]
    page = Client().get(f"/recordings/shared/{made}").text
    assert "four wrong words" in page and "Get one" not in page


def test_a_better_engine_gets_no_warning(owners: Client, at: str) -> None:
    assert "Get one" not in owners.get(at).text


def test_a_summary_older_than_corrections_is_marked(owners: Client, at: str) -> None:
    assert "data-outdated hidden" in owners.get(at).text
    owners.post(f"{at}/segments/0", {"text": "We meet at the lighthouse", "version": "1"})
    page = owners.get(at).text
    assert "Written before your corrections, " in page and "data-outdated hidden" not in page


def test_a_summary_that_repeats_its_points_is_not_shown(owners: Client, recording: Recording, at: str) -> None:
    points = Point("Tuesday.", (0,)), Point("In the harbour!", (0,))
    summary = Summary("Tuesday. In the  harbour!", points, (), Sentiment("neutral", 0.0), "test")
    save_summary(summary, recording.path / recording_folder.SUMMARY)
    page = owners.get(at).text
    assert "Tuesday. In the" not in page and page.count("In the harbour!") == 1


def test_the_share_form_returns_to_its_section(owners: Client, at: str) -> None:
    assert f'action="{at}/share#sharing"' in owners.get(at).text
    again = owners.get(f"{at}/share")
    assert again.status_code == 302 and again["Location"] == f"{at}#sharing"


def test_a_transcript_without_words_has_no_search_and_no_questions(owners: Client, owner: User) -> None:
    silent = ready_recording(owner, transcript=replace(transcript_of_words(), segments=(), speakers={}))
    page = owners.get(f"/recordings/{silent.pk}").text
    assert "No words were recognized" in page
    for part in ("data-shade", "data-find", 'id="ask"', 'name="minable"', "Next unsure word"):
        assert part not in page


def test_an_answer_equal_to_its_citation_is_shown_once(owners: Client, at: str) -> None:
    form = {"question": "Who brings the lantern and the map?"}
    answer = owners.post(f"{at}/ask", form, headers={"HX-Request": "true"}).text
    assert answer.count("Anna brings the lantern and the map") == 1 and "The closest passage:" in answer


@pytest.mark.parametrize(
    ("wanted", "begins"),
    [("txt", b"meeting"), ("srt", b"1\n00:00:00,000"), ("vtt", b"WEBVTT"), ("json", b"{"), ("docx", b"PK")],
)
def test_every_export_format_is_served(owners: Client, at: str, wanted: str, begins: bytes) -> None:
    answer = owners.get(f"{at}/export?format={wanted}")
    assert answer.getvalue().startswith(begins)
    assert f'filename="meeting.{wanted}"' in answer["Content-Disposition"]


def test_an_unknown_format_gets_422(owners: Client, at: str) -> None:
    assert owners.get(f"{at}/export?format=exe").status_code == 422


def test_the_name_is_quoted_in_the_header(owners: Client, at: str) -> None:
    Recording.objects.update(name='a"; b\r\nX: y – ü.wav')
    said = owners.get(f"{at}/export?format=txt")["Content-Disposition"]
    assert "\n" not in said and '"' not in said and "filename*=utf-8''" in said


def test_words_are_served_with_times(owners: Client, at: str) -> None:
    content = owners.get(f"{at}/words").json()
    assert content["version"] == 1
    assert content["segments"][1]["words"][0] == ["Who", 1.0, 1.225, 0.3]
    assert owners.get(f"{at}/waveform").json() == {"peaks": [0.1, 0.5, 0.1]}


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        (None, 200, 0, None),
        ("bytes=0-", 206, 0, None),
        ("bytes=10-19", 206, 10, 19),
        ("bytes=100-999999999", 206, 100, None),
        ("bytes=-5", 206, -5, None),
        ("bytes=5-2", 200, 0, None),
        ("bytes=0-1,5-6", 200, 0, None),
        ("lines=1-2", 200, 0, None),
        ("bytes=-", 200, 0, None),
    ],
)
def test_an_audio_range_is_served(
    owners: Client, recording: Recording, at: str, asked: str | None, status: int, first: int, last: int | None
) -> None:
    whole = (recording.path / "audio.flac").read_bytes()
    answer = owners.get(f"{at}/audio", headers={"Range": asked} if asked else {})
    wanted = whole[first : None if last is None else last + 1]
    assert answer.status_code == status and answer.getvalue() == wanted
    assert answer["Accept-Ranges"] == "bytes" and int(answer["Content-Length"]) == len(wanted)
    if status == 206:
        start = first if first >= 0 else len(whole) + first
        assert answer["Content-Range"] == f"bytes {start}-{start + len(wanted) - 1}/{len(whole)}"


def test_a_range_beyond_the_end_gets_416_and_if_range_is_checked(owners: Client, at: str) -> None:
    address = f"{at}/audio"
    answer = owners.get(address, headers={"Range": "bytes=99999999-"})
    assert answer.status_code == 416 and answer["Content-Range"].startswith("bytes */")
    assert owners.get(address, headers={"Range": "bytes=0-1", "If-Range": '"old"'}).status_code == 200
    head = owners.head(address)
    assert head.status_code == 200 and head.content == b"" and int(head["Content-Length"]) > 100
    tag = head["ETag"]
    assert owners.get(address, headers={"Range": "bytes=0-1", "If-Range": tag}).status_code == 206
