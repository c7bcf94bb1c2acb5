"""Segments of a phrase mined from recordings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.audio_file import read_audio
from core.errors import HarkError
from core.events import Reporter, silent_reporter
from db.db_api import Library
from db.records import ClipQuery, NewClip, real_speaker
from model.asr.emissions import Aligner
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.phrase_text import PhraseText
from pipeline.corpora.alignment_methods import CTC_SEGMENTATION, METHODS
from pipeline.corpora.mining import (
    MARGIN_S,
    MIN_CONFIDENCE,
    MiningConfig,
    _balanced,
    _Occurrence,
    faded,
    loud_throughout,
    mine,
    mine_negatives,
    mined_clips,
    speaker_cap,
    word_forms,
)
from pipeline.scoring.keyword_scoring import phone_score
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.recipes.prepared import prepare
from pipeline.training.run import _mine
from tests.support.spoken_words import joined, say

SENTENCE = "please open the big window before seven"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path) as opened:
        yield opened


def recording(text: str, speaker: str = "ann", said: str | None = None, **more: Any) -> NewClip:
    audio, _ = joined((said or text).split())
    # Recordings of the same words differ a little, as people do.
    audio = audio + np.float32(1e-4) * np.random.default_rng(len(speaker)).standard_normal(len(audio)).astype("f4")
    known = {"engine": "corpus", "licence": "CC-BY-4.0", "source": f"c:{speaker}/{text}", **more}
    return NewClip(audio, text, text, "en", speaker=speaker, **known)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_extracts_the_phrase(library: Library, method: str) -> None:
    if method == CTC_SEGMENTATION:
        pytest.importorskip("ctc_segmentation")
    words = SENTENCE.split()
    library.add_clips([recording(SENTENCE), recording("he bought seven apples", said="ten people saw the river")])
    config = MiningConfig(method=method)
    (cut,) = mine(Keyphrase("big window"), library, silent_reporter(), config).cuts
    _, times = joined(words)
    assert cut.start_s + cut.phrase_start_s == pytest.approx(times[3][0], abs=0.08)
    assert cut.start_s + cut.phrase_end_s == pytest.approx(times[4][1], abs=0.12)
    assert phone_score(library.read_audio(library.clips([cut.clip_id])[0]), Keyphrase("big window")) > 0.3
    assert mine(Keyphrase("big window"), library, silent_reporter(), config).clip_ids == (cut.clip_id,)
    assert not mine(Keyphrase("seven apples"), library, silent_reporter(), config).cuts, "a wrong transcript"


def test_only_clips_mined_by_the_chosen_method_are_examples(library: Library) -> None:
    pytest.importorskip("ctc_segmentation")
    library.add_clips([recording(SENTENCE), recording("window seven", "bob")])
    mine(Keyphrase("window"), library, silent_reporter())
    own = [clip.id for clip in mined_clips(library, ["window"])]
    package = mine(Keyphrase("window"), library, silent_reporter(), MiningConfig(method=CTC_SEGMENTATION)).clip_ids
    assert len(own) == len(package) == 2 and not set(own) & set(package)
    assert [clip.id for clip in mined_clips(library, ["window"])] == own
    assert [clip.id for clip in mined_clips(library, ["window"], method=CTC_SEGMENTATION)] == sorted(package)


def test_a_missing_mining_method_is_reported_immediately(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctc_segmentation", None)
    library.add_clips([recording(SENTENCE)])
    for method, why in ((CTC_SEGMENTATION, "missing"), ("guess", "viterbi")):
        with pytest.raises(HarkError) as caught:
            mine(Keyphrase("big window"), library, silent_reporter(), MiningConfig(method=method))
        assert why in caught.value.why
        with pytest.raises(HarkError):
            prepare(RunConfig("big window", mining_method=method))


def test_the_phrase_is_extracted_with_its_position(engine: str, library: Library) -> None:
    (parent,) = library.add_clips([recording(SENTENCE)])
    library.add_clips([recording("open another window")])
    found = mine(Keyphrase.of("Big Window!"), library, silent_reporter())
    (cut,) = found.cuts
    assert (found.phrase, found.recordings, found.looked_into, found.sampled) == ("big window", 1, 1, False)
    _, times = joined(SENTENCE.split())
    assert cut.start_s + cut.phrase_start_s == pytest.approx(times[3][0], abs=0.08)
    assert cut.start_s + cut.phrase_end_s == pytest.approx(times[4][1], abs=0.12)
    assert cut.phrase_start_s == pytest.approx(MARGIN_S) and cut.confidence > 0.3
    (clip,) = library.clips([cut.clip_id])
    assert (clip.parent_id, clip.text_normalized, clip.speaker, clip.licence) == (
        parent,
        "big window",
        "ann",
        "CC-BY-4.0",
    )
    assert (clip.engine, clip.settings["parent_engine"]) == ("mined", "corpus")
    assert clip.start_s == cut.start_s and clip.duration_s == pytest.approx(cut.end_s - cut.start_s, abs=1e-3)
    audio = library.read_audio(clip)
    assert phone_score(audio, Keyphrase("big window")) > 0.3 > phone_score(audio, Keyphrase("seven captains"))
    assert [row.id for row in mined_clips(library, ["big window"])] == [cut.clip_id]


def test_repeated_mining_adds_no_duplicates(library: Library) -> None:
    library.add_clips([recording(SENTENCE), recording(SENTENCE, "bob")])
    first = mine(Keyphrase("window"), library, silent_reporter())
    again = mine(Keyphrase("window"), library, silent_reporter(), MiningConfig(most=10))
    assert first.clip_ids == again.clip_ids and len(first.cuts) == 2
    assert library.stats().slices == 2
    assert all(clip.parent_id is None for clip in library.search("window", 9, ClipQuery(slices=False)))


def test_a_wrong_transcript_gives_no_mined_clip(library: Library) -> None:
    library.add_clips([recording("the big window is red", said="he bought seven yellow apples")])
    library.add_clips([recording("ten people saw the big window", said="ten people saw the green river")])
    found = mine(Keyphrase("big window"), library, silent_reporter())
    assert found.recordings == 2 and not found.cuts and sum(found.rejected.values()) == 2
    assert len(library.clips_with_texts(["the big window is red"], "en")) == 1, "the recording stays"


def test_a_segment_mined_with_less_confidence_is_not_an_example(library: Library) -> None:
    library.add_clips([recording("the pig winter is red", said="the big window is red")])
    assert not mine(Keyphrase("pig winter"), library, silent_reporter()).cuts
    (cut,) = mine(Keyphrase("pig winter"), library, silent_reporter(), MiningConfig(least_confidence=0.0)).cuts
    assert cut.confidence < MIN_CONFIDENCE and mined_clips(library, ["pig winter"]) == []


def test_a_position_mined_by_two_aligners_is_one_example(library: Library) -> None:
    library.add_clips([recording(SENTENCE), recording("window seven window")])
    found = mine(Keyphrase("window"), library, silent_reporter())
    other = Aligner()
    other.name = "recognizer-phones-another"
    again = mine(Keyphrase("window"), library, silent_reporter(), aligner=other)
    assert not set(found.clip_ids) & set(again.clip_ids) and len(found.cuts) == len(again.cuts) == 3
    assert [clip.id for clip in mined_clips(library, ["window"])] == list(found.clip_ids)


def test_only_real_recordings_are_mined_by_default(library: Library) -> None:
    library.add_clips([recording(SENTENCE, engine="espeak", source=None, request_id="r")])
    assert mine(Keyphrase("window"), library, silent_reporter()).recordings == 0
    found = mine(Keyphrase("window"), library, silent_reporter(), MiningConfig(real_only=False))
    assert len(found.cuts) == 1


def test_word_forms_are_mined_on_request(library: Library) -> None:
    library.add_clips([recording("please close the big windows before seven")])
    assert not mine(Keyphrase("big window"), library, silent_reporter()).cuts
    found = mine(Keyphrase("big window"), library, silent_reporter(), MiningConfig(word_forms=True))
    assert [cut.text for cut in found.cuts] == ["big windows"]
    assert word_forms(Keyphrase("grosses fenster", "de")) == ("grosses fenster",)


def test_a_very_common_phrase_is_sampled_and_reported(library: Library) -> None:
    library.add_clips(recording(f"{SENTENCE} {name}", name) for name in ("ann", "robert", "a", "bo"))
    events: list[dict[str, Any]] = []
    config = MiningConfig(recordings=2)
    found = mine(Keyphrase("window"), library, Reporter(events.append), config)
    assert (found.recordings, found.looked_into, found.sampled) == (4, 2, True)
    assert any("sample" in event.get("message", "") for event in events)
    assert mine(Keyphrase("window"), library, silent_reporter(), config).clip_ids == found.clip_ids
    assert len(mine(Keyphrase("window"), library, silent_reporter(), MiningConfig(most=1)).cuts) == 1


def test_mining_looks_into_a_limited_number_of_a_hundred_thousand_recordings(library: Library) -> None:
    asked: list[int] = []
    library.search_ids = lambda phrase, where=None: list(range(1, 100_001))
    library.clips = lambda ids: asked.append(len(ids)) or []
    found = mine(Keyphrase("window"), library, silent_reporter())
    assert found.recordings == 100_000 and asked[0] == found.looked_into == MiningConfig().recordings


def test_mining_stops_at_the_requested_number(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.corpora.mining.AT_A_TIME", 1)
    library.add_clips(recording(f"{SENTENCE} {name}", name) for name in ("ann", "robert", "a", "bo"))
    found = mine(Keyphrase("window"), library, silent_reporter(), MiningConfig(most=2))
    assert len(found.cuts) == 2 and found.looked_into in (2, 3) and found.sampled


def test_no_speaker_exceeds_the_cap() -> None:
    assert speaker_cap([], 0.1) == 0
    assert speaker_cap([100], 0.1) == 100
    for sizes in ([100, 5, 5, 5], [50] * 20, [1000] + [3] * 40, [1, 1, 1]):
        cap = speaker_cap(sizes, 0.1)
        kept = [min(size, cap) for size in sizes]
        assert max(kept) <= max(1, max(0.1, 1.5 / len(sizes)) * sum(kept))


def test_an_added_recording_never_reduces_the_mined_clips(library: Library) -> None:
    (parent,) = library.clips(library.add_clips([recording(SENTENCE)]))
    ann = [_Occurrence(parent, "window", number, number + 0.5, 0.9) for number in range(50)]
    unnamed = [
        _Occurrence(replace(parent, speaker="", source=f"c:{number}.wav"), "window", 1.0, 1.5, 0.9)
        for number in range(20)
    ]
    for most in (300, 60, 10):
        config = MiningConfig(most=most)
        alone, (together, _) = _balanced(ann, config)[0], _balanced([*ann, *unnamed], config)
        assert len(alone) == min(50, most) and len(together) == min(70, most)
        assert len({real_speaker(place.clip) for place in together}) == min(21, most), "every speaker is included"


def test_negatives_are_mined_only_where_the_phrase_is_absent(library: Library) -> None:
    library.add_clips([recording(SENTENCE), recording("tell the captain about the big mirror", "bob")])
    found = mine_negatives(
        Keyphrase("big window"), ["big", "big mirror!", "window", "not there at all"], library, silent_reporter()
    )
    assert set(found) == {"big", "big mirror"}
    assert [cut.speaker for result in found.values() for cut in result.cuts] == ["bob", "bob"]


def test_mined_clips_must_be_loud_throughout() -> None:
    loud = np.sin(np.arange(8000)).astype(np.float32)
    assert loud_throughout(loud)
    assert not loud_throughout(np.concatenate([loud, np.zeros(8000, np.float32)]))
    assert not loud_throughout(np.zeros(8000, np.float32)) and not loud_throughout(loud[:100])
    soft = faded(loud)
    assert soft[0] == 0 and abs(soft[-1]) < 0.02 and (soft[200:-200] == loud[200:-200]).all()
    assert len(faded(loud[:1])) == 1


def test_a_clip_of_the_phrase_alone_is_mined_completely(library: Library) -> None:
    audio = say("hey compass")
    library.add_clips([NewClip(audio, "hey compass", "hey compass", "en", "corpus", speaker="x", source="c:1")])
    (cut,) = mine(Keyphrase("hey compass"), library, silent_reporter()).cuts
    assert cut.start_s < 0.1 and cut.end_s > len(audio) / 16_000 - 0.15
    assert 0 <= cut.phrase_start_s < cut.phrase_end_s <= cut.end_s - cut.start_s + 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_real_speech_is_mined(shared_data: Path, library: Library, method: str) -> None:
    if method == CTC_SEGMENTATION:
        pytest.importorskip("ctc_segmentation")
    folder = shared_data / "speech" / "librispeech-dev-clean"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    rows = [row for row in rows if " little " in row["text"]][:40]
    library.add_clips(
        NewClip(
            read_audio(folder / row["audio_filepath"]), row["text"], row["text"], "en", "corpus",
            speaker=row["speaker"], source=f"c:{row['audio_filepath']}",
        )
        for row in rows
    )  # fmt: skip
    found = mine(Keyphrase("little"), library, silent_reporter(), MiningConfig(method=method), Aligner())
    assert len(found.cuts) > 0.6 * len(rows)


def test_a_run_mines_the_phrase_and_its_confusables(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.add_clips([recording(SENTENCE), recording("open the window seven", "bob")])
    near = {"confusable": ("the window", "wind"), "inbetween": ("open the",)}
    near_texts = {bucket: [PhraseText(text, "partial") for text in texts] for bucket, texts in near.items()}
    config = RunConfig("big window")
    events: list[dict[str, Any]] = []
    _mine(config, near_texts, library, Reporter(events.append))
    assert {clip.text_normalized for clip in mined_clips(library, ["big window", "the window", "open the"])} == {
        "big window",
        "the window",
        "open the",
    }
    (said,) = [event["message"] for event in events if "1 of the phrase" in event.get("message", "")]
    assert said.endswith("Those in the test are not used in training.")
    before = library.stats().slices
    _mine(config, near_texts, library, silent_reporter())
    if find_spec("ctc_segmentation"):
        _mine(replace(config, mining_method=CTC_SEGMENTATION), near_texts, library, silent_reporter())
        assert library.stats().slices == 2 * before, "both the phrase and its confusables"
        before *= 2
    _mine(replace(config, language="de"), near_texts, library, silent_reporter())
    assert library.stats().slices == before
