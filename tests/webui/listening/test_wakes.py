"""Clips from devices: only with the owner's consent, a limited number a day, sorted, confirmed by a person."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import soundfile
from django.test import Client

from core.data_folder import REPOSITORY
from db.db_api import Library
from pipeline.serving.sorting import Sorted
from pipeline.training.measuring.marked_errors import marked_audio
from pipeline.training.planning.marked import CORPUS
from tests.support.api_calls import a_token
from tests.support.detector_versions import address, make_version
from tests.support.sounds import noise, upload
from webui.accounts.models import User
from webui.http.slots import MAX_PER_USER, slot
from webui.jobs.models import Job
from webui.library.services import trim
from webui.listening import services
from webui.listening.models import Sample, WakeIntake
from webui.trainer.models import Version

PHRASE = "hey compass"


@pytest.fixture(autouse=True)
def sorter(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set the recognizer's verdict; another test runs a real one."""
    said = {"kind": "unsure"}
    monkeypatch.setattr(services, "sort_wake", lambda phrase, language, audio: Sorted(said["kind"], "Hey, campus!"))
    return said


@pytest.fixture
def version(owner: User, portal: Path) -> Version:
    """A detector whose owner has allowed clips."""
    made = make_version(owner, portal)
    services.allow_wakes(detector=made.detector, allowed=True)
    return made


def send(user: User, version: Version, seconds: float = 1.5, scopes: tuple[str, ...] = ("wakes",), **more: Any) -> Any:
    """Send a clip as a device does, with only a token."""
    sent = {"kind": "wake", "score": "0.93", "device": "kitchen", "audio": upload(noise(seconds)), **more}
    device = Client(headers=a_token(user, *scopes))
    return device.post(f"/api/v1/detectors/{version.detector_id}/wakes", sent)


def test_devices_may_not_send_until_the_owner_allows_it(owners: Client, owner: User, portal: Path) -> None:
    version = make_version(owner, portal)
    refused = send(owner, version)
    assert refused.status_code == 403 and "has not enabled that" in refused.json()["why"]
    assert Sample.objects.count() == 0
    page = owners.get(address("version", version)).text
    assert "send nothing" in page
    switch = f"/detectors/{version.detector_id}/wakes"
    owners.post(switch, {"allowed": "1"})
    assert send(owner, version).status_code == 201
    assert f"/api/v1/detectors/{version.detector_id}/wakes" in owners.get(address("version", version)).text
    owners.post(switch)
    assert send(owner, version).status_code == 403


def test_received_recordings_are_stored_and_sorted(owner: User, version: Version, sorter: dict[str, str]) -> None:
    sorter["kind"] = "other"
    said = send(owner, version, kind="near_miss", score="0.41").json()
    sample = Sample.objects.get(pk=said["id"])
    assert sample.path.is_file() and sample.seconds == pytest.approx(1.5)
    assert (said["kind"], said["device"], said["score"], said["version"]) == ("near_miss", "kitchen", 0.41, 1)
    assert (said["sorted_as"], said["text"], said["verdict"], said["state"]) == ("other", "Hey, campus!", "", "new")


def test_activations_need_scope_and_ownership(owner: User, other: User, version: Version, others: Client) -> None:
    assert send(owner, version, scopes=("read", "train")).status_code == 403
    assert send(other, version).status_code == 404
    assert send(owner, version, kind="something").status_code == 422
    assert send(owner, version, seconds=7.0).status_code == 422
    assert Sample.objects.count() == 0
    assert others.post(f"/detectors/{version.detector_id}/wakes", {"allowed": "1"}).status_code == 404
    assert Client(headers=a_token(owner, "wakes")).get("/api/v1/inbox").status_code == 403


def test_activations_are_limited_per_day_and_in_the_inbox(owner: User, version: Version, settings: Any) -> None:
    settings.WAKES_PER_DAY = 2
    assert send(owner, version, seconds=0.1).status_code == 422, "not stored, so not counted"
    assert [send(owner, version).status_code for _ in range(3)] == [201, 201, 429]
    assert send(owner, version, seconds=7.0).status_code == 429, "not decoded"
    WakeIntake.objects.update(day="2026-01-01")  # another day
    assert send(owner, version).status_code == 201
    settings.WAKES_PER_DAY, settings.WAKES_WAITING = 10, 3
    full = send(owner, version)
    assert full.status_code == 429 and "inbox is full" in full.json()["what"] and full["Retry-After"]
    services.discard(sample=Sample.objects.all()[0])
    assert send(owner, version).status_code == 201


