"""The clip library in one process: clips are stored once and found."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import HarkError
from db import clip_files
from db.checking import check_library
from db.db_api import Library, source_id
from db.records import ClipQuery, NewClip
from tests.support.library_clips import new_clip
from tests.support.sounds import noise


def test_a_clip_is_read_back_unchanged(library: Library) -> None:
    (parent,) = library.add_clips([new_clip("a long sentence with hey compass in it", seed=1, source="c:1.wav")])
    given_clip = NewClip(
        audio=noise(0.1, 2),
        text="Hey, compass!",
        text_normalized="hey compass",
        language="en",
        engine="espeak",
        model="espeak-ng 1.52",
        voice="en-us+f3",
        speaker="espeak-en-us+f3",
        licence="GPL-3.0 engine, free output",
        settings={"rate": 170, "pitch": 0.5},
        request_id="r1",
        parent_id=parent,
        start_s=1.5,
        end_s=2.25,
    )
    (clip_id,) = library.add_clips([given_clip])
    (clip,) = library.clips([clip_id])
    assert (clip.text_original, clip.text_normalized, clip.text_known) == ("Hey, compass!", "hey compass", True)
    assert (clip.engine, clip.model, clip.voice) == ("espeak", "espeak-ng 1.52", "en-us+f3")
    assert clip.settings == {"rate": 170, "pitch": 0.5}
    assert (clip.parent_id, clip.start_s, clip.end_s, clip.state) == (parent, 1.5, 2.25, "ready")
    assert clip.duration_s == pytest.approx(0.1) and clip.sample_rate == 16000
    assert clip.path == f"clips/{clip.sha256[:2]}/{clip.sha256}.flac"
    audio = library.read_audio(clip)
    assert audio.dtype == np.float32 and np.abs(audio - given_clip.audio).max() < 1 / 32768
    assert clip_files.audio_digest(audio) == clip.sha256, "storing the audio again gives the same file"
    info = soundfile.info(str(library.file(clip)))
    assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", 16000, 1)


def test_the_same_request_or_source_is_stored_once(library: Library) -> None:
    first = library.add_clips([new_clip("a", 1, request_id="r"), new_clip("b", 2, source="c:b")])
    again = library.add_clips([new_clip("other", 3, request_id="r"), new_clip("other", 4, source="c:b")])
    assert again == first and library.stats().clips == 2
    twice = library.add_clips([new_clip("x", 5, request_id="s"), new_clip("x", 5, request_id="s")])
    assert twice[0] == twice[1]
    assert library.request_ids_present({"r", "s", "t"}) == {"r", "s"}
    assert check_library(library, left_over_after_s=0).problems == ()


def test_clips_with_the_same_audio_share_a_file(library: Library) -> None:
    ids = library.add_clips([new_clip("a", 1, request_id="r1"), new_clip("a", 1, request_id="r2")])
    assert len(set(ids)) == 2 and library.stats().files == 1
    assert len(list((library.data_dir / "clips").rglob("*.flac"))) == 1
    assert [clip.id for clip in library.of_digests({clip_files.audio_digest(noise(0.1, 1)), "no"})] == ids


def test_adding_clips_once_reuses_the_clip_of_the_same_samples(library: Library) -> None:
    first = library.add_clips([new_clip("a", 1, source="c:a")])
    clips = [new_clip("b", 1, source="c:b"), new_clip("b", 2, source="c:c"), new_clip("b", 2, source="c:d")]
    ids = library.add_clips(clips, once=True)
    assert ids[0] == first[0] and ids[1] == ids[2] and library.stats().clips == 2


def test_clips_given_before_an_interrupt_are_stored(library: Library) -> None:
    def three_then_interrupted() -> Iterator[NewClip]:
        for number in range(3):
            yield new_clip("a", number, request_id=f"r{number}")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.add_clips(three_then_interrupted())
    assert library.request_ids_present([f"r{n}" for n in range(3)]) == {"r0", "r1", "r2"}


@pytest.mark.parametrize(
    "audio", [np.zeros(0, np.float32), np.zeros((2, 5), np.float32), np.array([np.nan], np.float32)]
)
def test_invalid_samples_are_rejected(library: Library, audio: np.ndarray) -> None:
    with pytest.raises(ValueError, match="clip"):
        library.add_clips([new_clip("a", audio=audio)])
    assert library.stats().clips == 0


def test_out_of_range_audio_is_clipped_not_wrapped(library: Library) -> None:
    (clip_id,) = library.add_clips([new_clip("a", audio=np.array([2.0, -2.0, 0.0], np.float32))])
    assert library.read_audio(library.clips([clip_id])[0]) == pytest.approx([1.0, -1.0, 0.0], abs=1e-4)


def test_clips_are_found_by_text(library: Library) -> None:
    library.add_clips(
        [
            *(new_clip("hey compass", n, request_id=f"p{n}", engine="espeak" if n < 2 else "flite") for n in range(5)),
            new_clip("hey compass", 9, language="de"),
            new_clip("hey campus", 10),
        ]
    )
    assert len(library.clips_with_texts(["hey compass", "hey campus"], "en")) == 6
    many = [f"text {n}" for n in range(5000)] + ["hey campus"]
    assert [c.text_normalized for c in library.clips_with_texts(many, "en")] == ["hey campus"]
    rejected = library.clips_with_texts(["hey compass"], "en")[0]
    library.set_state([rejected.id], "rejected")
    assert rejected.id not in {clip.id for clip in library.search("hey compass", 10)}


@pytest.mark.parametrize(
    "text",
    ["'; DROP TABLE clip; --", '"', "NEAR(a b)", "*", "a* OR b", "text_normalized:a", "^a", "../../etc", "\x00", ""],
)
def test_text_that_looks_like_sql_is_only_text(library: Library, text: str) -> None:
    library.add_clips(
        [new_clip("plain words", 1), new_clip(text, 2, request_id=text, source=f"c:{text}", speaker=text)]
    )
    kept = text.replace("\x00", "")
    assert [c.text_original for c in library.clips_with_texts([text], "en")] == [kept]
    assert all(clip.text_original == kept for clip in library.search(text, 10))
    assert library.request_ids_present([text]) == {kept}
    assert library.stats().clips == 2 and check_library(library, left_over_after_s=0).ok


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(phrase=st.text(alphabet=st.characters(codec=None), max_size=20))
def test_no_phrase_breaks_the_search(library: Library, phrase: str) -> None:
    library.search(phrase, 5)
    library.clips_with_texts([phrase], "en")


def test_search_finds_whole_words_in_order(library: Library) -> None:
    texts = ["say hey compass now", "hey compasses", "compass hey", "don't go", "don t go", "über uns", "uber uns"]
    library.add_clips([new_clip(text, n, request_id=text) for n, text in enumerate(texts)])

    def found(phrase: str) -> list[str]:
        return [clip.text_normalized for clip in library.search(phrase, 10)]

    assert found("hey compass") == ["say hey compass now"]
    assert found("HEY COMPASS") == ["say hey compass now"]
    assert found("don't") == ["don't go"]
    assert found("über") == ["über uns"]
    assert found("*") == found("") == found("   ") == found('"') == []
    assert found("hey NEAR compass") == []
    assert len(library.search("hey", 2)) == 2
    for phrase in ("hey compass", "compass", '"', "", "小爱"):
        assert library.search_ids(phrase) == [clip.id for clip in library.search(phrase, 10)]
    assert library.search_ids("hey compass", ClipQuery(language="de")) == []


def test_search_works_in_scripts_without_spaces(library: Library) -> None:
    library.add_clips([new_clip("请打开小爱同学的灯", 1, language="zh"), new_clip("今天天气很好", 2, language="zh")])
    assert [c.text_normalized for c in library.search("小爱同学", 5)] == ["请打开小爱同学的灯"]
    assert library.search("小%同", 5) == []


def test_clips_without_known_text_are_never_found_by_text(library: Library) -> None:
    source = source_id("street", "a.wav")
    (clip_id,) = library.add_clips([new_clip("", 1, text_known=False, source=source, engine="corpus")])
    assert library.clips_with_texts([""], "en") == []
    assert [clip.id for clip in library.iter_clips(ClipQuery(text_known=False))] == [clip_id]
    assert [(clip.id, clip.text_known) for clip in library.of_sources([source, "other"])] == [(clip_id, False)]
    library.set_texts({clip_id: ("Hello.", "hello")})
    assert [c.id for c in library.search("hello", 1)] == [clip_id]


def test_with_source_returns_clips_of_one_corpus_only(library: Library) -> None:
    names = [("libri", "a/1.flac"), ("libri", "b.flac"), ("libri-2", "a/1.flac"), ("libra", "x")]
    library.add_clips([new_clip("t", n, source=source_id(*name)) for n, name in enumerate(names)])
    assert {clip.source for clip in library.with_source("libri")} == {"libri:a/1.flac", "libri:b.flac"}
    assert [clip.source for clip in library.of_sources(["libra:x", "libra:y"])] == ["libra:x"]
    with pytest.raises(ValueError):
        source_id("a:b", "c")


def test_clips_are_iterated_by_conditions(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.db_api.PAGE_ROWS", 3)
    ids = library.add_clips([new_clip(f"t{n}", n, source=f"c:{n}", audio=noise(0.1 * (n + 1), n)) for n in range(8)])
    library.add_clips([new_clip("slice", 20, parent_id=ids[0], start_s=0.0, end_s=0.1, engine="mined")])
    assert [clip.id for clip in library.iter_clips(ClipQuery(imported=True))] == ids
    assert [clip.engine for clip in library.iter_clips(ClipQuery(slices=True))] == ["mined"]


def test_transcripts_come_from_imported_speech_in_seeded_order(library: Library) -> None:
    library.add_clips([new_clip(f"real {n}", n, source=f"c:{n}") for n in range(50)])
    library.add_clips(
        [new_clip("made", 100), new_clip("real 1", 101, source="c:again"), new_clip("", 102, source="c:e")]
    )
    library.add_clips([
        new_clip("said in a recording", 103, source="recording-0f8fad5b-d9cb-469f-a165-70867728950e:0-900"),
        new_clip("real too", 104, source="recording-7a7cf72e:a.wav"),  # from a folder named "recording"
    ])  # fmt: skip
    drawn = library.transcripts("en", 100, seed=1)
    assert sorted(drawn) == sorted({*(f"real {n}" for n in range(50)), "real too"})
    assert library.transcripts("en", 10, seed=1) == drawn[:10]
    assert library.transcripts("en", 100, seed=2) != drawn
    assert library.transcripts("de", 10, seed=1) == []


def test_threads_can_share_a_library(library: Library) -> None:
    def add(worker: int) -> None:
        library.add_clips([new_clip("t", worker * 100 + n, request_id=f"{worker}/{n}") for n in range(10)])
        library.close()

    threads = [threading.Thread(target=add, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert library.stats().clips == 40 and check_library(library, left_over_after_s=0).problems == ()


def test_an_unreadable_clip_names_the_repair_command(library: Library) -> None:
    (clip_id,) = library.add_clips([new_clip("t")])
    (clip,) = library.clips([clip_id])
    library.file(clip).unlink()
    with pytest.raises(HarkError) as raised:
        library.read_audio(clip)
    assert "check --repair" in raised.value.what_to_do
