"""POST /recordings/<id>/undo and /segments/<n>/join."""

from __future__ import annotations

import json
from dataclasses import replace

from django.test import Client

from core.data_folder import atomic_path
from pipeline.recordings.files.recording_folder import SUMMARY, TRANSCRIPT
from pipeline.recordings.summarization import words_of
from tests.support.ready_recordings import ready_recording, transcript_of_words
from tests.support.rendered_pages import flat
from webui.accounts.models import User
from webui.recordings import job_results
from webui.recordings.editing import history, speaker_changes
from webui.recordings.models import Recording
from webui.recordings.reading import derived, transcripts


def passages_of(recording: Recording) -> list[tuple[str, str]]:
    return [(one.speaker, one.text) for one in transcripts.transcript_of(recording).segments]


def undo(client: Client, recording: Recording, version: int | str = "") -> int:
    return client.post(f"/recordings/{recording.pk}/undo", {"version": version}).status_code


def test_changes_are_undone_in_reverse_order(owners: Client, owner: User, recording: Recording, at: str) -> None:
    before = transcripts.transcript_of(recording), derived.summary_of(recording)
    assert "data-undo hidden" in flat(owners.get(at))
    owners.post(f"{at}/segments/1", {"text": ""})  # the passage is removed with the point that cites it
    owners.post(f"{at}/segments/0/speaker", {"speaker": "new"})
    speaker_changes.name_speakers(recording=recording, names={"S1": "Anna"})
    assert passages_of(recording)[0][0] == "S3" and len(passages_of(recording)) == 2
    assert "data-undo>" in flat(owners.get(at))
    assert undo(owners, recording) == 302
    assert transcripts.transcript_of(recording).speakers["S1"] == "S1" and passages_of(recording)[0][0] == "S3"
    assert undo(owners, recording) == 302 and passages_of(recording)[0][0] == "S1"
    assert undo(owners, recording) == 302
    assert (transcripts.transcript_of(recording), derived.summary_of(recording)) == before
    assert transcripts.search(user=owner, query="lantern who")
    assert b"S2" in (recording.path / "transcript.txt").read_bytes()
    recording.refresh_from_db()
    assert recording.version == 7 and recording.speakers == 2
    assert undo(owners, recording) == 422 and "data-undo hidden" in flat(owners.get(at))


def test_an_undo_preserves_a_newer_summary_whose_citations_still_fit(
    owners: Client, recording: Recording, at: str
) -> None:
    first = derived.summary_of(recording)
    summary_file = recording.path / SUMMARY
    for earlier in (first, None):
        if earlier is None:
            summary_file.unlink()
        for text, after_undo in (("", earlier), ("Who brings it", {**first, "overview": "Newer."})):
            owners.post(f"{at}/segments/1", {"text": text})
            summary_file.unlink(missing_ok=True)  # the history has a hard link to it
            summary_file.write_text(json.dumps({**first, "overview": "Newer."}))
            assert undo(owners, recording) == 302
            assert derived.summary_of(recording) == after_undo


def test_an_undo_restores_the_summary_of_the_restored_words(owners: Client, recording: Recording, at: str) -> None:
    first = derived.summary_of(recording)
    owners.post(f"{at}/segments/1", {"text": "Who brings it"})
    newer = {**first, "text": "Newer.", "made_of": words_of(transcripts.transcript_of(recording))}
    with atomic_path(recording.path / SUMMARY) as temporary:
        temporary.write_text(json.dumps(newer))
    assert undo(owners, recording) == 302
    assert derived.summary_of(recording) == first


def test_a_change_unseen_by_the_page_is_not_undone(owners: Client, recording: Recording, at: str) -> None:
    answer = owners.post(f"{at}/segments/0", {"text": "We meet on the pier"})
    seen = json.loads(answer.content)["version"]
    speaker_changes.name_speakers(recording=recording, names={"S1": "Anna"})
    assert undo(owners, recording, seen) == 409
    assert passages_of(recording)[0] == ("S1", "We meet on the pier")
    assert undo(owners, recording, seen + 1) == 302


