"""Large detectors: the encoder's graph, its streams, and an encoder that is not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.audio_file import SAMPLE_RATE, read_audio
from core.errors import HarkError
from model.export import check_parity, onnx_scores
from model.features import CHUNK_SAMPLES, HOP
from model.large import encoder
from model.large.encoder_backbone import (
    DECODER_FILE,
    ENCODER_FILE,
    FRAME_SAMPLES,
    STATE_FRAMES,
    EncoderBackbone,
    encoder_path,
    frame_positions,
    package_model,
)
from model.large.encoder_detector import ENCODER_HOP, EncoderDetector
from model.large.phone_head import PhoneHead
from model.metrics import REFRACTORY_S, SCORE_PERIOD_S
from model.phones import PHONE_OUTPUTS
from model.runtime.detector import Trigger, smooth_scores
from model.weights import load_weights, save_weights
from tests.support.moonshine_package import needs_encoder, replace_package
from tests.support.untrained_bundle import keyword_hmm_model, line

PHRASE = ((5, 12, 30, 8),)


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """A sound with the dynamics of speech."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 16_000)
    loudness = np.interp(np.linspace(0, 1, count), np.linspace(0, 1, 30), rng.uniform(0, 0.1, 30))
    phase = 2 * np.pi * np.cumsum(np.interp(np.arange(count), [0, count], rng.uniform(90, 240, 2))) / 16_000
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    return (loudness * (voice + rng.standard_normal(count))).astype(np.float32)


@pytest.fixture(scope="module")
def detector() -> EncoderDetector:
    # a gentle slope, so that scores of other sounds differ from each other
    return line(EncoderDetector.of_phrase(PHRASE, 1.2), 0.8, 1.0)


