from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from model.export import check_parity, export_onnx, quantize_weights, stream_scores
from model.features import log_mel
from model.losses import detection_loss
from model.matcher import MATCH_FLOOR, MATCH_MEMORY, Matcher
from model.model import TinyCRNN, TinyCRNNConfig, TrunkConfig, load_checkpoint, save_checkpoint
from model.phones import PHONE_OUTPUTS, phone_indices

SMALL = TrunkConfig(stem_channels=(8, 8), channels=24, dilations=(1, 2), phones=PHONE_OUTPUTS)
PHRASE = tuple(phone_indices(("s", "n", "oʊ", "b", "ɔɪ")))


def heard(*phones: int, blanks: int = 2) -> torch.Tensor:
    """What a sure trunk gives: each phone for one frame, blanks between."""
    symbols = [0] * blanks
    for phone in phones:
        symbols += [phone] + [0] * blanks
    outputs = torch.full((1, len(symbols), PHONE_OUTPUTS), 1e-3)
    outputs[0, torch.arange(len(symbols)), torch.tensor(symbols)] = 1.0
    return outputs


def best(matcher: Matcher, frames: torch.Tensor) -> float:
    scores, _ = matcher(frames, matcher.start(frames))
    return float(scores.detach().max())


def test_the_phrase_scores_near_nothing_lost_and_other_words_do_not() -> None:
    matcher = Matcher((PHRASE,))
    whole = best(matcher, heard(*PHRASE))
    assert -0.3 < whole <= 0.0, "only the leak is lost"
    assert best(matcher, heard(*PHRASE[:-1])) < whole - 1.0, "the last phone is missing"
    assert best(matcher, heard(*PHRASE[::-1])) < -1.5
    assert best(matcher, heard(*PHRASE[:2], 7, *PHRASE[3:])) < whole - 1.0, "one phone is another"


def test_any_pronunciation_will_do() -> None:
    other = tuple(phone_indices(("s", "n", "oʊ", "b", "ɔ")))
    matcher = Matcher((PHRASE, other))
    assert best(matcher, heard(*PHRASE)) > -0.3
    assert best(matcher, heard(*other)) > -0.3
    assert best(matcher, heard(*PHRASE[:3], *other[3:])) > -0.3


def test_a_pause_within_the_phrase_costs() -> None:
    matcher = Matcher((PHRASE,))
    paused = torch.cat([heard(*PHRASE[:3]), heard(blanks=100), heard(*PHRASE[3:])], dim=1)
    assert best(matcher, paused) < best(matcher, heard(*PHRASE)) - 0.09


def test_repeated_phones_need_a_blank_between() -> None:
    phrase = tuple(phone_indices(("n", "n")))
    matcher = Matcher((phrase,))
    assert best(matcher, heard(*phrase)) > -0.2
    assert best(matcher, heard(phrase[0])) < -1.0, "one of them said once is not both"


@pytest.mark.parametrize("seed", range(5))
def test_what_is_older_than_the_memory_changes_nothing(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matcher = Matcher((PHRASE,))
    noise = torch.softmax(4 * torch.randn(1, MATCH_MEMORY + 60, PHONE_OUTPUTS, generator=generator), dim=2).sqrt()
    scores, _ = matcher(noise, matcher.start(noise))
    _, warm = matcher(torch.cat([heard(*PHRASE), noise[:, :40], heard(*PHRASE[:3])], dim=1), matcher.start(noise))
    later, _ = matcher(noise, warm)
    assert torch.equal(scores[:, MATCH_MEMORY:], later[:, MATCH_MEMORY:])


def test_values_never_fall_below_the_floor() -> None:
    matcher = Matcher((PHRASE,))
    _, value = matcher(heard(9, 9, 9), matcher.start(heard(9)))
    assert float(value.min()) >= MATCH_FLOOR


def noise() -> np.ndarray:
    """Nine seconds of noise whose level changes ten times a second."""
    audio = 0.1 * np.random.default_rng(0).standard_normal(9 * 16_000)
    return (audio * np.repeat(np.random.default_rng(1).uniform(0, 2, 90), 1600)).astype(np.float32)


@pytest.fixture(scope="module")
def detector() -> TinyCRNN:
    torch.manual_seed(1)
    config = TinyCRNNConfig(SMALL, 16, 16, window_frames=20, pronunciations=(PHRASE, PHRASE[:3]))
    model = TinyCRNN(config)
    assert model.trunk.phones is not None
    features = torch.from_numpy(log_mel(noise()))[None]
    for _ in range(50):  # the norms learn the statistics of this sound, so that the trunk's outputs vary
        model.trunk.train()(features)
    # The phrase's phones are made probable now and then: otherwise the matcher stays at its floor.
    model.trunk.phones.weight.data.mul_(3.0)
    for phone in PHRASE:
        model.trunk.phones.bias.data[phone] += 4.0
    with torch.no_grad():
        model.match.weight.fill_(2.0)
        model.match.bias.fill_(1.0)
    return model.eval()


def test_all_forms_agree_with_a_matcher(detector: TinyCRNN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # This trunk hears phones in silence, and in the zeros that a graph's state begins with; they must be forgotten.
    monkeypatch.setattr("model.matcher.MATCH_LEAK", 0.05)
    audio = noise()
    export_onnx(detector, tmp_path / "a.onnx")
    quantize_weights(tmp_path / "a.onnx", tmp_path / "b.onnx")
    parity = check_parity(detector, tmp_path / "a.onnx", tmp_path / "b.onnx", audio)
    assert max(parity.onnx, parity.streaming) < 1e-4 and parity.int8_agrees
    scores = stream_scores(detector, audio)
    assert scores.std() > 1e-3, "the scores must vary for this to say anything"
    np.testing.assert_allclose(stream_scores(detector, audio, block_s=0.8), scores, atol=1e-5)


def test_training_learns_the_line_from_score_to_logit() -> None:
    torch.manual_seed(0)
    model = TinyCRNN(TinyCRNNConfig(SMALL, window_frames=12, pronunciations=(PHRASE,)))
    said, other = heard(*PHRASE[:-1], blanks=2), heard(*PHRASE[:-3], 9, 9, blanks=2)
    batch = torch.cat([torch.cat([heard(blanks=24 - x.shape[1]), x], dim=1) for x in (said, other)])
    labels = torch.tensor([1.0, 0.0])
    optimizer = torch.optim.Adam(model.match.parameters(), 0.05)
    losses = []
    for _ in range(60):
        loss = detection_loss(model.head_logits(batch)[:, -1], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_a_checkpoint_keeps_the_pronunciations(detector: TinyCRNN, tmp_path: Path) -> None:
    save_checkpoint(detector, str(tmp_path / "m.pt"))
    loaded, _ = load_checkpoint(str(tmp_path / "m.pt"))
    assert loaded.config == detector.config and loaded.config.pronunciations == (PHRASE, PHRASE[:3])
    audio = (0.1 * np.random.default_rng(2).standard_normal(32_000)).astype(np.float32)
    np.testing.assert_array_equal(stream_scores(loaded, audio), stream_scores(detector, audio))
