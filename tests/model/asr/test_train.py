"""The acoustic model's training on tones instead of phones, small enough for every run of the tests."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import torch

from lab.weights.public_embedding import with_public_embedding
from model.asr.augmentation import BatchAugmenter, SpeechAugmentation
from model.asr.decoding import edit_distance, error_rate, greedy
from model.asr.network import Recognizer, RecognizerConfig
from model.asr.packed import BatchSource, Packed
from model.asr.train import BEST, FINAL, AcousticModel, AcousticProgress, AcousticTrainConfig, train_acoustic
from model.features import log_mel
from model.phones import PHONE_OUTPUTS, character_indices, phone_index, phone_indices, phones_of, text_of
from model.standard.backbone import EmbeddingBackbone, EmbeddingBackboneConfig
from model.weights import load_weights
from tests.support.packed_speech import packed

__all__ = ["packed"]  # fixtures


def test_a_pack_returns_its_audio(packed: Packed) -> None:
    assert len(packed.where("train", transcribed=True)) == 52 and len(packed.where("validation")) == 8
    audio = packed.audio(0)
    assert audio.dtype == np.float32 and 0.29 < np.abs(audio).max() < 0.31
    assert len(packed.noise) == 8000 and len(packed.rooms) == 1


def test_batches_join_short_utterances_and_list_their_items(packed: Packed) -> None:
    source = BatchSource(packed, packed.where("train"), 20.0, np.random.default_rng(1))
    for _ in range(5):
        batch = source.draw()
        assert len(batch.audio) == len(batch.items) == len(batch.lengths) and batch.audio.size <= 24 * 16_000 * 2
        for row, length, item in zip(batch.audio, batch.lengths, batch.items):
            assert length >= packed.length[item].sum() and not row[length:].any()
    assert max(len(item) for item in batch.items) > 1


@pytest.mark.parametrize("most", [1, 2, 7])
def test_a_batch_holds_at_most_the_requested_utterances(packed: Packed, most: int) -> None:
    source = BatchSource(packed, packed.where("train"), np.inf, np.random.default_rng(1), max_utterances=most)
    held = [sum(map(len, source.draw().items)) for _ in range(30)]
    assert max(held) == most and np.mean(held) > 0.6 * most


class Curves:
    """Replaces TensorBoard's SummaryWriter, which is not installed with Hark."""

    drawn: ClassVar[list[tuple[str, float, int]]] = []

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.drawn.append((name, value, step))

    def close(self) -> None:
        self.drawn.append(("closed", 0.0, 0))


