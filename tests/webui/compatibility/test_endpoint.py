"""Options that these addresses do not have, or cannot understand: refused in words, as they would have no effect."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from webui.audio.models import Recording
from webui.jobs.models import Job

pytestmark = pytest.mark.django_db

JSON = ("/api/nlp/summarize", "/v1/audio/speech")
FORMS = (
    "/api/asr/transcribe", "/api/voice-to-notes", "/upload", "/train-real", "/interact", "/api/meetings",
    "/api/v1/transcribe", "/v1/audio/transcriptions", "/v1/audio/translations",
)  # fmt: skip


@pytest.mark.parametrize("address", [*FORMS, *JSON])
def test_an_option_that_is_unknown_is_named(
    client: Client, token: dict[str, str], recording_file: Path, address: str
) -> None:
    if address in JSON:
        text = "input" if address.startswith("/v1/") else "text"
        sent = {text: "Hello.", "num_speakers": "3"}
        answer = client.post(address, sent, content_type="application/json", headers=token)
    else:
        with recording_file.open("rb") as audio:
            field = {"/v1": "file", "/tr": "epochs"}.get(address[:3], "audio")
            answer = client.post(address, {field: audio, "num_speakers": "3"}, headers=token)
    assert answer.status_code == (400 if address.startswith("/v1/") else 422), answer.content
    assert "no option 'num_speakers'" in answer.content.decode() and "this address takes" in answer.content.decode()
    assert not Recording.objects.exists() and not Job.objects.exists()


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("/api/meetings", {"summary": "llm"}),
        ("/api/meetings", {"diarize": "pyannote"}),
        ("/api/meetings", {"polish": "gpt"}),
        ("/api/meetings", {"diarize": "0", "speakers": "2"}),
        ("/v1/audio/transcriptions", {"model": "whisper-1", "stream": "events"}),
    ],
)
def test_a_value_without_an_effect_is_refused(
    client: Client, token: dict[str, str], recording_file: Path, address: str, sent: dict[str, str]
) -> None:
    with recording_file.open("rb") as audio:
        field = "file" if address.startswith("/v1/") else "audio"
        answer = client.post(address, {field: audio, **sent}, headers=token)
    assert answer.status_code in (400, 422) and [*sent][-1] in answer.content.decode(), answer.content
    assert not Recording.objects.exists()
