"""Recording of takes: prompts, checks, storage and owners."""

from __future__ import annotations

import json
import uuid
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from core.audio_file import SAMPLE_RATE
from db.db_api import Library
from pipeline.corpora import enrolment
from tests.support.sounds import noise, upload
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.trainer.models import Detector, Version


@pytest.fixture(autouse=True)
def by_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    from audio_augmentation.silence import speech_bounds

    monkeypatch.setattr(enrolment, "speech_bounds", lambda audio, method: speech_bounds(audio, "energy"))


def take(seed: int = 0, level: float = 0.1) -> SimpleUploadedFile:
    """Return half a second of noise within silence."""
    return upload(np.pad(noise(0.5, seed, level), SAMPLE_RATE).clip(-1, 1), "take.wav")


def keep(client: Client, seed: int = 0, **fields: Any) -> Any:
    values = {"phrase": "Hey, Compass!", "language": "en", "hint": "close", "take": str(uuid.uuid4())}
    return client.post("/library/record/keep", values | {"audio": take(seed)} | fields)


def test_the_page_asks_for_a_phrase_and_then_for_takes(owners: Client, owner: User) -> None:
    Detector.objects.create(user=owner, phrase="hey compass", language="en")
    assert "hey compass" in owners.get("/library/record").text
    page = owners.get("/library/record?phrase=Hey+Compass&count=12").text
    hints = json.loads(unescape(page.split('data-hints="')[1].split('"')[0]))
    assert len(hints) == 12 and len({hint["words"] for hint in hints}) >= 8
    for count, wanted in (("0", 10), ("-3", 10), ("99999999999999999999999", 10), ("5000", 50), ("x", 10)):
        page = owners.get(f"/library/record?phrase=hey&count={count}").text
        assert len(json.loads(unescape(page.split('data-hints="')[1].split('"')[0]))) == wanted
    bad = owners.get("/library/record?phrase=<b>🙂</b>")
    assert bad.status_code in (200, 422) and "<b>🙂" not in bad.text
    assert owners.get("/library/record?phrase=🙂").status_code == 422


def test_a_take_is_checked_without_being_stored(owners: Client, portal: Path) -> None:
    good = owners.post("/library/record/check", {"audio": take()}).json()
    assert good["usable"] and good["problems"] == [] and 0.9 < good["seconds"] < 1.3
    loud = owners.post("/library/record/check", {"audio": take(level=3.0)}).json()
    assert loud["usable"] and "clipped" in loud["problems"][0]
    silent = owners.post("/library/record/check", {"audio": upload(np.zeros(16000))}).json()
    assert not silent["usable"] and silent["problems"]
    assert not (portal / "library.sqlite3").exists() and not list((portal / "tmp").iterdir())


def test_an_invalid_take_gets_422(owners: Client, portal: Path) -> None:
    for content in (None, b"", b"not audio at all", bytes(2_100_000)):
        for address in ("check", "keep"):
            values = {"phrase": "hey compass", "take": str(uuid.uuid4())}
            if content is not None:
                values["audio"] = SimpleUploadedFile("x.wav", content)
            answer = owners.post(f"/library/record/{address}", values, headers={"Accept": "application/json"})
            assert answer.status_code == 422 and answer.json()["what_to_do"]
    assert keep(owners, take="../../x").status_code == 422
    assert keep(owners, phrase="").status_code == 422
    assert keep(owners, audio=upload(np.zeros(16000))).status_code == 422
    assert not (portal / "library.sqlite3").exists() or Library(portal).stats().clips == 0


def test_a_stored_take_is_a_private_test_clip(owners: Client, owner: User, library: Library) -> None:
    take = str(uuid.uuid4())
    first, again = (keep(owners, take=take).json()["kept"]["id"] for _ in range(2))
    assert first == again
    (clip,) = library.iter_clips()
    assert clip.source == f"recorded:{take}" and clip.speaker == f"user-{owner.pk}" and clip.engine == "corpus"
    assert clip.text_normalized == "hey compass" and clip.licence == "private"
    assert clip.settings == {"recorded": True, "role": "test", "hint": "close"}
    assert "mine, for the test" in owners.get("/library/?origin=recorded").text


def test_takes_can_be_assigned_to_training(owners: Client, library: Library) -> None:
    for seed in range(3):
        keep(owners, seed)
    keep(owners, 9, phrase="hey campus")
    fragment = owners.get("/library/record/takes?phrase=hey+compass&language=en").text
    assert "3 of them are for testing" in fragment and "Use them for training" in fragment
    for _ in range(2):
        answer = owners.post("/library/record/role", {"phrase": "hey compass", "language": "en"})
        assert answer.status_code == 302 and answer["Location"].startswith("/library/record?")
    roles = [(clip.text_normalized, clip.settings["role"]) for clip in library.iter_clips()]
    assert roles == [("hey compass", "train")] * 3 + [("hey campus", "test")]
    fragment = owners.get("/library/record/takes?phrase=hey+compass&language=en").text
    assert "3 are for training" in fragment and "Use them for training" not in fragment


def test_the_page_counts_how_many_takes_are_detected(
    owners: Client, owner: User, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        keep(owners, seed)
    detector = Detector.objects.create(user=owner, phrase="hey compass", language="en")
    for number in (1, 2, 3):  # the last one was retrained and is not better
        folder = f"models/{number}"
        Version.objects.create(detector=detector, number=number, folder=folder, bundle="x.zip", offered=number < 3)
    asked = []
    monkeypatch.setattr("webui.library.record_views.runtime_of", lambda version: asked.append(version.number))
    monkeypatch.setattr(enrolment, "detected", lambda runtime, audio: [True, False, True][: len(audio)])
    address = "/library/record/takes?phrase=hey+compass&language=en"
    assert "It detects" not in owners.get(address).text and asked == []
    page = owners.get(address + "&try=1").text
    assert "It detects 2 of 3 recordings" in page and asked == [2], "the version in use"
    assert page.count("missed") == 1

    tile = reverse("library:own_voice") + "?phrase=hey+compass&language=en&version="
    asked.clear()
    assert "It detects you 2 of 3 times" in owners.get(tile + "3").text and asked == [3]
    owners.post("/library/record/role", {"phrase": "hey compass", "language": "en"})
    assert "Not measured" in owners.get(tile + "3").text, "the version was trained on these takes"
    assert "Not measured" in owners.get(tile + "9").text


def test_users_see_only_their_own_takes(owners: Client, others: Client, other: User, library: Library) -> None:
    keep(owners)
    assert "close" not in others.get("/library/record/takes?phrase=hey+compass&language=en").text
    others.post("/library/record/role", {"phrase": "hey compass", "language": "en"})
    assert [clip.settings["role"] for clip in library.iter_clips()] == ["test"]
    keep(others, 5)
    with Library(user_data(other)) as theirs:
        assert [clip.speaker for clip in theirs.iter_clips()] == [f"user-{other.pk}"]
    assert library.stats().clips == 1


@pytest.mark.parametrize("number", [1, 20])
def test_the_number_of_queries_is_constant(
    owners: Client, owner: User, library: Library, number: int, django_assert_max_num_queries: Any
) -> None:
    for index in range(number):
        detector = Detector.objects.create(user=owner, phrase=f"phrase {index}", language="en")
        Version.objects.create(detector=detector, number=1, folder="f", bundle="b")
        keep(owners, index, phrase="phrase one")
    for address in ("/library/record", "/library/record?phrase=phrase+one", "/library/record/takes?phrase=phrase+one"):
        with django_assert_max_num_queries(5):
            assert owners.get(address).status_code == 200
