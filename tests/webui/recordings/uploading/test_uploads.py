"""Uploads in pieces: resumed, refused, forgotten."""

from __future__ import annotations

import argparse
import os
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from command_line import serve as serving
from core.errors import HarkError
from tests.support.constants import replace_in
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.recordings.models import Recording, UploadInProgress
from webui.recordings.reading import transcripts
from webui.recordings.uploading import chunks, leftovers
from webui.upload_limits import MAX_CHUNK_BYTES, RESERVED_BYTES

JSON = {"Accept": "application/json"}


def begin(client: Client, name: str, size: Any) -> Any:
    return client.post("/recordings/uploads", {"name": name, "size": size}, "application/json", headers=JSON)


def send(client: Client, address: str, at: int, content: bytes, method: str = "patch") -> Any:
    return getattr(client, method)(f"{address}?offset={at}", content, "application/octet-stream")


def sent(client: Client, content: bytes = b"abc", name: str = "a.wav") -> dict[str, Any]:
    """Send a file in one piece, without finishing the upload."""
    upload = begin(client, name, len(content)).json()
    send(client, upload["address"], 0, content)
    return upload


def done(client: Client, address: str, **content: Any) -> Any:
    return client.post(f"{address}/done", content, "application/json", headers=JSON)


def test_a_file_uploaded_in_chunks_becomes_a_recording(owners: Client, owner: User, wav: Path, portal: Path) -> None:
    content = wav.read_bytes()
    upload = begin(owners, "Call.WAV", len(content)).json()
    assert upload["offset"] == 0 and upload["chunk"] == MAX_CHUNK_BYTES
    assert send(owners, upload["address"], 0, content[:1000]).json()["offset"] == 1000
    assert done(owners, upload["address"]).status_code == 422  # the rest is missing
    assert owners.get(upload["address"]).json()["offset"] == 1000
    assert send(owners, upload["address"], 1000, content[1000:], "put").json()["offset"] == len(content)
    made = done(owners, upload["address"], options={"engine": "hark", "speakers": 2})
    assert made.status_code == 201
    recording = transcripts.recordings_of(owner).select_related("user").get()
    assert made.json() == {"recording": str(recording.pk), "address": f"/recordings/{recording.pk}"}
    assert recording.name == "Call.WAV" and recording.options["speakers"] == 2
    assert (recording.path / "original.wav").read_bytes() == content
    assert not UploadInProgress.objects.exists() and not list((portal / "uploads" / "recordings").iterdir())


def test_a_chunk_sent_twice_is_stored_once(owners: Client) -> None:
    upload = begin(owners, "a.wav", 10).json()
    send(owners, upload["address"], 0, b"12345")
    again = send(owners, upload["address"], 0, b"12345")
    assert again.status_code == 409 and again.json()["offset"] == 5
    assert send(owners, upload["address"], 7, b"890").status_code == 409
    assert send(owners, upload["address"], 5, b"67890").json()["offset"] == 10
    assert UploadInProgress.objects.get().path.read_bytes() == b"1234567890"


def test_an_upload_beyond_its_announced_size_gets_413(owners: Client) -> None:
    upload = begin(owners, "a.wav", 10).json()
    send(owners, upload["address"], 0, b"12345")
    assert send(owners, upload["address"], 5, b"6" * 100).status_code == 413
    assert owners.get(upload["address"]).json()["offset"] == 5


def test_a_chunk_above_the_limit_gets_413(owners: Client) -> None:
    most = MAX_CHUNK_BYTES
    upload = begin(owners, "a.wav", 2 * most).json()
    assert send(owners, upload["address"], 0, bytes(most + 1)).status_code == 413
    assert send(owners, upload["address"], 0, bytes(most)).json()["offset"] == most


@pytest.mark.parametrize(
    ("size", "status"), [(0, 422), (-1, 422), (1_000_000_001, 413), ("9", 422), (None, 422), (True, 422), (1.5, 422)]
)
def test_invalid_sizes_are_rejected_at_the_beginning(owners: Client, size: Any, status: int) -> None:
    answer = begin(owners, "a.wav", size)
    assert answer.status_code == status and set(answer.json()) >= {"what", "why", "what_to_do"}
    assert not UploadInProgress.objects.exists()


