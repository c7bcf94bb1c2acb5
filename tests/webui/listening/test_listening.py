"""Detection in a recording, and marked samples."""

from __future__ import annotations

import json
import os
import weakref
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from core.audio_file import SAMPLE_RATE, write_audio
from core.errors import HarkError
from db.db_api import Library
from pipeline.serving.detection import open_detector
from pipeline.training.planning.marked import FALSE_ALARM_OF, marked_false_alarms
from tests.support.untrained_bundle import keyword_hmm_bundle, spoken
from webui.accounts.models import User
from webui.accounts.services import create_token
from webui.http.slots import MAX_PER_USER, slot
from webui.jobs.models import Job
from webui.listening import services
from webui.listening.models import Sample
from webui.trainer.models import Detector, Version

PHRASE = "hey compass"


@pytest.fixture
def version(owner: User, portal: Path) -> Version:
    """A detector that works without training. Its bundle is a folder."""
    keyword_hmm_bundle(portal / "models" / "run-1" / "bundle", PHRASE, size="standard")
    detector = Detector.objects.create(user=owner, phrase=PHRASE, language="en")
    summary = {"miss_rate": {"value": 0.1, "low": 0.0, "high": 0.2}}
    return Version.objects.create(detector=detector, number=1, folder="models/run-1", bundle="bundle", summary=summary)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "said.wav"
    write_audio(path, spoken(PHRASE))
    return path


def sound_of(recording: Path, name: str = "a.wav") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, recording.read_bytes())


def test_a_recording_is_scored_completely(version: Version, recording: Path) -> None:
    heard = services.detect_in_file(version, recording)
    assert len(heard["detections"]) == 1
    assert heard["seconds"] == pytest.approx(len(spoken(PHRASE)) / SAMPLE_RATE, abs=0.01)
    assert len(heard["peaks"]) <= services.PEAKS and max(heard["peaks"]) > 0.1
    assert max(heard["scores"]) >= heard["threshold"]
    json.dumps(heard)


def test_a_file_that_is_not_a_recording_is_rejected(version: Version, tmp_path: Path) -> None:
    bad = tmp_path / "letter.wav"
    bad.write_bytes(b"%PDF-1.4 no audio")
    with pytest.raises(HarkError):
        services.detect_in_file(version, bad)


def test_streams_of_a_bundle_share_its_model_until_it_changes(version: Version) -> None:
    first = services.runtime_of(version)
    first.threshold = 0.9
    first.process(spoken(PHRASE))
    second, rare = services.runtime_of(version), services.runtime_of(version, 0.5)
    assert first._model is second._model is rare._model
    assert second.threshold == second.bundle.threshold() and rare.threshold == rare.bundle.threshold(0.5)
    alone = open_detector(version.bundle_path)
    np.testing.assert_array_equal(second.scores(spoken(PHRASE)), alone.scores(spoken(PHRASE)))
    os.utime(version.bundle_path, (0, 0))
    assert services.runtime_of(version)._model is not first._model


def test_a_model_is_freed_after_its_last_stream(version: Version) -> None:
    first, second = services.runtime_of(version), services.runtime_of(version)
    model = weakref.ref(first._model)
    del first
    assert model() is not None
    del second
    assert model() is None