def test_a_tiny_training_reports_losses_and_errors_from_the_first_step(
    packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Curves  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    # No utterance is short enough for the easy steps.
    config = AcousticTrainConfig(steps=6, batch_size=3, easy_steps=2, easy_longest_s=0.1, evaluations=2)
    told: list[AcousticProgress] = []
    model = Recognizer(RecognizerConfig((4, 8), 16, 16, 1, 0.0))
    errors = train_acoustic(model, packed, config, tmp_path, told.append, tensorboard=str(tmp_path / "runs"))
    assert [progress.step for progress in told if progress.errors is None] == [1, 2, 3, 4, 5, 6]
    assert all(progress.loss is not None and progress.loss > 0.1 for progress in told)
    assert {"per/real/tones", "wer/real/tones", "cer/real/tones"} == set(errors)
    assert {name for name, value, _ in Curves.drawn if name == "loss" and value > 0.1} == {"loss"}
    assert {"wer/real/tones", "cer/real/tones", "closed"} <= {name for name, _, _ in Curves.drawn}
    (tmp_path / BEST).write_bytes(b"of another training")
    train_acoustic(model, packed, replace(config, steps=1), tmp_path, told.append)
    assert not (tmp_path / BEST).is_file() and load_weights(tmp_path / FINAL, Recognizer)[0].config == model.config


def test_augmentation_keeps_shape_and_lengths_and_is_finite(packed: Packed) -> None:
    torch.manual_seed(0)
    augmenter = BatchAugmenter(SpeechAugmentation(), packed.noise, packed.rooms, "cpu")
    batch = BatchSource(packed, packed.where("train"), 10.0, np.random.default_rng(1)).draw()
    audio, lengths = augmenter.waveform(torch.from_numpy(batch.audio), torch.from_numpy(batch.lengths))
    assert torch.isfinite(audio).all() and audio.abs().max() <= 1.0 and (lengths <= audio.shape[1]).all()
    assert (
        (lengths / torch.from_numpy(batch.lengths) > 0.8) & (lengths / torch.from_numpy(batch.lengths) < 1.25)
    ).all()
    features = augmenter.features(augmenter.log_mel(audio))
    assert torch.isfinite(features).all()


def test_log_mel_on_the_device_matches_the_reference(packed: Packed) -> None:
    augmenter = BatchAugmenter(SpeechAugmentation(), packed.noise, packed.rooms, "cpu")
    audio = packed.audio(3)
    there = augmenter.log_mel(torch.from_numpy(audio)[None])[0].numpy()
    np.testing.assert_allclose(there, log_mel(audio), atol=2e-3)


def untrained(kind: str) -> AcousticModel:
    """A model that has learned nothing of these tones."""
    if kind == "recognizer":
        return Recognizer(RecognizerConfig((4, 8), 48, 48, 2, 0.0))
    return with_public_embedding(EmbeddingBackbone(EmbeddingBackboneConfig(channels=32, dilations=(1, 2))))


@pytest.mark.parametrize(("kind", "steps"), [("backbone", 180), ("recognizer", 80)])
def test_training_learns_tones_and_continues_after_a_stop(
    packed: Packed, tmp_path: Path, kind: str, steps: int
) -> None:
    torch.manual_seed(0)
    mild = SpeechAugmentation(time_masks=0, band_masks=0, telephone_share=0.0, snr_db=(20.0, 30.0), warp=(0.99, 1.01))
    config = AcousticTrainConfig(
        steps=steps, batch_seconds=20, easy_steps=steps // 2, easy_seconds=10, warmup_steps=20, learning_rate=5e-3,
        ema_decay=0.95, evaluations=4, augmentation=mild,
    )  # fmt: skip
    model = untrained(kind)
    seen: list[tuple[int, float]] = []

    class Stop(Exception):
        pass

    def stop(progress: object) -> None:
        if progress.errors is not None:  # type: ignore[attr-defined]
            raise Stop

    with pytest.raises(Stop):
        train_acoustic(model, packed, config, tmp_path, stop)
    assert (tmp_path / "last.pt").is_file()
    again = untrained(kind)
    errors = train_acoustic(again, packed, config, tmp_path, lambda p: seen.append((p.step, p.loss)))
    assert min(seen)[0] > steps // 4, "training continued after its last step"
    if kind != "recognizer":
        assert errors["per/real/tones"] < 0.5
    else:  # after so few steps, a recurrent network outputs only blanks
        assert (
            errors["per/real/tones"] <= 1.0
            and "wer/real/tones" in errors
            and seen[-1][1] < max(loss for _, loss in seen)
        )
    assert load_weights(tmp_path / BEST, type(again))[0].config == again.config


def test_other_speech_restarts_training_and_unmeasured_weights_are_used(packed: Packed, tmp_path: Path) -> None:
    nobody = replace(packed, utterances=[replace(u, split="train") for u in packed.utterances], digest="another")
    config = AcousticTrainConfig(steps=8, batch_seconds=4, easy_steps=8, easy_seconds=4, evaluations=4)
    seen: list[int] = []

    def train(speech: Packed, folder: Path) -> int:
        seen.clear()
        told = lambda p: seen.append(p.step) if p.errors is not None else None  # noqa: E731
        train_acoustic(untrained("backbone"), speech, config, folder, told)
        return int(load_weights(folder / BEST, EmbeddingBackbone)[1]["step"])

    assert train(nobody, tmp_path) == 7 and seen == [3, 5, 7, 8], "the last of three unmeasured ones"
    train(nobody, tmp_path)
    assert seen[0] == 8, "it continues from the seventh step"
    train(packed, tmp_path)
    assert seen == [3, 5, 7, 8], "other speech restarts training"


def test_phones_and_characters_round_trip() -> None:
    phones = ("k", "ə", "m", "p", "j", "u", "ɾ", "ə", "ɹ")
    assert phones_of(phone_indices(phones)) == phones
    assert phone_indices(("ʔ", "ɐ")) == [phone_index("ə")]
    assert 1 <= phone_index("ʁ") < PHONE_OUTPUTS, "a phone of another language has the index of a similar one"
    assert text_of(character_indices("it's a test")) == "it's a test"


def test_greedy_decoding_collapses_repeats_and_blanks() -> None:
    def frames(*symbols: int) -> np.ndarray:
        p = np.full((len(symbols), 4), 0.02)
        p[np.arange(len(symbols)), list(symbols)] = 0.94
        return np.log(p)

    path = frames(0, 1, 1, 0, 1, 2, 2, 0, 3)
    assert greedy(path) == [1, 1, 2, 3]
    assert greedy(np.zeros((0, 4))) == []


@pytest.mark.parametrize("a, b, distance", [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3)])
def test_edit_distance_is_symmetric(a: str, b: str, distance: int) -> None:
    assert edit_distance(a, b) == distance == edit_distance(b, a)


def test_error_rate_counts_over_all_references() -> None:
    assert error_rate(["ab", "abcd"], ["ab", "abxx"]) == pytest.approx(2 / 6)
    assert np.isnan(error_rate([], []))
