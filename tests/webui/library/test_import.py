"""Imports: allowed folders, archives and users, and the cleaning up."""

from __future__ import annotations

import errno
import io
import os
import signal
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from core.data_folder import StorageFull, storage_error
from core.events import Reporter
from db.database import in_use
from db.db_api import Library
from db.records import NewClip
from pipeline.corpora.jobs import import_job
from tests.support.portal_jobs import claimed
from tests.support.programs import run_python
from tests.support.sounds import noise, wav
from webui.accounts.models import User
from webui.accounts.storage import user_data
from webui.jobs import services as jobs
from webui.jobs import supervise
from webui.jobs.models import Job

ASGI_UPLOAD = "/library/import/upload"


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.jobs.services.send_waiting", lambda: None)


def corpus_files() -> dict[str, bytes]:
    files = {f"mine/{number}.wav": wav(noise(seed=number)) for number in range(3)}
    files |= {f"mine/{number}.txt": f"sentence number {number}".encode() for number in range(3)}
    return files | {"mine/broken.wav": b"RIFF", "mine/short.wav": wav(noise(0.05)), "mine/LICENSE": b"CC0"}


def archive(files: dict[str, bytes], name: str = "mine.zip") -> SimpleUploadedFile:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as packed:
        for path, content in files.items():
            packed.writestr(zipfile.ZipInfo(path), content)  # a plain name would store the current time
    return SimpleUploadedFile(name, written.getvalue(), "application/zip")


@pytest.fixture
def corpora(tmp_path_factory: pytest.TempPathFactory, settings: Any) -> Path:
    """A folder from which imports are allowed, with a corpus."""
    root = tmp_path_factory.mktemp("corpora")
    for path, content in corpus_files().items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    settings.IMPORT_FOLDERS = [root]
    return root


def test_the_page_explains_how_to_allow_a_folder(owners: Client, settings: Any, client: Client, other: User) -> None:
    settings.IMPORT_FOLDERS = []
    assert "HARK_IMPORT_FOLDERS=" in owners.get("/library/import").text
    settings.IMPORT_FOLDERS = [Path("/srv/corpora")]
    assert "/srv/corpora" in owners.get("/library/import").text
    client.force_login(other)
    page = client.get("/library/import").text
    assert "/srv/corpora" not in page and "folder on this server" not in page


def test_importing_a_folder_queues_a_job(owners: Client, corpora: Path) -> None:
    for _ in range(2):  # a double click is one job
        answer = owners.post(
            "/library/import/folder", {"folder": f" {corpora}/mine ", "language": "EN", "licence": "x"}
        )
        assert answer.status_code == 302
    (job,) = Job.objects.all()
    assert answer["Location"] == f"/jobs/{job.id}" and job.kind == "import" and job.queue == "general"
    assert job.spec == {"folder": str(corpora / "mine"), "language": "en", "licence": "x"}