@pytest.fixture(scope="module")
def exported(detector: EncoderDetector, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    path = tmp_path_factory.mktemp("large") / "model.onnx"
    return path, detector.export(path)


@needs_encoder
def test_the_graph_gives_the_window_scores_for_any_chunk_size(
    detector: EncoderDetector, exported: tuple[Path, int]
) -> None:
    path, state_size = exported
    assert state_size == detector.config.window_samples + 2
    parity = check_parity(detector, path, None, sound(4.0))
    assert parity.onnx < 1e-5 and parity.streaming < 1e-5
    assert parity.int8 is None and "pt_against_int8" not in parity.as_dict()
    assert np.ptp(detector.stream_scores(sound(4.0))) > 0.01, "constant scores would agree trivially"


def test_a_window_holds_the_phrase_its_context_and_a_hop() -> None:
    for seconds, window_s in ((0.8, 2.88), (1.4, 2.88), (1.88, 2.88), (1.92, 3.36), (3.0, 4.32)):
        config = EncoderDetector.of_phrase(PHRASE, seconds).config
        assert config.window_samples == window_s * 16_000, seconds
        assert config.window_samples % ENCODER_HOP == 0
        assert config.window_samples >= config.receptive_frames * HOP + ENCODER_HOP


@needs_encoder
def test_a_fading_match_gets_no_second_pass(detector: EncoderDetector) -> None:
    heard = torch.zeros(3, 144, PHONE_OUTPUTS)
    heard[:, :, 0] = 1.0
    for window, end in enumerate((143, 96, 95)):  # a match must end in the window's last 48 frames
        for back, phone in enumerate(reversed(PHRASE[0])):
            heard[window, end - 6 * back] = torch.eye(PHONE_OUTPUTS)[phone]
    best, frame, match = detector.window_match(heard)
    assert frame[:2, 0].tolist() == [143, 96]
    assert best[0, 0] == best[1, 0] == match[0, 0]
    assert best[2, 0] == detector.floor < match[2, 0]


@needs_encoder
def test_audio_older_than_the_receptive_field_has_no_effect(
    detector: EncoderDetector, exported: tuple[Path, int]
) -> None:
    need = detector.config.stream_samples
    assert need % ENCODER_HOP == 0 and need >= detector.config.window_samples
    tail = sound(need / 16_000 + 1.0, 3)
    hop = ENCODER_HOP // CHUNK_SAMPLES
    first = np.concatenate([sound(ENCODER_HOP * 4 / 16_000, 1), tail])
    second = np.concatenate([sound(ENCODER_HOP * 4 / 16_000, 2), tail])
    scores = [onnx_scores(exported[0], audio, [5], need) for audio in (first, second)]
    after = (ENCODER_HOP * 4 + need) // CHUNK_SAMPLES + hop
    np.testing.assert_array_equal(scores[0][after:], scores[1][after:])
    assert len(scores[0]) > after


@needs_encoder
def test_a_recording_scores_alike_whole_and_in_windows(detector: EncoderDetector) -> None:
    audio = sound(9.0, 5)
    heard = detector.encode(audio)
    assert heard.shape == (len(audio) // FRAME_SAMPLES, PHONE_OUTPUTS)
    np.testing.assert_allclose(np.square(heard).sum(1), 1.0, atol=1e-3)
    whole, states = EncoderBackbone(encoder.window_graph().SerializeToString()).window(audio, len(heard))
    assert states.shape == (-(-len(heard) // STATE_FRAMES), encoder.ENCODER_WIDTH)
    alike = (heard * whole).sum(1)  # Bhattacharyya: 1 where the probabilities are the same
    assert alike.mean() > 0.9, alike.mean()
    assert detector.encode(np.zeros(0, np.float32)).shape[0] == 0


def test_each_frame_is_read_from_the_encoder_output_nearest_in_time() -> None:
    places = frame_positions(16_000, 50)
    assert (np.diff(places) >= 0).all() and np.diff(places).max() <= 1, "each output is read, in order"
    centres = 384 * places + 447
    inside = slice(2, 47)
    assert np.abs(centres - (320 * np.arange(50) + 160))[inside].max() <= 192
    assert places.max() == ((16_000 - 127) // 64 + 1 - 7) // 3 // 2 - 1, "never beyond the last"


@pytest.mark.parametrize("file", [ENCODER_FILE, DECODER_FILE], ids=["encoder", "decoder"])
def test_a_missing_or_different_encoder_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: Path
) -> None:
    replace_package(monkeypatch, None)
    assert encoder_path() is None
    other = tmp_path / file
    other.parent.mkdir(parents=True)
    other.write_bytes(b"another")
    for folder in (None, tmp_path):
        replace_package(monkeypatch, folder)
        with pytest.raises(HarkError) as caught:
            package_model(file)
        assert "moonshine-voice" in caught.value.why
        assert "requirements-alone.txt" in caught.value.what_to_do and "--size standard" in caught.value.what_to_do


def test_a_head_is_stored_and_a_damaged_head_is_rejected(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = PhoneHead().eval()
    path = tmp_path / "head.safetensors"
    save_weights(made, path, {"version": 7}, half=True)
    read, about = load_weights(path, type(made))
    assert about == {"version": 7}
    heard = torch.randn(1, 30, encoder.ENCODER_WIDTH)
    torch.testing.assert_close(read(heard), made(heard), atol=0.02, rtol=0.02)  # it is stored in 16 bits
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(HarkError, match=r"head\.safetensors"):
        load_weights(path, type(made))


CLIPS = 12
APART = 3 * SAMPLE_RATE


@needs_encoder
@pytest.mark.parametrize("phrase", ["computer", "snowboy"])
def test_a_real_utterance_is_detected_once(shared_data: Path, phrase: str) -> None:
    files = sorted((shared_data / "keyphrases" / phrase).glob("*.ogg"))[:CLIPS]
    audio = np.concatenate([np.pad(read_audio(file), (0, APART)) for file in files])
    scores = smooth_scores(keyword_hmm_model(phrase, "large").stream_scores(audio))
    fired = Trigger(0.5, round(REFRACTORY_S / SCORE_PERIOD_S)).fired(scores)
    assert len(fired) <= CLIPS, f"{CLIPS} utterances gave {len(fired)} detections"
    assert len(fired) >= 0.9 * CLIPS
