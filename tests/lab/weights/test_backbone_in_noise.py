"""The standard backbone learns to recognize in noise what it recognizes without."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audio_augmentation.noise import ambient_noise
from core.audio_file import write_audio
from core.errors import HarkError
from lab.weights import backbone_in_noise
from lab.weights.backbone_in_noise import NoiseTrainConfig, losses, parallel_speech, read_loss, train_in_noise
from model.asr.augmentation import BatchAugmenter, SpeechAugmentation
from model.asr.packed import BatchSource, Packed, Utterance, open_pack, pack
from model.standard.backbone import EmbeddingBackbone, shipped_backbone
from pipeline.training.negatives.negative_speech import NEGATIVE_SPEECH
from tests.support.constants import replace_in
from tests.support.packed_speech import packed_of

QUIET = SpeechAugmentation(
    speed_share=0.0, room_share=0.0, noise_share=0.0, equalizer_db=0.0, telephone_share=0.0, gain_db=(0.0, 0.0)
)


def real_speech(folder: Path) -> Packed:
    """Four seconds each of people in the negative speech. Every third is for validation."""
    utterances = []
    with zipfile.ZipFile(NEGATIVE_SPEECH) as archive:
        for number in range(18):
            audio, _ = soundfile.read(io.BytesIO(archive.read(f"{number}.ogg")), 64_000, 16_000, dtype="float32")
            write_audio(folder / f"{number}.wav", audio)
            split = "train" if number % 3 else "validation"
            utterances.append(Utterance(f"{number}.wav", "", (), str(number), "people", True, split))
    noise = [ambient_noise(48_000, np.random.default_rng(0))]
    pack(utterances, folder, folder / "pack", noise, [np.ones(1, np.float32)])
    return open_pack(folder / "pack")


def test_training_makes_the_backbone_states_robust_to_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_in(backbone_in_noise, monkeypatch, VALIDATED=1, CHECKPOINT_EVERY=20)
    loud = replace(NoiseTrainConfig().augmentation, room_share=0.0, noise_share=1.0, snr_db=(0.0, 5.0))
    config = NoiseTrainConfig(steps=60, batch_seconds=24.0, warmup_steps=10, augmentation=loud)
    told: list[tuple[int, int]] = []
    packed = real_speech(tmp_path)

    def train(until: int = 60) -> tuple[EmbeddingBackbone, dict[str, float]]:
        def tell(done: int, total: int, loss: float) -> None:
            told.append((done, total))
            if done == until < total:
                raise KeyboardInterrupt

        return train_in_noise(packed, config, tmp_path / "out", tell)

    with pytest.raises(KeyboardInterrupt):
        train(until=40)
    backbone, errors = train()
    assert [done for done, _ in told] == [1, 20, 40, 60]
    assert isinstance(backbone, EmbeddingBackbone) and not backbone.training and told[-1] == (60, 60)
    assert errors["unexplained/states"] < 0.9 * errors["teacher/unexplained/states"]


def test_only_transcribed_utterances_count_in_the_loss(tmp_path: Path) -> None:
    packed = packed_of(tmp_path, 6)
    batch = BatchSource(packed, packed.where("train"), 8.0, np.random.default_rng(0)).draw()
    logits, lengths = torch.zeros(len(batch.items), 900, 41), torch.from_numpy(batch.lengths)
    read = read_loss(logits, packed, batch, lengths)
    assert read > 0.0
    silent = replace(packed, utterances=[replace(u, phones=()) for u in packed.utterances])
    assert read_loss(logits, silent, batch, lengths) == 0.0


def test_the_same_audio_gives_the_same_steps(tmp_path: Path) -> None:
    packed = packed_of(tmp_path, 6)
    teacher, _ = shipped_backbone()
    batch = BatchSource(packed, packed.where("train"), 8.0, np.random.default_rng(0)).draw()
    torch.manual_seed(0)
    speech = parallel_speech(teacher, BatchAugmenter(QUIET, packed.noise, packed.rooms, "cpu"), batch, "cpu")
    assert speech.weights.shape == speech.states.shape[:2] and speech.logits.shape[1] == 2 * speech.states.shape[1]
    assert float(speech.weights[speech.lengths.argmin()][-1]) <= float(speech.weights.max()) == 1.0
    with torch.no_grad():
        of_states, _, _ = losses(teacher, speech, speech.states.flatten(0, 1).std(0) + 1e-3)
        later = replace(speech, noisy=torch.roll(speech.noisy, 640, 1))
        of_later, _, _ = losses(teacher, later, speech.states.flatten(0, 1).std(0) + 1e-3)
    assert float(of_states) < 0.3 * float(of_later)


def test_training_without_held_out_speakers_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="too little"):
        train_in_noise(packed_of(tmp_path, 1), NoiseTrainConfig(steps=1), tmp_path, lambda done, total, loss: None)
