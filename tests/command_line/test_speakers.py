"""``speakers``: who speaks in the portal's recordings, told from a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.recordings import model_client
from pipeline.recordings.diarization import voiceprints
from tests.support.command_line_samples import error_of
from tests.webui.compatibility.conftest import ready_recording
from webui.accounts.models import User
from webui.accounts.services import create_token
from webui.audio import services
from webui.audio.models import Recording
from webui.jobs.models import Job

Main = Callable[..., int]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def recording(live_server: Any, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """One of a portal's, whose address and token are in the environment."""
    settings.DATA = tmp_path / "server"
    settings.DATA.mkdir()
    user = User.objects.create_user("olivia", "olivia@example.org", "a-good-long-password", is_owner=True)
    monkeypatch.setenv("HARK_TOKEN", create_token(user=user, name="speakers", scopes=["read", "audio"])[1])
    monkeypatch.setenv("HARK_SERVER", live_server.url)
    return ready_recording(user)


def speakers_of(recording: Recording) -> list[str]:
    return [one.speaker for one in services.transcript_of(Recording.objects.get(pk=recording.pk)).segments]


def test_it_shows_names_assigns_and_merges(
    main: Main, recording: Recording, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("speakers") == 0
    assert str(recording.pk) in capsys.readouterr().out
    assert main("speakers", "show", recording.name) == 0
    shown = capsys.readouterr().out
    before = speakers_of(recording)
    first = before[0]
    assert first in shown and "1  0:00:0" in shown

    assert main("speakers", "name", str(recording.pk), first, "Anna") == 0
    assert "1  0:00:00  Anna: " in capsys.readouterr().out
    assert main("speakers", "assign", str(recording.pk), "1", "new", "--from-word", "2", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["segments"]) == len(before) + 1 and told["segments"][0]["speaker"] == first
    new = told["segments"][1]["speaker"]
    assert new not in before and len(told["segments"][0]["words"]) == 1
    assert main("speakers", "merge", str(recording.pk), new, "anna") == 0
    assert speakers_of(recording)[:2] == [first, first]
    capsys.readouterr()
    assert main("speakers", "merge", str(recording.pk), new, first, "--json") == 2
    assert error_of(capsys.readouterr().out)["what"] == "There is nothing to merge."
    assert main("speakers", "name", str(recording.pk), "Otto", "x", "--json") == 2
    assert "There is no speaker Otto." in error_of(capsys.readouterr().out)["what"]
    assert main("speakers", "show", "another.wav", "--json") == 2
    assert "There is no recording another.wav." in error_of(capsys.readouterr().out)["what"]


def test_it_detects_them_again(main: Main, recording: Recording, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("speakers", "detect", str(recording.pk), "3", "--json") == 0
    job = Job.objects.get(kind="speakers")
    assert json.loads(capsys.readouterr().out)["job"] == str(job.pk) and job.spec["speakers"] == 3


def test_voices_are_remembered_with_consent_and_forgotten(
    main: Main, recording: Recording, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voiceprints, "voice_of", lambda *of: np.zeros(5 * 16_000, np.float32))
    monkeypatch.setattr(model_client, "call", lambda *of: {"embedding": [1.0] + 255 * [0.0]})
    remember = ("speakers", "remember", str(recording.pk), speakers_of(recording)[0], "Anna")
    assert main(*remember, "--json") == 2
    assert "consent" in error_of(capsys.readouterr().out)["why"]
    assert main(*remember, "--consent") == 0 and "Anna" in capsys.readouterr().out
    assert main("speakers", "voices", "--json") == 0
    assert json.loads(capsys.readouterr().out)["voices"] == ["Anna"]
    assert main("speakers", "forget", "Anna") == 0 and "No voice is remembered." in capsys.readouterr().out
    assert main("speakers", "forget", "Anna", "--json") == 2
