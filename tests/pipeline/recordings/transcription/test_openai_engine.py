"""An endpoint with OpenAI's audio API, played by a server of the test."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from pipeline.recordings.transcription import registry
from pipeline.recordings.transcription.openai_engine import OpenAiEndpoint, segments_of
from tests.support.http_server import Recorder, do_not_wait, serving
from tests.support.sounds import noise

KEY = "sk-a-key-that-nobody-may-see"
AUDIO = noise(3.0)
GOOD = {
    "task": "transcribe", "language": "english", "duration": 3.0, "text": "Hello world. Bye.",
    "words": [
        {"word": "Hello", "start": 0.1, "end": 0.5},
        {"word": "world.", "start": 0.5, "end": 1.0},
        {"word": "Bye.", "start": 2.0, "end": 2.4},
    ],
    "segments": [
        {"id": 0, "start": 0.0, "end": 1.2, "text": " Hello world.", "avg_logprob": -0.1, "no_speech_prob": 0.01,
         "compression_ratio": 1.0},
        {"id": 1, "start": 1.2, "end": 3.0, "text": " Bye.", "avg_logprob": -0.2, "no_speech_prob": 0.01,
         "compression_ratio": 1.0},
    ],
}  # fmt: skip


class Endpoint(Recorder):
    def says(self, body: object, status: int = 200) -> None:
        self.replies = [(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())]

    def fields(self, number: int = -1) -> dict[str, list[bytes]]:
        """Return the form of a request."""
        _, headers, body = self.asked[number]
        head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
        found: dict[str, list[bytes]] = {}
        for part in BytesParser().parsebytes(head + body).get_payload():
            name = part.get_param("name", header="content-disposition")
            found.setdefault(name, []).append(part.get_payload(decode=True))
        return found


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> Iterator[Endpoint]:
    """A server on this machine, named in the environment with a key."""
    double = Endpoint()
    with serving(double) as url:
        double.url = f"{url}/v1"
        monkeypatch.setenv("HARK_ASR_URL", double.url)
        monkeypatch.setenv("HARK_ASR_KEY", KEY)
        monkeypatch.setenv("HARK_ASR_MODEL", "big-ears")
        do_not_wait(monkeypatch)
        yield double


def test_translation_uses_the_translations_endpoint(endpoint: Endpoint) -> None:
    endpoint.says({**GOOD, "task": "translate", "words": None})
    engine = OpenAiEndpoint()
    assert engine.translates
    segments = engine.recognize(AUDIO, None, translate=True)
    assert [segment.text for segment in segments] == ["Hello world.", "Bye."]
    assert {segment.language for segment in segments} == {"en"}
    assert endpoint.asked[0][0].endswith("/audio/translations")
    assert set(endpoint.fields()) == {"model", "response_format", "temperature", "file"}


def test_audio_is_sent_and_the_answer_parsed(endpoint: Endpoint) -> None:
    endpoint.says(GOOD)
    first, second = OpenAiEndpoint().recognize(AUDIO, "en-us")
    path, headers, _ = endpoint.asked[0]
    assert path == "/v1/audio/transcriptions" and headers["Authorization"] == f"Bearer {KEY}"
    fields = endpoint.fields()
    assert fields["model"] == [b"big-ears"] and fields["language"] == [b"en"]
    assert fields["response_format"] == [b"verbose_json"]
    assert fields["timestamp_granularities[]"] == [b"word", b"segment"]
    sent, rate = soundfile.read(io.BytesIO(fields["file"][0]), dtype="float32")
    assert rate == SAMPLE_RATE
    np.testing.assert_allclose(sent, AUDIO, atol=1e-4)
    assert first.text == "Hello world." and second.text == "Bye." and first.language == "en"
    assert [word.start_s for word in first.words] == [0.1, 0.5] and second.words[0].start_s == 2.0
    assert first.confidence == pytest.approx(0.9048, abs=1e-3)


def test_expected_words_are_sent_as_the_prompt(endpoint: Endpoint) -> None:
    for _ in range(2):
        endpoint.says({"text": "Ask Siobhan.", "language": "english"})
    OpenAiEndpoint().recognize(AUDIO, "en", words=("Siobhan", "Grafana"))
    assert endpoint.fields()["prompt"] == [b"Siobhan, Grafana"]
    OpenAiEndpoint().recognize(AUDIO, "en")
    assert "prompt" not in endpoint.fields()


def test_the_detected_language_is_returned(endpoint: Endpoint) -> None:
    endpoint.says({**GOOD, "language": "german"})
    assert {segment.language for segment in OpenAiEndpoint().recognize(AUDIO, None)} == {"de"}
    assert "language" not in endpoint.fields()


def test_an_answer_with_only_text_is_accepted(endpoint: Endpoint) -> None:
    endpoint.says({"text": "just a text"})
    (segment,) = OpenAiEndpoint().recognize(AUDIO, None)
    assert segment.text == "just a text" and segment.start_s == 0.0 and segment.end_s == pytest.approx(3.0)
    endpoint.says({"text": "", "segments": [], "words": []})
    assert OpenAiEndpoint().recognize(AUDIO, None) == []


def test_words_hallucinated_in_silence_are_dropped(endpoint: Endpoint) -> None:
    rows = [{**GOOD["segments"][0], "no_speech_prob": 0.95, "avg_logprob": -1.2}, GOOD["segments"][1]]
    endpoint.says({**GOOD, "segments": rows})
    assert [segment.text for segment in OpenAiEndpoint().recognize(AUDIO, None)] == ["Bye."]


def test_silence_is_not_sent(endpoint: Endpoint) -> None:
    assert OpenAiEndpoint().recognize(np.zeros(SAMPLE_RATE, np.float32), None) == []
    assert endpoint.asked == []


def test_without_a_key_no_header_is_sent(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARK_ASR_KEY")
    endpoint.says(GOOD)
    OpenAiEndpoint().recognize(AUDIO, None)
    assert "Authorization" not in endpoint.asked[0][1]


@pytest.mark.parametrize(
    ("status", "why"), [(401, "Unauthorized"), (404, "Not Found"), (413, "Too Large"), (429, "Many"), (500, "Error")]
)
def test_error_statuses_are_reported_without_the_key(endpoint: Endpoint, status: int, why: str) -> None:
    endpoint.says({"error": {"message": f"your key {KEY} is wrong"}}, status)
    with pytest.raises(HarkError, match=why) as caught:
        OpenAiEndpoint().recognize(AUDIO, None)
    assert KEY not in str(caught.value)
    assert len(endpoint.asked) == (3 if status in (429, 500) else 1)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>sign in</html>", b"[1, 2]", b"null", b'"text"', b"{}", b'{"text": 5}', b'{"text": null}',
        b"\xff\xfe",
        {"text": "x" * 100_000},
        {"text": "a", "segments": "no list"},
        {"text": "a", "segments": [{"text": "a"}]},
        {"text": "a", "segments": [{"start": "soon", "end": 1, "text": "a"}]},
        {"text": "a", "segments": [{"start": float("nan"), "end": 1, "text": "a"}]},
        {"text": "a", "words": [{"word": 5, "start": 0, "end": 1}]},
        {"text": "a", "words": [["a", 0, 1]]},
        {"text": "a", "words": {"word": "a"}},
        b"[" * 100_000,
    ],
)  # fmt: skip
def test_an_invalid_answer_is_reported(endpoint: Endpoint, body: object) -> None:
    endpoint.says(body)
    with pytest.raises(HarkError, match="invalid answer"):
        OpenAiEndpoint().recognize(AUDIO, None)


def test_times_outside_the_audio_are_clamped() -> None:
    answer: dict[str, Any] = {
        "text": "late early",
        "words": [{"word": "late", "start": -5, "end": 1}, {"word": "early", "start": 90, "end": 99}],
        "segments": [{"start": -1, "end": 500, "text": "late early"}],
    }
    (segment,) = segments_of(answer, 3.0, "en")
    assert [(word.start_s, word.end_s) for word in segment.words] == [(0.0, 1.0), (3.0, 3.0)]


def test_an_unresponsive_server_is_reported(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_ASR_URL", "http://127.0.0.1:1/v1")
    with pytest.raises(HarkError, match="cannot be reached"):
        OpenAiEndpoint().recognize(AUDIO, None)


@pytest.mark.parametrize("url", ["ftp://host/v1", "file:///etc/passwd", "host", "http://", "  "])
def test_an_invalid_url_is_rejected(endpoint: Endpoint, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_ASR_URL", url)
    ready = OpenAiEndpoint().available()
    assert not ready.ok and "HARK_ASR_URL" in ready.how_to_enable + ready.why
    with pytest.raises(HarkError):
        OpenAiEndpoint().recognize(AUDIO, None)


def test_the_key_is_in_no_log_and_no_description(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for status in (200, 401, 500):
        endpoint.says(GOOD, status)
        try:
            OpenAiEndpoint().recognize(AUDIO, None)
        except HarkError as error:
            assert KEY not in str(error) and KEY not in repr(error.__cause__) + repr(error.__context__)
    engine = registry.engine("openai")
    assert engine.hosted and KEY not in json.dumps([engine.model, engine.versions()])
    assert KEY not in caplog.text
