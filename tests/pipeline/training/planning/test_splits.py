"""Nobody whose voice is in training is in the test, whichever engine has that voice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_generation.engine import Voice
from audio_generation.splice_side import LIBRARY_MODEL
from model.feature_rows import SPLITS
from pipeline.training.planning.splits import VoiceSplits, held_out_engine, split_of, split_voices
from tests.support.programs import output_of

NAMES = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=4)
ENGINES = st.dictionaries(
    st.sampled_from(["espeak", "festival", "flite", "kokoro", "piper"]),
    st.lists(NAMES, min_size=1, max_size=30, unique=True),
    min_size=1,
    max_size=5,
)


def voices_of(speakers: dict[str, list[str]]) -> dict[str, Sequence[Voice]]:
    """Return two voices a speaker, in each engine."""
    return {
        engine: [Voice(engine, f"{who}-{n}", "en", who, "CC0-1.0", "m") for who in people for n in range(2)]
        for engine, people in speakers.items()
    }


def speakers_in(splits: VoiceSplits, split: str) -> set[str]:
    return {voice.speaker for speakers in splits.voices[split].values() for voices in speakers for voice in voices}


@settings(deadline=None)
@given(ENGINES, st.sampled_from(["", "none", "espeak", "flite"]))
def test_no_speaker_is_in_two_splits(speakers: dict[str, list[str]], hold_out: str) -> None:
    splits = split_voices(voices_of(speakers), hold_out)
    for split in SPLITS:
        for other in SPLITS:
            assert split == other or not speakers_in(splits, split) & speakers_in(splits, other)
    for split in SPLITS:
        for speaker in speakers_in(splits, split):
            assert splits.split_of_speaker(speaker) == split
    for split in SPLITS:
        for engine, groups in splits.voices[split].items():
            assert all(len({voice.speaker for voice in group}) == 1 for group in groups)
            assert all(voice.engine == engine for group in groups for voice in group)


@settings(deadline=None)
@given(ENGINES)
def test_the_held_out_engine_is_only_in_the_test(speakers: dict[str, list[str]]) -> None:
    splits = split_voices(voices_of(speakers))
    own = {
        name: set(people) - {who for other, them in speakers.items() if other != name for who in them}
        for name, people in speakers.items()
    }
    assert bool(splits.held_out) == (len(speakers) >= 3 and any(own.values()))
    if splits.held_out:
        for split in ("train", "validation"):
            assert splits.held_out not in splits.voices[split]
        lent = {voice.speaker for group in splits.voices["test"][splits.held_out] for voice in group}
        assert own[splits.held_out] <= lent
        assert len(own[splits.held_out]) == min(len(people) for people in own.values() if people)


@settings(deadline=None)
@given(ENGINES, st.randoms(use_true_random=False))
def test_the_order_of_voices_and_engines_does_not_matter(speakers: dict[str, list[str]], random: object) -> None:
    names = list(speakers)
    random.shuffle(names)  # type: ignore[attr-defined]
    shuffled = {name: random.sample(speakers[name], len(speakers[name])) for name in names}  # type: ignore[attr-defined]
    assert split_voices(voices_of(shuffled)).speaker_split == split_voices(voices_of(speakers)).speaker_split


def test_a_person_of_two_engines_is_in_one_split() -> None:
    speakers = {"festival": ["kal", "slt", "rms", "f1", "f2"], "flite": ["kal", "slt", "rms", "awb"]}
    splits = split_voices(voices_of(speakers))
    for person in ("kal", "slt", "rms"):
        assert [person in speakers_in(splits, split) for split in SPLITS].count(True) == 1


def test_a_held_out_engine_has_no_voice_used_in_training() -> None:
    speakers = {
        "espeak": [f"e{n}" for n in range(20)],
        "festival": ["kal", "slt", "x", "y", "z"],
        "flite": ["kal", "awb"],
    }
    splits = split_voices(voices_of(speakers))
    assert splits.held_out == "flite"
    assert "awb" in speakers_in(splits, "test")
    trained = speakers_in(splits, "train") | speakers_in(splits, "validation")
    lent = {voice.speaker for group in splits.voices["test"]["flite"] for voice in group}
    assert not lent & trained


@pytest.mark.parametrize("count", [3, 4, 7, 105])
def test_every_split_has_speakers_and_training_the_most(count: int) -> None:
    splits = split_voices(voices_of({"espeak": [f"v{n}" for n in range(count)]}))
    sizes = {split: len(speakers_in(splits, split)) for split in SPLITS}
    assert sum(sizes.values()) == count and min(sizes.values()) >= 1
    assert sizes["train"] >= max(sizes["validation"], sizes["test"])


def test_a_single_voice_is_only_in_training() -> None:
    splits = split_voices(voices_of({"espeak": ["only"]}))
    assert speakers_in(splits, "train") == {"only"} and not splits.voices["test"] and not splits.voices["validation"]


def test_the_engine_with_the_fewest_speakers_is_held_out() -> None:
    voices = voices_of({"a": ["1", "2", "3"], "b": ["4", "5"], "c": ["6", "7"]})
    assert held_out_engine(voices, "") == "b"  # the fewest speakers, then the alphabet
    assert held_out_engine(voices, "a") == "a" and held_out_engine(voices, "none") == ""
    assert held_out_engine({"a": voices["a"], "b": voices["b"]}, "") == ""


def test_an_engine_without_unique_voices_is_not_held_out() -> None:
    """Both people of festival are also in flite, so the test would have no voices."""
    voices = voices_of({"espeak": ["1", "2", "3"], "festival": ["kal", "slt"], "flite": ["kal", "slt", "awb", "rms"]})
    assert held_out_engine(voices, "") == "flite"
    assert held_out_engine(voices_of({"a": ["1"], "b": ["1"], "c": ["1"]}), "") == ""


def test_splice_speakers_are_divided_between_training_and_test() -> None:
    def person(name: str, model: str = "splice units-en arctic") -> Voice:
        return Voice("splice", name, "en-us", name, "CC0-1.0", model)

    others = voices_of({name: [f"{name} {n}" for n in range(20)] for name in ("espeak", "flite", "hibari")})
    people = [person(f"reader {n}") for n in range(9)]
    splits = split_voices({**others, "splice": people})
    assert splits.held_out == "" and {s: len(splits.voices[s]["splice"]) for s in SPLITS} == {
        "train": 6, "validation": 1, "test": 2,
    }  # fmt: skip
    assert held_out_engine(others, "") == "espeak", "without splice, a whole engine is held out"
    # Even if splice is held out, people of the library may be in training.
    shipped, own = person("kathleen"), person("me", LIBRARY_MODEL)
    splits = split_voices({**others, "splice": [own, shipped]}, "splice")
    assert splits.voices["test"]["splice"] == [[shipped]] and "splice" not in splits.voices["train"]
    assert splits.split_of_speaker("me") == split_of("me")


def test_names_are_split_in_the_intended_proportions() -> None:
    counts = dict.fromkeys(SPLITS, 0)
    for number in range(20_000):
        counts[split_of(f"name {number}")] += 1
    assert counts["test"] / 20_000 == pytest.approx(0.20, abs=0.01)
    assert counts["validation"] / 20_000 == pytest.approx(0.15, abs=0.01)


def test_the_split_of_a_name_never_changes() -> None:
    # If this changed, later runs would train on voices of earlier tests.
    golden = {"hey compass": "test", "slt": "test", "rms": "validation", "awb": "train", "LibriSpeech 1272": "train"}
    assert {name: split_of(name) for name in golden} == golden
    code = "from pipeline.training.planning.splits import split_of; print(split_of('hey compass'))"
    assert output_of(code) == "test", "the split does not depend on the process"
