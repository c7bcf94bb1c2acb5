"""A walk along docs/compatibility.md: requests to each URL of the earlier systems by an authorized user."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from tests.support import sounds
from tests.support.untrained_bundle import spoken

if TYPE_CHECKING:
    import httpx2

SAID = "the garden gate is open today"
OTHER = "please close the window in the kitchen"
READY_S = 900.0  # for a short recording to be transcribed, on two busy cores
HEARD = 2  # words of a sentence that must be recognized: espeak is hard to understand


class Walk:
    """Requests URL after URL, with the account of a user.

    Attributes:
        asked: (method, URL as the page has it) of all requests.
        meeting: the id of the meeting, until it is deleted.
    """

    def __init__(self, client: httpx2.Client, name: str, password: str) -> None:
        self._client, self._name, self._password = client, name, password
        self.asked: set[tuple[str, str]] = set()
        self.token = ""
        self.meeting = ""

    def ask(self, method: str, address: str, status: int = 200, place: str = "", **sent: Any) -> httpx2.Response:
        """Return the answer of ``place``, or of the URL itself if ``place`` is empty."""
        self.asked.add((method, address))
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = self._client.request(method, place or address, headers=headers, **sent)
        assert answer.status_code == status, (method, address, answer.status_code, answer.text[:600])
        return answer

    def sign_in(self) -> None:
        form = {"username": self._name, "password": self._password, "grant_type": "password"}
        for address in ("/token", "/api/auth/token"):
            said = self.ask("POST", address, data=form).json()
            assert said["token_type"] == "bearer" and said["expires_in"] > 0
        self.token = said["access_token"]

    def say_how_they_are(self) -> None:
        """Request the health and the metrics."""
        assert self.ask("GET", "/health").json() == {"status": "ok", "asr_loaded": True, "nlp_loaded": True}
        assert "swagger" in self.ask("GET", "/docs").text
        said = self.ask("GET", "/api/v1/health").json()
        assert said["checks"]["database"] and said["checks"]["queue"]
        for address in ("/api/v1/health/ready", "/api/v1/ready"):
            assert self.ask("GET", address).json()["checks"]["workers_training"]
        for address in ("/api/v1/health/live", "/api/v1/live"):
            assert self.ask("GET", address).json() == {"status": "alive"}
        for address in ("/api/v1/health/metrics", "/api/v1/metrics"):
            self.ask("GET", address, 404)  # without HARK_METRICS_TOKEN

    def recognize(self) -> None:
        sound = {"audio": ("said.wav", wav(SAID), "audio/wav")}
        said = self.ask("POST", "/api/asr/transcribe", files=sound).json()
        assert heard(said["transcript"]) >= HEARD, said
        summary = self.ask("POST", "/api/nlp/summarize", json={"text": f"{SAID}. {OTHER}."}).json()["summary"]
        assert heard(summary) >= HEARD, summary
        notes = self.ask("POST", "/api/voice-to-notes", files=sound).json()
        assert heard(notes["transcript"]) >= HEARD and heard(notes["summary"]) >= HEARD, notes

    def meet(self) -> None:
        """Upload a meeting and fetch its artefacts."""
        sound = {"audio": ("meeting.wav", wav(SAID, OTHER), "audio/wav")}
        form = {"diarize": "1", "summary": "1", "polish": "0"}
        begun = self.ask("POST", "/api/meetings", 202, files=sound, data=form).json()
        self.meeting = begun["meeting_id"]
        place = f"/api/meetings/{self.meeting}"
        unfinished = self.ask("GET", "/api/meetings/progress").json()
        assert unfinished["queue"]["accepts"]
        meeting = self._until(lambda: self.ask("GET", "/api/meetings/{meeting_id}", place=place).json(), "ready")
        address = "/api/meetings/{meeting_id}/artefacts/{name}"
        texts = {
            artefact["name"]: self.ask("GET", address, place=artefact["url"]).text for artefact in meeting["artefacts"]
        }
        assert {"transcript.txt", "transcript.json", "summary.json"} <= set(texts)
        assert heard(texts["transcript.txt"]) >= HEARD, texts
        (listed,) = self.ask("GET", "/api/meetings").json()["meetings"]
        assert listed["meeting_id"] == self.meeting

    def forget_the_meeting(self) -> None:
        place = f"/api/meetings/{self.meeting}"
        self.ask("DELETE", "/api/meetings/{meeting_id}", 204, place=place)
        self.ask("GET", "/api/meetings/{meeting_id}", 404, place=place)

    def call(self) -> None:
        """Upload a call with a person on each channel."""
        sound = {"file": ("call.wav", call(SAID, OTHER), "audio/wav")}
        begun = self.ask("POST", "/api/v1/transcribe", 202, files=sound).json()
        place = f"/api/v1/transcribe/{begun['session_id']}"
        said = self._until(lambda: self.ask("GET", "/api/v1/transcribe/{session_id}", place=place).json(), "completed")
        assert {one["speaker"] for one in said["transcript"]["segments"]} == {"left", "right"}, said
        assert said["summary"]["text"] and said["metadata"]["model_versions"]
        assert self.ask("GET", "/api/v1/transcribe", params={"limit": "5"}).json()["total"] == 1

    def openai(self) -> None:
        assert {"whisper-1", "tts-1"} <= {one["id"] for one in self.ask("GET", "/v1/models").json()["data"]}
        sound, model = {"file": ("said.wav", wav(SAID), "audio/wav")}, {"model": "whisper-1"}
        said = self.ask("POST", "/v1/audio/transcriptions", files=sound, data=model).json()
        assert heard(said["text"]) >= HEARD, said
        # No multilingual Whisper comes with Hark.
        refused = self.ask("POST", "/v1/audio/translations", 400, files=sound, data=model).json()
        assert refused["error"]["code"] == "unsupported_model"
        payload = {"model": "tts-1", "voice": "alloy", "input": SAID, "response_format": "wav"}
        samples, rate = soundfile.read(io.BytesIO(self.ask("POST", "/v1/audio/speech", json=payload).content))
        assert len(samples) > rate / 2

    def learn_and_answer(self) -> None:
        """Use ATR: upload, ask, train."""
        sound, text = {"file": ("gate.wav", wav(SAID), "audio/wav")}, {"text": SAID}
        (uploaded,) = self.ask("POST", "/upload", files=sound, data=text).json()["files"]
        assert uploaded["name"] == "gate.wav" and uploaded["state"] == "working"
        self._until(lambda: {"status": not self.ask("GET", "/progress").json()["uploads"]}, True)
        said = self.ask("POST", "/interact", json={"text": "What about the garden gate?"}).json()
        assert said["found"] and said["citations"] and said["audio_problem"] is None, said
        assert self._client.get(said["audio_url"], headers={"Authorization": f"Bearer {self.token}"}).content[:4] == (
            b"RIFF"
        )
        job = self.ask("POST", "/train-real", 202, data={"epochs": "1"}).json()["job"]
        done = self._until(lambda: self.ask("GET", "/progress").json(), "done")
        assert done["job"] == job and done["stages"] and not done["is_training"], done

    def _until(self, look: Callable[[], Mapping[str, Any]], status: object) -> Mapping[str, Any]:
        until = time.monotonic() + READY_S
        while (said := look())["status"] != status:
            assert said["status"] != "failed" and time.monotonic() < until, said
            time.sleep(1.0)
        return said


def wav(*sentences: str) -> bytes:
    """Return a file of spoken sentences, one after the other."""
    return sounds.wav(np.concatenate([spoken(text, 0.3, 0.7) for text in sentences]))


def call(left: str, right: str) -> bytes:
    """Return a file with a sentence on each channel, the second after the first."""
    first, second = spoken(left, 0.3, 0.7), spoken(right, 0.3, 0.7)
    both = np.zeros((len(first) + len(second), 2), np.float32)
    both[: len(first), 0], both[len(first) :, 1] = first, second
    return sounds.wav(both + 1e-4 * np.random.default_rng(0).standard_normal(both.shape))


def heard(text: str) -> int:
    """Return how many of the spoken words are in a text."""
    return len({*SAID.split(), *OTHER.split()} & set(text.lower().replace(".", " ").replace(",", " ").split()))
