"""POST /recordings/<id>/segments/<n>: corrections."""

from __future__ import annotations

import pytest
from django.test import Client

from pipeline.recordings.transcripts.transcript import Segment, Word
from tests.support.ready_recordings import ready_recording, transcript_of_words
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.recordings.editing.segments import corrected, without_segment
from webui.recordings.models import Recording
from webui.recordings.reading import derived, transcripts
from webui.recordings.transcribing import expected_words


def test_a_correction_is_stored_indexed_and_counted(owners: Client, recording: Recording, at: str, owner: User) -> None:
    address = f"{at}/segments/0"
    answer = owners.post(address, {"text": " We meet at the\nlighthouse\x00 ", "version": "1"})
    assert answer.json()["version"] == 2 and answer.json()["segment"]["text"] == "We meet at the lighthouse"
    now = transcripts.transcript_of(Recording.objects.get(pk=recording.pk))
    assert now.segments[0].edited and now.segments[1] == transcript_of_words().segments[1]
    assert "lighthouse" in (recording.path / "transcript.txt").read_text()
    assert [hit.number for hit in transcripts.search(user=owner, query="lighthouse")] == [0]
    assert transcripts.search(user=owner, query="harbour") == []


def test_an_outdated_version_gets_409(owners: Client, at: str) -> None:
    address = f"{at}/segments/0"
    owners.post(address, {"text": "first", "version": "1"})
    answer = owners.post(address, {"text": "second", "version": "1"})
    assert answer.status_code == 409
    assert (answer.json()["version"], answer.json()["text"]) == (2, "first")
    assert owners.post(address, {"text": "second", "version": "2"}).status_code == 200


def test_a_passage_that_took_the_number_of_another_is_not_corrected(
    owners: Client, recording: Recording, at: str
) -> None:
    owners.post(f"{at}/segments/0", {"text": ""})
    assert owners.post(f"{at}/segments/1", {"text": "Who brings it", "start": "1.000"}).status_code == 409
    assert transcripts.transcript_of(recording).segments == transcript_of_words().segments[1:]
    assert owners.post(f"{at}/segments/0", {"text": "Who brings it", "start": "1.000"}).status_code == 200


def test_empty_text_removes_the_segment_and_renumbers_the_summary(
    owners: Client, owner: User, recording: Recording, at: str
) -> None:
    answer = owners.post(f"{at}/segments/1", {"text": " ", "version": "1"})
    assert answer.json()["segment"] is None
    recording = Recording.objects.get(pk=recording.pk)
    assert [s.text.split()[0] for s in transcripts.transcript_of(recording).segments] == ["We", "Anna"]
    summary = derived.summary_of(recording)
    assert [point["segments"] for point in summary["key_points"]] == [[0]]
    assert summary["action_items"][0]["segments"] == [1] and summary["segments"] == [0, 1]
    assert [hit.number for hit in transcripts.search(user=owner, query="map")] == [1]
    assert owners.post(f"{at}/segments/7", {"text": "x"}).status_code == 422


def test_corrected_names_become_expected_words(
    owners: Client, client: Client, other: User, recording: Recording, at: str
) -> None:
    assert b"Words from your corrections" not in owners.get(at).content
    owners.post(f"{at}/segments/2", {"text": "Siobhan brings the lantern and the Grafana map", "version": "1"})
    page = owners.get(at).text
    assert "Words from your corrections" in page and "Remove Siobhan" in page and "Remove Grafana" in page
    assert owners.post(f"{at}/words/forget", {"word": "Grafana"})["Location"] == f"{at}#expected-words"
    assert "Remove Grafana" not in owners.get(at).text
    owners.post(f"{at}/again", {"engine": "auto", "language": "en"})
    job = Recording.objects.get(pk=recording.pk).job
    assert job.spec["words"] == ["Siobhan"]
    assert expected_words.expected(other, None) == []
    client.force_login(other)
    assert client.post(f"{at}/words/forget", {"word": "Siobhan"}).status_code == 404
    assert expected_words.expected(recording.user, "en") == ["Siobhan"]


def test_a_correction_is_stored_even_if_its_words_cannot_be(owners: Client, recording: Recording, at: str) -> None:
    (user_data(recording.user) / "words.json").write_text("{")
    answer = owners.post(f"{at}/segments/0", {"text": "We meet Siobhan", "version": "1"})
    assert answer.status_code == 200
    assert transcripts.transcript_of(Recording.objects.get(pk=recording.pk)).segments[0].text == "We meet Siobhan"
    assert owners.get(at).status_code == 200
    owners.post(f"{at}/again", {"engine": "auto", "language": "en"})
    job = Recording.objects.get(pk=recording.pk).job
    assert job.spec["words"] == []


def test_misrecognized_words_are_replaced_elsewhere_and_restored(owners: Client, owner: User) -> None:
    said = (("S1", "Karpati met Karpati", 0.9), ("S2", "karpati's lantern (Karpati)", 0.9), ("S1", "Karpatinger", 0.9))
    recording = ready_recording(owner, transcript=transcript_of_words(said))
    place = f"/recordings/{recording.pk}"
    told = owners.post(f"{place}/segments/0", {"text": "Karpathy met Karpati", "version": 1}).json()
    asked = "“Karpati” also occurs in 1 other passage. Replace it with “Karpathy” there too?"
    assert told["elsewhere"] == {"heard": "Karpati", "said": "Karpathy", "told": asked}
    form = {"heard": "Karpati", "said": "Karpathy", "besides": 0, "version": told["version"]}
    assert owners.post(f"{place}/replace", {**form, "version": 1}).status_code == 409  # no longer current
    assert owners.post(f"{place}/replace", {**form, "said": " "}).status_code == 422
    page = owners.post(f"{place}/replace", form, follow=True).text
    assert "Replaced in 1 passage." in page
    texts = ["Karpathy met Karpati", "karpathy's lantern (Karpathy)", "Karpatinger"]
    assert [one.text for one in transcripts.transcript_of(recording).segments] == texts
    assert [one.edited for one in transcripts.transcript_of(recording).segments] == [True, True, False]
    owners.post(f"{place}/undo", {"version": Recording.objects.get().version})
    assert transcripts.transcript_of(recording).segments[1].text == said[1][1]
    told = owners.post(f"{place}/segments/2", {"text": "Siobhan"}).json()
    assert told["elsewhere"] is None  # no other passage contains the replaced word


def test_a_correction_preserves_times_of_unchanged_words() -> None:
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
def test_word_times_are_ascending_after_a_correction(text: str) -> None:
    words = tuple(Word(part, i * 1.0, i + 0.8, 0.4) for i, part in enumerate(["the", "hole", "ship", "sank"]))
    new = corrected(Segment(0.0, 4.0, "the hole ship sank", 0.4, words), text)
    edges = [edge for word in new.words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges) and edges[0] >= 0.0 and edges[-1] <= 4.0
    assert " ".join(word.text for word in new.words) == text


def test_removing_a_segment_renumbers_citations() -> None:
    summary = {"text": "t", "segments": [3], "key_points": [], "action_items": [], "engine": "e"}
    assert without_segment(summary, 1) == {**summary, "segments": [2]}
