"""The shipped real speech in the calibration of detectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.audio_file import write_audio
from core.events import Event, Reporter, silent_reporter
from lab.weights.negative_speech import split_of
from model.asr.packed import Utterance
from model.feature_rows import SPLITS
from model.phones import outputs_of
from model.standard.backbone import shipped_backbone
from model.standard.backbone_detector import BackboneDetector
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.negatives.negative_speech import TESTED, UNHEARD, NegativeSpeech, device_negatives

ShipSpeech = Callable[..., dict[str, float]]
PHRASE = Keyphrase("hey compass")
TEXTS = ("the tea is cold", "well hey compass", "nobody has a compass", "it rains")


@pytest.fixture
def speech(tmp_path: Path, ship_speech: ShipSpeech) -> None:
    """Four people of a corpus that a backbone was trained on, and four of another, instead of the shipped ones."""
    rng = np.random.default_rng(0)
    utterances = []
    for corpus in ("heard", UNHEARD[0]):
        for number, text in enumerate(TEXTS):
            path = tmp_path / f"{corpus}-{number}.wav"
            write_audio(path, (0.1 * rng.standard_normal(64_000)).astype(np.float32))
            utterances.append(Utterance(str(path), text, (), f"{corpus} {number}", corpus, True, ""))
    ship_speech(utterances, **{"heard": "CC0-1.0", UNHEARD[0]: "MIT"})


def standard() -> BackboneDetector:
    return BackboneDetector.of_phrase(shipped_backbone()[0], outputs_of(PHRASE), 1.2)


@pytest.mark.usefixtures("speech")
def test_the_test_has_speakers_absent_from_backbone_training(tmp_path: Path) -> None:
    told: list[Event] = []
    pieces = list(NegativeSpeech(9.0).segments(standard(), PHRASE, tmp_path, Reporter(told.append)))
    corpora = {(piece.row["engine"], piece.row["split"]) for piece in pieces}
    assert corpora == {("bank:heard", "validation"), (f"bank:{UNHEARD[0]}", "test")}
    assert len(pieces) == 2 * (len(TEXTS) - 1) * len(TESTED), (
        "each utterance in all conditions, except those with the phrase"
    )
    assert any(event["event"] == "stage" for event in told)
    told.clear()
    again = list(NegativeSpeech(9.0).segments(standard(), Keyphrase("iron will"), tmp_path, Reporter(told.append)))
    assert not told and len(again) == 2 * len(TEXTS) * len(TESTED), "features are shared by all phrases"
    width = standard().config.stored.width
    assert all(piece.frames.shape[1] == width and len(piece.frames) > 0 for piece in pieces)


@pytest.mark.usefixtures("speech")
def test_the_requested_hours_are_returned(tmp_path: Path) -> None:
    seconds = 5.0
    speech = NegativeSpeech(seconds / 3600)
    pieces = list(speech.segments(standard(), Keyphrase("iron will"), tmp_path, silent_reporter()))
    assert {(piece.row["split"]) for piece in pieces} == {"validation", "test"}
    assert len(pieces) < 2 * len(TEXTS) * len(TESTED)


def test_all_detectors_exclude_the_same_utterances(tmp_path: Path, ship_speech: ShipSpeech) -> None:
    """The phrase is known to occur in the test only, so it may occur anywhere in speech without a transcript."""
    rng = np.random.default_rng(0)
    utterances, said = [], set()
    for number in range(12):
        path, speaker = tmp_path / f"{number}.wav", f"somebody {number}"
        write_audio(path, (0.1 * rng.standard_normal(16_000)).astype(np.float32))
        text = ("", "it rains")[number % 2]
        if split_of(speaker) == "test":
            text = "well hey compass"
        said.add((split_of(speaker), text))
        utterances.append(Utterance(str(path), text, (), speaker, "heard", True, ""))
    assert {("train", ""), ("train", "it rains"), ("test", "well hey compass")} <= said
    ship_speech(utterances, heard="CC0-1.0")

    def trained_on(phrase: str, *splits: str) -> int:
        pieces = device_negatives(standard(), Keyphrase(phrase), 16_000, tmp_path, silent_reporter(), splits)
        return sum(piece.row["split"] == "train" for piece in pieces)

    assert trained_on("hey compass", "train") == trained_on("hey compass", *SPLITS) > 0
    assert trained_on("iron will", "train") == trained_on("iron will", *SPLITS) > trained_on("hey compass", "train")


def test_shipped_speech_names_its_speakers_and_hours() -> None:
    about = NegativeSpeech().about()
    assert set(UNHEARD) < set(about["licences"]) == set(about["training_corpora"])
    assert "librispeech-dev-clean" not in about["licences"], "reserved for the evaluation set"
    assert about["hours"]["train"] > 1.5 and about["hours"]["test"] > 0.7
