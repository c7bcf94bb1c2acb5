"""The split of each speaker, training or test: one rule for generated and for real voices.

A clip belongs to a split by its speaker *and* by its text, and both must agree, so that no voice and no confusable
is in both training and test. The phrase itself and real recordings are split by speaker alone. If nothing is trained,
confusables are too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from audio_generation.engine import Voice
from audio_generation.splice_side import LIBRARY_MODEL, SPLICE
from db.records import Clip, real_speaker
from model.feature_rows import SPLITS

VALIDATION_FRACTION = 0.15
TEST_FRACTION = 0.20
FEW_SPEAKERS = 6
HELD_OUT_FROM = 3  # number of engines from which one is in the test only


def _fraction(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def split_of(name: str) -> str:
    """Return the split of a real speaker or of a text, by a hash of its name, so that it never changes."""
    fraction = _fraction(name)
    if fraction < TEST_FRACTION:
        return "test"
    return "validation" if fraction < TEST_FRACTION + VALIDATION_FRACTION else "train"


def splits_of_takes(takes: Iterable[Clip]) -> dict[str, str]:
    """Return, by speaker, the splits of people who recorded takes of a phrase with Hark.

    If any take is for training, the speaker is in training. The split holds for all clips of such a person in the run,
    so that no person is in both training and test.
    """
    chosen: dict[str, str] = {}
    for clip in takes:
        role = clip.settings.get("role")
        if role == "train" or (role == "test" and real_speaker(clip) not in chosen):
            chosen[real_speaker(clip)] = str(role)
    return chosen


def _split_speakers(speakers: Iterable[str], tested_elsewhere: bool) -> dict[str, str]:
    """Return the split of each speaker of one engine. Of three speakers, each split gets one.

    Args:
        speakers: of one engine.
        tested_elsewhere: whether another engine is held out for the test. An engine with few speakers then has none in
            the test.
    """
    ordered = sorted(set(speakers), key=_fraction)
    count = len(ordered)
    tests = 0 if count < 2 or (tested_elsewhere and count < FEW_SPEAKERS) else max(1, round(count * TEST_FRACTION))
    validations = 0 if count < 3 else max(1, round(count * VALIDATION_FRACTION))
    measured = ["test"] * tests + ["validation"] * validations
    return dict(zip(ordered, measured + ["train"] * (count - len(measured))))


@dataclass(frozen=True)
class VoiceSplits:
    """The voices of a run by split: ``voices[split][engine]`` is a list of lists, one per speaker."""

    voices: dict[str, dict[str, list[list[Voice]]]]
    speaker_split: dict[str, str]
    held_out: str
    trains: bool = True

    def split_of_speaker(self, speaker: str) -> str:
        """Return the split of any speaker, synthetic (by the table) or real (by its name)."""
        return self.speaker_split.get(speaker) or self.split_of(speaker)

    def split_of(self, name: str) -> str:
        """Return the split of a real speaker or of a text; if nothing is trained, validation instead of training."""
        split = split_of(name)
        return "validation" if split == "train" and not self.trains else split


def held_out_engine(voices: Mapping[str, Sequence[Voice]], wanted: str) -> str:
    """Return the engine that is held out for the test; "" for none.

    A requested engine is held out if it is available. By default, none is held out if :data:`SPLICE` is available:
    some of its people speak in the test only, so the test has new voices already. Otherwise, if there are three or more
    engines, the one with the fewest speakers of its own is held out.
    """
    if wanted == "none":
        return ""
    if wanted:
        return wanted if wanted in voices else ""
    if voices.get(SPLICE) or len(voices) < HELD_OUT_FROM:
        return ""
    engines_of: dict[str, set[str]] = {}
    for name, its_voices in voices.items():
        for voice in its_voices:
            engines_of.setdefault(voice.speaker, set()).add(name)
    own = {name: sum(engines == {name} for engines in engines_of.values()) for name in voices}
    # An engine that only has speakers of other engines would leave the test without any.
    return min((name for name in voices if own[name]), key=lambda name: (own[name], name), default="")


def split_voices(
    voices: Mapping[str, Sequence[Voice]],
    hold_out: str = "",
    trains: bool = True,
    people: Mapping[str, str] = MappingProxyType({}),
) -> VoiceSplits:
    """Divide the engines' voices. A person who speaks in two engines is in one split only.

    Args:
        voices: by engine.
        people: of the library, whose split is given; an engine may speak with their voices.
        hold_out: engine to keep for the test; empty for the default rule, "none" for none.
        trains: whether the run trains a detector; if not, the voices of the training split are in the test.

    With fewer than three speakers, a split is empty, and :func:`pipeline.training.planning.plan.make_plan` fails.
    """
    held_out = held_out_engine(voices, hold_out) if trains else ""  # if nothing is trained, every voice is new
    speaker_split = dict(people)
    for engine in sorted(voices, key=lambda name: (len(voices[name]), name)):
        if engine == held_out:
            continue
        new = {v.speaker for v in voices[engine]} - set(speaker_split)
        speaker_split.update(_split_speakers(new, bool(held_out)))
    result: dict[str, dict[str, list[list[Voice]]]] = {split: {} for split in SPLITS}
    for engine in sorted(voices):
        by_speaker: dict[str, list[Voice]] = {}
        for voice in voices[engine]:
            # If splice is held out, it does not use voices of the library's people, whose recordings are trained on.
            if engine != held_out or voice.engine != SPLICE or voice.model != LIBRARY_MODEL:
                by_speaker.setdefault(voice.speaker, []).append(voice)
        for speaker, its_voices in sorted(by_speaker.items()):
            if engine == held_out:
                split = speaker_split.get(speaker, "test")
                if split != "test":
                    continue  # another engine trains on this person, whose voice would not be new to the test
                speaker_split[speaker] = "test"
            result[speaker_split[speaker]].setdefault(engine, []).append(its_voices)
    if not trains:
        for engine, speakers in result.pop("train").items():
            result["test"].setdefault(engine, []).extend(speakers)
        result["train"] = {}
        speaker_split = {name: "test" if split == "train" else split for name, split in speaker_split.items()}
    return VoiceSplits(result, speaker_split, held_out, trains)
