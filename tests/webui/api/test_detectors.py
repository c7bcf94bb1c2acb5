"""Detectors, clips and phrases by the API."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.audio_file import read_audio, write_audio
from core.readiness import Readiness
from db.db_api import Library
from db.records import NewClip
from tests.support.api_calls import Call, World, a_pair, a_token, problem_of
from tests.support.sounds import noise
from webui.accounts.models import User

pytestmark = pytest.mark.django_db


def test_thresholds_are_sorted_numbers(call: Call, world: World) -> None:
    place = f"/detectors/{world.version.detector_id}/versions/1"
    rows = call("get", f"{place}/thresholds", headers=a_token(world.user, "read")).json()
    assert [row["fa_per_day"] for row in rows] == sorted(row["fa_per_day"] for row in rows)
    assert [row["default"] for row in rows].count(True) == 1
    assert all(0 <= row["miss_rate"][name] <= 1 for row in rows for name in ("all", "clean", "noisy"))


def test_a_bundle_is_sent_with_a_different_default_rate(call: Call, world: World) -> None:
    place = f"/detectors/{world.version.detector_id}/versions/1/bundle"
    response = call("get", f"{place}?fa_per_day=2", headers=a_token(world.user, "read"))
    with zipfile.ZipFile(io.BytesIO(response.getvalue())) as archive:
        assert json.loads(archive.read("manifest.json"))["default_fa_per_day"] == 2
    stem = world.version.bundle.removesuffix(".zip")
    assert f"{stem}-2-a-day.zip" in response["Content-Disposition"]
    problem_of(call("get", f"{place}?fa_per_day=0", headers=a_token(world.user, "read")), 422)
    (world.version.path / world.version.bundle).unlink()
    problem_of(call("get", place, headers=a_token(world.user, "read")), 410)


def test_a_sample_goes_into_the_inbox_and_the_library(call: Call, world: World, recording: Path) -> None:
    place = f"/detectors/{world.version.detector_id}/versions/1/samples"
    headers = a_token(world.user, "audio", "read")
    with recording.open("rb") as file:
        body = {"audio": file, "verdict": "false_alarm", "start_s": "0.2", "end_s": "0.9"}
        made = call("post", place, body=body, form=True, headers=headers)
    assert made.status_code == 201 and made.json()["seconds"] == pytest.approx(0.7, abs=0.001)
    with recording.open("rb") as file:
        body = {"audio": file, "verdict": "false_alarm", "end_s": "0.1"}
        problem_of(call("post", place, body=body, form=True, headers=headers), 422)
    take = f"/inbox/{made.json()['id']}/take"
    problem_of(call("post", f"{take}?phrase=true", headers=headers), 422)  # the verdict is that of the mark
    assert call("post", take, headers=headers).json()["state"] == "taken"
    assert call("get", "/library", headers=headers).json()["clips"] == 2


def test_an_audio_error_names_the_uploaded_file(
    call: Call, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.listening.services.detect_in_file", lambda version, path, rate: read_audio(path))
    path = tmp_path / "letter.wav"
    path.write_text("Dear Sir")
    with path.open("rb") as file:
        place = f"/detectors/{world.version.detector_id}/versions/1/detect"
        response = call("post", place, body={"audio": file}, form=True, headers=a_token(world.user, "audio"))
    said = problem_of(response, 422)
    assert "letter.wav" in said["what"] and str(tmp_path) not in json.dumps(said)


def test_unknown_options_with_the_audio_are_rejected(call: Call, world: World, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_audio(path, noise(0.5))
    version = f"/detectors/{world.version.detector_id}/versions/1"
    for place, more in ((f"{version}/detect", {}), (f"{version}/samples", {"verdict": "missed"})):
        with path.open("rb") as file:
            body = {"audio": file, "fa_per_day": "0.5", **more}
            response = call("post", place, body=body, form=True, headers=a_token(world.user, "audio"))
        assert "'fa_per_day' does not exist here" in problem_of(response, 422)["what"]


@pytest.mark.parametrize(
    ("method", "place", "body"),
    [
        ("get", "/recordings?colour=red", None),
        ("post", "/jobs?effort=quick", {"phrase": "hey compass"}),
        ("post", "/inbox/confirm", {"samples": [1]}),
    ],
)
def test_parameters_without_effect_are_rejected(
    call: Call, owner: User, method: str, place: str, body: dict[str, Any] | None
) -> None:
    response = call(method, place, body=body, headers=a_token(owner, "read", "train", "audio"))
    assert "does not exist here" in problem_of(response, 422)["what"]


def test_deleting_a_detector_removes_its_files(call: Call, world: World) -> None:
    folder = world.version.path
    assert folder.is_dir()
    place = f"/detectors/{world.version.detector_id}"
    assert call("delete", place, headers=a_token(world.user, "train")).status_code == 204
    assert not folder.exists()
    problem_of(call("get", place, headers=a_token(world.user, "read")), 404)


@pytest.mark.parametrize(
    "path",
    [
        *("/detectors/{}", "/detectors/{}/versions/1", "/detectors/1/versions/{}", "/inbox/{}", "/clips/{}"),
        *("/tokens/{}", "/webhooks/{}", "/webhooks/{}/deliveries", "/users/{}"),
    ],
)
def test_ids_beyond_the_database_get_404(call: Call, owner: User, path: str) -> None:
    problem_of(call("get", path.format(10**23), headers=a_pair(owner)), 404)


def test_search_results_are_paged(call: Call, world: World, portal: Path) -> None:
    with Library(portal) as library:
        library.add_clips(NewClip(noise(0.1 + n / 100), "compass", "compass", "en", "flite") for n in range(3))
    headers = a_token(world.user, "read")
    first = call("get", "/clips?phrase=compass&limit=3", headers=headers).json()
    then = call("get", first["next"], headers=headers).json()
    assert [clip["id"] for clip in first["items"] + then["items"]] == [1, 2, 3, 4] and then["next"] is None
    assert call("get", "/clips?engine=espeak", headers=headers).json()["items"][0]["text"] == "Hey, compass!"
    assert call("get", "/clips?phrase=nothing", headers=headers).json()["items"] == []


def test_a_clip_is_changed_and_deleted(call: Call, world: World) -> None:
    headers = a_token(world.user, "train", "read")
    place = f"/clips/{world.clip}"
    said = call("patch", place, body={"text": "Hey campus.", "state": "rejected"}, headers=headers).json()
    assert (said["text"], said["state"]) == ("Hey campus.", "rejected")
    assert call("get", "/clips?phrase=campus&state=ready", headers=headers).json()["items"] == []
    problem_of(call("patch", place, body={"text": "!"}, headers=headers), 422)
    assert call("delete", place, headers=headers).status_code == 204
    problem_of(call("get", f"{place}/audio", headers=headers), 404)
    problem_of(call("delete", place, headers=headers), 404)


WHY = "There is no Piper voice in /srv/hark/data/voices/piper."


def test_server_paths_are_shown_to_the_owner_only(
    call: Call, owner: User, other: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    piper = SimpleNamespace(name="piper", licence="GPL-3.0", paid=False)
    espeak = SimpleNamespace(name="espeak", licence="GPL-3.0-or-later", paid=False)
    rows = [(espeak, Readiness(True), []), (piper, Readiness(False, WHY, "./hark voices pull piper x"), [])]
    monkeypatch.setattr("webui.api.routes.phrases.all_engines", lambda language: rows)
    told = {user: call("get", "/engines", headers=a_token(user, "read")).json() for user in (owner, other)}
    assert told[owner][1]["why"] == WHY and told[owner][1]["how_to_enable"].startswith("./hark")
    assert told[other][1]["why"] == "It is not set up on this server." and "/srv" not in str(told[other])
    assert [row["ready"] for row in told[other]] == [True, False] and told[other][0] == told[owner][0]
