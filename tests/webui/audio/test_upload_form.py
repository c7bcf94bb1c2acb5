"""POST /recordings/upload."""

from __future__ import annotations

from pathlib import Path

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from webui.accounts.models import User
from webui.audio import transcripts


def test_several_files_become_recordings_or_one_recording(owners: Client, owner: User, wav: Path, portal: Path) -> None:
    files = [SimpleUploadedFile(f"{n}.wav", wav.read_bytes()) for n in "ab"]
    form = {"engine": "auto", "language": "", "speakers": "2", "summarize": "on"}
    answer = owners.post("/recordings/upload", {**form, "audio": files})
    assert answer.status_code == 302
    assert sorted(transcripts.recordings_of(owner).values_list("name", flat=True)) == ["a.wav", "b.wav"]
    assert {row["speakers"] for row in transcripts.recordings_of(owner).values_list("options", flat=True)} == {2}
    files = [SimpleUploadedFile(f"{n}.wav", wav.read_bytes()) for n in "cd"]
    owners.post("/recordings/upload", {**form, "audio": files, "together": "on"})
    joined = transcripts.recordings_of(owner).get(name="c.wav and 1 more")
    assert joined.originals == ["original-1.wav", "original-2.wav"]
    upload = owners.get(f"/recordings/{joined.pk}/original")
    assert upload["Content-Disposition"] == 'attachment; filename="original-1.wav"'
    german = {"Accept-Language": "de"}
    files = [SimpleUploadedFile(f"{n}.wav", wav.read_bytes()) for n in "efg"]
    owners.post("/recordings/upload", {**form, "audio": files, "together": "on"}, headers=german)
    assert transcripts.recordings_of(owner).filter(name="e.wav und 2 weitere").exists()
    assert list((portal / "uploads" / "received").iterdir()) == []


def test_no_file_gets_422(owners: Client, owner: User) -> None:
    answer = owners.post("/recordings/upload", {"engine": "auto"})
    assert answer.status_code == 422 and b"There is no recording." in answer.content
