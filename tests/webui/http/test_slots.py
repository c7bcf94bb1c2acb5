"""Slots of the requests that wait for a model."""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest

from tests.support.constants import replace_in
from tests.support.refusals import refuses
from webui import speech
from webui.accounts.models import User
from webui.http.slots import MAX_PER_USER, slot
from webui.recordings.reading import asking

pytestmark = pytest.mark.django_db


def test_speech_and_spoken_questions_take_a_slot(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SimpleNamespace(voices=lambda language: [SimpleNamespace(name="v")])
    replace_in(
        speech, monkeypatch, engine_named=lambda name: engine, free_engines=lambda language, user: ["e"],
        spoken=lambda engine, voice, text: b"RIFF",
    )  # fmt: skip
    heard = [SimpleNamespace(text="who brings the map")]
    replace_in(asking, monkeypatch, choose=lambda *given: (None, ""), recognize=lambda *given: heard)

    def synthesized() -> bytes:
        return speech.speak(user=owner, engine="e", voice="v", text="hey compass", language="en")

    def recognized() -> str:
        return asking.question_of(owner, np.zeros(160, np.float32))

    with ExitStack() as taken:
        for _ in range(MAX_PER_USER):
            taken.enter_context(slot(owner))
        for call in (synthesized, recognized):
            with refuses(429, "in progress"):
                call()
    assert (synthesized(), recognized()) == (b"RIFF", "who brings the map")
