"""Files in a store of S3 (``core/file_store.py``), and all that keeps them there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core import file_store
from core.backup import back_up
from core.errors import HarkError
from core.events import silent_reporter
from tests.support.s3_server import SECRET, S3Server, store_of


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    with store_of(tmp_path, monkeypatch) as server:
        yield server


def written(path: Path, content: bytes = b"sound") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_what_is_kept_is_fetched_where_it_is_not_there(store: S3Server, tmp_path: Path) -> None:
    path = written(tmp_path / "clips" / "ab" / "ä b+c.flac")
    file_store.keep(path)
    assert store.files == {"clips/ab/ä b+c.flac": b"sound"}
    path.unlink()
    assert file_store.is_there(path) and not path.exists()
    assert file_store.local(path).read_bytes() == b"sound"
    asked = len(store.requests)
    assert file_store.local(path) == path and len(store.requests) == asked  # the copy is enough


def test_a_large_file_goes_in_parts(store: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_store, "PART", 5 << 20)
    content = bytes(range(256)) * 50_000  # 12.8 MB
    path = written(tmp_path / "models" / "run" / "run.zip", content)
    file_store.keep(path)
    path.unlink()
    assert file_store.local(path).read_bytes() == content and len(store.files) == 1 and not store.parts
    assert sum("partNumber=" in request for request in store.requests) == 3


def test_the_newest_of_a_file_that_another_machine_has_replaced(store: S3Server, tmp_path: Path) -> None:
    path = written(tmp_path / "models" / "run" / "comparison.json", b"old")
    file_store.keep(path)
    store.files["models/run/comparison.json"] = b"new"
    assert file_store.local(path).read_bytes() == b"old"
    assert file_store.newest(path).read_bytes() == b"new"
    asked = len(store.requests)
    assert file_store.newest(path).read_bytes() == b"new" and len(store.requests) == asked + 1  # it only looks
    here_alone = written(tmp_path / "models" / "other" / "comparison.json", b"mine")
    assert file_store.newest(here_alone).read_bytes() == b"mine"
    assert not file_store.newest(tmp_path / "models" / "none.json").exists()


def test_files_are_found_here_and_in_the_store(store: S3Server, tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    for number in (1, 2):
        file_store.keep(written(audio / str(number) / "transcript.json"))
    file_store.keep(written(audio / "1" / "history" / "transcript.json"))
    (audio / "2" / "transcript.json").unlink()
    written(audio / "3" / "transcript.json")
    found = file_store.found(audio, "*/transcript.json")
    assert found == [audio / str(number) / "transcript.json" for number in (1, 2, 3)]


def test_what_nobody_has_is_not_there(store: S3Server, tmp_path: Path) -> None:
    path = tmp_path / "clips" / "ab.flac"
    assert not file_store.is_there(path)
    assert not file_store.local(path).exists() and not list(tmp_path.rglob("*.flac"))


def test_a_folder_is_listed_page_by_page_and_forgotten_whole(store: S3Server, tmp_path: Path) -> None:
    paths = [written(tmp_path / "audio" / "1" / f"original-{number}.flac", bytes(number)) for number in range(8)]
    others = [written(tmp_path / "audio" / name) for name in ("10/audio.flac", "11/audio.flac")]
    for path in (*paths, *others):
        file_store.keep(path)
    assert {one.path: one.size for one in file_store.stored(tmp_path / "audio" / "1")} == {
        path: number for number, path in enumerate(paths)
    }
    file_store.forget_folder(tmp_path / "audio" / "1")
    assert [one.path for one in file_store.stored(tmp_path)] == sorted(others)
    file_store.forget(others[0])
    assert [one.path for one in file_store.stored(tmp_path)] == [others[1]]


def test_keys_that_do_not_belong_there_are_not_taken(
    store: S3Server, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    file_store.keep(written(tmp_path / "clips" / "ab.flac"))
    odd = (
        ".env",
        "portal/secret.key.new",
        "clips/../../x.flac",
        "clips//x.flac",
        "/clips/x.flac",
        "users/../clips/x.npy",
    )
    store.files |= dict.fromkeys(odd, b"LD_PRELOAD=/x")
    (tmp_path / "clips" / "ab.flac").unlink()
    back_up(tmp_path, tmp_path_factory.mktemp("elsewhere") / "hark.zip", silent_reporter())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "clips" / "ab.flac"]
    file_store.forget_folder(tmp_path / "portal")
    assert "portal/secret.key.new" not in store.files, "what is removed is removed whole"


def test_a_bucket_may_be_shared_by_a_prefix(store: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(file_store.STORAGE, store.url.replace("?", "/of/us?"))
    path = written(tmp_path / "clips" / "a.flac")
    file_store.keep(path)
    store.files["clips/others.flac"] = b""
    assert store.files["of/us/clips/a.flac"] == b"sound"
    assert [one.path for one in file_store.stored(tmp_path)] == [path]


def test_what_is_here_alone_is_put_there_once(store: S3Server, tmp_path: Path) -> None:
    kept = [
        "clips/ab/abcd.flac", "emissions/nemo/ab/abcd.npy", "audio/7/original-1.mp3", "audio/7/audio.flac",
        "models/run/model.pt", "models/run/run.zip", "users/3/clips/ab/abce.flac", "library.postgresql",
        "jobs/run/plan.json", "audio/7/transcript.json", "models/run/report.json",
    ]  # fmt: skip
    others = "library.sqlite3", "audio/7/waveform.json", "jobs/run/features/frames.f16", "engines/a/model.pt"
    for name in (*kept, *others):
        written(tmp_path / name)
    assert file_store.put_missing(silent_reporter()) == (len(kept), len(kept))
    assert sorted(store.files) == sorted(kept)
    written(tmp_path / kept[0], b"more than before")
    written(tmp_path / "library.postgresql", b"other")  # as after a restore: of the same length
    assert file_store.put_missing(silent_reporter()) == (len(kept), 2)


def test_nothing_is_asked_without_a_store(store: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(file_store.STORAGE)
    path = written(tmp_path / "clips" / "a.flac")
    file_store.keep(path)
    file_store.forget(path)
    file_store.forget_folder(tmp_path)
    file_store.check()
    assert file_store.local(path) == path and list(file_store.stored(tmp_path)) == [] and not store.requests


def test_what_lies_outside_of_the_installation_is_not_kept(
    store: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = written(tmp_path_factory.mktemp("elsewhere") / "a.flac")
    file_store.keep(path)
    assert not store.files and file_store.local(path) == path


def test_a_store_that_fails_is_told_without_its_secret(store: S3Server, tmp_path: Path) -> None:
    path = written(tmp_path / "clips" / "a.flac")
    store.broken = True
    with pytest.raises(HarkError) as told:
        file_store.keep(path)
    assert "The file store does not answer" in told.value.what
    assert SECRET not in f"{told.value} {told.value.why}" and "somebody" not in told.value.why


@pytest.mark.parametrize(
    "url",
    [
        "s3://host/",
        "http://host/bucket",
        "s3:///bucket",
        "s3://host:port/bucket",
        "s3://host/B",
        "s3://a:b@c:99999/bucket",
    ],
)
def test_a_url_that_cannot_be_used_is_refused(store: S3Server, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(file_store.STORAGE, url)
    with pytest.raises(HarkError, match="cannot be used"):
        file_store.check()


def test_a_bucket_that_is_not_there(store: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    file_store.check()
    monkeypatch.setenv(file_store.STORAGE, store.url.replace("/hark?", "/other?"))
    with pytest.raises(HarkError) as told:
        file_store.check()
    assert "bucket" in told.value.why
    file_store.prepare()
    file_store.check()
    assert store.buckets == {"hark", "other"}


def test_the_server_is_away(store: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(file_store.STORAGE, "s3://a:b@127.0.0.1:9/hark?tls=off")
    with pytest.raises(HarkError, match="does not answer"):
        file_store.check()
