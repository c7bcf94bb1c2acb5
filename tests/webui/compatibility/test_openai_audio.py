"""The OpenAI audio API with the official client, against a server of its own."""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
import time
from concurrent.futures import wait
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import soundfile
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from core.errors import HarkError
from core.readiness import Readiness
from pipeline.recordings.transcription.faster_whisper_engine import FasterWhisper
from pipeline.recordings.transcripts import vocabulary
from pipeline.recordings.transcripts.transcript import Transcript
from tests.support.earlier_recordings import SAID, token_text, transcript_of
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.compatibility import streaming
from webui.recordings.models import Recording

openai = pytest.importorskip("openai", reason="the official client is not installed (requirements-dev.txt)")
pytestmark = pytest.mark.django_db(transaction=True)

TEXT = " ".join(SAID)


@pytest.fixture
def api(live_server: Any, owner: User) -> Any:
    """A program's client: only the base URL and the key are not OpenAI's."""
    with openai.OpenAI(base_url=f"{live_server.url}/v1", api_key=token_text(owner), max_retries=0) as client:
        yield client


def test_transcriptions_return_json_by_default(api: Any, recording_file: Path, asked: Any) -> None:
    with recording_file.open("rb") as file:
        said = api.audio.transcriptions.create(model="whisper-1", file=file)
    assert said.text == TEXT and said.usage.type == "duration" and said.usage.seconds == 2
    assert not Recording.objects.exists()


def test_transcriptions_return_plain_text(api: Any, recording_file: Path, asked: Any) -> None:
    with recording_file.open("rb") as file:
        said = api.audio.transcriptions.create(
            model="whisper-1", file=file, response_format="text", language="en", prompt="Names: compass."
        )
    assert said == TEXT + "\n" and asked[0][1]["language"] == "en"


