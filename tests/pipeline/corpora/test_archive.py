"""Untrusted archives: valid ones are unpacked, others do no harm."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from core.errors import HarkError
from pipeline.corpora.archive import unpack
from tests.support.hostile_files import PACKERS, as_tar, as_zip, tar_with

FILES = {"corpus/a.wav": b"sound", "corpus/deep/b.txt": "grüß dich".encode(), "ünïcode.txt": b"x"}


@pytest.mark.parametrize("kind", PACKERS)
def test_the_content_is_read_back_unchanged(tmp_path: Path, kind: str) -> None:
    archive = PACKERS[kind](tmp_path / "a", FILES)
    assert unpack(archive, tmp_path / "out") == 3
    assert {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*.*")} == FILES
    assert all(not path.stat().st_mode & 0o111 for path in (tmp_path / "out").rglob("*.*"))


def refused(archive: Path, tmp_path: Path) -> HarkError:
    tmp_path.mkdir(exist_ok=True)
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    with pytest.raises(HarkError) as raised:
        unpack(archive, tmp_path / "out")
    assert {path for path in tmp_path.rglob("*") if "out" not in path.parts} == before, (
        "nothing is written outside the folder"
    )
    return raised.value


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "/etc/x",
        "..",
        "C:\\x",
        "a\\..\\..\\x",
        "\\\\server\\x",
        "a/" * 40 + "x",
        "n" * 300 + ".wav",
    ],
)
def test_paths_that_leave_the_folder_are_rejected(tmp_path: Path, kind: str, name: str) -> None:
    refused(PACKERS[kind](tmp_path / "a", {name: b"x"}), tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_special_files_in_a_tar_are_rejected(tmp_path: Path, kind: bytes) -> None:
    assert "link or a special file" in refused(tar_with(kind, tmp_path / "a.tar"), tmp_path).why


def test_a_link_in_a_zip_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("corpus")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc")
    assert "link" in refused(path, tmp_path).why


@pytest.mark.parametrize(
    ("limit", "most", "files", "why"),
    [
        ("MAX_TOTAL_BYTES", 1_000_000, {"zeros.wav": bytes(3_000_000)}, "is larger than"),
        ("MAX_FILES", 20, {f"{n}.txt": b"" for n in range(30)}, "has more than 20 files"),
    ],
    ids=["bytes", "files"],
)
@pytest.mark.parametrize("kind", PACKERS)
def test_archives_beyond_a_limit_are_rejected(
    tmp_path: Path, kind: str, limit: str, most: int, files: dict[str, bytes], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"pipeline.corpora.archive.{limit}", most)
    assert why in refused(PACKERS[kind](tmp_path / "a", files), tmp_path).why


def test_a_zip_that_understates_its_size_is_rejected(tmp_path: Path) -> None:
    archive = as_zip(tmp_path / "a", {"zeros.wav": bytes(3_000_000)})
    content = archive.read_bytes()
    archive.write_bytes(content.replace(struct.pack("<I", 3_000_000), struct.pack("<I", 10)))
    with pytest.raises(HarkError):
        unpack(archive, tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) < 100


def test_an_oversized_pax_header_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("pax")
        member.type, member.size = tarfile.XHDTYPE, 50_000_000
        archive.addfile(member, io.BytesIO(bytes(50_000_000)))
    assert path.stat().st_size < 100_000
    assert "too large" in refused(path, tmp_path).why


def test_an_oversized_central_directory_is_rejected(tmp_path: Path) -> None:
    archive = as_zip(tmp_path / "a", FILES)
    content = bytearray(archive.read_bytes())
    at = content.rindex(b"PK\x05\x06")
    content[at + 12 : at + 16] = struct.pack("<I", 0x7FFFFFFF)
    archive.write_bytes(content)
    assert "more than" in refused(archive, tmp_path).why


def test_names_that_collide_are_rejected(tmp_path: Path) -> None:
    assert "twice" in refused(as_zip(tmp_path / "a", {"A.wav": b"x", "a.wav": b"y"}), tmp_path).why
    assert "folder" in refused(as_tar("w")(tmp_path / "b", {"x": b"1", "x/y": b"2"}), tmp_path).why


@pytest.mark.parametrize("kind", PACKERS)
def test_damaged_archives_are_rejected_with_a_message(tmp_path: Path, kind: str) -> None:
    whole = PACKERS[kind](tmp_path / "whole", FILES | {"noise": random.Random(0).randbytes(50_000)}).read_bytes()
    draw = random.Random(1)
    for number in range(60):
        content = bytearray(whole[: draw.randrange(4, len(whole))] if number % 2 else whole)
        for _ in range(8):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path = tmp_path / "damaged"
        path.write_bytes(content)
        try:
            unpack(path, tmp_path / f"out-{number}")
        except HarkError:
            pass  # any other exception fails the test


def test_a_file_that_is_not_an_archive_is_rejected(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"hello", b"PK", b"\x1f\x8b", b"BZh9")):
        path = tmp_path / str(number)
        path.write_bytes(content)
        refused(path, tmp_path / "x")