def test_a_too_long_recording_is_rejected(version: Version, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    write_audio(path, np.zeros(int(services.MAX_FILE_S + 1) * SAMPLE_RATE, np.float32))
    with pytest.raises(HarkError, match="too long"):
        services.detect_in_file(version, path)


def test_an_upload_is_scored_and_a_marked_segment_stored(
    owners: Client, version: Version, recording: Path, portal: Path
) -> None:
    address = f"/detectors/{version.detector_id}/1/try"
    assert owners.get(address).status_code == 200
    answer = owners.post(f"{address}/file", {"audio": sound_of(recording)})
    hit = answer.json()["detections"][0]["time_s"]
    marked = {"verdict": "false_alarm", "start_s": hit - 1.5, "end_s": hit}
    answer = owners.post(f"{address}/mark", {"audio": sound_of(recording, "../../a.wav"), **marked})
    sample = Sample.objects.get(id=answer.json()["kept"]["id"])
    assert sample.path.is_file() and sample.path.parent == portal / "inbox"
    assert sample.seconds == pytest.approx(1.5, abs=0.1)
    assert list((portal / "tmp").iterdir()) == []
    played = owners.get(f"/inbox/{sample.pk}.flac")
    assert played.getvalue()[:4] == b"fLaC"


def test_a_recording_is_scored_at_the_selected_rate(owners: Client, version: Version, recording: Path) -> None:
    address = f"/detectors/{version.detector_id}/1/try"
    page = owners.get(f"{address}?fa_per_day=2").text
    assert f'data-file="{address}/file?fa_per_day=2"' in page and 'data-rate="2"' in page

    def threshold(query: str) -> float:
        return float(owners.post(f"{address}/file{query}", {"audio": sound_of(recording)}).json()["threshold"])

    bundle = services.runtime_of(version).bundle
    assert threshold("?fa_per_day=2") == pytest.approx(bundle.threshold(2.0))
    assert threshold("") == pytest.approx(bundle.threshold())
    assert owners.get(f"{address}?fa_per_day=often").status_code == 422
    assert owners.post(f"{address}/file?fa_per_day=13", {"audio": sound_of(recording)}).status_code == 422
    with pytest.raises(HarkError, match="no threshold for"):
        services.runtime_of(version, -1.0)


@pytest.mark.parametrize("changes", [{"start_s": "x"}, {"start_s": "0", "end_s": "0"}, {"verdict": "something"}])
def test_an_invalid_segment_is_rejected(
    owners: Client, version: Version, recording: Path, changes: dict[str, str]
) -> None:
    sent = {"audio": sound_of(recording), "verdict": "missed", "start_s": "0", "end_s": "1", **changes}
    answer = owners.post(f"/detectors/{version.detector_id}/1/try/mark", sent, headers={"Accept": "application/json"})
    assert answer.status_code == 422 and set(answer.json()) >= {"what", "why", "what_to_do"}
    assert Sample.objects.count() == 0


def test_a_confirmed_false_alarm_is_not_a_clip_of_the_phrase(owner: User, version: Version, portal: Path) -> None:
    sample = services.save_sample(user=owner, version=version, verdict="false_alarm", audio=spoken("hay come past"))
    services.take(sample=sample)
    services.take(sample=sample)
    with Library(portal) as library:
        (clip,) = marked_false_alarms(library, PHRASE, "en")
        assert not clip.text_known and clip.settings == {FALSE_ALARM_OF: PHRASE}
        assert library.clips_with_texts([PHRASE], "en") == []
    sample.refresh_from_db()
    assert sample.state == Sample.State.TAKEN


def test_a_confirmed_miss_becomes_a_training_clip(owner: User, version: Version, portal: Path) -> None:
    sample = services.save_sample(user=owner, version=version, verdict="missed", audio=spoken(PHRASE))
    services.take(sample=sample)
    with Library(portal) as library:
        (clip,) = library.clips_with_texts([PHRASE], "en")
        assert clip.settings["role"] == "train" and clip.speaker == f"user-{owner.pk}"


def test_discarding_a_sample_deletes_its_audio(owners: Client, owner: User, version: Version) -> None:
    sample = services.save_sample(user=owner, version=version, verdict="missed", audio=spoken(PHRASE))
    path = sample.path
    assert owners.post(f"/inbox/{sample.pk}", {"decision": "discard"}).status_code == 302
    assert not path.exists() and Sample.objects.count() == 0


def test_pressing_retrain_twice_creates_one_job(owners: Client, version: Version) -> None:
    address = f"/detectors/{version.detector_id}/1/retrain"
    first, second = owners.post(address), owners.post(address)
    assert first["Location"] == second["Location"]
    job = Job.objects.get()
    assert (job.kind, job.spec["run"], job.queue) == ("retrain", "run-1", "training")


def test_a_version_that_is_not_better_is_stored_but_not_offered(owners: Client, version: Version) -> None:
    summary = version.summary
    Version.objects.create(detector=version.detector, number=2, folder="f", bundle="b", summary=summary, offered=False)
    assert owners.get(f"/detectors/{version.detector_id}")["Location"].endswith("/1")
    Version.objects.create(detector=version.detector, number=3, folder="f", bundle="b", summary=summary)
    assert owners.get(f"/detectors/{version.detector_id}")["Location"].endswith("/3")


def test_simultaneous_scoring_requests_are_limited(
    client: Client, owner: User, version: Version, recording: Path
) -> None:
    _token, text = create_token(user=owner, name="t", scopes=["audio"])
    by_token = {"Authorization": f"Bearer {text}", "Accept": "application/json"}
    client.force_login(owner)
    page, api = f"/detectors/{version.detector_id}/1/try", f"/api/v1/detectors/{version.detector_id}/versions/1"

    def answers() -> list[int]:
        more = {"verdict": "missed", "start_s": "0", "end_s": "1"}
        found = []
        for address in (f"{page}/file", f"{page}/mark", f"{api}/detect", f"{api}/samples"):
            sent = {"audio": sound_of(recording), **({} if address.endswith("detect") else more)}
            headers = by_token if "api" in address else {"Accept": "application/json"}
            found.append(client.post(address, sent, headers=headers).status_code)
        return found

    with ExitStack() as going:
        for _ in range(MAX_PER_USER):
            going.enter_context(slot(owner))
        assert answers() == [429] * 4
    assert answers() == [200, 200, 200, 201]