def test_short_recordings_have_the_options_of_long_ones(
    api: Any, recording_file: Path, asked: Any, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary.learn(user_data(owner) / vocabulary.FILE, ["Zanzibar"], "en")
    api.audio.transcriptions.create(model="whisper-1", file=recording_file)
    assert asked[0][1]["words"] == ["Zanzibar"] and asked[0][1]["diarize"] is False
    monkeypatch.setattr("webui.compatibility.transcribing.AT_ONCE_S", 0.5)
    monkeypatch.setattr("webui.compatibility.transcribing.MAX_WAIT_S", 0.0)
    with pytest.raises(openai.APIStatusError):
        api.audio.transcriptions.create(model="whisper-1", file=recording_file)
    spec = Recording.objects.get().job.spec
    assert spec["words"] == ["Zanzibar"] and spec["options"]["diarize"] is False


def test_transcriptions_return_srt_and_vtt(api: Any, recording_file: Path, asked: Any) -> None:
    for wanted, first in (("srt", "1\n00:00:00,500 --> 00:00:0"), ("vtt", "WEBVTT\n\n")):
        said = api.audio.transcriptions.create(
            model="hark", file=("call.wav", recording_file.read_bytes()), response_format=wanted
        )
        assert said.startswith(first) and "compass" in said
    assert asked[0][1]["engine"] == "hark"


def test_transcriptions_return_verbose_json_with_words(api: Any, recording_file: Path, asked: Any) -> None:
    said = api.audio.transcriptions.create(
        model="whisper-1",
        file=recording_file,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert said.text == TEXT and said.language == "english" and said.duration == pytest.approx(2.0, abs=0.01)
    first, second = said.segments
    assert (first.id, first.start, first.end, first.text) == (0, 0.5, 2.0, SAID[0]) and second.text == SAID[1]
    assert first.avg_logprob == pytest.approx(-0.105, abs=0.001) and first.compression_ratio > 0
    assert [word.word for word in said.words] == TEXT.split()
    assert all(word.start < word.end for word in said.words)
    only = api.audio.transcriptions.create(model="whisper-1", file=recording_file, response_format="verbose_json")
    assert only.words is None and len(only.segments) == 2


def test_transcriptions_can_be_streamed(api: Any, recording_file: Path, asked: Any) -> None:
    with recording_file.open("rb") as file:
        *deltas, done = api.audio.transcriptions.create(model="gpt-4o-transcribe", file=file, stream=True)
    assert {event.type for event in deltas} == {"transcript.text.delta"} and done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text == TEXT
    with pytest.raises(openai.BadRequestError) as raised:
        api.audio.transcriptions.create(model="whisper-1", file=("a.txt", b"Dear Sir,"), stream=True)
    assert "recording" in raised.value.message
    with pytest.raises(openai.BadRequestError) as raised:
        api.audio.transcriptions.create(model="whisper-1", file=recording_file, stream=True, response_format="srt")
    assert raised.value.param == "response_format"


PIECE = '{"piece": ["", 0, 1], "segments": [{"text": "%s"}]}\n'


def test_words_are_streamed_during_recognition(
    owner: User, recording_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_was_sent = threading.Event()

    def call(timeout_s: float, function: Any, file: Path, options: Any, *, work: Path, **more: Any) -> Transcript:
        progress = work / "progress.jsonl"
        progress.write_text('{"schema": 1}\n' + PIECE % SAID[0])
        assert first_was_sent.wait(30)
        with progress.open("a") as file:
            file.write(PIECE % SAID[1])
        return transcript_of(2.0)

    monkeypatch.setattr("pipeline.speech_service.client.call", call)

    async def events() -> list[dict[str, Any]]:
        found = []
        async for part in (await _streamed(owner, recording_file)).streaming_content:
            found.append(json.loads(part.decode().partition("data: ")[2]))
            first_was_sent.set()
        return found

    first, *rest, done = asyncio.run(events())
    assert first == {"type": "transcript.text.delta", "delta": SAID[0]}
    assert "".join(event["delta"] for event in rest) == f" {SAID[1]}"
    assert done == {"type": "transcript.text.done", "text": TEXT}


def test_an_error_after_the_first_words_is_sent_as_an_event(
    api: Any, recording_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(timeout_s: float, function: Any, file: Path, options: Any, *, work: Path, **more: Any) -> Transcript:
        (work / "progress.jsonl").write_text(PIECE % SAID[0])
        time.sleep(1.0)
        raise HarkError("It failed.", "The test wanted it.", "Again.")

    monkeypatch.setattr("pipeline.speech_service.client.call", call)
    said = iter(api.audio.transcriptions.create(model="whisper-1", file=recording_file, stream=True))
    assert next(said).delta == SAID[0]
    with pytest.raises(openai.APIError, match="The test wanted it"):
        next(said)


def test_a_transcription_that_has_failed_is_not_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(on_progress_file: Any) -> None:
        (tmp_path / "progress.jsonl").write_text(PIECE % SAID[0])
        on_progress_file(tmp_path / "progress.jsonl")
        raise HarkError("It failed.", "The test wanted it.", "Again.")

    monkeypatch.setattr(streaming, "transcribe_upload", fail)
    transcription = streaming._Transcription({})
    wait([transcription.done])
    with pytest.raises(HarkError, match="The test wanted it"):
        transcription.wait()


async def _streamed(user: User, path: Path) -> Any:
    token = await sync_to_async(token_text)(user)
    with path.open("rb") as file:
        form = {"model": "whisper-1", "stream": "true", "file": file}
        answer = await AsyncClient().post(
            "/v1/audio/transcriptions", form, headers={"Authorization": f"Bearer {token}"}
        )
    assert answer.status_code == 200 and answer["Content-Type"].startswith("text/event-stream")
    return answer


def test_translations_use_an_engine_that_translates(
    api: Any, recording_file: Path, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FasterWhisper, "available", lambda self: Readiness(True))
    monkeypatch.setattr(FasterWhisper, "model", "small")
    said = api.audio.translations.create(model="whisper-1", file=recording_file, response_format="verbose_json")
    assert said.text == TEXT and said.language == "english" and asked[-1][1]["translate"] is True
    assert api.audio.translations.create(model="faster-whisper", file=recording_file).text == TEXT
    assert api.audio.transcriptions.create(model="whisper-1", file=recording_file).text == TEXT
    assert asked[-1][1]["translate"] is False


def test_unsupported_translations_are_rejected(
    api: Any, recording_file: Path, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FasterWhisper, "available", lambda self: Readiness(False, "It is not here."))
    monkeypatch.delenv("HARK_ASR_URL", raising=False)
    for model in ("whisper-1", "hark"):
        with pytest.raises(openai.BadRequestError) as raised:
            api.audio.translations.create(model=model, file=recording_file)
        assert (raised.value.param, raised.value.code) == ("model", "unsupported_model")
        assert "translate" in raised.value.message
    with pytest.raises(openai.NotFoundError):
        api.audio.translations.create(model="whisper-9", file=recording_file)
    assert not asked


def test_client_errors_have_openai_error_codes(api: Any, recording_file: Path, asked: Any) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        api.audio.transcriptions.create(model="whisper-9", file=recording_file)
    assert raised.value.code == "model_not_found" and raised.value.param == "model"
    with pytest.raises(openai.BadRequestError) as raised:
        api.audio.transcriptions.create(model="whisper-1", file=recording_file, timestamp_granularities=["word"])
    assert raised.value.param == "timestamp_granularities" and raised.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError):
        api.audio.transcriptions.create(model="whisper-1", file=recording_file, temperature=7)
    with pytest.raises(openai.BadRequestError) as raised:
        api.audio.transcriptions.create(model="whisper-1", file=("letter.txt", b"Dear Sir,"))
    assert "recording" in raised.value.message
    with pytest.raises(openai.NotFoundError):
        api.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
    assert not asked


def test_invalid_api_keys_are_rejected(live_server: Any, owner: User, recording_file: Path) -> None:
    with (
        openai.OpenAI(base_url=f"{live_server.url}/v1", api_key="sk-none", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as raised,
    ):
        client.audio.transcriptions.create(model="whisper-1", file=recording_file)
    assert raised.value.code == "invalid_api_key"
    key = token_text(owner, "read")
    with (
        openai.OpenAI(base_url=f"{live_server.url}/v1", api_key=key, max_retries=0) as client,
        pytest.raises(openai.PermissionDeniedError),
    ):
        client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.")


def test_a_full_queue_is_a_rate_limit_error(
    api: Any, recording_file: Path, by_job: None, settings: Any, portal: Path
) -> None:
    settings.JOBS_WAITING = 0
    with pytest.raises(openai.RateLimitError) as raised:
        api.audio.transcriptions.create(model="whisper-1", file=recording_file)
    assert "Waiting jobs" in raised.value.message and raised.value.code == "rate_limit_exceeded"
    assert raised.value.response.headers["Retry-After"] and not list((portal / "uploads").rglob("*.wav"))


@pytest.mark.parametrize("wanted", ["wav", "mp3", "flac", "opus", "aac", "pcm"])
def test_speech_is_returned_in_every_format(api: Any, wanted: str) -> None:
    said = api.audio.speech.create(model="tts-1", voice="nova", input="The compass is here.", response_format=wanted)
    content = said.read()
    if wanted == "pcm":
        seconds = len(content) / 2 / 24_000
    elif wanted == "aac":
        assert content[:1] == b"\xff" and content[1] & 0xF0 == 0xF0  # the syncword of ADTS
        return
    else:
        seconds = soundfile.info(io.BytesIO(content)).duration
    assert 0.6 < seconds < 5.0


def test_every_openai_voice_speaks(api: Any) -> None:
    from openai.types.audio.speech_create_params import SpeechCreateParams

    known = set(re.findall(r"'([a-z]+)'", str(get_type_hints(SpeechCreateParams)["voice"])))
    assert {"alloy", "marin"} <= known
    for voice in known:
        said = api.audio.speech.create(model="espeak", voice=voice, input="Hello.", response_format="wav")
        assert said.read()[:4] == b"RIFF"


def test_speed_changes_the_length(api: Any) -> None:
    lengths = []
    for speed in (0.25, 1.0, 4.0):
        said = api.audio.speech.create(
            model="espeak", voice="alloy", input="The compass is here today.", speed=speed, response_format="wav"
        )
        lengths.append(soundfile.read(io.BytesIO(said.read()))[0].shape[0])
    slow, plain, fast = lengths
    assert slow / plain == pytest.approx(4, rel=0.1) and plain / fast == pytest.approx(4, rel=0.2)


def test_long_texts_are_spoken_completely(api: Any) -> None:
    text = "The compass is here. " * 40
    said = api.audio.speech.create(model="espeak", voice="echo", input=text, response_format="wav")
    assert soundfile.info(io.BytesIO(said.read())).duration > 30


def test_an_engines_own_voice_can_be_named(api: Any) -> None:
    from audio_generation.registry import engines

    voice = engines()["espeak"].voices("en")[0].name
    said = api.audio.speech.create(model="espeak", voice=voice, input="Hello there.", response_format="flac")
    assert said.read()[:4] == b"fLaC"


@pytest.mark.parametrize(
    ("payload", "param"),
    [
        ({"voice": "nobody"}, "voice"),
        ({"input": "  "}, "input"),
        ({"input": "x" * 5000}, "input"),
        ({"speed": 9}, "speed"),
        ({"response_format": "midi"}, "response_format"),
        ({"input": "!?"}, None),
    ],
)
def test_unsupported_speech_requests_are_rejected(api: Any, payload: dict[str, Any], param: str | None) -> None:
    asked = {"model": "espeak", "voice": "alloy", "input": "Hello.", "response_format": "wav", **payload}
    with pytest.raises(openai.BadRequestError) as raised:
        api.audio.speech.create(**asked)
    assert raised.value.param == param


def test_paid_and_unknown_engines_are_rejected(api: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        api.audio.speech.create(model="elevenlabs", voice="alloy", input="Hello.")
    with pytest.raises(openai.NotFoundError):
        api.audio.speech.create(model="gpt-9-tts", voice="alloy", input="Hello.")


def test_models_are_listed(api: Any) -> None:
    names = {model.id for model in api.models.list()}
    assert {"whisper-1", "hark", "tts-1", "espeak"} <= names
