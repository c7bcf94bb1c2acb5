"""A data folder to one file and back: nothing is lost, and nothing lands in a wrong place."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from core.errors import HarkError
from core.events import Event, Reporter, silent_reporter
from db.checking import check_library
from db.db_api import Library
from pipeline import backup
from pipeline.backup import MANIFEST, back_up, check, is_backed_up, restore, serving
from tests.support.detector_versions import RUN
from tests.support.library_clips import numbered_clip
from tests.support.small_data import CLIPS, make_data

QUIET = silent_reporter()


def put(data: Path, name: str, content: bytes) -> None:
    (data / name).parent.mkdir(parents=True, exist_ok=True)
    (data / name).write_bytes(content)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    make_data(folder)
    return folder


@pytest.fixture
def data(small: Path, tmp_path: Path) -> Path:
    """A data folder with a portal, a run, two libraries and files that can be created again."""
    folder = tmp_path / "data"
    shutil.copytree(small, folder)
    with Library(folder / "users" / "2") as library:
        library.add_clips([numbered_clip(1), numbered_clip(2)])
    put(folder, "portal/secret.key", b"k" * 60)
    put(folder, ".env", b"HARK_HTTPS=1\n")
    put(folder, "audio/7/audio.flac", b"recording")
    os.utime(folder / "audio/7/audio.flac", (1e9, 1e9))
    put(folder, "users/2/audio/8/transcript.json", b"{}")
    put(folder, "noise/Küche.wav", b"noise")
    for name in (
        "cache/x", "engines/piper/venv/bin/python", "voices/v", "logs/hark.log", "log/1.txt", "tmp/t",
        "models/whisper/m", "portal/setup.lock",
        f"jobs/{RUN}/features/f.npy",
        "users/2/cache/x", "users/2/tmp/t", "audio/7/.audio-x.flac",
    ):  # fmt: skip
        put(folder, name, b"can be had again")
    return folder


@pytest.fixture
def archive(data: Path, tmp_path: Path) -> Path:
    back_up(data, tmp_path / "hark.zip", QUIET)
    return tmp_path / "hark.zip"


def files_of(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def rows_of(database: Path) -> list[str]:
    connection = sqlite3.connect(database)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return list(connection.iterdump())
    finally:
        connection.close()


def rewritten(archive: Path, change: Callable[[dict[str, bytes], dict[str, Any]], object]) -> Path:
    """Return the archive with other members or another manifest."""
    with zipfile.ZipFile(archive) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    manifest = json.loads(members.pop(MANIFEST))
    change(members, manifest)
    target = archive.with_name("other.zip")
    with zipfile.ZipFile(target, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
        opened.writestr(MANIFEST, json.dumps(manifest))
    return target


def add(members: dict[str, bytes], manifest: dict[str, Any], name: str, content: bytes = b"x") -> None:
    members[name] = content
    digest = hashlib.sha256(content).hexdigest()
    manifest["files"].append({"path": name, "bytes": len(content), "sha256": digest, "modified": 0})


def assert_refused(archive: Path, tmp_path: Path, match: str) -> None:
    """Assert that a check and a restore reject the archive, and that nothing is left next to the data folder."""
    before = set(tmp_path.rglob("*"))
    with pytest.raises(HarkError, match=match) as raised:
        check(archive, QUIET)
    assert all(raised.value.as_dict().values())
    with pytest.raises(HarkError, match=match):
        restore(archive, tmp_path / "new", QUIET)
    assert set(tmp_path.rglob("*")) == before


def test_restore_brings_back_all_files(data: Path, archive: Path, tmp_path: Path) -> None:
    made = check(archive, QUIET)
    assert made.hark == backup.hark_version() and made.left_out == ()
    assert set(made.secrets) == {"portal/secret.key", ".env"}
    restored, aside = restore(archive, tmp_path / "new", QUIET)
    assert restored == made and aside is None
    digests = files_of(tmp_path / "new")
    assert digests == {file.path: file.sha256 for file in made.files}
    databases = ["portal/portal.sqlite3", "library.sqlite3", "users/2/library.sqlite3"]
    for name in databases:
        assert rows_of(tmp_path / "new" / name) == rows_of(data / name)
    before = files_of(data)
    assert {name: digest for name, digest in digests.items() if name not in databases} == {
        name: digest for name, digest in before.items() if name not in databases and is_backed_up(PurePosixPath(name))
    }
    assert {"noise/Küche.wav", f"models/{RUN}/model.pt"} <= set(digests)
    assert (tmp_path / "new" / "audio" / "7" / "audio.flac").stat().st_mtime == 1e9
    assert not [name for name in digests if name.startswith(("cache", "engines", "voices", "log", "tmp"))]
    assert not [name for name in digests if "features" in name or "requests" in name or "whisper" in name]
    with Library(tmp_path / "new" / "users" / "2") as library:
        assert check_library(library, left_over_after_s=0).problems == () and library.stats().clips == 2


def test_restore_removes_settings_and_tasks_that_run_code(data: Path, tmp_path: Path) -> None:
    settings = b"# keys\nHARK_HTTPS=1\nexport LD_PRELOAD='a\nb'\nOPENAI_API_KEY=k\nHARK_ENGINES_ENV=/x\nodd line\n"
    put(data, ".env", settings)
    again = "webui.webhooks.services.deliver"
    columns = "func, hook, kwargs, schedule_type, repeats, next_run, minutes, cluster, intended_date_kwarg"
    rows = [("os.system", None, None), (again, "os.system", None), (again, None, "{}"), (again, None, None)]
    with closing(sqlite3.connect(data / "portal/portal.sqlite3")) as portal, portal:
        for row in rows:
            portal.execute(f"INSERT INTO django_q_schedule ({columns}) VALUES (?, ?, ?, 'O', 1, 0, 1, 'x', NULL)", row)
        portal.execute("INSERT INTO django_q_ormq (key, payload, lock) VALUES ('training', 'pickled', 0)")
    back_up(data, tmp_path / "hark.zip", QUIET)
    said: list[str] = []
    restore(tmp_path / "hark.zip", tmp_path / "new", Reporter(lambda event: said.append(str(event))))
    assert (tmp_path / "new/.env").read_text() == "# keys\nHARK_HTTPS=1\nOPENAI_API_KEY=k\nodd line\n"
    assert any("LD_PRELOAD, HARK_ENGINES_ENV" in event for event in said)
    with closing(sqlite3.connect(tmp_path / "new/portal/portal.sqlite3")) as portal:
        assert portal.execute("SELECT func, hook, kwargs FROM django_q_schedule").fetchall() == [(again, None, None)]
        assert portal.execute("SELECT count(*) FROM django_q_ormq").fetchall() == [(0,)]


def test_only_the_user_can_read_a_backup(archive: Path, tmp_path: Path) -> None:
    restore(archive, tmp_path / "new", QUIET)
    restored = (tmp_path / "new" / name for name in (".env", "portal/secret.key", "portal/portal.sqlite3"))
    for path in (archive, *restored):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_downloaded_models_are_not_backed_up() -> None:
    from pipeline.recordings.answers import reader
    from pipeline.recordings.diarization import pyannote_engine
    from pipeline.recordings.language_models import text_similarity
    from pipeline.recordings.summarization import transformer

    modules = (reader, text_similarity, transformer)
    models = [model for module in modules for model in vars(module).values()]
    places = [model.place for model in models if hasattr(model, "place") and hasattr(model, "repository")]
    assert places
    for place in (*places, f"models/{pyannote_engine.NAME}", "models/funasr/paraformer"):
        assert not is_backed_up(PurePosixPath(place) / "model.bin")
    assert is_backed_up(PurePosixPath(transformer.CHARACTER_FILE))


def test_a_backup_during_writes_is_consistent(data: Path, tmp_path: Path) -> None:
    """A restored library is consistent: every row has its file."""
    stop, written = threading.Event(), []

    def write() -> None:
        with Library(data) as library:
            number = 100
            while not stop.is_set():
                written.extend(library.add_clips([numbered_clip(number)]))
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not written:
            time.sleep(0.01)
        for _ in range(3):
            made = back_up(data, tmp_path / "hark.zip", QUIET)
    finally:
        stop.set()
        writer.join()
    assert made.left_out == ()
    restore(tmp_path / "hark.zip", tmp_path / "new", QUIET)
    with Library(tmp_path / "new") as library:
        report = check_library(library, left_over_after_s=1e9)
        assert report.problems == () and CLIPS < library.stats().clips <= CLIPS + len(written)


def test_rows_in_the_write_ahead_log_are_backed_up(data: Path, tmp_path: Path) -> None:
    with sqlite3.connect(data / "portal" / "portal.sqlite3") as portal:
        portal.execute("PRAGMA journal_mode = WAL")
        portal.execute("PRAGMA wal_autocheckpoint = 0")
        portal.execute("CREATE TABLE late (what TEXT)")
        portal.execute("INSERT INTO late VALUES ('said')")
        portal.commit()
        assert (data / "portal" / "portal.sqlite3-wal").stat().st_size
        made = back_up(data, tmp_path / "hark.zip", QUIET)
    portal.close()
    assert not [file for file in made.files if file.path.endswith(("-wal", "-shm"))]
    restore(tmp_path / "hark.zip", tmp_path / "new", QUIET)
    assert any("'said'" in line for line in rows_of(tmp_path / "new" / "portal" / "portal.sqlite3"))


@pytest.mark.parametrize("stage", ["databases", "files"])
def test_a_file_that_vanishes_during_the_backup_is_reported(data: Path, tmp_path: Path, stage: str) -> None:
    clip = min((data / "users" / "2" / "clips").rglob("*.flac"))

    def sink(event: Event) -> None:
        if event.get("name") == stage:  # which is before or after the row of the clip is copied
            clip.unlink()

    made = back_up(data, tmp_path / "hark.zip", Reporter(sink))
    assert made.left_out == (clip.relative_to(data).as_posix(),)
    assert check(tmp_path / "hark.zip", QUIET) == made and made.left_out[0] not in {file.path for file in made.files}


def test_a_truncated_backup_that_contains_a_backup_is_rejected(data: Path, archive: Path, tmp_path: Path) -> None:
    put(data, "noise/z.zip", archive.read_bytes())
    back_up(data, archive, QUIET)
    content = archive.read_bytes()
    archive.write_bytes(content[: content.rindex(b"PK\x05\x06", 0, content.rindex(b"PK\x05\x06")) + 22])
    assert_refused(archive, tmp_path, "cut off")


def test_links_to_another_disk_are_followed(data: Path, tmp_path: Path) -> None:
    shutil.move(data / "audio", tmp_path / "elsewhere")
    (data / "audio").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(data)
    (data / "noise" / "nowhere").symlink_to("/nowhere/at/all")
    os.mkfifo(data / "noise" / "pipe")
    back_up(data, tmp_path / "hark.zip", QUIET)
    restore(tmp_path / "hark.zip", tmp_path / "new", QUIET)
    assert (tmp_path / "new" / "audio" / "7" / "audio.flac").read_bytes() == b"recording"
    assert not any(path.is_symlink() for path in (tmp_path / "new").rglob("*"))
    assert not (tmp_path / "new" / "audio" / "round").exists()


def test_a_file_name_that_is_not_utf_8_is_skipped_and_reported(data: Path, tmp_path: Path) -> None:
    (data / "noise" / os.fsdecode(b"k\xfcche.wav")).write_bytes(b"noise")
    made = back_up(data, tmp_path / "hark.zip", QUIET)
    assert made.left_out == ("noise/k?che.wav",) and check(tmp_path / "hark.zip", QUIET) == made


def test_a_damaged_database_is_reported(data: Path, tmp_path: Path) -> None:
    (data / "library.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(HarkError, match=r"library\.sqlite3 cannot be read"):
        back_up(data, tmp_path / "hark.zip", QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_database_that_stays_locked_is_reported(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "BUSY_S", 0.0)
    connection = sqlite3.connect(data / "library.sqlite3", isolation_level=None)
    connection.execute("PRAGMA journal_mode = DELETE")  # in WAL mode readers need not wait
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(HarkError, match="the database remained locked"):
        back_up(data, tmp_path / "hark.zip", QUIET)
    connection.close()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_unsuitable_targets_are_rejected(data: Path, tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="in the data folder"):
        back_up(data, data / "hark.zip", QUIET)
    with pytest.raises(HarkError, match="is a folder"):
        back_up(data, tmp_path, QUIET)
    other = tmp_path / "thesis.zip"
    other.write_bytes(b"years of work")
    with pytest.raises(HarkError, match="would be overwritten"):
        back_up(data, other, QUIET)
    assert other.read_bytes() == b"years of work"
    with pytest.raises(HarkError, match="nothing to back up"):
        back_up(tmp_path / "nothing", tmp_path / "hark.zip", QUIET)


def test_an_earlier_backup_is_replaced_only_at_the_end(data: Path, archive: Path) -> None:
    before = archive.read_bytes()
    (data / "library.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(HarkError):
        back_up(data, archive, QUIET)
    assert archive.read_bytes() == before
    (data / "library.sqlite3").unlink()
    made = back_up(data, archive, QUIET)
    assert check(archive, QUIET) == made and archive.read_bytes() != before


def test_a_full_disk_leaves_no_backup(data: Path, small_disk: Path, tmp_path: Path) -> None:
    put(data, "audio/8/audio.flac", os.urandom(2_000_000))
    archive = tmp_path / "hark.zip"
    back_up(data, archive, QUIET)
    with pytest.raises(HarkError, match="disk is full: the backup was not written"):
        back_up(data, small_disk / "hark.zip", QUIET)
    assert not list(small_disk.iterdir())
    with pytest.raises(HarkError, match="disk is full: the backup was not restored"):
        restore(archive, small_disk / "data", QUIET)
    assert not list(small_disk.iterdir())
    (data / "audio/8/audio.flac").unlink()
    with sqlite3.connect(data / "library.sqlite3") as library:
        library.execute("CREATE TABLE large (content BLOB)")
        library.execute("INSERT INTO large VALUES (zeroblob(3000000))")
    library.close()
    with pytest.raises(HarkError, match="disk is full: the backup was not written"):
        back_up(data, small_disk / "hark.zip", QUIET)
    assert not list(small_disk.iterdir())


def test_a_non_empty_folder_is_moved_aside_only_with_replace(data: Path, archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "new"
    put(target, "library.sqlite3", b"mine")
    with pytest.raises(HarkError, match="not empty"):
        restore(archive, target, QUIET)
    assert files_of(target).keys() == {"library.sqlite3"}
    _backup, aside = restore(archive, target, QUIET, replace=True)
    assert aside is not None and (aside / "library.sqlite3").read_bytes() == b"mine"
    assert (target / "portal" / "secret.key").read_bytes() == b"k" * 60
    _backup, again = restore(archive, target, QUIET, replace=True)
    assert again is not None and again != aside and aside.is_dir()


@pytest.mark.parametrize("small_disk", [64], indirect=True)
def test_a_mount_is_restored_in_place(data: Path, archive: Path, small_disk: Path) -> None:
    (small_disk / "lost+found").mkdir()
    _backup, aside = restore(archive, small_disk, QUIET)
    restored = files_of(small_disk)
    assert aside is None and restored.keys() == {file.path for file in check(archive, QUIET).files}
    (small_disk / "mine").write_bytes(b"mine")
    with pytest.raises(HarkError, match="not empty"):
        restore(archive, small_disk, QUIET)
    assert files_of(small_disk).keys() == {*restored, "mine"}
    _backup, aside = restore(archive, small_disk, QUIET, replace=True)
    assert aside is not None and aside.parent == small_disk and (aside / "mine").read_bytes() == b"mine"
    assert {
        name: digest for name, digest in files_of(small_disk).items() if not name.startswith(".before-")
    } == restored
    back_up(small_disk, data.parent / "again.zip", QUIET)
    assert {file.path for file in check(data.parent / "again.zip", QUIET).files} == restored.keys()


@pytest.mark.parametrize("small_disk", [64], indirect=True)
def test_a_failed_rename_restores_the_previous_state(
    archive: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(small_disk, "mine/file", b"mine")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if target == small_disk / "portal":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(HarkError, match="could not be written"):
        restore(archive, small_disk, QUIET, replace=True)
    assert files_of(small_disk).keys() == {"mine/file"} and len(list(small_disk.iterdir())) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_images_user_restores_in_place(archive: Path) -> None:
    with tempfile.TemporaryDirectory() as root:  # not below a folder that only root may enter
        folder, copy = Path(root, "data"), Path(root, "hark.zip")
        Path(root).chmod(0o755)
        folder.mkdir(mode=0o700)
        shutil.copy(archive, copy)
        for path in (folder, copy):
            os.chown(path, 10001, 10001)
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(10001)
                os.setuid(10001)
                restore(copy, folder, QUIET)
                os._exit(0)
            except HarkError as error:
                os.write(2, str(error).encode())
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (folder / "portal" / "secret.key").read_bytes() == b"k" * 60


def test_restore_accepts_an_empty_folder(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    restore(archive, tmp_path / "new", QUIET)
    assert (tmp_path / "new" / "library.sqlite3").is_file()


def test_a_damaged_archive_moves_nothing_aside(data: Path, archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-1000])
    before = files_of(data)
    with pytest.raises(HarkError, match="damaged"):
        restore(archive, data, QUIET, replace=True)
    assert {name: digest for name, digest in files_of(data).items() if not name.endswith(".lock")} == {
        name: digest for name, digest in before.items() if not name.endswith(".lock")
    }
    assert {path.name for path in tmp_path.iterdir()} == {"data", "hark.zip"}


def test_a_restore_is_rejected_while_a_portal_is_running(data: Path, archive: Path) -> None:
    # Two processes may serve one folder.
    with serving(data), serving(data), pytest.raises(HarkError, match="portal is running"):
        restore(archive, data, QUIET, replace=True)
    _backup, aside = restore(archive, data, QUIET, replace=True)
    assert aside is not None and aside.is_dir()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_backup_is_rejected(archive: Path, tmp_path: Path, share: float) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    assert_refused(archive, tmp_path, "damaged")


def test_changed_bytes_are_rejected(archive: Path, tmp_path: Path) -> None:
    content = archive.read_bytes()
    for share in (0.2, 0.5, 0.8):
        at = int(share * len(content))
        archive.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        assert_refused(archive, tmp_path, "damaged|cannot be used")


def test_contents_that_differ_from_the_manifest_are_rejected(archive: Path, tmp_path: Path) -> None:
    other = rewritten(archive, lambda members, _manifest: members.update({"audio/7/audio.flac": b"RECORDING"}))
    assert_refused(other, tmp_path, "size or digest")
    other = rewritten(archive, lambda members, _manifest: members.update({"audio/7/audio.flac": b"r" * 10_000_000}))
    assert_refused(other, tmp_path, "size or digest")
    other = rewritten(archive, lambda members, _manifest: members.pop("portal/secret.key"))
    assert_refused(other, tmp_path, "missing")
    other = rewritten(archive, lambda members, _manifest: members.update({"audio/8/audio.flac": b"more"}))
    assert_refused(other, tmp_path, "not in its manifest")


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "audio/../../evil", "/etc/evil", "audio//evil", "audio/./evil", "audio\\..\\evil", "..", "audio/",
        "engines/piper/venv/bin/python", "cache/x", "voices/piper/v.onnx", "users/2/engines/x", "portal/setup.lock",
        "library.sqlite3-wal", ".bashrc", "models/whisper/x",
    ],
)  # fmt: skip
def test_invalid_member_names_are_rejected(archive: Path, tmp_path: Path, name: str) -> None:
    assert_refused(
        rewritten(archive, lambda members, manifest: add(members, manifest, name)), tmp_path, "cannot be used"
    )
    assert not (tmp_path.parent / "evil").exists()


def test_a_name_for_both_a_file_and_a_folder_is_rejected(archive: Path, tmp_path: Path) -> None:
    other = rewritten(archive, lambda members, manifest: add(members, manifest, "audio/7/audio.flac/x"))
    with pytest.raises(HarkError, match="file and a folder"):
        restore(other, tmp_path / "new", QUIET)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFDIR])
def test_links_and_special_files_are_rejected(archive: Path, tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(archive, "a") as opened:
        info = zipfile.ZipInfo("audio/link")
        info.external_attr = (kind | 0o777) << 16
        opened.writestr(info, "/etc/passwd")
    assert_refused(archive, tmp_path, "link, a folder or a special file")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("name", "method", "match"),
    [("audio/7/audio.flac", zipfile.ZIP_STORED, "twice"), ("audio/8/audio.flac", zipfile.ZIP_LZMA, "method")],
)
def test_duplicate_members_and_unknown_compression_are_rejected(
    archive: Path, tmp_path: Path, name: str, method: int, match: str
) -> None:
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(name, b"other", method)
    assert_refused(archive, tmp_path, match)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.clear(),
        lambda manifest: manifest.update(files=3),
        lambda manifest: manifest.update(files=[{}]),
        lambda manifest: manifest.update(hark="\x1b[2J"),
        lambda manifest: manifest["files"][0].update(modified=-1e300),
        lambda manifest: manifest["files"][0].update(bytes=-1),
        lambda manifest: manifest["files"][0].update(bytes=1 << 70),
        lambda manifest: manifest["files"].append(manifest["files"][0]),
        lambda manifest: manifest.update(format=2),
    ],
)
def test_invalid_manifests_are_rejected(
    archive: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    other = rewritten(archive, lambda _members, manifest: change(manifest))
    assert_refused(other, tmp_path, "damaged|cannot be used")


def test_a_file_that_is_not_a_backup_is_rejected(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nothing.zip", tmp_path, "does not exist")
    (tmp_path / "text.zip").write_text("no zip")
    assert_refused(tmp_path / "text.zip", tmp_path, "damaged")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "no backup")
    assert_refused(tmp_path / "other.zip", tmp_path, "cannot be used")
    with pytest.raises(HarkError):
        check(tmp_path, QUIET)
