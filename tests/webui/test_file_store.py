"""The portal with STORAGE_URL: sound and detectors come from the store, and leave it with what is deleted."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from core import file_store
from core.audio_file import write_audio
from core.backup import back_up
from core.copies import begin, copies_of
from core.errors import HarkError
from core.events import silent_reporter
from pipeline.jobs import AUDIO as AUDIO_LANE
from pipeline.jobs import RECORDINGS
from pipeline.recordings.job import _prepare, transcribe_recording
from pipeline.recordings.recording_folder import AUDIO, SUMMARY, TEXT, TRANSCRIPT, WAVEFORM
from pipeline.recordings.transcript import load_transcript
from tests.support.detector_versions import address, make_version
from tests.support.s3_server import S3Server, store_of
from tests.webui.audio.conftest import ready_recording, transcript_of_words
from webui import observing
from webui.accounts import deletion
from webui.accounts.models import User
from webui.accounts.services import create_user
from webui.audio import services
from webui.audio.history import newest
from webui.audio.models import MadeElsewhere, Recording
from webui.audio.services import job_has_ended
from webui.jobs.heartbeat import beat
from webui.jobs.models import Job
from webui.jobs.services import job_begins
from webui.trainer.services import comparison_of, remove_version


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, portal: Path) -> Iterator[S3Server]:
    with store_of(portal, monkeypatch) as server:
        yield server


@pytest.fixture
def recording(store: S3Server, owner: User) -> Recording:
    """The owner's, transcribed, its sound in the store."""
    made = ready_recording(owner)
    for name in ("original.wav", AUDIO):
        file_store.keep(made.path / name)
    return made


def removed(*paths: Path) -> None:
    for path in paths:
        path.unlink()


def test_sound_is_played_and_downloaded_from_the_store(owners: Client, recording: Recording) -> None:
    sound = (recording.path / AUDIO).read_bytes()
    removed(recording.path / AUDIO, recording.path / "original.wav")
    played = owners.get(reverse("audio:audio", args=[recording.pk]))
    assert b"".join(played) == sound
    assert b"".join(owners.get(reverse("audio:original", args=[recording.pk])))[:4] == b"RIFF"


def test_the_job_puts_sound_there_and_goes_on_without_a_copy(store: S3Server, owner: User, tmp_path: Path) -> None:
    wav = tmp_path / "upload.wav"
    write_audio(wav, (0.1 * np.sin(np.arange(16_000) / 10)).astype(np.float32))
    beat(RECORDINGS)
    made = services.create_recording(user=owner, name="a.wav", source=wav)
    assert made.job is not None and made.job.spec["in_store"]
    assert sorted(store.files) == [f"{made.folder}/original.wav"]
    _prepare(made.job.spec, made.path, silent_reporter())
    assert sorted(store.files) == [f"{made.folder}/{AUDIO}", f"{made.folder}/original.wav"]
    removed(made.path / AUDIO, made.path / "original.wav")
    _prepare(made.job.spec, made.path, silent_reporter())
    assert (made.path / AUDIO).is_file() and not (made.path / "original.wav").exists()


def test_an_upload_waits_for_no_store(store: S3Server, owner: User, tmp_path: Path) -> None:
    wav = tmp_path / "upload.wav"
    write_audio(wav, (0.1 * np.sin(np.arange(16_000) / 10)).astype(np.float32))
    for lives in (False, True):  # a worker that would fetch it
        if lives:
            beat(RECORDINGS)
        store.broken = True
        made = services.create_recording(user=owner, name="a.wav", source=wav)
        store.broken = False
        assert made.job is not None and "in_store" not in made.job.spec and (made.path / "original.wav").is_file()
        _prepare(made.job.spec, made.path, silent_reporter())
        assert f"{made.folder}/original.wav" in store.files
        write_audio(wav, (0.1 * np.sin(np.arange(16_000) / 9)).astype(np.float32))


