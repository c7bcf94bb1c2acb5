"""A library whose files are in a store of S3, too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core import file_store
from core.errors import HarkError
from db import clip_files
from db.db_api import Library
from db.records import NewClip
from tests.support.s3_server import S3Server, store_of

TONE = (0.1 * np.sin(np.arange(4000) / 10)).astype(np.float32)
ALIGNER = "ears"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    with store_of(tmp_path / "data", monkeypatch) as server:
        yield server


@pytest.fixture
def engine() -> str:
    return "sqlite"


def said(text: str, audio: np.ndarray) -> NewClip:
    return NewClip(audio=audio, text=text, text_normalized=text, language="en", engine="test", voice="v", licence="x")


def test_clips_and_emissions_are_read_from_the_store(store: S3Server, library: Library) -> None:
    ids = library.add_clips([said("one", TONE), said("two", TONE[:3000])])
    library.add_emissions(ALIGNER, [(ids[0], np.ones((3, 4), np.float16))])
    assert len(store.files) == 3
    for folder in ("clips", "emissions"):
        shutil.rmtree(library.data_dir / folder)
    clips = library.clips(ids)
    assert [path.is_file() for path in library.files(clips)] == [True, True]
    assert len(library.read_audio(clips[1])) == 3000
    emission = library.emission(ids[0], ALIGNER)
    assert emission is not None and emission.shape == (3, 4)


def test_a_clip_that_another_machine_has_stored_is_not_put_there_again(store: S3Server, library: Library) -> None:
    library.add_clips([said("one", TONE)])
    shutil.rmtree(library.data_dir / "clips")
    library.add_clips([said("another", TONE)])
    assert sum(request.startswith("PUT") for request in store.requests) == 1


def test_deleted_clips_leave_the_store(store: S3Server, library: Library) -> None:
    ids = library.add_clips([said("one", TONE), said("two", TONE[:3000])])
    library.add_emissions(ALIGNER, [(ids[0], np.ones((3, 4), np.float16))])
    library.delete_clips(ids[:1])
    assert list(store.files) == [library.clips(ids)[0].path]


def test_a_store_that_is_away_leaves_no_row_and_no_file(store: S3Server, library: Library) -> None:
    store.broken = True
    with pytest.raises(HarkError, match="does not answer"):
        library.add_clips([said("one", TONE)])
    store.broken = False
    assert library.stats().clips == 0 and not store.files
    assert not [path for path in (library.data_dir / "clips").rglob("*") if path.is_file()]


def test_a_check_looks_here_and_there(store: S3Server, library: Library) -> None:
    ids = library.add_clips([said("one", TONE), said("two", TONE[:3000]), said("three", TONE[:2000])])
    here, damaged, lost = library.files(library.clips(ids))
    here.unlink()  # the store has it
    damaged.write_bytes(b"no sound")
    lost.unlink()
    file_store.forget(lost)
    orphan = clip_files.relative_path("ab" + 62 * "0")
    store.files[orphan] = b"of no row"
    found = library.check(mend=True)
    kinds = {(problem.kind, problem.what.split(":")[0]) for problem in found.problems}
    assert kinds == {
        ("wrong audio", str(damaged.relative_to(library.data_dir))),
        ("row without file", str(lost.relative_to(library.data_dir))),
        ("file without row", orphan),
    }
    assert all(problem.mended for problem in found.problems)
    assert [clip.id for clip in library.clips(ids)] == ids[:2] and orphan not in store.files
    assert len(library.read_audio(library.clips(ids)[1])) == 3000
    assert not library.check().problems
