from __future__ import annotations

import os
from multiprocessing import get_context
from pathlib import Path

import pytest

from phrase_augmentation import phonemes
from phrase_augmentation import vocabulary as module
from phrase_augmentation.vocabulary import vocabulary, zipf


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A fresh data folder and no phones in memory."""
    monkeypatch.setenv("HARK_DATA", str(tmp_path))
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    vocabulary.cache_clear()
    phonemes._phonemizer._cache.clear()


def count_words(_: int) -> int:
    forget()
    return len(vocabulary("en", 500).words)


def test_the_vocabulary_has_only_usable_words() -> None:
    known = vocabulary()
    assert len(known.words) > 20_000
    assert {"the", "computer", "a", "i", "don't"} <= set(known.words)
    assert not {"fuck", "x", "3d", "txt", "yr", ""} & set(known.words)
    assert [word for word, _ in known.nearest(("h", "eɪ"), 2)] == ["hey", "hay"] or known.nearest(("h", "eɪ"), 2)[1][
        1
    ] == 0
    assert vocabulary("sw").words == () and vocabulary("sw").nearest(("a",), 3) == []


def test_zipf_ranks_words_by_frequency() -> None:
    assert zipf("the") > 7 > zipf("computer") > zipf("mirror") > zipf("thermostat") > zipf("zorpify") == 0.0
    assert zipf("你好", "zh") > 3
    assert zipf("habari", "sw") == 0.0


def test_phones_are_cached_on_disk_and_a_damaged_file_is_rebuilt(small: Path) -> None:
    first = vocabulary("en", 300)
    files = sorted((small / "cache").glob("phones-*.json"))
    assert len(files) == 2  # one per accent
    forget()
    module_raw = module.raw_phones
    module.raw_phones = lambda *_: pytest.fail("phones were computed again")  # type: ignore[assignment]
    try:
        assert vocabulary("en", 300).phones == first.phones
    finally:
        module.raw_phones = module_raw
    for content in (b"", b"[", b"{}", b'["a"]', b"\xff\xfe", b"[" + b"1," * 299 + b"1]"):
        files[0].write_bytes(content)
        forget()
        assert vocabulary("en", 300).phones == first.phones
        assert len(files[0].read_bytes()) > 1000


def test_an_unwritable_cache_folder_is_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("HARK_DATA", str(blocked))
    forget()
    assert len(vocabulary("en", 200).words) > 150
    read_only = tmp_path / "read-only"
    read_only.mkdir(mode=0o555)
    monkeypatch.setenv("HARK_DATA", str(read_only))
    forget()
    assert len(vocabulary("en", 200).words) > 150
    if os.geteuid() != 0:
        assert list(read_only.iterdir()) == []
    forget()


def test_several_processes_can_build_the_cache_at_the_same_time(small: Path) -> None:
    with get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(count_words, range(4)))) == 1
    assert not list((small / "cache").glob(".*"))
