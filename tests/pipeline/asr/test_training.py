from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from audio_generation.engine import Setting, Voice
from core.errors import HarkError
from core.events import Event, Reporter, silent_reporter
from model.asr.network import Recognizer, RecognizerConfig, shipped_recognizer
from model.asr.packed import open_pack
from model.devices.micro_network import shipped_micro_network
from model.standard.backbone import BACKBONE, shipped_backbone
from model.weights import SHIPPED, load_weights
from pipeline.asr import training as acoustic_training
from pipeline.asr.data import acoustic_split, corpus_utterances, spoken_texts, synthetic_utterances
from pipeline.asr.training import AcousticRun, train_acoustic_model
from pipeline.training.negatives.negative_set import NEGATIVE_SET, about_negatives, negative_segments
from tests.support.acoustic_corpus import corpus, few_rooms
from tests.support.fake_engine import Fake

__all__ = ["few_rooms"]  # fixtures


def test_a_corpus_becomes_utterances_split_by_speaker(tmp_path: Path) -> None:
    utterances = corpus_utterances(corpus(tmp_path))
    assert len(utterances) == 24 and {u.text for u in utterances} == {"good morning", "hello"}
    assert all(u.split == acoustic_split(u.speaker) and u.phones and u.real for u in utterances)
    assert utterances[0].phones[0] == "h" or utterances[0].phones[0] == "ɡ"


def test_synthetic_texts_are_seeded_and_varied() -> None:
    texts = spoken_texts(["this is what a person said"], 40, seed=1)
    assert texts == spoken_texts(["this is what a person said"], 40, seed=1)
    assert "this is what a person said" in texts and len(set(texts)) > 15
    assert any(len(text.split()) <= 4 for text in texts)


@pytest.mark.parametrize(("speakers", "files", "measured"), [(12, 24, True), (1, 24, True), (1, 1, False)])
def test_a_tiny_subset_trains_and_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speakers: int, files: int, measured: bool
) -> None:
    monkeypatch.setattr(RecognizerConfig.__init__, "__defaults__", ((4, 8), 16, 16, 1, 0.0))
    words = corpus(tmp_path, speakers=speakers, files=files)
    events: list[Event] = []
    for subset in (2.0, 100.0):
        run = AcousticRun((words,), epochs=1.0, batch_size=2, subset=subset, synthetic=0)
        result = train_acoustic_model(run, tmp_path / "asr", Reporter(events.append))
        packed = open_pack(tmp_path / "asr" / "speech")
        splits = [utterance.split for utterance in packed.utterances]
        if subset == 100.0:
            assert len(splits) == files
        else:
            assert len(splits) == min(files, 2)
        assert result["steps"] == max(1, round(splits.count("train") / 2)) and result["loss"] > 0.1
        if measured:
            assert "validation" in splits and 0 <= result["wer"] <= 5 and 0 <= result["cer"] <= 5
            assert result["errors"]["wer/real/words"] == result["wer"] and not result["not_measured"]
        else:
            assert result["wer"] is result["cer"] is None and "higher --subset" in result["not_measured"]
    metrics = [event["value"] for event in events if event["event"] == "metric" and event["name"] == "loss"]
    assert metrics and min(metrics) > 0.1
    warned = any("too few speakers" in event.get("message", "") for event in events)
    assert warned == measured, "no speaker is in the held-out split"


def test_a_corpus_that_disappears_during_packing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = corpus(tmp_path)

    def made_noises(seed: int) -> list[np.ndarray]:
        words.rename(tmp_path / "away")
        return [np.zeros(1600, np.float32)]

    monkeypatch.setattr(acoustic_training, "_made_noises", made_noises)
    run = AcousticRun((words,), synthetic=0, epochs=0.01)
    with pytest.raises(HarkError, match="disappeared"):
        train_acoustic_model(run, tmp_path / "asr", silent_reporter())
    assert not (tmp_path / "asr" / "speech" / "made_from.json").exists()


