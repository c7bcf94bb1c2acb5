"""Operations of users on the library: view, page through, correct, delete for good."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from core.errors import HarkError
from db.checking import check_library
from db.db_api import Library
from db.records import AlignedUnit, ClipQuery, LibrarySearch
from tests.support.library_clips import new_clip
from tests.support.programs import run_python


def everything(library: Library, filters: LibrarySearch, size: int = 7) -> list[int]:
    """Return all ids, paging down. Paging up from the end must return the same."""
    down: list[int] = []
    while page := library.page(filters, size, before_id=down[-1] if down else None):
        down += [clip.id for clip in page]
    up: list[int] = []
    while page := library.page(filters, size, after_id=up[0] if up else 0):
        up = [clip.id for clip in page] + up
    assert up == down
    return down


def test_every_filter_finds_its_clips_page_by_page(library: Library) -> None:
    ids = library.add_clips(
        [
            new_clip(
                "hey compass" if number % 2 else "other words",
                number,
                engine=("espeak", "flite", "corpus")[number % 3],
                voice=f"Voice-{number % 4}",
                speaker=f"speaker {number % 5}",
                language="de" if number % 7 == 0 else "en",
                source=f"{'recorded' if number < 9 else 'c'}:{number}" if number % 3 == 2 else None,
            )
            for number in range(40)
        ]
    )
    (cut,) = library.add_clips([new_clip("hey", 99, parent_id=ids[2], start_s=0.0, end_s=0.05)])
    library.set_state(ids[:6], "rejected")
    clips = library.clips([*ids, cut])
    for filters, wanted in {
        LibrarySearch(): lambda c: True,
        LibrarySearch(phrase="hey compass"): lambda c: c.text_normalized == "hey compass",
        LibrarySearch(phrase="compass", engine="flite"): lambda c: (
            "compass" in c.text_normalized and c.engine == "flite"
        ),
        LibrarySearch(phrase="compas"): lambda c: False,
        LibrarySearch(phrase='" OR hey'): lambda c: False,
        LibrarySearch(engine="flite"): lambda c: c.engine == "flite",
        LibrarySearch(voice="VOICE-3"): lambda c: c.voice == "Voice-3",
        LibrarySearch(voice="er 2"): lambda c: c.speaker == "speaker 2",
        LibrarySearch(voice="%"): lambda c: False,
        LibrarySearch(language="de"): lambda c: c.language == "de",
        LibrarySearch(origin="generated"): lambda c: c.source is None and c.parent_id is None,
        LibrarySearch(origin="imported"): lambda c: (c.source or "").startswith("c:"),
        LibrarySearch(origin="recorded"): lambda c: (c.source or "").startswith("recorded:"),
        LibrarySearch(origin="cut"): lambda c: c.parent_id is not None,
        LibrarySearch(state="ready"): lambda c: c.state == "ready",
        LibrarySearch(state="rejected", phrase="hey compass"): lambda c: (
            c.state == "rejected" and "hey" in c.text_original
        ),
    }.items():
        found = everything(library, filters)
        assert found == sorted((c.id for c in clips if wanted(c)), reverse=True), filters
        assert library.count(filters, 1000) == len(found)
        assert library.count(filters, 3) == min(3, len(found))
    assert library.engines_and_languages() == (["corpus", "espeak", "fake", "flite"], ["de", "en"])


def test_search_finds_words_in_scripts_without_spaces(library: Library) -> None:
    (clip_id,) = library.add_clips([new_clip("今日は天気", language="ja")])
    assert everything(library, LibrarySearch(phrase="天気")) == [clip_id]


def test_deleting_a_clip_removes_its_row_file_and_emissions(library: Library) -> None:
    one, same, other = library.add_clips(
        [new_clip("a", 1, request_id="r1"), new_clip("a", 1, request_id="r2"), new_clip("b", 2, request_id="r3")]
    )
    clip, neighbour = library.clips([one])[0], library.clips([other])[0]
    library.alignments.add_emissions("ctc", [(n, np.zeros((3, 4))) for n in (one, same, other)])
    library.alignments.replace("ctc", {one: [AlignedUnit("word", "a", 0.0, 0.1, 1.0)]})
    emission = library.data_dir / f"emissions/ctc/{clip.sha256[:2]}/{clip.sha256}.npy"
    assert library.delete_clips([one, 12345]) == 1
    assert library.file(clip).is_file() and emission.is_file(), "another clip shares the audio"
    assert library.alignments.emission(same, "ctc") is not None and library.alignments.aligned("ctc", [one]) == set()
    assert library.delete_clips([same]) == 1 and library.delete_clips([same]) == 0
    assert not library.file(clip).exists() and not emission.exists()
    assert library.file(neighbour).is_file() and library.search("a", 9) == []
    assert [found.id for found in library.search("b", 9)] == [other]
    assert check_library(library, left_over_after_s=0).problems == ()


def test_deleting_a_clip_deletes_mined_clips_but_not_trimmed_ones(library: Library) -> None:
    (parent,) = library.add_clips([new_clip("he said hey compass", 1, source="c:1")])
    mined, trimmed = library.add_clips(
        [
            new_clip("hey compass", 2, engine="mined", parent_id=parent, start_s=0.0, end_s=0.1),
            new_clip("he said", 3, parent_id=parent, start_s=0.0, end_s=0.05, settings={"trimmed": True}),
        ]
    )
    whole = ClipQuery(slices=False)
    assert [clip.id for clip in library.iter_clips(whole)] == [parent, trimmed], "a trimmed clip is no slice"
    assert [clip.id for clip in library.iter_clips(ClipQuery(slices=True))] == [mined]
    assert [clip.id for clip in library.cuts_of([parent])] == [mined, trimmed]
    assert library.delete_clips([parent]) == 2
    (left,) = library.iter_clips(whole)
    assert left.id == trimmed and left.parent_id is None
    assert check_library(library, left_over_after_s=0).problems == ()


def test_check_repairs_a_killed_deletion(library: Library) -> None:
    ids = library.add_clips([new_clip("a", number, request_id=f"r{number}") for number in range(4)])
    program = f"""
