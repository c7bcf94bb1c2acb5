"""Search and questions in all recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils.translation import gettext, override

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.readiness import Readiness
from pipeline.recordings.answers.question_answering import NO_WORDS
from pipeline.recordings.transcription import registry
from pipeline.recordings.transcription.hark_engine import OWN_FOLDER, SHIPPED, HarkCtc
from pipeline.recordings.transcripts.transcript import Segment
from tests.support.earlier_recordings import program_of
from tests.support.llm_double import running_double, set_up
from tests.support.ready_recordings import ready_recording, transcript_of_words
from webui import speech
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.recordings import deletion, job_results
from webui.recordings.live import sessions
from webui.recordings.models import Passage, Recording
from webui.recordings.reading import asking, transcripts
from webui.recordings.reading.search import terms

HTMX = {"HX-Request": "true"}


def numbers(user: User, query: str, **more: Any) -> list[int]:
    return sorted(hit.number for hit in transcripts.search(user=user, query=query, **more))


def test_words_are_found_in_all_recordings_and_in_one(owner: User, other: User, recording: Recording) -> None:
    second = ready_recording(owner, "call.mp3", transcript_of_words((("S1", "The lantern burns", 0.9),)))
    assert numbers(owner, "lantern") == [0, 1, 2]
    assert numbers(owner, "LANTERN", recording=recording) == [1, 2]
    assert [hit.recording_id for hit in transcripts.search(user=owner, query="burns")] == [second.pk]
    assert numbers(owner, "lantern map") == [2]  # all words
    assert numbers(owner, "lant") == [0, 1, 2]  # the beginning of the last one
    assert numbers(owner, '"the lantern and"') == [2] and numbers(owner, '"lantern the"') == []
    assert len(transcripts.search(user=owner, query="lantern", limit=1)) == 1
    assert numbers(other, "lantern") == []


def test_accents_and_case_do_not_matter(owner: User) -> None:
    ready_recording(owner, "a.wav", transcript_of_words((("S1", "Im Café Größe", 0.9),)))
    assert numbers(owner, "cafe") == [0] and numbers(owner, "GRÖSSE") in ([], [0]) and numbers(owner, "größe") == [0]


def test_matches_are_highlighted_and_other_text_escaped(owner: User, recording: Recording) -> None:
    (hit,) = transcripts.search(user=owner, query="brings who")
    assert hit.marked == "<mark>Who</mark> <mark>brings</mark> the &lt;b&gt;lantern&lt;/b&gt;"
    assert hit.text == "Who brings the <b>lantern</b>" and hit.speaker == "S2" and hit.recording == "meeting.wav"


@pytest.mark.parametrize(
    "query",
    [
        "", "   ", '"', '""', '"a', "*", "a*", "NEAR(a b)", "a AND", "OR", "NOT lantern", "text:lantern", "-lantern",
        "^lantern", "(", "lantern)", "'; DROP TABLE audio_passage; --", "\x00lantern", "%_", "🙂", "½", "_",
        "x" * 10_000, "a " * 5_000, "\ud800", "العربية", "漢字", "{lantern} : ", 'lantern" OR "map',
        "<script>alert(1)</script>",
    ],
)  # fmt: skip
def test_any_text_is_a_valid_query(owners: Client, owner: User, recording: Recording, query: str) -> None:
    transcripts.search(user=owner, query=query)
    answer = owners.get("/recordings/search", {"q": query.encode("utf-8", "replace").decode()})
    assert answer.status_code == 200 and b"<script>alert" not in answer.content
    assert Passage.objects.count() == 3


def test_a_query_is_split_into_terms() -> None:
    assert terms('one "two three" fo-ur " " "!" five*') == ["one", "two three", "fo", "ur", "five"]


def test_the_index_follows_deletion_and_retranscription(owner: User, recording: Recording) -> None:
    job_results.transcribed(recording.job)
    assert numbers(owner, "lantern") == [1, 2]
    deletion.delete(recording=recording)
    assert numbers(owner, "lantern") == []


def test_search_results_can_be_played(owners: Client, recording: Recording, at: str) -> None:
    page = owners.get("/recordings/search?q=map").text
    assert f'data-play="/recordings/{recording.pk}/audio#t=2.000,2.900"' in page
    assert f"{at}#t=2.000" in page and "<mark>map</mark>" in page
    assert "These words were not found" in owners.get("/recordings/search?q=submarine").text


def test_an_answer_cites_speaker_and_time(owner: User, recording: Recording) -> None:
    answer = asking.answer(user=owner, question="When do we meet in the harbour?", recording=recording)
    assert answer["found"] and answer["text"] == "We meet in the harbour on Tuesday"
    (citation,) = answer["citations"]
    assert citation["recording"] == str(recording.pk) and citation["name"] == "meeting.wav"
    assert (citation["start_s"], citation["end_s"], citation["speaker"]) == (0.0, 0.9, "S1")


def test_a_question_searches_all_of_the_users_own_recordings(owner: User, other: User, recording: Recording) -> None:
    ready_recording(owner, "b.wav", transcript_of_words((("S1", "The password of the boat is seagull", 0.9),)))
    assert asking.answer(user=owner, question="What is the password of the boat?")["citations"][0]["name"] == "b.wav"
    assert asking.answer(user=other, question="What is the password of the boat?")["found"] is False
    assert asking.answer(user=owner, question="How old is the queen of Sweden?")["found"] is False


def test_a_damaged_transcript_is_skipped_when_answering(owner: User, recording: Recording) -> None:
    broken = ready_recording(owner, "b.wav")
    (broken.path / "transcript.json").write_text("{")
    answer = asking.answer(user=owner, question="Who brings the lantern and the map?")
    assert answer["found"] and answer["citations"][0]["name"] == "meeting.wav"


@pytest.mark.parametrize("question", ["", "  ", "word " * 10_000])
def test_invalid_questions_get_422(owners: Client, at: str, question: str) -> None:
    for address in (f"{at}/ask", "/recordings/ask"):
        assert owners.post(address, {"question": question}).status_code == 422
        fragment = owners.post(address, {"question": question}, headers=HTMX)
        assert fragment.status_code == 200 and b"error" in fragment.content  # HTMX shows only responses with 200


def test_an_answer_is_a_page_or_a_fragment(owners: Client, recording: Recording, at: str) -> None:
    form = {"question": "Who brings the lantern and the map?"}
    page = owners.post(f"{at}/ask", form).text
    assert "<html" in page and "Anna brings the lantern and the map" in page
    fragment = owners.post(f"{at}/ask", form, headers=HTMX).text
    assert "<html" not in fragment and 'data-seek="2.000"' in fragment and "best matching sentence" in fragment
    fragment = owners.post("/recordings/ask", form, headers=HTMX).text
    assert f'data-play="/recordings/{recording.pk}/audio#t=2.000,2.900"' in fragment
    fragment = owners.post("/recordings/ask", {"question": "Where is Atlantis?"}, headers=HTMX).text
    assert NO_WORDS in fragment and "data-play" not in fragment
    one = owners.post(f"{at}/ask", {"question": "Where is Atlantis?"}, headers=HTMX)
    assert NO_WORDS in one.text


def test_an_unanswered_question_shows_the_nearest_passages(
    owners: Client, owner: User, recording: Recording, at: str
) -> None:
    ready_recording(owner, "call.wav", transcript_of_words((("S1", "I'd like to buy a chromecast", 0.9),)))
    asked = {"question": "What does the customer want to buy?"}
    of_all = owners.post("/recordings/ask", asked, headers=HTMX).text
    assert "No passage" not in of_all and "No model has checked" in of_all and "buy a chromecast" in of_all
    assert "/audio#t=0.000,0.900" in of_all and "call.wav" in of_all
    asked = {"question": "Who lit the old lantern of the captain?"}
    of_one = owners.post(f"{at}/ask", asked, headers=HTMX).text
    assert "No passage" not in of_one and 'data-seek="1.000"' in of_one and 'data-seek="2.000"' in of_one
    given = asking.answer(user=owner, question=asked["question"], recording=recording)
    assert not given["found"] and given["citations"] == [] and len(given["nearest"]) == 2
    json.dumps(given)


def test_passages_are_compared_by_meaning_if_a_model_is_ready(
    owner: User, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def call(timeout_s: float, function: Any, question: str, passages: list[str]) -> list[float]:
        asked.append(function.__name__)
        return [0.9 if "harbour" in text else 0.1 for text in passages]

    question = "Which pier is the rendezvous at?"
    assert asking.answer(user=owner, question=question)["nearest"] == [] and asked == []
    monkeypatch.setattr("pipeline.speech_service.client.call", call)
    monkeypatch.setattr(
        "pipeline.recordings.language_models.local_models.LocalModel.readiness",
        lambda model: Readiness("embedding" in model.place),
    )
    nearest = asking.answer(user=owner, question=question)["nearest"]  # no word of it is in any recording
    assert nearest[0]["text"] == "We meet in the harbour on Tuesday" and set(asked) == {"similarities"}


def test_a_language_model_answers_on_pages_and_in_every_api(
    owners: Client, owner: User, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "Which day is the rendezvous?"  # no word of it is in any recording
    with running_double() as double:
        set_up(double, monkeypatch)
        double.says('{"answer": "It is on a Tuesday.", "segments": [0]}')
        page = owners.post("/recordings/ask", {"question": question}, headers=HTMX).text
        doors = {"/api/v1/recordings/ask": {"question": question}, "/interact": {"text": question}}
        said = [program_of(owner).post(door, payload, "application/json").json() for door, payload in doors.items()]
    assert "It is on a Tuesday." in page and "We meet in the harbour on Tuesday" in page and "data-play" in page
    for one, text in zip(said, ("text", "reply")):
        assert one[text] == "It is on a Tuesday." and one["how"] == "language model" and one["found"]
        assert [citation["text"] for citation in one["citations"]] == ["We meet in the harbour on Tuesday"]


@pytest.mark.parametrize("header", ["en", "de"])
def test_an_empty_answer_is_in_the_readers_language(
    owners: Client, at: str, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    monkeypatch.setattr(speech, "voice_for", lambda user, language: ("double", "voice"))
    headers = {**HTMX, "Accept-Language": header}
    question = {"question": "Where is Atlantis?"}
    with override(header):
        said = f"text={quote_plus(gettext(NO_WORDS))}&amp;language={header}"
    assert said in owners.post(f"{at}/ask", question, headers=headers).text
    assert said in owners.post("/recordings/ask", question, headers=headers).text


def test_a_question_may_be_spoken(owners: Client, at: str, wav: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []

    def recognize(engine: Any, audio: np.ndarray, language: str | None) -> list[Segment]:
        heard.append(len(audio))
        return [Segment(0.0, 1.0, "who brings the map", 0.9)]

    monkeypatch.setattr("webui.recordings.reading.asking.recognize", recognize)
    upload = SimpleUploadedFile("question.wav", wav.read_bytes())
    fragment = owners.post(f"{at}/ask", {"audio": upload}, headers=HTMX).text
    assert (
        heard == [SAMPLE_RATE]
        and "Question recognized:" in fragment
        and "Anna brings the lantern and the map" in fragment
    )


def test_questions_are_recognized_with_the_users_own_weights(
    owner: User, other: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = user_data(other) / OWN_FOLDER / "own-1.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    heard: list[str] = []

    def recognize(engine: Any, audio: np.ndarray, language: str | None) -> list[Segment]:
        heard.append(engine.model)
        return [Segment(0.0, 1.0, "who brings the map", 0.9)]

    for door in ("reading.asking", "live.sessions"):
        monkeypatch.setattr(f"webui.recordings.{door}.recognize", recognize)
    monkeypatch.setattr(registry, "_engines", lambda: {"hark": HarkCtc()})
    sound = np.zeros(SAMPLE_RATE, np.float32)
    for user in (owner, other):
        asking.question_of(user, sound)
        sessions.Session("auto", None, [], None, user_data(user)).transcriber._recognize(sound)
    assert heard == [SHIPPED, SHIPPED, str(weights), str(weights)]


def test_a_question_without_words_is_rejected(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.recordings.reading.asking.recognize", lambda *given: [])
    with pytest.raises(HarkError, match="not recognized"):
        asking.question_of(owner, np.zeros(SAMPLE_RATE, np.float32))
    with pytest.raises(HarkError, match="too long"):
        asking.question_of(owner, np.zeros(31 * SAMPLE_RATE, np.float32))


@pytest.mark.usefixtures("speaking")
def test_a_ready_engine_speaks_the_answer(owners: Client, at: str) -> None:
    form = {"question": "Who brings the lantern and the map?"}
    fragment = owners.post(f"{at}/ask", form, headers=HTMX).text
    if "data-aloud" not in fragment:
        pytest.skip("no speech engine is ready here")
    address = fragment.split('data-aloud src="')[1].split('"')[0].replace("&amp;", "&")
    answer = owners.get(address)
    assert answer["Content-Type"] == "audio/wav" and answer.getvalue()[:4] == b"RIFF"


@pytest.mark.usefixtures("speaking")
def test_the_preferred_answering_voice_is_used_if_present(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        answering_voice = "en_US-kathleen-low"

        def __init__(self, name: str, *names: str) -> None:
            self.name, self.names, self.answering_order = name, names, int(name == "espeak")

        def voices(self, language: str) -> list[Any]:
            return [type("Voice", (), {"name": name}) for name in self.names]

    there = {"espeak": Engine("espeak", "gmw/en")}
    there["piper"] = Engine("piper", "en_US-lessac-medium", "en_US-kathleen-low")
    monkeypatch.setattr("webui.speech.ready_engines", lambda user: there)
    assert speech.voice_for(owner, "en") == ("piper", "en_US-kathleen-low")
    there["piper"] = Engine("piper", "en_US-lessac-medium")
    assert speech.voice_for(owner, "en") == ("piper", "en_US-lessac-medium")
    del there["piper"]
    assert speech.voice_for(owner, "en") == ("espeak", "gmw/en")
    there.clear()
    assert speech.voice_for(owner, "en") is None


@pytest.mark.parametrize("query", ["", "text=", "text=" + "x" * 601, "text=a&language=" + "x" * 30])
def test_invalid_speech_requests_get_404(owners: Client, query: str) -> None:
    assert owners.get(f"/recordings/speak?{query}").status_code == 404