def done_apart(job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """A transcription as a worker does it that has a data folder of its own, in which nothing stays."""
    words = transcript_of_words()
    monkeypatch.setattr("pipeline.recordings.transcription.transcribe.transcribe", lambda *given: words)
    with monkeypatch.context() as there:
        there.setenv("HARK_DATA", str(folder))
        there.setenv("HARK_APART", "1")
        portal, settings.DATA = settings.DATA, folder
        begin(folder)
        with copies_of(folder):
            result = transcribe_recording(job.spec, folder, silent_reporter())
            Job.objects.filter(pk=job.pk).update(state=Job.State.DONE, result=result)
            job.refresh_from_db()
            job_has_ended(Job, job)
        settings.DATA = portal
        assert not (folder / "audio").exists()


def test_a_recording_is_transcribed_without_the_portal_s_folder(
    store: S3Server,
    owners: Client,
    owner: User,
    portal: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    wav = tmp_path / "upload.wav"
    write_audio(wav, (0.1 * np.sin(np.arange(16_000) / 10)).astype(np.float32))
    beat(RECORDINGS)
    made = services.create_recording(
        user=owner, name="a.wav", source=wav, options={"diarize": False, "summarize": True}
    )
    assert made.job is not None
    done_apart(made.job, tmp_path / "apart", monkeypatch, settings)
    folder = portal / made.folder
    assert sorted(path.name for path in folder.iterdir()) == ["original.wav"]
    store.broken = True  # what was said waits for no store
    found = services.recordings_of(owner).get(pk=made.pk)
    assert "harbour" in services.transcript_of(found).segments[0].text
    store.broken = False
    assert "harbour" in owners.get(reverse("audio:recording", args=[made.pk])).text
    assert {TRANSCRIPT, TEXT, WAVEFORM, SUMMARY} <= {path.name for path in folder.iterdir()}
    made.job.refresh_from_db()
    assert "files" not in (made.job.result or {}) and not MadeElsewhere.objects.exists()
    assert services.search(user=owner, query="harbour")

    # What was corrected stays until the next transcription, of which it cannot be taken back.
    found = services.recordings_of(owner).get(pk=made.pk)
    services.update_segment(recording=found, number=0, text="corrected words")
    assert services.transcript_of(found).segments[0].text == "corrected words"
    services.transcribe_again(recording=found, options={"summarize": False})
    assert found.job is not None and found.job.lane == RECORDINGS
    done_apart(found.job, tmp_path / "apart", monkeypatch, settings)
    assert load_transcript(folder / TRANSCRIPT).segments[0].text == "corrected words"
    job_begins.send(Job, job=found.job)  # as of one that puts its passages into the library
    found = services.recordings_of(owner).get(pk=made.pk)
    assert not found.made_elsewhere and services.transcript_of(found).segments[0].text != "corrected words"
    assert newest(found.path) is None and services.summary_of(found) is None


def test_a_disk_that_is_full_loses_no_transcript_of_another_machine(
    store: S3Server, owner: User, portal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ready_recording(owner)
    words = (made.path / TRANSCRIPT).read_text()
    MadeElsewhere.objects.create(recording=made, files={TRANSCRIPT: words.replace("harbour", "garden")})
    Recording.objects.update(made_elsewhere=True)

    def full(path: Path) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("webui.audio.models.atomic_path", full)
        services.take_over_transcripts()
        with pytest.raises(HarkError, match="full"):
            services.transcript_of(services.recordings_of(owner).get(pk=made.pk))
    assert MadeElsewhere.objects.exists() and (made.path / TRANSCRIPT).read_text() == words
    services.take_over_transcripts()
    found = services.recordings_of(owner).get(pk=made.pk)
    assert "garden" in services.transcript_of(found).segments[0].text and not MadeElsewhere.objects.exists()


def test_who_has_voices_remembered_is_transcribed_where_they_are(
    store: S3Server, owner: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wav = tmp_path / "upload.wav"
    write_audio(wav, (0.1 * np.sin(np.arange(16_000) / 10)).astype(np.float32))
    beat(RECORDINGS)
    monkeypatch.setattr(services, "voices_of", lambda user: ["Anna"])
    made = services.create_recording(user=owner, name="a.wav", source=wav)
    assert made.job is not None and made.job.lane == AUDIO_LANE and not store.files


def test_what_is_deleted_leaves_the_store(store: S3Server, recording: Recording, owner: User, portal: Path) -> None:
    services.delete(recording=recording)
    assert not store.files
    make_version(owner, portal)
    second = make_version(owner, portal, 2)
    file_store.put_missing(silent_reporter())
    assert any(second.path.name in key for key in store.files)
    remove_version(version=second)
    assert store.files and not any(f"models/{second.path.name}/" in key for key in store.files)


def test_a_deleted_account_leaves_the_store(store: S3Server, recording: Recording, other: User) -> None:
    theirs = ready_recording(other)
    file_store.keep(theirs.path / AUDIO)
    User.objects.filter(pk=other.pk).update(deletion_asked_at=timezone.now() - 2 * deletion.PATIENCE)
    assert deletion.finish_deletions() == 1
    assert sorted(store.files) == [f"{recording.folder}/{AUDIO}", f"{recording.folder}/original.wav"]


def test_a_new_account_has_nothing_of_an_earlier_one_with_its_number(store: S3Server, owner: User, other: User) -> None:
    """As after a restore of a backup that is older than that account."""
    number = max(owner.pk, other.pk) + 1
    store.files[f"users/{number}/asr/own/own-1.safetensors"] = b"of somebody else"
    new = create_user(username="nora", password="a long password of nora")
    assert new.pk == number and not store.files


def test_a_corrected_transcript_is_put_there_when_it_is_saved(
    store: S3Server, recording: Recording, django_capture_on_commit_callbacks: Any
) -> None:
    key = f"{recording.folder}/{TRANSCRIPT}"
    for said, broken in (("first words", False), ("second words", True)):
        store.broken = broken
        with django_capture_on_commit_callbacks(execute=True):
            services.update_segment(recording=recording, number=0, text=said)
        store.broken = False
        assert services.transcript_of(recording).segments[0].text == said, "the store need not answer"
        assert ("first words" in store.files[key].decode()) and ("second" not in store.files[key].decode())


def test_what_another_machine_has_trained_is_shown_and_deleted(
    store: S3Server, owners: Client, owner: User, portal: Path
) -> None:
    version = make_version(owner, portal)
    second = make_version(owner, portal, 2)
    file_store.put_missing(silent_reporter())
    shutil.rmtree(portal / "models")
    shutil.rmtree(portal / "jobs")
    assert "hey compass" in owners.get(address("version", version)).text
    assert b"clips/ab/abcd.flac" in b"".join(owners.get(address("file", version, "dataset.jsonl")))
    shutil.rmtree(portal / "models")
    remove_version(version=second)
    assert not any(key.startswith(f"models/{second.path.name}/") for key in store.files)
    store.files[f"models/{version.path.name}/comparison.json"] = json.dumps({"asked": []}).encode()
    found, _outdated = comparison_of([version])
    assert found == {"asked": []}


def test_a_detector_is_taken_from_the_store(store: S3Server, owners: Client, owner: User, portal: Path) -> None:
    version = make_version(owner, portal)
    file_store.put_missing(silent_reporter())
    bundle = version.bundle_path.read_bytes()
    removed(version.bundle_path, version.path / "model.pt")
    assert b"".join(owners.get(address("bundle", version))) == bundle
    assert owners.get(address("version", version)).status_code == 200
    removed(version.path / "model.pt")
    assert b"".join(owners.get(address("file", version, "model.pt")))


def test_a_backup_holds_what_the_store_has(store: S3Server, recording: Recording, portal: Path, tmp_path: Path) -> None:
    removed(recording.path / AUDIO)
    archive = tmp_path.parent / "hark.zip"
    made = back_up(portal, archive, silent_reporter())
    assert f"{recording.folder}/{AUDIO}" in {file.path for file in made.files}


def test_it_is_not_ready_while_the_store_is_away(store: S3Server) -> None:
    assert observing._file_store() == observing.OK
    store.broken = True
    assert "does not answer" in observing._file_store()