import os
from pathlib import Path
from db.db_api import Library
library = Library(Path({str(library.data_dir)!r}))
library.tables.remove_file_without_row = lambda path, query: os._exit(9)
library.delete_clips({ids[:3]})
"""
    assert run_python(program).returncode == 9
    assert [clip.id for clip in library.iter_clips()] == ids[3:]
    assert check_library(library, repair=True, left_over_after_s=0).counts == {"file without row": 3}
    assert check_library(library, left_over_after_s=0).problems == ()


def test_a_failed_deletion_deletes_nothing(
    library: Library, locked: Callable[[Path], AbstractContextManager[None]]
) -> None:
    ids = library.add_clips([new_clip("a", 1, request_id="r1")])
    with locked(library.data_dir), Library(library.data_dir) as second, pytest.raises(HarkError) as raised:
        second.delete_clips(ids)
    assert "in use" in raised.value.what and library.file(library.clips(ids)[0]).is_file()


def test_changing_the_text_discards_the_alignment(library: Library) -> None:
    one, two = library.add_clips([new_clip("a", 1, request_id="r1"), new_clip("b", 2, request_id="r2")])
    for clip_id in (one, two):
        library.alignments.replace("ctc", {clip_id: [AlignedUnit("word", "a", 0.0, 0.1, 1.0)]})
    library.set_texts({one: ("C!", "c"), two: ("B.", "b")})
    assert library.alignments.aligned("ctc", [one, two]) == {two}
    assert [clip.id for clip in library.search("c", 9)] == [one] and library.search("a", 9) == []


def test_changing_a_setting_preserves_the_others(library: Library) -> None:
    one, two = library.add_clips(
        [new_clip("a", 1, settings={"role": "test", "hint": "é"}), new_clip("b", 2, settings={"role": "test"})]
    )
    library.change_settings([one], {"role": "train", "more": 1})
    assert [clip.settings for clip in library.clips([one, two])] == [
        {"role": "train", "hint": "é", "more": 1},
        {"role": "test"},
    ]
    library.change_settings([one], {"more": None})
    assert "more" not in library.clips([one])[0].settings
