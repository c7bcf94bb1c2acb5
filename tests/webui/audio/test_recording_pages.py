"""Recordings: taken over, shown, played, corrected, exported, deleted."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from core.errors import HarkError
from core.events import silent_reporter
from db.db_api import Library
from pipeline.recordings import job as recording_job
from pipeline.recordings import recording_folder
from pipeline.recordings.summarization import Point, Sentiment, Summary, save_summary
from pipeline.recordings.transcript import Segment, Word
from tests.webui.audio.conftest import ready_recording, transcript_of_words
from webui.accounts.models import User
from webui.audio import services
from webui.audio.editing import corrected, without_segment
from webui.audio.models import Passage, Recording
from webui.jobs import services as jobs
from webui.jobs.models import Job

# ---- taken over


def test_a_file_is_moved_and_its_transcription_queued(owner: User, wav: Path, portal: Path) -> None:
    content = wav.read_bytes()
    recording = services.create_recording(user=owner, name="C:\\calls\\../Mon\x00day\u202e.WAV", source=wav)
    assert not wav.exists()
    assert recording.name == "Monday.WAV" and recording.path == portal / "audio" / str(recording.pk)
    assert (recording.path / "original.wav").read_bytes() == content
    assert recording.job is not None and recording.bytes == len(content)
    assert (recording.job.kind, recording.job.lane, recording.state) == ("transcribe", "audio", "working")
    assert recording.job.spec["originals"] == ["original.wav"] and recording.job.spec["folder"] == recording.folder


def test_files_that_belong_together_keep_their_order(owner: User, wav: Path, tmp_path: Path) -> None:
    second = tmp_path / "b.mp3"
    second.write_bytes(b"not looked into here")
    recording = services.create_recording(user=owner, name="session", source=wav, more=[second])
    assert recording.name == "session and 1 more"
    assert recording.originals == ["original-1.wav", "original-2.mp3"]
    assert (recording.path / "original-2.mp3").read_bytes() == b"not looked into here"


def test_nothing_is_lost_where_the_queue_is_full(owner: User, wav: Path, portal: Path, settings: object) -> None:
    settings.JOBS_WAITING = 0  # type: ignore[attr-defined]
    with pytest.raises(jobs.LimitReached):
        services.create_recording(user=owner, name="a.wav", source=wav)
    assert wav.is_file() and not Recording.objects.exists() and not list((portal / "audio").iterdir())


@pytest.mark.parametrize(
    "options",
    [{"engine": "sox"}, {"language": "no language"}, {"speakers": 99}, {"speakers": True}, {"speakers": "2"}, {"x": 1}],
)
def test_options_that_make_no_sense_are_refused(owner: User, wav: Path, options: dict[str, object]) -> None:
    with pytest.raises(HarkError, match="cannot be transcribed like that"):
        services.create_recording(user=owner, name="a.wav", source=wav, options=options)
    assert wav.is_file()


def test_a_large_file_is_refused_with_the_limit(owner: User, wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_UPLOAD_MAX_BYTES", "1000")
    with pytest.raises(HarkError, match="too large") as refused:
        services.create_recording(user=owner, name="a.wav", source=wav)
    assert getattr(refused.value, "status", None) == 413 and wav.is_file()


def test_the_limits_are_said_before_the_upload_and_after_it_to_whom_they_concern(
    owners: Client, owner: User, other: User, wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = owners.get("/recordings/").content.decode()
    assert "up to 4 hours and 1000 MB each" in page and 'data-most-seconds="14400"' in page
    monkeypatch.setenv("HARK_UPLOAD_MAX_SECONDS", "2700")
    assert "up to 45 minutes" in owners.get("/recordings/").content.decode()
    monkeypatch.setenv("HARK_UPLOAD_MAX_BYTES", "100")
    for user, remedy in ((owner, "set HARK_UPLOAD_MAX_BYTES"), (other, "ask the owner")):
        with pytest.raises(HarkError, match="too large") as error:
            services.create_recording(user=user, name="a.wav", source=wav)
        assert remedy in error.value.what_to_do
    monkeypatch.delenv("HARK_UPLOAD_MAX_BYTES")
    made = services.create_recording(user=other, name="a.wav", source=wav)
    assert made.job is not None and made.job.spec["owner"] is False


def test_a_form_takes_several_files(owners: Client, owner: User, wav: Path, portal: Path) -> None:
    files = [SimpleUploadedFile(f"{n}.wav", wav.read_bytes()) for n in "ab"]
    form = {"engine": "auto", "language": "", "speakers": "2", "summarize": "on"}
    answer = owners.post("/recordings/upload", {**form, "audio": files})
    assert answer.status_code == 302
    assert sorted(services.recordings_of(owner).values_list("name", flat=True)) == ["a.wav", "b.wav"]
    assert {row["speakers"] for row in services.recordings_of(owner).values_list("options", flat=True)} == {2}
    files = [SimpleUploadedFile(f"{n}.wav", wav.read_bytes()) for n in "cd"]
    owners.post("/recordings/upload", {**form, "audio": files, "together": "on"})
    joined = services.recordings_of(owner).get(name="c.wav and 1 more")
    assert joined.originals == ["original-1.wav", "original-2.wav"]
    upload = owners.get(f"/recordings/{joined.pk}/original")
    assert upload["Content-Disposition"] == 'attachment; filename="original-1.wav"'
    german = {"Accept-Language": "de"}
    files = [SimpleUploadedFile(f"{n}.wav", wav.read_bytes()) for n in "efg"]
    owners.post("/recordings/upload", {**form, "audio": files, "together": "on"}, headers=german)
    assert services.recordings_of(owner).filter(name="e.wav und 2 weitere").exists()
    assert list((portal / "uploads" / "recordings").iterdir()) == []


def test_a_form_without_a_file_says_so(owners: Client, owner: User) -> None:
    answer = owners.post("/recordings/upload", {"engine": "auto"})
    assert answer.status_code == 422 and b"There is no recording." in answer.content


# ---- its state


def test_states_follow_the_job(owner: User, wav: Path) -> None:
    recording = services.create_recording(user=owner, name="a.wav", source=wav)
    job = recording.job
    assert job is not None
    Job.objects.filter(pk=job.pk).update(sent_at=timezone.now())
    job = jobs.claim(job.pk)
    assert job is not None
    jobs.finish(job, Job.State.FAILED, HarkError("It failed.", "Because.", "Do."))
    recording = services.recordings_of(owner).get(pk=recording.pk)
    assert recording.state == "failed" and recording.now == "failed"
    with pytest.raises(services.NotReady, match="no transcript"):
        services.transcript_of(recording)
    services.retry(recording=recording)
    assert services.recordings_of(owner).get(pk=recording.pk).now == "working"


def test_a_failed_recording_says_why_and_can_be_tried_again(owners: Client, owner: User, wav: Path) -> None:
    recording = services.create_recording(user=owner, name="a.wav", source=wav)
    error = {"what": "It is <silent>.", "why": "Because.", "what_to_do": "Do."}
    Job.objects.filter(pk=recording.job_id).update(state=Job.State.FAILED, error=error)
    page = owners.get(f"/recordings/{recording.pk}").content.decode()
    assert "It is &lt;silent&gt;." in page and "Try again" in page
    assert owners.post(f"/recordings/{recording.pk}/retry").status_code == 302
    assert services.recordings_of(owner).get(pk=recording.pk).now == "working"
    assert b"Waiting for its turn" in owners.get(f"/recordings/{recording.pk}").content


def test_a_done_job_makes_it_ready_and_findable(recording: Recording) -> None:
    assert (recording.state, recording.duration_s, recording.language) == ("ready", 3.0, "en")
    assert (recording.speakers, recording.words, recording.version) == (2, 18, 1)
    assert Passage.objects.filter(recording=recording).count() == 3


def test_transcribing_again_keeps_the_old_one_until_then(recording: Recording, owner: User) -> None:
    before = recording.job_id
    (recording.path / "progress.jsonl").write_text("{}")
    services.transcribe_again(recording=recording, options={"engine": "hark", "summarize": False})
    now = services.recordings_of(owner).select_related("user").get(pk=recording.pk)
    assert now.now == "working" and now.options["engine"] == "hark" and now.job_id != before
    assert not Job.objects.filter(pk=before).exists() and not (recording.path / "progress.jsonl").exists()
    assert services.transcript_of(now).segments
    with pytest.raises(services.NotReady):
        services.update_segment(recording=now, number=0, text="x")
    with pytest.raises(services.NotReady):
        services.transcribe_again(recording=now)


def test_an_old_transcript_says_that_the_new_one_failed(owners: Client, recording: Recording) -> None:
    services.transcribe_again(recording=recording)
    error = {"what": "The engine broke.", "why": "", "what_to_do": ""}
    recording.refresh_from_db()
    Job.objects.filter(pk=recording.job_id).update(state=Job.State.FAILED, error=error)
    Recording.objects.update(state=Recording.State.FAILED)
    page = owners.get(f"/recordings/{recording.pk}").content.decode()
    assert "The engine broke." in page and "the transcript from before" in page and "We meet in" in page


# ---- pages


def test_the_page_shows_words_speakers_and_summary_as_text(owners: Client, recording: Recording) -> None:
    page = owners.get(f"/recordings/{recording.pk}").content.decode()
    assert "We meet in the harbour" in page and "&lt;b&gt;lantern&lt;/b&gt;" in page and "<b>lantern" not in page
    assert "Anna brings the lantern." in page and 'data-seek="2.000"' in page
    assert "test engine" in page and "Play from 0:00:01" in page


def test_the_list_shows_state_and_progress(owners: Client, owner: User, recording: Recording, wav: Path) -> None:
    assert b"every 2s" not in owners.get("/recordings/").content
    going = services.create_recording(user=owner, name="going.wav", source=wav)
    Job.objects.filter(pk=going.job_id).update(state="running", done=3.0, total=10.0, message="Writing it down")
    page = owners.get("/recordings/").content.decode()
    assert "every 2s" in page and 'value="3.000"' in page and "Writing it down" in page
    assert "meeting.wav" in owners.get("/recordings/rows").content.decode()


def test_empty_pages_teach(owners: Client, owner: User) -> None:
    assert b"What was said, when and by whom" in owners.get("/recordings/").content
    assert b"nothing to search yet" in owners.get("/recordings/search").content
    assert b"Transcribe while you speak" in owners.get("/recordings/live").content


@pytest.mark.parametrize("number", [1, 20])
def test_pages_ask_the_database_a_constant_number_of_times(
    owners: Client, owner: User, number: int, django_assert_max_num_queries: object
) -> None:
    for index in range(number):
        one = ready_recording(owner, f"{index}.wav")
    for _ in range(number):
        services.share(recording=one)
    for address in ("/recordings/", "/recordings/search?q=lantern", f"/recordings/{one.pk}"):
        with django_assert_max_num_queries(7):  # type: ignore[operator]
            assert owners.get(address).status_code == 200


def test_words_come_with_their_times(owners: Client, recording: Recording) -> None:
    content = owners.get(f"/recordings/{recording.pk}/words").json()
    assert content["version"] == 1
    assert content["segments"][1]["words"][0] == ["Who", 1.0, 1.225, 0.3]
    assert owners.get(f"/recordings/{recording.pk}/waveform").json() == {"peaks": [0.1, 0.5, 0.1]}


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
def test_a_part_of_the_sound_is_sent(
    owners: Client, recording: Recording, asked: str | None, status: int, first: int, last: int | None
) -> None:
    whole = (recording.path / "audio.flac").read_bytes()
    answer = owners.get(f"/recordings/{recording.pk}/audio", headers={"Range": asked} if asked else {})
    wanted = whole[first : None if last is None else last + 1]
    assert answer.status_code == status and b"".join(answer.streaming_content) == wanted  # type: ignore[attr-defined]
    assert answer["Accept-Ranges"] == "bytes" and int(answer["Content-Length"]) == len(wanted)
    if status == 206:
        start = first if first >= 0 else len(whole) + first
        assert answer["Content-Range"] == f"bytes {start}-{start + len(wanted) - 1}/{len(whole)}"


def test_ranges_beyond_the_end_and_of_another_version(owners: Client, recording: Recording) -> None:
    address = f"/recordings/{recording.pk}/audio"
    answer = owners.get(address, headers={"Range": "bytes=99999999-"})
    assert answer.status_code == 416 and answer["Content-Range"].startswith("bytes */")
    assert owners.get(address, headers={"Range": "bytes=0-1", "If-Range": '"old"'}).status_code == 200
    head = owners.head(address)
    assert head.status_code == 200 and head.content == b"" and int(head["Content-Length"]) > 100
    tag = head["ETag"]
    assert owners.get(address, headers={"Range": "bytes=0-1", "If-Range": tag}).status_code == 206


# ---- corrections


def test_words_that_stay_keep_their_times() -> None:
    words = tuple(Word(text, i * 1.0, i + 0.8, 0.4) for i, text in enumerate(["the", "hole", "ship", "sank"]))
    new = corrected(Segment(0.0, 4.0, "the hole ship sank", 0.4, words), "The whole old ship sank today.")
    assert new.edited and new.text == "The whole old ship sank today."
    assert [word.text for word in new.words] == ["The", "whole", "old", "ship", "sank", "today."]
    assert (new.words[0].start_s, new.words[0].confidence) == (0.0, 0.4)
    assert (new.words[1].start_s, new.words[2].end_s, new.words[1].confidence) == (1.0, 1.8, 1.0)
    assert new.words[3] == words[2] and (new.words[5].start_s, new.words[5].end_s) == (3.8, 4.0)
    starts = [word.start_s for word in new.words]
    assert starts == sorted(starts) and all(word.start_s <= word.end_s for word in new.words)


@pytest.mark.parametrize("text", ["entirely different words here", "hole", "ship the hole", "a the hole ship sank"])
def test_times_never_go_back(text: str) -> None:
    words = tuple(Word(part, i * 1.0, i + 0.8, 0.4) for i, part in enumerate(["the", "hole", "ship", "sank"]))
    new = corrected(Segment(0.0, 4.0, "the hole ship sank", 0.4, words), text)
    edges = [edge for word in new.words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges) and edges[0] >= 0.0 and edges[-1] <= 4.0
    assert " ".join(word.text for word in new.words) == text


def test_a_correction_is_kept_found_and_counted(owners: Client, recording: Recording, owner: User) -> None:
    address = f"/recordings/{recording.pk}/segments/0"
    answer = owners.post(address, {"text": " We meet at the\nlighthouse\x00 ", "version": "1"})
    assert answer.json()["version"] == 2 and answer.json()["segment"]["text"] == "We meet at the lighthouse"
    now = services.transcript_of(Recording.objects.get(pk=recording.pk))
    assert now.segments[0].edited and now.segments[1] == transcript_of_words().segments[1]
    assert "lighthouse" in (recording.path / "transcript.txt").read_text()
    assert [hit.number for hit in services.search(user=owner, query="lighthouse")] == [0]
    assert services.search(user=owner, query="harbour") == []


def test_of_two_who_correct_the_second_is_told(owners: Client, recording: Recording) -> None:
    address = f"/recordings/{recording.pk}/segments/0"
    owners.post(address, {"text": "first", "version": "1"})
    answer = owners.post(address, {"text": "second", "version": "1"})
    assert answer.status_code == 409
    assert (answer.json()["version"], answer.json()["text"]) == (2, "first")
    assert owners.post(address, {"text": "second", "version": "2"}).status_code == 200


def test_a_passage_without_text_goes_and_the_summary_cites_the_others(
    owners: Client, owner: User, recording: Recording
) -> None:
    answer = owners.post(f"/recordings/{recording.pk}/segments/1", {"text": " ", "version": "1"})
    assert answer.json()["segment"] is None
    recording = Recording.objects.get(pk=recording.pk)
    assert [s.text.split()[0] for s in services.transcript_of(recording).segments] == ["We", "Anna"]
    summary = services.summary_of(recording)
    assert summary is not None
    assert [point["segments"] for point in summary["key_points"]] == [[0]]
    assert summary["action_items"][0]["segments"] == [1] and summary["segments"] == [0, 1]
    assert [hit.number for hit in services.search(user=owner, query="map")] == [1]
    assert owners.post(f"/recordings/{recording.pk}/segments/7", {"text": "x"}).status_code == 422


def test_without_segment_leaves_the_rest() -> None:
    summary = {"text": "t", "segments": [3], "key_points": [], "action_items": [], "engine": "e"}
    assert without_segment(summary, 1) == {**summary, "segments": [2]}


def test_a_speaker_gets_a_name(owners: Client, owner: User, recording: Recording) -> None:
    answer = owners.post(f"/recordings/{recording.pk}/speakers", {"speaker": "S2", "name": " Böhm <i> "})
    assert answer.status_code == 302
    page = owners.get(f"/recordings/{recording.pk}").content.decode()
    assert "Böhm &lt;i&gt;" in page
    assert services.search(user=owner, query="lantern who")[0].speaker == "Böhm <i>"
    assert owners.post(f"/recordings/{recording.pk}/speakers", {"speaker": "S9", "name": "x"}).status_code == 422


def who_says(recording: Recording) -> list[str]:
    return [segment.speaker for segment in services.transcript_of(recording).segments]


def test_a_passage_is_given_to_another_speaker_and_back(owners: Client, owner: User, recording: Recording) -> None:
    owners.post(f"/recordings/{recording.pk}/segments/0", {"text": "We meet on the pier"})  # a correction
    address = f"/recordings/{recording.pk}/segments/0/speaker"
    page = owners.get(f"/recordings/{recording.pk}").content.decode()
    assert f'href="{address}"' in page  # without scripts, too
    form = owners.get(address).content.decode()
    assert "<html" in form and "We meet on the pier" in form and 'value="S1" checked' in form
    assert "<html" not in owners.get(address, headers={"HX-Request": "true"}).content.decode()
    answer = owners.post(address, {"speaker": "S2", "start": "0.000"})
    assert answer.status_code == 302 and answer["Location"].endswith(f"{recording.pk}#passage-0")
    assert who_says(recording) == ["S2", "S2", "S1"]
    segment = services.transcript_of(recording).segments[0]
    assert segment.text == "We meet on the pier" and segment.edited
    # what is made of it follows
    services.rename_speaker(recording=recording, speaker="S2", name="Ben")
    assert b"Ben: We meet on the pier" in owners.get(f"/recordings/{recording.pk}/export?format=txt").content
    assert services.search(user=owner, query="pier")[0].speaker == "Ben"
    summary = owners.get(f"/recordings/{recording.pk}/summary").content.decode()
    assert "Ben 0:00" in summary
    token = services.share(recording=recording)[1]
    assert "Ben" in Client().get(f"/recordings/shared/{token}").content.decode()
    assert (recording.path / "transcript.txt").read_text().count("Ben") >= 1
    owners.post(address, {"speaker": "S1"})
    assert who_says(recording) == ["S1", "S2", "S1"]


def test_somebody_new_speaks_and_two_become_one(owners: Client, owner: User, recording: Recording) -> None:
    address = f"/recordings/{recording.pk}/segments/{{}}/speaker"
    owners.post(address.format(2), {"speaker": "new"})
    assert who_says(recording) == ["S1", "S2", "S3"]
    assert services.transcript_of(recording).speakers["S3"] == "Speaker 3"
    assert services.recordings_of(owner).get().speakers == 3
    owners.post(address.format(2), {"speaker": "S2", "all": "on"})
    owners.post(address.format(1), {"speaker": "S1", "all": "on"})
    assert who_says(recording) == ["S1", "S1", "S1"] and services.recordings_of(owner).get().speakers == 1
    page = owners.get(f"/recordings/{recording.pk}").content.decode()
    assert 'name="speaker" value="S1"' in page and 'name="speaker" value="S2"' not in page
    assert 'value="S2"' in owners.get(address.format(1)).content.decode()  # can be given back
    owners.post(address.format(1), {"speaker": ""})
    assert who_says(recording) == ["S1", "", "S1"]


@pytest.mark.parametrize(
    ("number", "form"), [(0, {"speaker": "S9"}), (7, {"speaker": "S1"}), (0, {"speaker": "S2", "start": "1.000"})]
)
def test_a_speaker_or_a_passage_that_is_not_there_changes_nothing(
    owners: Client, recording: Recording, number: int, form: dict[str, str]
) -> None:
    assert owners.post(f"/recordings/{recording.pk}/segments/{number}/speaker", form).status_code == 422
    assert who_says(recording) == ["S1", "S2", "S1"] and Recording.objects.get().version == 1
    assert owners.get(f"/recordings/{recording.pk}/segments/7/speaker").status_code == 404


def test_a_voice_is_remembered_with_consent_only(owners: Client, recording: Recording) -> None:
    form = {"speaker": "S1", "name": "Anna", "remember": "on"}
    answer = owners.post(f"/recordings/{recording.pk}/speakers", form)
    assert answer.status_code == 422 and b"consent" in answer.content
    assert services.transcript_of(recording).speakers["S1"] == "S1"


def test_a_voice_that_is_remembered_can_be_forgotten(
    owners: Client, owner: User, recording: Recording, portal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, str, int, bool]] = []
    monkeypatch.setattr(
        "pipeline.recordings.diarization.voiceprints.remember",
        lambda file, name, audio, consent: asked.append((file, name, len(audio), consent)),
    )
    form = {"speaker": "S1", "name": "Anna", "remember": "on", "consent": "on"}
    assert owners.post(f"/recordings/{recording.pk}/speakers", form).status_code == 302
    ((file, name, samples, consent),) = asked
    assert (file, name, consent) == (portal / "voices.json", "Anna", True)
    assert samples == pytest.approx(1.8 * 16000, abs=2)  # what she says, and nobody else
    voices = {"schema": 1, "voices": {"Anna": {"embedding": [0.0] * 256, "times": 1}}}
    (portal / "voices.json").write_text(json.dumps(voices))
    assert b"Forget Anna" in owners.get("/recordings/").content
    assert owners.post("/recordings/voices/forget", {"name": "Anna"}).status_code == 302
    assert services.voices_of(owner) == [] and not (portal / "voices.json").exists()


# ---- files


@pytest.mark.parametrize(
    ("wanted", "begins"),
    [("txt", b"meeting"), ("srt", b"1\n00:00:00,000"), ("vtt", b"WEBVTT"), ("json", b"{"), ("docx", b"PK")],
)
def test_exports(owners: Client, recording: Recording, wanted: str, begins: bytes) -> None:
    answer = owners.get(f"/recordings/{recording.pk}/export?format={wanted}")
    assert answer.content.startswith(begins)
    assert f'filename="meeting.{wanted}"' in answer["Content-Disposition"]


def test_an_export_of_another_kind_is_refused(owners: Client, recording: Recording) -> None:
    assert owners.get(f"/recordings/{recording.pk}/export?format=exe").status_code == 422


def test_a_name_cannot_break_out_of_a_header(owners: Client, recording: Recording) -> None:
    Recording.objects.update(name='a"; b\r\nX: y – ü.wav')
    said = owners.get(f"/recordings/{recording.pk}/export?format=txt")["Content-Disposition"]
    assert "\n" not in said and said.count('"') == 2 and "filename*=UTF-8''" in said


# ---- deletion


def test_deleting_leaves_nothing(owners: Client, owner: User, recording: Recording, portal: Path) -> None:
    spec = {"recording": str(recording.pk), "folder": recording.folder, "minable": True}
    recording_job.make_minable(spec, portal, silent_reporter())
    log = portal / "log" / f"job-{recording.job_id}.log"
    log.parent.mkdir()
    log.write_text("what was said")
    services.share(recording=recording)
    assert b"for good" in owners.get(f"/recordings/{recording.pk}/delete").content
    assert owners.post(f"/recordings/{recording.pk}/delete").status_code == 302
    assert not Recording.objects.exists() and not Passage.objects.exists() and not Job.objects.exists()
    assert not recording.path.exists() and not log.exists()
    assert services.search(user=owner, query="lantern") == []
    with Library(portal) as library:
        assert library.stats().clips == 0
    assert not list((portal / "clips").rglob("*.flac"))


def test_deleting_while_it_is_transcribed_ends_the_job_and_cleans_up_after_it(owner: User, wav: Path) -> None:
    recording = services.create_recording(user=owner, name="a.wav", source=wav)
    Job.objects.filter(pk=recording.job_id).update(sent_at=timezone.now())
    job = jobs.claim(recording.job_id or "")
    assert job is not None
    services.delete(recording=recording)
    assert Job.objects.get(pk=job.pk).state == Job.State.CANCELLING
    recording.path.mkdir(parents=True)
    (recording.path / "audio.flac").write_bytes(b"written before the job saw that it shall end")
    services.job_has_ended(Job, job)
    from django.db import connection

    for _ids, callback, _robust in connection.run_on_commit:
        callback()
    assert not recording.path.exists()


def test_another_s_recording_is_not_there(client: Client, other: User, recording: Recording) -> None:
    client.force_login(other)
    for rest in ("", "/audio", "/words", "/waveform", "/export", "/delete", "/original", "/segments/0/speaker"):
        assert client.get(f"/recordings/{recording.pk}{rest}").status_code == 404
    assert client.post(f"/recordings/{recording.pk}/delete").status_code == 404
    assert services.search(user=other, query="lantern") == []


# ---- the circle closes


def test_a_minable_recording_is_in_the_library_until_it_is_not(
    owners: Client, owner: User, recording: Recording, portal: Path
) -> None:
    owners.post(f"/recordings/{recording.pk}/minable", {"minable": "on"})
    job = Job.objects.get(kind="minable")
    assert job.spec["minable"] is True
    assert recording_job.make_minable(job.spec, portal, silent_reporter()) == {"clips": 3, "removed": 0}
    with Library(portal) as library:
        (clip,) = library.search("harbour on tuesday", 10)
        assert clip.engine == "corpus" and clip.language == "en" and clip.licence == "private"
        assert clip.duration_s == pytest.approx(1.0, abs=0.11)
    assert recording_job.make_minable(job.spec, portal, silent_reporter()) == {"clips": 3, "removed": 0}
    # a correction reaches the library at once
    Job.objects.update(state=Job.State.DONE)
    owners.post(f"/recordings/{recording.pk}/segments/0", {"text": "We meet on the pier"})
    with Library(portal) as library:
        assert library.search("harbour", 10) == [] and len(library.search("the pier", 10)) == 1
    # and so does who says it: splits are by speaker
    owners.post(f"/recordings/{recording.pk}/segments/0/speaker", {"speaker": "S2"})
    with Library(portal) as library:
        assert [clip.speaker for clip in library.search("the pier", 10)] == [f"{recording.pk}-S2"]
    owners.post(f"/recordings/{recording.pk}/minable", {})
    assert Recording.objects.get().minable is False
    job = Job.objects.filter(kind="minable", spec__minable=False).get()
    assert recording_job.make_minable(job.spec, portal, silent_reporter()) == {"clips": 0, "removed": 3}
    with Library(portal) as library:
        assert library.stats().clips == 0


def test_results_are_plain_json(recording: Recording, owner: User) -> None:
    json.dumps(services.summary_of(recording))
    assert services.recordings_of(owner).count() == 1


# ---- what somebody who is new here meets


@pytest.mark.parametrize(("engine", "said"), [("hark", "four wrong words"), ("pocketsphinx en-us", "many wrong")])
def test_a_weak_engine_is_named_as_one(owners: Client, owner: User, engine: str, said: str) -> None:
    one = ready_recording(owner, transcript=replace(transcript_of_words(), engine=engine))
    page = owners.get(f"/recordings/{one.pk}").content.decode()
    assert said in page and '<a href="/engines">Get one</a>' in page
    made = services.share(recording=one)[1]
    page = Client().get(f"/recordings/shared/{made}").content.decode()
    assert said in page and "Get one" not in page


def test_a_better_engine_is_not(owners: Client, recording: Recording) -> None:
    assert "Get one" not in owners.get(f"/recordings/{recording.pk}").content.decode()


def test_a_summary_says_that_it_is_older_than_the_corrections(owners: Client, recording: Recording) -> None:
    address = f"/recordings/{recording.pk}"
    assert "data-outdated hidden" in owners.get(address).content.decode()
    owners.post(f"{address}/segments/0", {"text": "We meet at the lighthouse", "version": "1"})
    page = owners.get(address).content.decode()
    assert "Made before your corrections." in page and "data-outdated hidden" not in page


def test_a_summary_of_its_points_only_is_shown_once(owners: Client, recording: Recording) -> None:
    points = Point("Tuesday.", (0,)), Point("In the harbour!", (0,))
    summary = Summary("Tuesday. In the  harbour!", points, (), Sentiment("neutral", 0.0), "test")
    save_summary(summary, recording.path / recording_folder.SUMMARY)
    page = owners.get(f"/recordings/{recording.pk}").content.decode()
    assert "Tuesday. In the" not in page and page.count("In the harbour!") == 1


def test_a_new_link_is_where_it_was_asked_for(owners: Client, recording: Recording) -> None:
    address = f"/recordings/{recording.pk}"
    assert f'action="{address}/share#sharing"' in owners.get(address).content.decode()
    again = owners.get(f"{address}/share")
    assert again.status_code == 302 and again["Location"] == f"{address}#sharing"


def test_what_happened_to_a_name_is_said_beside_it_and_once(owners: Client, recording: Recording) -> None:
    form = {"speaker": "S1", "name": "Anna"}
    page = owners.post(f"/recordings/{recording.pk}/speakers", form, follow=True).content.decode()
    assert page.count("The name is kept.") == 1
    assert page.index('id="who-speaks"') < page.index("The name is kept.") < page.index('id="sharing"')
    assert "The name is kept." not in owners.get(f"/recordings/{recording.pk}").content.decode()


def test_without_words_there_is_nothing_to_find_or_ask(owners: Client, owner: User) -> None:
    silent = ready_recording(owner, transcript=replace(transcript_of_words(), segments=(), speakers={}))
    page = owners.get(f"/recordings/{silent.pk}").content.decode()
    assert "No words were recognized" in page
    for part in ("data-shade", "data-find", 'id="ask"', 'name="minable"', "Next unsure word"):
        assert part not in page


def test_an_answer_is_not_said_twice(owners: Client, recording: Recording) -> None:
    form = {"question": "Who brings the lantern and the map?"}
    answer = owners.post(f"/recordings/{recording.pk}/ask", form, headers={"HX-Request": "true"}).content.decode()
    assert answer.count("Anna brings the lantern and the map") == 1 and "The nearest passage:" in answer


def test_where_one_is_in_the_menu(owners: Client, recording: Recording) -> None:
    for address, mark in (("", "page"), ("live", "true"), (str(recording.pk), "true")):
        page = owners.get(f"/recordings/{address}").content.decode()
        assert re.search(rf'<a href="/recordings/" aria-current="{mark}">', page)


# ---- summarized again


def summarized(recording: Recording) -> Job:
    """As a worker does the newest job of that kind."""
    job = Job.objects.filter(kind="summarize").latest("created_at")
    Job.objects.filter(pk=job.pk).update(sent_at=timezone.now())
    mine = jobs.claim(job.pk)
    assert mine is not None
    try:
        recording_job.summarize_recording(job.spec, jobs.user_data(job.user), silent_reporter())
    except HarkError as error:
        jobs.finish(mine, Job.State.FAILED, error)
    else:
        jobs.finish(mine, Job.State.DONE)
    return Job.objects.get(pk=job.pk)


def test_after_corrections_it_can_be_summarized_again(owners: Client, recording: Recording) -> None:
    outdated = "<span data-outdated > Made before your corrections."
    page = f"/recordings/{recording.pk}"
    assert outdated not in owners.get(page).content.decode()
    owners.post(f"{page}/segments/0", {"text": "We meet at the lighthouse on Tuesday", "version": "1"})
    shown = owners.get(page).content.decode()
    assert outdated in shown and "Summarize again" in shown
    answer = owners.post(f"{page}/summary", {"engine": "extractive"})
    assert answer.status_code == 302 and answer["Location"] == f"{page}#summary"
    shown = owners.get(page).content.decode()
    assert "Another summary is being written." in shown and f'hx-get="{page}/summary"' in shown
    assert summarized(recording).state == "done"
    summary = services.summary_of(recording)
    assert summary is not None and summary["engine"].startswith("extractive") and "lighthouse" in str(summary)
    fragment = owners.get(f"{page}/summary").content.decode()
    assert "hx-get" not in fragment and outdated not in fragment and "Summarize again" in fragment
    owners.post(f"{page}/segments/0", {"text": "We meet in the harbour", "version": "2"})
    assert outdated in owners.get(f"{page}/summary").content.decode()


def test_one_summary_at_a_time_and_by_engines_that_there_are(owners: Client, recording: Recording, other: User) -> None:
    page = f"/recordings/{recording.pk}/summary"
    unknown = owners.post(page, {"engine": "scribe"})
    assert unknown.status_code == 422 and b"There is no engine of summaries called scribe." in unknown.content
    assert owners.post(page).status_code == 302
    second = owners.post(page, {"engine": "extractive"})
    assert second.status_code == 409 and b"The recording is being summarized." in second.content
    assert Job.objects.filter(kind="summarize").count() == 1
    stranger = Client()
    stranger.force_login(other)
    assert stranger.post(page).status_code == 404
    services.transcribe_again(recording=Recording.objects.select_related("user", "job").get())
    Job.objects.filter(kind="summarize").delete()
    assert owners.post(page).status_code == 409


def test_a_summary_of_passages_that_are_gone_is_not_kept(
    owners: Client, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.summarize_again(recording=recording)
    real = recording_job._summary

    def corrected_meanwhile(*arguments: object) -> object:
        made = real(*arguments)  # type: ignore[arg-type]
        services.update_segment(recording=recording, number=1, text="", version=None)
        return made

    monkeypatch.setattr(recording_job, "_summary", corrected_meanwhile)
    before = services.summary_of(recording)
    assert before is not None
    assert summarized(recording).state == "failed"
    after = services.summary_of(recording)
    assert after == {**before, **without_segment(before, 1)}
    shown = owners.get(f"/recordings/{recording.pk}").content.decode()
    assert "Summarizing it again did not end well." in shown and "does not fit any more" in shown


def test_a_recording_without_a_summary_can_have_one(owners: Client, recording: Recording) -> None:
    (recording.path / recording_folder.SUMMARY).unlink()
    shown = owners.get(f"/recordings/{recording.pk}").content.decode()
    assert "There is no summary." in shown and '<button class="quiet">Summarize</button>' in shown
    _made, token = services.share(recording=recording)
    assert "There is no summary." not in Client().get(f"/recordings/shared/{token}").content.decode()


# ---- polished


def test_a_transcript_is_polished_where_a_language_model_is_set_up(
    owners: Client, recording: Recording, other: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HARK_LLM_URL", "HARK_LLM_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    page = f"/recordings/{recording.pk}"
    address = f"{page}/polished"
    assert address not in owners.get(page).content.decode()
    refused = owners.post(address)
    assert refused.status_code == 422 and b"The recording cannot be polished here." in refused.content
    monkeypatch.setenv("HARK_LLM_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("HARK_LLM_MODEL", "double")

    def ask(task: str, rows: Any, check: Any, chosen: Any) -> Any:
        return check({"segments": [{"segment": row["segment"], "text": row["text"].upper()} for row in rows]})

    monkeypatch.setattr("pipeline.recordings.llm.ask", ask)
    stranger = Client()
    stranger.force_login(other)
    assert stranger.post(address).status_code == stranger.get(address).status_code == 404
    assert f'action="{address}"' in owners.get(page).content.decode()
    assert owners.get(address).status_code == 404
    assert owners.post(address).status_code == 302
    assert "It is being polished." in owners.get(page).content.decode()
    second = owners.post(address)
    assert second.status_code == 409 and b"The recording is being polished." in second.content
    job = Job.objects.get(kind="polish")
    recording_job.polish_recording(job.spec, jobs.user_data(job.user), silent_reporter())
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE)
    shown = owners.get(page).content.decode()
    assert f'href="{address}"' in shown and f'action="{address}"' in shown and "changed since" not in shown
    answer = owners.get(address)
    assert answer["Content-Disposition"] == 'attachment; filename="meeting (polished).txt"'
    assert b"ANNA BRINGS THE LANTERN" in b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert "Anna brings the lantern" in services.transcript_of(recording).text, "and the transcript is what it was"
    os.utime(recording.path / "polished.txt", (1, 1))
    assert "The transcript was changed since." in owners.get(page).content.decode()
