"""The page of engines: a button installs a missing one, for the owner."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from audio_generation.registry import engines
from tests.support.rendered_pages import flat
from webui.accounts.models import User
from webui.jobs.models import Job


def test_the_owner_enables_an_engine_as_a_job(owners: Client) -> None:
    page = owners.get("/engines").text
    assert "espeak" in page
    answer = owners.post("/engines/kokoro/enable")
    job = Job.objects.get()
    assert answer["Location"] == f"/jobs/{job.id}" and (job.kind, job.spec) == ("enable", {"engine": "kokoro"})
    assert owners.get(f"/jobs/{job.id}").status_code == 200


def test_voices_and_speakers_are_counted_as_in_a_plan(owners: Client) -> None:
    voices = engines()["espeak"].voices("en")
    speakers = len({voice.speaker for voice in voices})
    assert len(voices) > speakers > 1
    assert f"{len(voices)} English voices of {speakers} speakers" in flat(owners.get("/engines"))


def test_the_owner_downloads_a_voice_as_a_job(owners: Client) -> None:
    owners.post("/engines/piper/pull", {"voice": "en_US-lessac-medium"})
    assert Job.objects.get().spec == {"engine": "piper", "voice": "en_US-lessac-medium"}


def test_tools_without_voices_can_be_enabled_and_downloaded(owners: Client) -> None:
    page = owners.get("/engines").text
    for engine in ("pyannote", "tps", "funasr"):
        assert f"/engines/{engine}/enable" in page
        owners.post(f"/engines/{engine}/enable")
    for model in ("pyannote", "funasr"):
        assert owners.post(f"/engines/models/{model}/pull").status_code == 302
    assert Job.objects.filter(kind="enable").count() == 3 and Job.objects.filter(kind="pull").count() == 2


@pytest.mark.parametrize("address", ["/engines/espeak/enable", "/engines/nothing/enable", "/engines/espeak/pull"])
def test_shipped_and_unknown_engines_cannot_be_enabled(owners: Client, address: str) -> None:
    assert owners.post(address, {"voice": "x"}).status_code == 404


def test_other_users_cannot_change_the_installation(others: Client, owner: User) -> None:
    assert others.post("/engines/kokoro/enable").status_code == 404
    assert others.post("/engines/piper/pull", {"voice": "en_US-lessac-medium"}).status_code == 404
    assert not Job.objects.exists()
    assert "Enable kokoro" not in others.get("/engines").text


def test_models_for_recordings_are_downloaded_as_jobs(owners: Client) -> None:
    page = flat(owners.get("/engines"))
    assert "For recordings" in page and '<option value="small">small · 486 MB</option>' in page
    assert "42 MB · a minute of audio takes about 4 s · 6 of 100 words wrong in clearly read English" in page
    owners.post("/engines/models/faster-whisper/pull", {"size": "base"})
    owners.post("/engines/models/reader/pull")
    specs = list(Job.objects.filter(kind="pull").order_by("created_at").values_list("spec", flat=True))
    assert specs == [
        {"engine": "faster-whisper", "voice": "base", "model": True},
        {"engine": "reader", "voice": "", "model": True},
    ]
    for kind, size in (("faster-whisper", "../x"), ("nothing", "")):
        assert owners.post(f"/engines/models/{kind}/pull", {"size": size}).status_code == 404


def test_missing_parts_are_reported_in_german(owners: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HARK_ASR_URL", "HARK_LLM_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    page = owners.get("/engines", headers={"Accept-Language": "de"}).text
    for said in ("Es ist kein Endpunkt eingerichtet.", "siehe Anbieter", "Es ist kein Sprachmodell eingerichtet."):
        assert said in page
    assert not re.search("(are|is) not installed|No endpoint|see the provider|There is no|does not exist yet", page)