def test_renaming_in_place_returns_the_version(owners: Client, at: str) -> None:
    address, named = at, {"speaker": "S1", "name": "Anna"}
    told = owners.post(f"{address}/speakers", named, headers={"Accept": "application/json"}).json()
    assert told == {"names": {"S1": "Anna"}, "shown": {"S1": "Anna"}, "version": 2}
    answer = owners.post(f"{address}/segments/0", {"text": "We meet", "version": told["version"]})
    assert answer.status_code == 200


def test_a_new_transcript_clears_the_undo_history(owners: Client, recording: Recording, at: str) -> None:
    owners.post(f"{at}/segments/0", {"text": "We meet on the pier"})
    assert history.newest(recording.path) is not None and recording.job is not None
    job_results.transcribed(recording.job)
    assert undo(owners, recording) == 422


def test_only_the_newest_changes_are_stored(recording: Recording) -> None:
    for number in range(history.MAX_CHANGES + 3):
        speaker_changes.name_speakers(recording=recording, names={"S1": f"Anna {number}"})
    assert len(list((recording.path / history.FOLDER).iterdir())) == history.MAX_CHANGES


def test_a_damaged_history_cannot_be_undone(owners: Client, recording: Recording, at: str) -> None:
    owners.post(f"{at}/segments/0", {"text": "We meet on the pier"})
    kept = history.newest(recording.path)
    assert kept is not None
    (kept / TRANSCRIPT).write_text("{")
    assert undo(owners, recording) == 422 and passages_of(recording)[0][1] == "We meet on the pier"


def test_joining_corrected_and_unrecognized_passages_loses_no_text(owners: Client, owner: User) -> None:
    spoken = transcript_of_words((("S1", "We meet", 0.9), ("S1", "in the harbour", 0.6), ("S1", "Anna", 0.3)))
    silent = [replace(one, text="", words=()) for one in spoken.segments[:2]]
    recording = ready_recording(owner, transcript=replace(spoken, segments=(*silent, spoken.segments[2])))
    page = f"/recordings/{recording.pk}/segments"
    owners.post(f"{page}/1/join")
    assert passages_of(recording)[1] == ("S1", "Anna")
    owners.post(f"{page}/0", {"text": "Who brings the map"})
    owners.post(f"{page}/0/join")
    (joined,) = transcripts.transcript_of(recording).segments
    assert joined.text == "Who brings the map Anna" == " ".join(word.text for word in joined.words)
    assert [word.start_s for word in joined.words] == sorted(word.start_s for word in joined.words)


def test_two_passages_can_be_joined(owners: Client, owner: User) -> None:
    words = (("S1", "We meet", 0.9), ("S1", "in the harbour", 0.6), ("S2", "who brings it", 0.3))
    recording = ready_recording(owner, transcript=transcript_of_words(words))
    page = f"/recordings/{recording.pk}/segments"
    assert f"{page}/0/join" in owners.get(f"{page}/0/speaker").text
    assert f"{page}/1/join" not in owners.get(f"{page}/1/speaker").text
    assert owners.post(f"{page}/1/join").status_code == 422  # the next passage has another speaker
    assert owners.post(f"{page}/2/join").status_code == 422  # there is no next passage
    assert owners.post(f"{page}/0/join", {"start": "0.500"}).status_code == 409  # the page showed another passage
    assert owners.post(f"{page}/0/join", {"start": "0.000"})["Location"].endswith("#passage-0")
    first, second = transcripts.transcript_of(recording).segments
    assert (first.start_s, first.end_s, first.text) == (0.0, 1.9, "We meet in the harbour")
    assert len(first.words) == 5 and first.confidence == 0.72 and second.speaker == "S2"
    summary = derived.summary_of(recording)
    assert [point["segments"] for point in summary["key_points"]] == [[0], [0]]
    assert summary["action_items"][0]["segments"] == [1]
    assert undo(owners, recording) == 302 and len(passages_of(recording)) == 3