def test_training_without_transcripts_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="nothing to learn from"):
        train_acoustic_model(AcousticRun((corpus(tmp_path, False),), synthetic=0), tmp_path / "asr", silent_reporter())


def test_the_shipped_weights_load_and_name_their_corpora() -> None:
    for model, about in (shipped_backbone(), shipped_micro_network(), shipped_recognizer()):
        assert not model.training and set(about["licences"]) == set(about["training_corpora"])
        assert "librispeech-dev-clean" not in about["training_corpora"], "reserved for the evaluation set"
    backbone, _ = shipped_backbone()
    assert sum(p.numel() for p in backbone.parameters()) <= 600_000


def test_a_missing_noise_folder_is_rejected(tmp_path: Path) -> None:
    run = AcousticRun((corpus(tmp_path),), synthetic=0, noise=str(tmp_path / "none"))
    with pytest.raises(HarkError, match="noise cannot be read"):
        train_acoustic_model(run, tmp_path / "out", silent_reporter())


def test_damaged_weights_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    with pytest.raises(HarkError, match="cannot be loaded"):
        load_weights(tmp_path / "w.safetensors", Recognizer)
    with pytest.raises(HarkError, match="weights of a EmbeddingBackbone, not of a Recognizer"):
        load_weights(SHIPPED / BACKBONE, Recognizer)


def test_the_negative_set_returns_the_requested_hours() -> None:
    assert about_negatives(NEGATIVE_SET)["hours"]["train"] > 10
    pieces = list(negative_segments(NEGATIVE_SET, 0.05, seed=3))
    hours: dict[str, float] = {}
    for piece in pieces:
        assert piece.frames.shape[1] == 41 and piece.frames.min() >= 0.0 and piece.frames.max() <= 1.0
        hours[piece.row["split"]] = hours.get(piece.row["split"], 0.0) + len(piece.frames) / 180_000
    assert set(hours) == {"validation", "test"} and all(0.05 <= h < 0.08 for h in hours.values())
    again = list(negative_segments(NEGATIVE_SET, 0.05, seed=3))
    assert all(np.array_equal(a.frames, b.frames) and a.row == b.row for a, b in zip(pieces, again, strict=True))


def test_thresholds_use_all_of_the_negative_set_except_its_test_split() -> None:
    in_all = about_negatives(NEGATIVE_SET)["hours"]
    for wanted, given in ((2.0, 2.0), (np.inf, in_all["train"] + in_all["validation"])):
        hours = dict.fromkeys(("validation", "test"), 0.0)
        for piece in negative_segments(NEGATIVE_SET, wanted, seed=3):
            hours[piece.row["split"]] += len(piece.frames) / 180_000
        assert hours["validation"] == pytest.approx(given, abs=0.05)
        assert hours["test"] == pytest.approx(in_all["test"], abs=0.01)


def test_a_damaged_negative_set_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "negatives.zip").write_bytes(b"nothing")
    with pytest.raises(HarkError, match="cannot be read"):
        next(negative_segments(tmp_path / "negatives.zip", 1.0, 0))


def test_clips_that_an_engine_fails_to_speak_are_reported(tmp_path: Path) -> None:
    asked = itertools.count(1)

    class Refusing(Fake):
        def draw_settings(self, voice: Voice, rng: np.random.Generator) -> dict[str, Setting]:
            return {"behave": "refuse"} if next(asked) % 3 == 0 else {}

    fake = Refusing()
    events: list[Event] = []
    try:
        made = list(
            synthetic_utterances({"fake": fake}, {"fake": 9}, ["hey compass"], tmp_path, 0, Reporter(events.append))
        )
    finally:
        fake.close()
    assert len(made) == 6 and all((tmp_path / one.path).is_file() for one in made)
    (told,) = [event for event in events if event["event"] == "log"]
    assert told["level"] == "warning" and "fake: 3 clips failed" in told["message"] and "refuse" in told["message"]