def test_a_device_needs_a_slot(owner: User, version: Version) -> None:
    with ExitStack() as requests:
        for _ in range(MAX_PER_USER):
            requests.enter_context(slot(owner))
        busy = send(owner, version)
    assert busy.status_code == 429 and busy["Retry-After"] == "5" and not Sample.objects.exists()
    assert send(owner, version).status_code == 201


def test_another_verdict_replaces_the_clip(owner: User, version: Version, portal: Path) -> None:
    program = Client(headers=a_token(owner))
    sample = send(owner, version).json()["id"]
    with Library(portal) as library:
        for phrase in (True, True, False, False, True):
            taken = program.post(f"/api/v1/inbox/{sample}/take?phrase={phrase}").json()
            assert (taken["verdict"], taken["state"]) == ("missed" if phrase else "false_alarm", "taken")
            marked = marked_audio(library, PHRASE, "en")
            assert (len(marked.misses), len(marked.false_alarms)) == (int(phrase), int(not phrase))
            if not phrase:  # a part of it is not the other verdict's clip either
                (clip, *_parts) = library.with_source(CORPUS)
                trim(library, clip, start_s=0.0, end_s=1.0, text="", put_aside=True)


def test_no_activation_is_accepted_if_the_limit_is_0(
    owner: User, version: Version, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARK_WAKES_PER_DAY", "0")
    again = runpy.run_path(str(REPOSITORY / "webui" / "settings.py"))
    settings.WAKES_PER_DAY, settings.WAKES_WAITING = again["WAKES_PER_DAY"], again["WAKES_WAITING"]
    refused = send(owner, version)
    assert refused.status_code == 429 and "recordings is 0" in refused.json()["why"]


def test_confirmed_activations_are_used_in_retraining(
    owners: Client, owner: User, version: Version, portal: Path
) -> None:
    heard, missed, wrong = (send(owner, version, kind=kind).json()["id"] for kind in ("wake", "near_miss", "wake"))
    page = owners.get("/inbox").text
    assert page.count("device activation") == 2 and page.count("near miss on a device") == 1
    assert "Hey, campus!" in page and "The phrase" in page and "Confirm these" not in page, "no verdict is certain"
    owners.post(f"/inbox/{wrong}", {"decision": "take"}, headers={"Accept": "application/json"})
    assert Sample.objects.filter(state="taken").count() == 0, "the sample has not been confirmed"
    owners.post(f"/inbox/{heard}", {"decision": "phrase"})
    owners.post(f"/inbox/{missed}", {"decision": "phrase"})
    owners.post(f"/inbox/{wrong}", {"decision": "other"})
    with Library(portal) as library:
        marked = marked_audio(library, PHRASE, "en")
    assert (len(marked.misses), len(marked.false_alarms)) == (2, 1)


def test_all_certain_samples_can_be_confirmed_together(
    owners: Client, owner: User, version: Version, portal: Path, sorter: dict[str, str]
) -> None:
    for kind in ("phrase", "other", "other", "unsure"):
        sorter["kind"] = kind
        send(owner, version)
    page = " ".join(owners.get("/inbox").text.split())
    assert "from devices: 1 is the phrase, 2 are not." in page
    owners.post("/inbox/confirm")
    assert Sample.objects.get(state="new").sorted_as == "unsure"
    with Library(portal) as library:
        marked = marked_audio(library, PHRASE, "en")
    assert (len(marked.misses), len(marked.false_alarms)) == (1, 2)
    assert "Confirm these" not in owners.get("/inbox").text


def test_the_api_allows_devices_and_confirms_samples(owner: User, portal: Path, sorter: dict[str, str]) -> None:
    version = make_version(owner, portal)
    programs = Client(headers=a_token(owner))
    switch = f"/api/v1/detectors/{version.detector_id}/wakes"
    allowed = programs.put(switch, {"allowed": True}, content_type="application/json")
    assert allowed.status_code == 200 and allowed.json()["takes_wakes"]
    sample = send(owner, version).json()["id"]
    refused = programs.post(f"/api/v1/inbox/{sample}/take")
    assert refused.status_code == 422 and "phrase=true" in refused.json()["what_to_do"]
    taken = programs.post(f"/api/v1/inbox/{sample}/take?phrase=false").json()
    assert (taken["verdict"], taken["state"]) == ("false_alarm", "taken")
    sorter["kind"] = "phrase"
    sure = send(owner, version).json()["id"]
    assert programs.post("/api/v1/inbox/confirm").status_code == 204
    assert programs.get(f"/api/v1/inbox/{sure}").json()["verdict"] == "missed"
    forbidden = programs.put(switch, {"allowed": False}, content_type="application/json")
    assert not forbidden.json()["takes_wakes"] and send(owner, version).status_code == 403


def test_users_cannot_confirm_samples_of_others(others: Client, owner: User, version: Version) -> None:
    sample = send(owner, version).json()["id"]
    Sample.objects.update(sorted_as="other")
    assert others.post(f"/inbox/{sample}", {"decision": "phrase"}).status_code == 404
    others.post("/inbox/confirm")
    others.post("/api/v1/inbox/confirm")
    assert Sample.objects.get().state == "new"


def test_the_inbox_offers_retraining_after_confirmation(
    owners: Client, owner: User, version: Version, sorter: dict[str, str]
) -> None:
    sorter["kind"] = "phrase"
    for _ in range(2):
        send(owner, version)
    assert "data-retrain" not in owners.get("/inbox").text, "the sample is unconfirmed"
    shown = owners.post("/inbox/confirm", follow=True).text
    retrain = address("version", version) + "/retrain"
    assert f'action="{retrain}"' in shown and "2 recordings are new for “hey compass”." in shown
    answer = owners.post(retrain)
    job = Job.objects.get(kind="retrain")
    assert answer["Location"] == f"/jobs/{job.pk}" and job.spec["phrase"] == PHRASE
    shown = owners.get("/inbox").text
    assert "is being retrained" in shown and "<button>Retrain</button>" not in shown
    Job.objects.filter(pk=job.pk).update(state=Job.State.FAILED)
    assert "2 recordings are new" in owners.get("/inbox").text, "no version was trained on them"
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE)
    assert "data-retrain" not in owners.get("/inbox").text
    send(owner, version)
    owners.post(f"/inbox/{Sample.objects.latest('id').pk}", {"decision": "phrase"})
    assert "1 recording is new" in owners.get("/inbox").text


