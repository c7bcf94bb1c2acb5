from __future__ import annotations

from pathlib import Path

from lab.weights.encoder_head import HeadTrainConfig, train_head
from model.asr.augmentation import SpeechAugmentation
from model.asr.packed import Packed
from tests.support.moonshine_package import needs_encoder
from tests.support.packed_speech import packed

__all__ = ["packed"]


@needs_encoder
def test_the_phone_head_trains_on_encoder_outputs_computed_once(packed: Packed, tmp_path: Path) -> None:
    seen: list[tuple[int, int, float]] = []
    quiet = SpeechAugmentation(noise_share=0.0, room_share=0.0)
    config = HeadTrainConfig(steps=400, batch_frames=600, learning_rate=8e-3, augmentation=quiet)
    head, errors = train_head(packed, config, tmp_path, lambda *state: seen.append(state))
    assert errors.keys() == {"per/real/tones"} and errors["per/real/tones"] < 0.35, errors
    assert seen[-1][:2] == (400, 400) and seen[-1][2] < 1.5
    outputs = (tmp_path / "encoder.f16").stat().st_mtime_ns
    again, _ = train_head(
        packed, HeadTrainConfig(steps=60, batch_frames=600, augmentation=quiet), tmp_path, lambda *s: None
    )
    assert (tmp_path / "encoder.f16").stat().st_mtime_ns == outputs, "encoder outputs are not computed again"
    assert again.phones.weight.shape == head.phones.weight.shape