def test_unfinished_uploads_reserve_space_for_their_user_only(
    owners: Client, others: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = RESERVED_BYTES + 100
    monkeypatch.setattr("webui.upload_limits.shutil.disk_usage", lambda path: SimpleNamespace(free=room))
    first = begin(owners, "a.wav", 60).json()
    assert "no space" in begin(owners, "b.wav", 41).json()["what"]
    assert begin(others, "c.wav", 100).status_code == 201
    assert "no space" in begin(others, "d.wav", 1).json()["what"]
    assert begin(owners, "e.wav", 40).status_code == 201
    # The disk fills up: a chunk is rejected, earlier chunks stay, and the upload continues when there is space.
    assert send(owners, first["address"], 0, b"x" * 20).json()["offset"] == 20
    room = RESERVED_BYTES + 39
    refused = owners.patch(f"{first['address']}?offset=20", b"y" * 40, content_type="text/plain", headers=JSON)
    assert refused.status_code == 507 and "no space" in refused.json()["what"]
    assert owners.get(first["address"]).json()["offset"] == 20
    room = RESERVED_BYTES + 40
    assert send(owners, first["address"], 20, b"y" * 40).json()["offset"] == 60
    assert done(owners, first["address"]).status_code == 201


def test_too_many_simultaneous_uploads_are_rejected(owners: Client, owner: User) -> None:
    begun = (UploadInProgress(user=owner, name="a.wav", size=10) for _ in range(chunks.MAX_UNFINISHED - 1))
    UploadInProgress.objects.bulk_create(begun)
    assert [begin(owners, "a.wav", 10).status_code for _ in range(2)] == [201, 429]


def test_a_full_queue_does_not_discard_the_upload(owners: Client, settings: Any) -> None:
    upload = sent(owners)
    settings.JOBS_WAITING = 0
    assert done(owners, upload["address"]).status_code == 429
    assert owners.get(upload["address"]).json()["offset"] == 3 and not Recording.objects.exists()
    settings.JOBS_WAITING = 50
    assert done(owners, upload["address"]).status_code == 201


def test_each_of_a_hundred_uploads_is_accepted_or_rejected(owners: Client) -> None:
    taken, refused = [], []
    for number in range(100):
        upload = sent(owners, name=f"{number}.wav")
        answer = done(owners, upload["address"])
        (taken if answer.status_code == 201 else refused).append((upload, answer.status_code))
    assert {status for _, status in refused} <= {429} and len(taken) >= 50
    assert Recording.objects.count() == len(taken) and UploadInProgress.objects.count() == len(refused)
    assert all(owners.get(upload["address"]).json()["offset"] == 3 for upload, _ in refused)  # none is lost


def test_several_uploads_can_become_one_recording(owners: Client, owner: User) -> None:
    first, second = sent(owners, b"first", "one.wav"), sent(owners, b"second", "two.mp3")
    assert done(owners, first["address"], **{"with": [second["id"]]}).status_code == 201
    recording = transcripts.recordings_of(owner).select_related("user").get()
    files = [(recording.path / name).read_bytes() for name in recording.originals]
    assert files == [b"first", b"second"] and recording.originals == ["original-1.wav", "original-2.mp3"]
    assert not UploadInProgress.objects.exists()


def test_an_upload_named_twice_is_rejected_and_remains(owners: Client) -> None:
    first, second = sent(owners, b"first", "one.wav"), sent(owners, b"second", "two.mp3")
    for others in ([second["id"], second["id"].upper()], [first["id"]]):
        answer = done(owners, first["address"], **{"with": others})
        assert answer.status_code == 422 and "wrong format" in answer.json()["why"]
    assert done(owners, first["address"], **{"with": [second["id"]]}).status_code == 201


def test_abandoned_uploads_are_deleted_after_a_day(owners: Client) -> None:
    upload = begin(owners, "a.wav", 3).json()
    path = UploadInProgress.objects.get().path
    old = timezone.now() - timedelta(days=1, minutes=1)
    UploadInProgress.objects.update(touched_at=old)
    begin(owners, "b.wav", 3)
    assert not path.exists() and owners.get(upload["address"]).status_code == 404


def test_startup_removes_orphaned_upload_files(
    owners: Client, other: User, portal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = begin(owners, "a.wav", 6).json()
    send(owners, upload["address"], 0, b"abc")
    theirs = user_data(other) / "uploads"
    left = [portal / "tmp/x.upload.wav", portal / "uploads/received/tmpx.wav", theirs / "received" / "tmpy.wav"]
    kept = [portal / "uploads" / "recordings" / "live-1.wav", portal / "uploads" / "received" / "now.wav"]
    for path in (*left, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    hours_ago = time.time() - 2 * leftovers.ABANDONED_AFTER_S
    for path in (*left, kept[0], UploadInProgress.objects.get().path):
        os.utime(path, (hours_ago, hours_ago))

    class Started(Exception):
        pass

    def started(name: str, command: list[str]) -> None:
        raise Started

    replace_in(serving, monkeypatch, Part=started, ready=lambda: None)
    with pytest.raises(Started):
        serving.run_serve(argparse.Namespace(host="127.0.0.1", port=0, open=False, no_workers=False), None)
    assert not [path for path in left if path.exists()] and all(path.exists() for path in kept)
    assert send(owners, upload["address"], 3, b"def").json()["offset"] == 6
    assert done(owners, upload["address"]).status_code == 201


def test_an_upload_can_be_cancelled(owners: Client) -> None:
    upload = begin(owners, "a.wav", 3).json()
    path = UploadInProgress.objects.get().path
    assert owners.delete(upload["address"]).status_code == 204 and not path.exists()


@pytest.mark.parametrize("offset", ["", "x", "-1", "9" * 30])
def test_an_offset_must_be_a_number(owners: Client, offset: str) -> None:
    upload = begin(owners, "a.wav", 3).json()
    answer = owners.patch(f"{upload['address']}?offset={offset}", b"abc", content_type="application/octet-stream")
    assert answer.status_code == 422


@pytest.mark.parametrize("body", ["", "[]", "{", '{"with": 3}', '{"with": ["x"]}', '{"options": []}'])
def test_an_invalid_final_request_is_rejected(owners: Client, body: str) -> None:
    upload = begin(owners, "a.wav", 3).json()
    answer = owners.post(f"{upload['address']}/done", body, content_type="application/json", headers=JSON)
    assert answer.status_code in (404, 422)


def test_another_users_upload_gets_404(owners: Client, others: Client) -> None:
    upload = begin(owners, "a.wav", 3).json()
    assert others.get(upload["address"]).status_code == 404
    assert send(others, upload["address"], 0, b"abc").status_code == 404
    mine = sent(others)
    send(owners, upload["address"], 0, b"abc")
    assert done(others, mine["address"], **{"with": [upload["id"]]}).status_code == 404


@pytest.mark.parametrize("counted_for_s", [0.0, 60.0])
def test_chunked_uploads_count_once_against_the_quota(
    others: Client, other: User, settings: Any, monkeypatch: pytest.MonkeyPatch, counted_for_s: float
) -> None:
    monkeypatch.setattr("webui.accounts.storage.COUNTED_FOR_S", counted_for_s)
    settings.USER_MAX_BYTES = 10_000
    chunks.folder_of(other)
    started = [begin(others, "a.wav", 3_300) for _ in range(4)]
    assert [one.status_code for one in started] == [201, 201, 201, 507]
    for one in started[:3]:
        assert send(others, one.json()["address"], 0, b"x" * 3_300).status_code == 200
    assert [done(others, one.json()["address"]).status_code for one in started[:3]] == [201] * 3
    assert begin(others, "a.wav", 100).status_code == 507


def test_one_of_two_simultaneous_finishes_is_rejected(
    owners: Client, owner: User, wav: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = wav.read_bytes()
    sent(owners, content)
    first, second = (UploadInProgress.objects.select_related("user").get() for _ in range(2))
    made = chunks.finish(user=owner, upload=first, options={})
    monkeypatch.setattr(chunks, "offset", lambda upload: upload.size)  # as the second has seen it before
    with pytest.raises(HarkError):
        chunks.finish(user=owner, upload=second, options={})
    assert (made.path / "original.wav").read_bytes() == content and Recording.objects.count() == 1


def test_several_files_become_several_recordings_or_one(owners: Client, owner: User, wav: Path, portal: Path) -> None:
    form = {"engine": "auto", "language": "", "speakers": "2", "summarize": "on"}

    def files(names: str) -> list[SimpleUploadedFile]:
        return [SimpleUploadedFile(f"{name}.wav", wav.read_bytes()) for name in names]

    assert owners.post("/recordings/upload", {**form, "audio": files("ab")}).status_code == 302
    assert sorted(transcripts.recordings_of(owner).values_list("name", flat=True)) == ["a.wav", "b.wav"]
    assert {row["speakers"] for row in transcripts.recordings_of(owner).values_list("options", flat=True)} == {2}
    owners.post("/recordings/upload", {**form, "audio": files("cd"), "together": "on"})
    joined = transcripts.recordings_of(owner).get(name="c.wav and 1 more")
    assert joined.originals == ["original-1.wav", "original-2.wav"]
    upload = owners.get(f"/recordings/{joined.pk}/original")
    assert upload["Content-Disposition"] == 'attachment; filename="original-1.wav"'
    german = {"Accept-Language": "de"}
    owners.post("/recordings/upload", {**form, "audio": files("efg"), "together": "on"}, headers=german)
    assert transcripts.recordings_of(owner).filter(name="e.wav und 2 weitere").exists()
    assert list((portal / "uploads" / "received").iterdir()) == []


def test_a_form_without_a_file_gets_422(owners: Client) -> None:
    answer = owners.post("/recordings/upload", {"engine": "auto"})
    assert answer.status_code == 422 and b"No recording was uploaded." in answer.content
