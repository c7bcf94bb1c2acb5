"""The compatible URLs without stand-ins: Hark's own engine in its own speech service, and a real job."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from django.test import Client
from scipy.signal import resample_poly

from audio_generation.registry import close_engines, engine_named
from core.errors import HarkError
from core.events import silent_reporter
from pipeline.jobs import KINDS
from pipeline.speech_service import client as speech_client
from tests.support.sounds import upload
from webui.compatibility.speaking import named_voice
from webui.jobs.models import Job
from webui.recordings import job_results
from webui.recordings.models import Recording
from webui.speech import spoken

pytestmark = pytest.mark.django_db

SAID = "The weather is very good in the morning."


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process with models of this test's own data folder, ended afterwards."""
    monkeypatch.delenv("HARK_SPEECH_SERVICE", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    try:
        yield
    finally:
        speech_client.stop()
        close_engines()


def speech(engine: str, text: str, language: str = "en") -> np.ndarray:
    """Return a text spoken by an engine's first voice, [samples] at 16 kHz."""
    chosen = engine_named(engine)
    if not chosen.available().ok:
        pytest.skip(f"the engine {engine} is not installed")
    voice = next((v for v in chosen.voices(language) if "slt" in v.name), chosen.voices(language)[0])
    content = spoken(chosen, named_voice(chosen, voice.name, language), text)
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    return np.asarray(resample_poly(samples, 16_000, rate), np.float32)


def words_recognized(text: str) -> int:
    """Return how many of the spoken words are in a text."""
    return len(set(SAID.lower().rstrip(".").split()) & set(text.lower().split()))


def test_audio_is_recognized_and_summarized(program: Client, service: None) -> None:
    sound = speech("flite", SAID)
    files = {"file": upload(sound, "said.wav"), "model": "hark", "response_format": "verbose_json"}
    said = program.post("/v1/audio/transcriptions", files).json()
    assert words_recognized(said["text"]) >= 4, said
    assert 0 <= said["segments"][0]["start"] < said["segments"][-1]["end"] <= said["duration"] + 0.01
    notes = program.post("/api/voice-to-notes", {"audio": upload(sound, "said.wav"), "engine": "hark"})
    assert words_recognized(notes.json()["transcript"]) >= 4 and words_recognized(notes.json()["summary"]) >= 4
    quiet = upload(np.zeros(32_000, np.float32), "quiet.wav")
    silence = program.post("/api/asr/transcribe", {"audio": quiet, "engine": "hark"})
    assert silence.json() == {"transcript": ""}, "silence has no words"


def test_a_stereo_call_has_left_and_right_speakers(program: Client, service: None, portal: Path) -> None:
    left, right = speech("flite", SAID), speech("flite", "Please open the door of the house.")
    gap = np.zeros(8_000, np.float32)
    call = np.zeros((len(left) + len(right) + len(gap), 2), np.float32)
    call[: len(left), 0] = left
    call[len(left) + len(gap) :, 1] = right
    call += 1e-4 * np.random.default_rng(0).standard_normal(call.shape).astype(np.float32)
    answer: Any = program.post("/api/v1/transcribe", {"file": upload(call, "call.wav"), "engine": "hark"})
    assert answer.status_code == 202
    recording = Recording.objects.get()
    job = recording.job
    result = KINDS[job.kind].run(job.spec, portal, silent_reporter())
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE, result=result)
    job.refresh_from_db()
    job_results.transcribed(job)
    said = program.get(f"/api/v1/transcribe/{recording.pk}").json()
    assert said["status"] == "completed"
    sides = [segment["speaker"] for segment in said["transcript"]["segments"]]
    assert set(sides) == {"left", "right"} and sides[0] == "left" and sides[-1] == "right", said
    assert said["summary"]["text"] and said["metadata"]["model_versions"]


def test_german_without_a_language_is_rejected_by_every_endpoint(program: Client, service: None, portal: Path) -> None:
    sound = speech("espeak", "Guten Morgen. Heute ist das Wetter schön, und wir gehen zusammen in den Garten.", "de")
    said = program.post("/api/asr/transcribe", {"audio": upload(sound, "de.wav")})
    assert said.status_code == 422 and "Choose the spoken language" in said.json()["what_to_do"]
    form = {"file": upload(sound, "de.wav"), "model": "whisper-1"}
    said = program.post("/v1/audio/transcriptions", form)
    assert said.status_code == 400 and "Choose the spoken language" in said.json()["error"]["message"]
    assert program.post("/upload", {"file": upload(sound, "de.wav")}).status_code == 200
    job = Recording.objects.get().job
    with pytest.raises(HarkError, match="Choose the spoken language"):  # which the page and API v1 show
        KINDS[job.kind].run(job.spec, portal, silent_reporter())