AROUND = """
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>
std::string heard;
bool listening = true;
struct Format {{ int get_bits_per_sample() {{ return 32; }} int get_channels() {{ return 2; }} }};
struct Microphone {{ Format get_audio_stream_info() {{ return {{}}; }} }} i2s_mics;
void on_data(const std::vector<uint8_t> &x) {{
{on_data}
}}
std::string body() {{
{body}
}}
int main() {{
  for (int block = 0; block < 200; block++) {{
    std::vector<uint8_t> x;
    for (int n = 0; n < 512; n++) {{
      int32_t both[2] = {{((block * 512 + n) % 30000) << 16, -7}};
      x.insert(x.end(), (uint8_t *) both, (uint8_t *) (both + 2));
    }}
    on_data(x);
  }}
  std::string made = body();
  fwrite(made.data(), 1, made.size(), stdout);
}}
"""


@pytest.mark.skipif(not shutil.which("g++"), reason="no g++")
def test_the_documented_esphome_request_is_accepted(owner: User, version: Version, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "esphome.md").read_text(encoding="utf-8")
    (yaml,) = (block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "http_request" in block)
    on_data = re.findall(r"- lambda: \|-\n(.*?)\n\n", yaml, re.DOTALL)[0]
    body = re.findall(r"body: !lambda \|-\n(.*?)\n    - globals", yaml, re.DOTALL)[0]
    program = AROUND.format(on_data=on_data, body=body)
    (tmp_path / "device.cpp").write_text(re.sub(r"\bid\((\w+)\)", r"\1", program))
    built = ["g++", "-std=c++20", "-o", str(tmp_path / "device"), str(tmp_path / "device.cpp")]
    subprocess.run(built, check=True, timeout=120)
    sent = subprocess.run([str(tmp_path / "device")], check=True, capture_output=True, timeout=30).stdout
    (url,) = re.findall(r"url: https://[^/]*(/.*)", yaml)
    (kind,) = re.findall(r"Content-Type: (.*)", yaml)
    device = Client(headers=a_token(owner, "wakes"))
    answer = device.post(url.replace("/1/", f"/{version.detector_id}/"), sent, content_type=kind)
    assert answer.status_code == 201, answer.content
    sample = Sample.objects.get()
    assert (sample.kind, sample.device, sample.seconds) == ("wake", "kitchen", 2.5)
    heard, last = soundfile.read(sample.path, dtype="int16")[0], (200 * 512 - 1) % 30_000
    assert len(heard) == 40_000 and heard[-1] == last, "the first channel, to the end"