def test_folders_outside_the_allowed_ones_are_rejected(
    owners: Client, corpora: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (corpora / "link").symlink_to(elsewhere)
    (corpora / "loop").symlink_to(corpora / "loop")
    sibling = corpora.with_name(corpora.name + "-more")
    sibling.mkdir()
    for path in (
        "", "/", "/etc", str(elsewhere), f"{corpora}/..", f"{corpora}/../{elsewhere.name}", f"{corpora}/link",
        f"{corpora}/loop", str(sibling), f"{corpora}/none", f"{corpora}/mine/0.wav", "mine", "~", "\x00", "x" * 9000,
        os.path.relpath(corpora),
    ):  # fmt: skip
        answer = owners.post("/library/import/folder", {"folder": path})
        assert answer.status_code == 422, path
        assert "HARK_IMPORT_FOLDERS" in answer.text
    assert owners.post("/library/import/folder", {"folder": str(corpora), "language": "../x"}).status_code == 422
    assert not Job.objects.exists()


def test_only_the_owner_can_import_folders(others: Client, corpora: Path) -> None:
    assert others.post("/library/import/folder", {"folder": str(corpora)}).status_code == 403
    assert not Job.objects.exists()


def finished(job: Job) -> Job:
    finished_part(job)
    job.refresh_from_db()
    return job


def finished_part(job: Job) -> None:
    """Finish a part of a job; with the last one, all parts are deleted."""
    Job.objects.filter(id=job.id).update(sent_at=timezone.now())  # nothing commits in a test
    supervise.run(str(job.id))


@pytest.mark.django_db(transaction=True)
def test_an_archive_is_imported_and_skipped_files_are_reported(others: Client, other: User) -> None:
    for _ in range(2):
        assert others.post(ASGI_UPLOAD, {"archive": archive(corpus_files())}).status_code == 302
    job = finished(Job.objects.get())
    assert job.state == "done", job.error
    assert job.result["added"] == 3
    assert job.result["skipped"] == {"too short": 1, "unreadable": 1} and job.result["licence"].startswith("CC0")
    data = user_data(other)
    assert not list((data / "uploads/imports").iterdir()), "the archive and its content are removed"
    with Library(data) as library:
        clips = list(library.iter_clips())
        assert {clip.text_normalized for clip in clips} == {f"sentence number {w}" for w in ("zero", "one", "two")}
        assert all((clip.source or "").startswith("mine-") for clip in clips)
    page = others.get(f"/jobs/{job.id}").text
    assert "1 too short" in page and "1 unreadable" in page and "CC0" in page
    assert "3 clips" in others.get("/library/import").text
    others.post(ASGI_UPLOAD, {"archive": archive(corpus_files(), "again.zip")})
    again = finished(Job.objects.exclude(id=job.id).get())
    assert again.result["added"] == 0 and again.result["already_there"] == 3


@pytest.mark.django_db(transaction=True)
def test_a_folder_is_imported(owners: Client, corpora: Path, library: Library) -> None:
    owners.post("/library/import/folder", {"folder": str(corpora), "licence": "mine"})
    job = finished(Job.objects.get())
    assert job.state == "done" and job.result["added"] == 3
    assert {clip.licence for clip in library.iter_clips()} == {"mine"}
    assert (corpora / "mine/0.wav").is_file(), "the imported folder is unchanged"


@pytest.mark.django_db(transaction=True)
def test_recordings_without_alignment_can_be_aligned(owners: Client, library: Library) -> None:
    texts = "one two", "three", "four"
    library.add_clips(
        NewClip(audio=noise(seed=n), text=text, text_normalized=text, language="en", engine="corpus", source=f"c:{n}")
        for n, text in enumerate(texts)
    )
    assert "/library/import/align" in owners.get("/library/import").text
    owners.post("/library/import/align")
    job = finished(Job.objects.get())
    assert job.state == "done" and job.result == {"aligned": 0, "failed": 3}, "noise cannot be aligned"
    assert "3 do not match" in owners.get(f"/jobs/{job.id}").text


@pytest.mark.django_db(transaction=True)
def test_the_same_archive_with_other_options_is_another_import(others: Client, other: User) -> None:
    """Each has its own copy, so the end of one takes nothing from the other."""
    for licence in ("CC0", "mine", "mine"):
        others.post(ASGI_UPLOAD, {"archive": archive(corpus_files()), "licence": licence})
    others.post(ASGI_UPLOAD, {"archive": archive(corpus_files(), "other.zip"), "licence": "mine"})
    jobs = list(Job.objects.order_by("created_at"))
    assert [(job.title, job.spec["licence"]) for job in jobs] == [
        ("mine.zip", "CC0"), ("mine.zip", "mine"), ("other.zip", "mine")
    ]  # fmt: skip
    uploads = user_data(other) / "uploads/imports"
    assert len(list(uploads.iterdir())) == 3, "the double click leaves no file"
    first, second, third = (finished(job) for job in jobs)
    assert (first.state, second.state, third.state) == ("done", "done", "done"), (second.error, third.error)
    assert [job.result and job.result["added"] for job in (first, second, third)] == [3, 0, 0]
    assert not list(uploads.iterdir())


def test_simultaneous_uploads_of_an_archive_are_one_import(tmp_path: Path) -> None:
    """Threads against a database on the disk, as the portal has it."""
    program = """
import io, threading, zipfile
from webui.setup import ready
ready()
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.accounts.storage import user_data
from webui.library.import_views import import_archive
user = User.objects.create_user("olivia", "", "x", is_owner=True)
written = io.BytesIO()
with zipfile.ZipFile(written, "w") as packed:
    packed.writestr("a.wav", b"RIFF")
answers, barrier = [], threading.Barrier(6)

def send():
    sent = SimpleUploadedFile("mine.zip", written.getvalue())
    barrier.wait()
    answers.append(import_archive(user=user, sent=sent, name="mine.zip", options={"language": "en", "licence": ""}).id)
    connection.close()

threads = [threading.Thread(target=send) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
data = user_data(user)
(job,) = Job.objects.all()
places = list((data / "uploads/imports").iterdir())
whole = (data / job.spec["archive"]).read_bytes() == written.getvalue()
print(len(answers), set(answers) == {job.id}, len(places), whole)
"""
    done = run_python(program, HARK_DATA=str(tmp_path))
    assert done.stdout.strip() == "6 True 1 True", done.stdout + done.stderr[-2000:]


@pytest.mark.django_db(transaction=True)
def test_a_full_queue_stores_no_upload(owners: Client, portal: Path, settings: Any) -> None:
    settings.JOBS_WAITING = 0
    assert owners.post(ASGI_UPLOAD, {"archive": archive(corpus_files())}).status_code == 429
    assert not list((portal / "uploads/imports").iterdir())


@pytest.mark.django_db(transaction=True)
def test_a_hostile_archive_writes_nothing_outside(owners: Client, portal: Path) -> None:
    before = sorted(path.name for path in portal.parent.iterdir())
    for number, name in enumerate(("../../../../escaped.wav", "/tmp/escaped-by-hark.wav")):
        owners.post(ASGI_UPLOAD, {"archive": archive({name: wav(noise())}, f"evil{number}.zip")})
    for job in Job.objects.all():
        finished(job)
        assert job.state == "failed" and "points outside" in job.error["why"]
    assert sorted(path.name for path in portal.parent.iterdir()) == before
    assert not Path("/tmp/escaped-by-hark.wav").exists() and not list(portal.rglob("escaped*"))
    assert not list((portal / "uploads/imports").iterdir())


def test_a_file_that_is_not_an_archive_is_rejected_unstored(owners: Client, portal: Path) -> None:
    assert owners.post(ASGI_UPLOAD, {}).status_code == 422
    for name, content in (("a.zip", b""), ("a.exe", b"x"), ("zip", b"x"), (".zip", b"x")):
        assert owners.post(ASGI_UPLOAD, {"archive": SimpleUploadedFile(name, content)}).status_code == 422, name
    assert owners.post(ASGI_UPLOAD, {"archive": archive({}), "language": "no language"}).status_code == 422
    assert not (portal / "uploads/imports").exists() and not Job.objects.exists()


def test_the_name_of_an_upload_is_not_used_as_a_path(owners: Client, portal: Path) -> None:
    sent = archive({"a.wav": wav(noise(seed=1))})
    sent._name = "..\\..\\so me/ü<b>.tar.zip"  # past the check that Django makes itself
    owners.post(ASGI_UPLOAD, {"archive": sent})
    (job,) = Job.objects.all()
    path = portal / job.spec["archive"]
    assert path.is_file() and path.resolve().is_relative_to(portal / "uploads/imports")
    assert set(path.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def test_abandoned_archives_are_deleted(owners: Client, portal: Path) -> None:
    for number, name in enumerate(("waiting", "cancelled")):
        owners.post(ASGI_UPLOAD, {"archive": archive({"a.wav": wav(noise(seed=number))}, f"{name}.zip")})
    Job.objects.filter(title="cancelled.zip").update(state=Job.State.CANCELLED)
    for place in (portal / "uploads/imports").iterdir():
        os.utime(place, (1, 1))
    owners.post(ASGI_UPLOAD, {"archive": archive({"a.wav": wav(noise(seed=5))}, "new.zip")})
    left = {path.name for path in (portal / "uploads/imports").glob("*/*")}
    assert left == {"waiting.zip", "new.zip"}


@pytest.mark.django_db(transaction=True)
def test_a_cancelled_import_leaves_no_files(others: Client, other: User) -> None:
    others.post(ASGI_UPLOAD, {"archive": archive(corpus_files())})
    uploads = user_data(other) / "uploads/imports"
    assert list(uploads.iterdir())
    jobs.cancel(job=Job.objects.get())
    assert not list(uploads.iterdir())


@pytest.mark.parametrize("error", [ZeroDivisionError(), in_use("it", "saving clips"), storage_error(OSError(5), "it")])
def test_an_unrelated_error_preserves_the_archive_for_a_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*given: Any) -> None:
        raise error

    place = tmp_path / "uploads" / "x"
    place.mkdir(parents=True)
    (place / "a.zip").write_bytes(archive(corpus_files()).read())
    spec = {"archive": "uploads/x/a.zip", "language": "en"}
    with monkeypatch.context() as patched, pytest.raises(type(error)):
        patched.setattr("pipeline.corpora.jobs.import_corpus", fail)
        import_job(spec, tmp_path, Reporter(lambda event: None))
    assert [path.name for path in place.iterdir()] == ["a.zip"], "unpacked files are removed"
    assert import_job(spec, tmp_path, Reporter(lambda event: None))["added"] > 0
    signal.alarm(0)


def test_a_full_disk_during_unpacking_preserves_the_archive(small_disk: Path) -> None:
    kept = small_disk / "uploads" / "x" / "a.zip"
    kept.parent.mkdir(parents=True)
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.wav", bytes(2_000_000))
    with pytest.raises(StorageFull):
        import_job({"archive": "uploads/x/a.zip", "language": "en"}, small_disk, Reporter(print))
    signal.alarm(0)
    assert [path.name for path in kept.parent.iterdir()] == ["a.zip"]


@pytest.mark.django_db(transaction=True)
def test_an_import_is_retried_with_its_archive_after_a_full_disk(others: Client, other: User) -> None:
    others.post(ASGI_UPLOAD, {"archive": archive(corpus_files())})
    job = Job.objects.get()
    jobs.finish(claimed(job), Job.State.FAILED, StorageFull("The disk is full.", "No room.", "Free some."))
    jobs.retry(job=job)
    finished(job)
    assert job.state == "done" and job.result["added"] > 0
    assert not list((user_data(other) / "uploads/imports").iterdir())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("files", [{"guess/notes.txt": b"x"}, {}])
def test_errors_reveal_no_server_paths(others: Client, portal: Path, files: dict[str, bytes]) -> None:
    others.post(ASGI_UPLOAD, {"archive": archive({"k.md": b"x", **files})})
    job = finished(Job.objects.get())
    assert "no corpus" in job.error["what"]
    assert str(portal) not in str(job.error) and "uploads" not in str(job.error)
    error = storage_error(OSError(errno.ENOSPC, "No space left on device", str(portal / "users" / "x.flac")), "it")
    assert str(portal) not in str(error) and str(portal) not in str(storage_error(OSError(5, "I/O"), "it"))
