"""Recognition and summaries, called as in that system's documentation."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from pipeline.speech_service.client import ServiceBusy
from tests.support.earlier_recordings import SAID, Finish
from webui.accounts.models import User
from webui.compatibility import transcribing
from webui.compatibility.notes import MAX_TEXT_LENGTH
from webui.http import slots
from webui.jobs.models import Job
from webui.recordings.models import Recording

pytestmark = pytest.mark.django_db
Asked = list[tuple[str, dict[str, Any]]]


def send(program: Client, path: Path, address: str = "/api/asr/transcribe", field: str = "audio", **more: str) -> Any:
    with path.open("rb") as audio:
        return program.post(address, {field: audio, **more})


def test_health_needs_no_account(client: Client) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "asr_loaded": True, "nlp_loaded": True}


def test_health_reports_a_missing_engine(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.recordings.transcription.registry.engines", lambda: [])
    assert client.get("/health").json() == {"status": "degraded", "asr_loaded": False, "nlp_loaded": True}


def test_audio_becomes_a_transcript(program: Client, recording_file: Path, asked: Asked) -> None:
    answer = send(program, recording_file)
    assert answer.status_code == 200 and answer.json() == {"transcript": " ".join(SAID)}
    assert asked[0][1]["engine"] == "auto"
    assert not Recording.objects.exists(), "nothing is stored"
    assert not Path(asked[0][1]["audio_file"]).exists()


def test_text_becomes_a_summary(program: Client, asked: Asked) -> None:
    text = "The compass ships on Friday. Nobody minds.\nThe budget is fine!"
    answer = program.post("/api/nlp/summarize", {"text": text}, content_type="application/json")
    assert answer.status_code == 200 and answer.json() == {"summary": "The compass ships on Friday."}
    said = [segment.text for segment in asked[0][1]["transcript"].segments]
    assert said == ["The compass ships on Friday.", "Nobody minds.", "The budget is fine!"]


def test_a_too_long_text_is_rejected(program: Client, asked: list[Any]) -> None:
    for text, status in (("a" * MAX_TEXT_LENGTH, 200), ("a" * (MAX_TEXT_LENGTH + 1), 413)):
        answer = program.post("/api/nlp/summarize", {"text": text}, content_type="application/json")
        assert answer.status_code == status
    assert "300,000 characters" in answer.json()["why"] and len(asked) == 1


def test_audio_becomes_transcript_and_summary(program: Client, recording_file: Path, asked: Asked) -> None:
    answer = send(program, recording_file, "/api/voice-to-notes", language="en")
    assert answer.json() == {"transcript": " ".join(SAID), "summary": SAID[0]}
    assert [operation for operation, _ in asked] == ["transcribe", "summarize"] and asked[0][1]["language"] == "en"


@pytest.mark.parametrize("content", [b"", b"no audio at all, whatever its name says"])
def test_a_file_that_is_not_a_recording_is_rejected(
    program: Client, tmp_path: Path, asked: Asked, content: bytes
) -> None:
    path = tmp_path / "letter.wav"
    path.write_bytes(content)
    answer = send(program, path)
    assert answer.status_code in (400, 422) and all(answer.json()[name] for name in ("what", "why", "what_to_do"))
    assert str(tmp_path) not in answer.text and not asked
    assert not list((tmp_path / "uploads").rglob("*.wav")), "no file is left"


@pytest.mark.parametrize("body", ["[]", "no json", '{"text": 1}', '{"text": "  "}'])
def test_an_invalid_body_is_rejected(program: Client, body: str) -> None:
    answer = program.post("/api/nlp/summarize", body, content_type="application/json")
    assert answer.status_code in (400, 422) and answer["Content-Type"] == "application/problem+json"


class Clock:
    """A clock that advances with every wait, at which ``at_each`` runs too."""

    def __init__(self) -> None:
        self.now, self.at_each = 0.0, lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.at_each()


@pytest.fixture
def clock(by_job: None, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which a request waits for its job."""
    clock = Clock()
    monkeypatch.setattr(transcribing, "time", clock)
    return clock


def test_a_long_recording_waits_for_its_job(
    program: Client, recording_file: Path, clock: Clock, finish: Finish
) -> None:
    clock.at_each = lambda: finish(Recording.objects.get())
    answer = send(program, recording_file)
    assert answer.json() == {"transcript": " ".join(SAID)}
    assert not Recording.objects.exists(), "the recording is removed after the answer"


def test_a_request_that_waits_too_long_gets_the_id_of_its_result(
    program: Client, recording_file: Path, clock: Clock
) -> None:
    answer = send(program, recording_file)
    kept = Recording.objects.get()
    assert answer.status_code == 504 and str(kept.pk) in answer.json()["what_to_do"]
    assert kept.job.is_going


def test_a_failed_job_is_reported(program: Client, recording_file: Path, clock: Clock) -> None:
    def fail() -> None:
        error = {"what": "No engine.", "why": "None is ready.", "what_to_do": "Get one."}
        Job.objects.update(state=Job.State.FAILED, error=error)
        Recording.objects.update(state=Recording.State.FAILED)

    clock.at_each = fail
    answer = send(program, recording_file)
    assert answer.status_code == 422 and answer.json()["what_to_do"] == "Get one."


def test_audio_is_recognized_with_the_users_own_data(
    program: Client, recording_file: Path, asked: Asked, portal: Path
) -> None:
    send(program, recording_file)
    ((_operation, request),) = asked
    assert request["data"] == portal


def test_busy_models_are_reported_as_busy(
    program: Client, recording_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*arguments: Any, **more: Any) -> Any:
        raise ServiceBusy("The speech service is busy.", "32 requests are being served.", "Try again in a minute.")

    monkeypatch.setattr("pipeline.speech_service.client.call", busy)
    for address, field, more in (
        ("/api/asr/transcribe", "audio", {}),
        ("/v1/audio/transcriptions", "file", {"model": "whisper-1"}),
    ):
        answer = send(program, recording_file, address, field, **more)
        assert answer.status_code == 503 and answer["Retry-After"] == "30" and b"is busy" in answer.content
    assert answer.json()["error"]["type"] == "server_error"
    monkeypatch.setattr("webui.recordings.reading.asking.answer", busy)
    payload = {"question": "When?"}
    answer = program.post("/api/v1/recordings/ask", payload, content_type="application/json")
    assert answer.status_code == 503 and answer["Retry-After"] == "30"


@pytest.mark.parametrize("whose", ["others", "own"])
def test_waiting_requests_are_limited(
    program: Client, owner: User, recording_file: Path, asked: Asked, whose: str, tmp_path: Path
) -> None:
    unreadable = tmp_path / "talk.wav"
    unreadable.write_bytes(b"RIFF")
    most = slots.MAX_PER_USER if whose == "own" else slots.MAX_CONCURRENT
    assert slots.MAX_PER_USER < slots.MAX_CONCURRENT  # one user leaves places for the others
    with ExitStack() as taken:
        for n in range(most):
            taken.enter_context(slots.slot(owner if whose == "own" else User(pk=1000 + n)))
        answer = send(program, recording_file)
        assert answer.status_code == 429 and answer["Retry-After"] == "5"
        assert send(program, unreadable).status_code == 429, "not even its header was decoded"
        for address, payload in (
            ("/api/nlp/summarize", {"text": "The compass ships on Friday."}),
            ("/v1/audio/speech", {"input": "Hello.", "model": "tts-1", "voice": "alloy"}),
        ):
            answer = program.post(address, payload, content_type="application/json")
            assert answer.status_code == 429, answer.content
        assert not asked
    assert send(program, recording_file).status_code == 200
