"""Checks and repairs of a library."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from db.checking import check_library
from db.db_api import Library
from tests.support.library_clips import Run, new_clip, numbered_clip


def age(path: Path) -> None:
    os.utime(path, (1, 1))


def test_check_finds_and_repairs_each_kind(
    library: Library, engine: str, behind: Callable[[Path], AbstractContextManager[Run]]
) -> None:
    ids = library.add_clips([numbered_clip(n) for n in range(6)])
    lost, empty, swapped, _, child_of_lost, fine = library.clips(ids)
    with behind(library.data_dir) as run:
        run("UPDATE clip SET parent_id = ? WHERE id = ?", (lost.id, child_of_lost.id))
        run("UPDATE clip SET parent_id = 4711 WHERE id = ?", (fine.id,))
        run("INSERT INTO alignment VALUES (4711, 'a', 'word', 0, 'hey', 0, 1, 1)")
        run("DELETE FROM clip_fts_data WHERE id > 10" if engine == "sqlite" else "DELETE FROM clip_fts")
    library.alignments.add_emissions("a", [(fine.id, np.zeros((5, 3))), (lost.id, np.zeros((5, 3)))])
    emissions = sorted((library.data_dir / "emissions").rglob("*.npy"))
    next(path for path in emissions if fine.sha256 in path.name).unlink()
    stray_emission = emissions[0].with_name("stray.npy")
    stray_emission.write_bytes(b"x")
    library.file(lost).unlink()
    library.file(empty).write_bytes(b"")
    library.file(swapped).write_bytes(library.file(fine).read_bytes())
    orphan = library.file(fine).with_name("0" * 64 + ".flac")
    orphan.write_bytes(b"left over")
    temporary = library.file(fine).with_name(".abc-xyz.tmp")
    temporary.write_bytes(b"half a cl")
    for path in (orphan, temporary, stray_emission):
        age(path)

    expected = {
        "row without file": 1,
        "wrong audio": 2,
        "file without row": 1,
        "temporary file": 1,
        "emission without file": 1,
        "emission file without row": 1,
        "dangling reference": 2,
        "full-text index": 1,
    }
    found = check_library(library)
    assert found.counts == expected and not found.ok
    assert orphan.exists(), "a check without repair changes nothing"
    repaired = check_library(library, repair=True)
    assert repaired.counts == expected and repaired.ok
    after = check_library(library, left_over_after_s=0, repair=True)
    assert set(after.counts) <= {"emission file without row"}, "the emission of the lost clip, whose row was removed"
    assert check_library(library, left_over_after_s=0).problems == ()
    assert {clip.id for clip in library.iter_clips()} == {ids[3], ids[4], ids[5]}
    assert library.request_ids_present([f"r{n}" for n in range(6)]) == {"r3", "r4", "r5"}, (
        "requests of lost clips are open again"
    )
    assert [clip.id for clip in library.search("t5", 3)] == [fine.id]
    assert all(clip.parent_id is None for clip in library.iter_clips())


def test_a_recent_file_without_a_row_is_not_a_problem(library: Library) -> None:
    (clip_id,) = library.add_clips([new_clip("t")])
    stray = library.file(library.clips([clip_id])[0]).with_name("1" * 64 + ".flac")
    stray.write_bytes(b"just written")
    report = check_library(library, repair=True)
    assert report.problems == () and stray.exists()
