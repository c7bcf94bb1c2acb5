"""POST /recordings/<id>/speakers and /segments/<n>/speaker; remembered voices."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.test import Client

from core.errors import HarkError
from tests.support.rendered_pages import flat
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.jobs.services import job_ended
from webui.recordings.editing import speaker_changes
from webui.recordings.models import Recording
from webui.recordings.reading import derived, transcripts
from webui.recordings.sharing import links
from webui.recordings.transcribing.jobs import newest_job


def test_a_speaker_is_renamed(owners: Client, owner: User, at: str) -> None:
    answer = owners.post(f"{at}/speakers", {"speaker": "S2", "name": " Böhm <i> "})
    assert answer.status_code == 302
    page = owners.get(at).text
    assert "Böhm &lt;i&gt;" in page
    assert transcripts.search(user=owner, query="lantern who")[0].speaker == "Böhm <i>"
    assert owners.post(f"{at}/speakers", {"speaker": "S9", "name": "x"}).status_code == 422


def test_names_are_saved_all_or_none(owners: Client, recording: Recording, at: str) -> None:
    place = f"{at}/speakers"
    assert owners.post(place, {"speaker": ["S1", "S2"], "name": ["Anna", "Ben"]}).status_code == 302
    assert transcripts.transcript_of(recording).speakers == {"S1": "Anna", "S2": "Ben"}
    assert owners.post(place, {"speaker": ["S1", "S2"], "name": ["Ben", "Anna"]}).status_code == 302  # swapped
    assert transcripts.transcript_of(recording).speakers == {"S1": "Ben", "S2": "Anna"}
    version = Recording.objects.get().version
    twice = owners.post(
        place,
        {"speaker": ["S1", "S2"], "name": ["Cleo", "cleo"]},
        headers={"Referer": "http://testserver/recordings/x"},
    )
    assert twice.status_code == 422 and 'href="http://testserver/recordings/x"' in twice.text
    assert owners.post(place, {"speaker": ["S1", "S9"], "name": ["Cleo", "Dora"]}).status_code == 422
    assert owners.post(place, {"speaker": ["S1", "S2"], "name": ["Ben", "Anna"]}).status_code == 302  # nothing changes
    assert transcripts.transcript_of(recording).speakers == {"S1": "Ben", "S2": "Anna"}
    assert Recording.objects.get().version == version
    speaker_changes.name_speakers(recording=recording, names={"S2": "Dora"})  # by another page
    stale = {"speaker": ["S1", "S2"], "name": ["Cleo", "Anna"], "version": version}
    assert owners.post(place, stale).status_code == 409
    assert transcripts.transcript_of(recording).speakers == {"S1": "Ben", "S2": "Dora"}


def speakers_of_passages(recording: Recording) -> list[str]:
    return [segment.speaker for segment in transcripts.transcript_of(recording).segments]


def test_a_segment_is_assigned_to_another_speaker_and_back(
    owners: Client, owner: User, recording: Recording, at: str
) -> None:
    owners.post(f"{at}/segments/0", {"text": "We meet on the pier"})  # a correction
    address = f"{at}/segments/0/speaker"
    page = flat(owners.get(at))
    assert f'href="{address}"' in page  # the link works without scripts
    form = flat(owners.get(address))
    assert "<html" in form and "We meet on the pier" in form and 'value="S1" checked' in form
    assert "<html" not in flat(owners.get(address, headers={"HX-Request": "true"}))
    answer = owners.post(address, {"speaker": "S2", "start": "0.000"})
    assert answer.status_code == 302 and answer["Location"].endswith(f"{recording.pk}#passage-0")
    assert speakers_of_passages(recording) == ["S2", "S2", "S1"]
    segment = transcripts.transcript_of(recording).segments[0]
    assert segment.text == "We meet on the pier" and segment.edited
    # exports, search, summary and shared page have the new name
    speaker_changes.name_speakers(recording=recording, names={"S2": "Ben"})
    assert b"Ben: We meet on the pier" in owners.get(f"{at}/export?format=txt").getvalue()
    assert transcripts.search(user=owner, query="pier")[0].speaker == "Ben"
    summary = flat(owners.get(f"{at}/summary"))
    assert "Ben</span> 0:00" in summary
    token = links.share(recording=recording)[1]
    assert "Ben" in flat(Client().get(f"/recordings/shared/{token}"))
    assert (recording.path / "transcript.txt").read_text().count("Ben") >= 1
    owners.post(address, {"speaker": "S1"})
    assert speakers_of_passages(recording) == ["S1", "S2", "S1"]


def test_segments_are_assigned_to_a_new_speaker_and_merged(
    owners: Client, owner: User, recording: Recording, at: str
) -> None:
    address = f"{at}/segments/{{}}/speaker"
    owners.post(address.format(2), {"speaker": "new"})
    assert speakers_of_passages(recording) == ["S1", "S2", "S3"]
    assert transcripts.transcript_of(recording).speakers["S3"] == "Speaker 3"
    assert transcripts.recordings_of(owner).get().speakers == 3
    owners.post(address.format(2), {"speaker": "S2", "where": "all"})
    owners.post(address.format(1), {"speaker": "S1", "where": "all"})
    assert (
        speakers_of_passages(recording) == ["S1", "S1", "S1"] and transcripts.recordings_of(owner).get().speakers == 1
    )
    page = owners.get(at).text
    assert 'name="speaker" value="S1"' in page and 'name="speaker" value="S2"' not in page
    assert 'value="S2"' in owners.get(address.format(1)).text  # it can be assigned again
    owners.post(address.format(1), {"speaker": ""})
    assert speakers_of_passages(recording) == ["S1", "", "S1"]


def test_a_passage_of_two_speakers_is_split_at_a_word(
    owners: Client, owner: User, recording: Recording, at: str
) -> None:
    owners.post(f"{at}/segments/0", {"text": "We meet at the pier on Tuesday"})  # a correction
    address = f"{at}/segments/0/speaker"
    shown = owners.get(address).text
    assert '<option value="2">… at</option>' in shown and '<option value="all">' in shown
    assert shown.count('name="where"') == 1, "a word and all passages exclude each other"
    before = transcripts.transcript_of(recording)
    answer = owners.post(address, {"speaker": "S2", "start": "0.000", "where": "2"})
    assert answer.status_code == 302
    after = transcripts.transcript_of(recording)
    assert speakers_of_passages(recording) == ["S1", "S2", "S2", "S1"]
    first, second = after.segments[:2]
    assert (first.text, second.text) == ("We meet", "at the pier on Tuesday") and first.edited and second.edited
    assert first.words + second.words == before.segments[0].words
    assert (first.start_s, second.end_s) == (before.segments[0].start_s, before.segments[0].end_s)
    assert first.end_s <= second.start_s
    summary = derived.summary_of(recording)
    assert summary["key_points"][0]["segments"] == [0, 1]
    assert [point["segments"] for point in summary["action_items"]] == [[3]]
    assert transcripts.search(user=owner, query="pier")[0].start_s == second.start_s
    page = owners.get(at).text
    assert 'id="passage-3"' in page and "We meet" in page


@pytest.mark.parametrize(
    ("number", "form", "status"),
    [
        (0, {"speaker": "S9"}, 422),
        (7, {"speaker": "S1"}, 422),
        (0, {"speaker": "S2", "start": "1.000"}, 409),
        (0, {"speaker": "S2", "where": "7"}, 422),
    ],
)
def test_an_invalid_change_of_speaker_changes_nothing(
    owners: Client, recording: Recording, at: str, number: int, form: dict[str, str], status: int
) -> None:
    assert owners.post(f"{at}/segments/{number}/speaker", form).status_code == status
    assert speakers_of_passages(recording) == ["S1", "S2", "S1"] and Recording.objects.get().version == 1
    assert owners.get(f"{at}/segments/7/speaker").status_code == 404


def test_a_word_and_all_passages_exclude_each_other(recording: Recording) -> None:
    with pytest.raises(HarkError, match="split at a word"):
        speaker_changes.assign_speaker(recording=recording, number=0, speaker="S2", from_word=2, all_of_theirs=True)
    assert speakers_of_passages(recording) == ["S1", "S2", "S1"]


def finish_detection(job: Job, *turns: tuple[float, float, str], sounds_like: dict[str, str] | None = None) -> None:
    """End the job "speakers" as a worker does."""
    rows = [{"start_s": start, "end_s": end, "speaker": who, "overlap": False} for start, end, who in turns]
    result = {
        "turns": rows, "method": "acoustic", "names": {}, "versions": {"resemblyzer": "1"},
        "sounds_like": sounds_like or {},
    }  # fmt: skip
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE, result=result)
    job.refresh_from_db()
    job_ended.send(sender=Job, job=job)


def test_speaker_detection_preserves_corrections_and_names(
    owners: Client, owner: User, recording: Recording, at: str
) -> None:
    owners.post(f"{at}/segments/0", {"text": "We meet on the pier"})  # a correction
    speaker_changes.name_speakers(recording=recording, names={"S1": "Anna"})
    assert owners.post(f"{at}/speakers/detect", {"speakers": "3"}).status_code == 302
    job = newest_job(recording, "speakers")
    assert job.spec["speakers"] == 3
    page = flat(owners.get(at))
    assert "The speakers are being detected." in page and f'hx-get="/jobs/{job.pk}/over"' in page
    assert owners.get(f"/jobs/{job.pk}/over").status_code == 204
    assert owners.post(f"{at}/speakers/detect", {"speakers": "2"}).status_code == 409
    owners.post(f"{at}/segments/1", {"text": "Who brings a lantern"})  # while the job is running
    finish_detection(job, (0, 0.9, "x"), (1, 1.9, "y"), (2, 2.4, "x"), (2.4, 2.9, "z"))
    after = transcripts.transcript_of(recording)
    assert [(one.speaker, one.text, one.edited) for one in after.segments] == [
        ("S1", "We meet on the pier", True),
        ("S2", "Who brings a lantern", True),
        ("S1", "Anna brings the", False),
        ("S3", "lantern and the map", False),
    ]
    assert after.speakers["S1"] == "Anna" and after.speakers["S3"] == "Speaker 3"
    assert transcripts.recordings_of(owner).get().speakers == 3
    summary = derived.summary_of(recording)
    assert [point["segments"] for point in summary["action_items"]] == [[2, 3]]
    assert transcripts.search(user=owner, query="map")[0].speaker == "Speaker 3"
    assert "The speakers are being detected." not in flat(owners.get(at))
    over = owners.get(f"/jobs/{job.pk}/over")
    assert over.headers["HX-Trigger"] == "job-over" and "Show it" in flat(over)
    assert f'href="{at}">See the recording' in flat(owners.get(f"/jobs/{job.pk}"))


def test_the_page_of_a_failed_job_does_not_redirect(owners: Client, recording: Recording) -> None:
    job = speaker_changes.detect_speakers_again(recording=recording, speakers=2)
    page = f"/jobs/{job.pk}"
    for state, leads_on in ((Job.State.DONE, True), (Job.State.FAILED, False), (Job.State.CANCELLED, False)):
        Job.objects.filter(pk=job.pk).update(state=state)
        content = owners.get(page).text
        assert "See the recording" in content and ("data-result" in content) == leads_on


def test_too_many_speakers_are_rejected(owners: Client, recording: Recording, at: str) -> None:
    assert owners.post(f"{at}/speakers/detect", {"speakers": "21"}).status_code == 422
    assert newest_job(recording, "speakers") is None


def test_renaming_in_place_returns_the_displayed_name(owners: Client, at: str) -> None:
    headers = {"Accept": "application/json"}
    place = f"{at}/speakers"
    assert owners.post(place, {"speaker": "S2", "name": " Ben "}, headers=headers).json()["names"] == {"S2": "Ben"}
    assert owners.post(place, {"speaker": "S2", "name": ""}, headers=headers).json()["names"] == {"S2": "Speaker 2"}
    assert owners.post(place, {"speaker": "S9", "name": "x"}, headers=headers).status_code == 422


def test_a_known_voice_is_suggested_and_named_with_one_click(owners: Client, recording: Recording, at: str) -> None:
    owners.post(f"{at}/speakers/detect", {"speakers": "2"})
    job = newest_job(recording, "speakers")
    assert job is not None
    finish_detection(job, (0, 0.9, "x"), (1, 1.9, "y"), (2, 2.9, "x"), sounds_like={"x": "Anna", "y": "Ben"})
    said = transcripts.transcript_of(Recording.objects.get())
    assert said.speakers == {"S1": "Speaker 1", "S2": "Speaker 2"} and said.sounds_like == {"S1": "Anna", "S2": "Ben"}
    page = owners.get(at).text
    assert "Speaker 1 sounds like Anna." in page and "Yes, name this speaker Anna" in page and "like Ben." in page
    _, token = links.share(recording=recording)
    assert "sounds like" not in owners.get(f"/recordings/shared/{token}").text
    owners.post(f"{at}/speakers", {"speaker": "S1", "name": "Anna"})
    said = transcripts.transcript_of(Recording.objects.get())
    assert said.speakers == {"S1": "Anna", "S2": "Speaker 2"} and said.sounds_like == {"S2": "Ben"}
    page = owners.get(at).text
    assert "like Anna." not in page and "Speaker 2 sounds like Ben." in page


def test_a_voice_is_remembered_with_consent_only(owners: Client, recording: Recording, at: str) -> None:
    form = {"speaker": "S1", "name": "Anna", "remember": "S1"}
    answer = owners.post(f"{at}/speakers", form)
    assert answer.status_code == 422 and b"consent" in answer.content
    unnamed = {"speaker": "S1", "name": "Speaker 1", "remember": "S1", "consent": "S1"}
    assert owners.post(f"{at}/speakers", unnamed).status_code == 422
    two = {"speaker": ["S1", "S2"], "name": ["Anna", "Ben"], "remember": ["S1", "S2"], "consent": "S2"}
    assert owners.post(f"{at}/speakers", two).status_code == 422
    assert transcripts.transcript_of(recording).speakers["S1"] == "S1"


def test_a_remembered_voice_can_be_forgotten(
    owners: Client, owner: User, at: str, portal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, str, int, bool]] = []
    monkeypatch.setattr(
        "pipeline.recordings.diarization.voiceprints.remember",
        lambda file, name, audio, consent: asked.append((file, name, len(audio), consent)),
    )
    form = {"speaker": "S1", "name": "Anna", "remember": "S1", "consent": "S1"}
    assert owners.post(f"{at}/speakers", form).status_code == 302
    ((file, name, samples, consent),) = asked
    assert (file, name, consent) == (portal / "voices.json", "Anna", True)
    assert samples == pytest.approx(1.8 * 16000, abs=2)  # only her own speech
    voices = {"schema": 1, "voices": {"Anna": {"embedding": [0.0] * 256, "times": 1}}}
    (portal / "voices.json").write_text(json.dumps(voices))
    assert b"Forget Anna" in owners.get("/recordings/").content
    assert owners.post("/recordings/voices/forget", {"name": "Anna"}).status_code == 302
    assert speaker_changes.voices_of(owner) == [] and not (portal / "voices.json").exists()


def test_a_message_about_a_name_is_shown_once_next_to_the_speakers(owners: Client, at: str) -> None:
    form = {"speaker": "S1", "name": "Anna"}
    page = owners.post(f"{at}/speakers", form, follow=True).text
    assert page.count("The names are saved.") == 1
    assert page.index('id="who-speaks"') < page.index("The names are saved.") < page.index('id="sharing"')
    assert "The names are saved." not in owners.get(at).text


def test_unnamed_speakers_are_labelled_in_the_readers_language(owners: Client, at: str) -> None:
    owners.post(f"{at}/segments/2/speaker", {"speaker": "new"})
    german = {"Accept-Language": "de"}
    for page in (at, f"{at}/segments/2/speaker"):
        said = owners.get(page, headers=german).text
        assert "Sprecher 3" in said and "Speaker 3</" not in said
        assert "Speaker 3" in owners.get(page).text
    assert b"Speaker 3" in owners.get(f"{at}/export?format=txt", headers=german).getvalue(), "the stored label"


def test_a_name_may_contain_symbols_and_must_be_unique(owners: Client, recording: Recording, at: str) -> None:
    place, headers = f"{at}/speakers", {"Accept": "application/json"}
    given = owners.post(place, {"speaker": "S1", "name": "Anna / Peter"}, headers=headers)
    assert given.json()["names"]["S1"] == "Anna / Peter"
    twice = owners.post(place, {"speaker": "S2", "name": "anna / peter"}, headers=headers)
    assert twice.status_code == 422 and "Another speaker is already called" in twice.json()["what"]
    assert transcripts.transcript_of(recording).speakers["S2"] == "S2"
