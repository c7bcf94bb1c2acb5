"""The negative set of large detectors: it returns what was stored, and a phrase's matches in it are rescored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.audio_file import write_audio
from core.events import Event, Reporter, silent_reporter
from lab.weights.negative_set import build_negative_set
from model.asr.packed import Utterance
from model.examples import SoundSources
from model.large import encoder
from model.large.encoder_backbone import STATE_FRAMES
from model.large.encoder_detector import EncoderDetector
from model.phones import PHONE_OUTPUTS
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.training.negatives import negative_set
from pipeline.training.negatives.negative_set import (
    NEGATIVE_SET,
    NegativeSegment,
    about_negatives,
    negative_segments,
    rescoring_threshold,
    segments_with_gains,
)
from tests.support.moonshine_package import needs_encoder
from tests.support.untrained_bundle import large_detector, spoken

pytestmark = needs_encoder
PHRASES = ("computer", "evening is over", "kettle", "hey compass", "the")
SENTENCE = "please ask the computer for another cup of tea before the long winter evening is over "


@pytest.fixture(scope="module")
def detector() -> EncoderDetector:
    return large_detector("computer", above=-3.0)


def unasked(detector: EncoderDetector) -> EncoderDetector:
    """Return the detector without its decoder."""
    return EncoderDetector(replace(detector.config, spellings=()))


@pytest.fixture(scope="module")
def negatives(detector: EncoderDetector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    utterances = []
    for split in ("train", "validation", "test"):
        write_audio(folder / f"{split}.wav", spoken(SENTENCE * 2))
        text = "the kettle sings" if split == "train" else SENTENCE
        utterances.append(Utterance(f"{split}.wav", text, (), split, "espeak", False, split))
    hours = build_negative_set(
        utterances,
        folder,
        SoundSources(),
        replace(unasked(detector).front_end(folder), states=True),
        folder / "negatives.zip",
        0,
        silent_reporter(),
        {"name": "a small one"},
    )
    assert set(hours) == {"train", "validation", "test"}
    return folder / "negatives.zip"


def test_the_content_is_read_back_unchanged(negatives: Path) -> None:
    assert about_negatives(negatives)["name"] == "a small one"
    pieces = list(negative_segments(negatives, np.inf, 0))
    assert sorted(piece.row["split"] for piece in pieces) == ["test", "test", "validation", "validation", "validation"]
    for piece in pieces:
        assert piece.frames.shape[1] == PHONE_OUTPUTS
        assert piece.states().shape == (-(-len(piece.frames) // STATE_FRAMES), encoder.ENCODER_WIDTH)
        likeness = np.square(piece.frames.astype(np.float32)).sum(1)
        assert np.median(likeness) == pytest.approx(1.0, abs=0.05)


def test_a_segment_with_the_phrase_is_not_a_negative(negatives: Path) -> None:
    count = {phrase: len(list(negative_segments(negatives, np.inf, 0, Keyphrase(phrase)))) for phrase in PHRASES}
    assert count == {"computer": 1, "evening is over": 1, "kettle": 4, "hey compass": 5, "the": 5}, (
        "a word in nearly all segments excludes none"
    )


def test_untranscribed_segments_may_contain_a_common_phrase() -> None:
    phrase = Keyphrase("computer")
    assert negative_set.contains_phrase(("tea", "a computer", "", "milk"), phrase) == (False, True, True, False)
    assert negative_set.contains_phrase(("tea", "", "milk"), phrase) == (False, False, False)


def test_the_second_pass_rescores_only_matches(negatives: Path, detector: EncoderDetector) -> None:
    pieces = list(negative_segments(negatives, np.inf, 0))
    told: list[Event] = []
    judged = list(segments_with_gains(pieces, detector, Reporter(told.append)))
    assert [event["name"] for event in told if event["event"] == "stage"] == ["features"]
    assert (told[-1]["event"], told[-1]["done"], told[-1]["total"]) == ("progress", len(pieces), len(pieces))
    assert [piece.row for piece in judged] == [piece.row for piece in pieces]
    columns = [piece.frames[:, -1] for piece in judged]
    assert all(piece.frames.shape[1] == detector.config.stored.width for piece in judged)
    quiet = [c for c, p in zip(columns, pieces, strict=True) if p.row["condition"] == "clean"]
    assert all(column.max() > 0.5 for column in quiet), "the sentence contains the phrase"
    assert np.mean([np.mean(column != 0) for column in columns]) < 0.3, "most of the sentence is not the phrase"
    assert list(segments_with_gains(pieces, unasked(detector), silent_reporter())) == pieces


def test_the_rescoring_threshold_sets_the_rate_of_decoder_calls(
    monkeypatch: pytest.MonkeyPatch, detector: EncoderDetector
) -> None:
    rng = np.random.default_rng(0)
    frames = rng.dirichlet(np.full(41, 0.05), (40, 3000)).astype(np.float16)
    pieces = [NegativeSegment(np.sqrt(part), {}) for part in frames]
    monkeypatch.setattr(negative_set, "negative_segments", lambda *_: iter(pieces))
    threshold = rescoring_threshold(Path("negatives.zip"), Keyphrase("computer"))
    matches = negative_set._matches(pieces, detector.config.pronunciations)
    blocks = sum(int((match.reshape(-1, 50).max(1) > threshold).sum()) for match in matches)
    hours = 40 * 3000 * 0.02 / 3600
    assert blocks == int(negative_set.RESCORED_AN_HOUR * hours)


def test_the_shipped_negative_set_has_states_of_real_speech() -> None:
    assert about_negatives(NEGATIVE_SET)["backbone"] == encoder.encoder_name()
    pieces = [piece for piece, _ in zip(negative_segments(NEGATIVE_SET, np.inf, 0), range(3))]
    for piece in pieces:
        states = piece.states()
        assert len(states) == -(-len(piece.frames) // STATE_FRAMES) and 0.1 < states.std() < 10
