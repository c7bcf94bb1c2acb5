"""The second pass: the verifier in ONNX against PyTorch, its results on speech, and its stream."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import HarkError
from core.onnx import session
from model.export import check_parity
from model.features import CHUNK_SAMPLES
from model.keyword_hmm import KeywordHMM
from model.large import encoder_backbone
from model.large.decoder_tokens import spellings
from model.large.encoder import loaded_backbone
from model.large.encoder_backbone import STATE_FRAMES, STATES_AFTER, STATES_BEFORE, SecondPass
from model.large.encoder_detector import EncoderDetector
from model.large.rescoring import rescoring_graph
from model.large.second_pass import (
    CERTAIN_WEIGHT,
    NOISE_WEIGHT,
    RESCORED_WEIGHT,
    VERDICT_WEIGHT,
    VERDICTS,
    PhraseVerifier,
    phones_and_lengths,
    second_pass_graph,
    shipped_verifier,
    verifier_name,
)
from model.large.verifier import NOISE, located
from model.phones import PHONE_OUTPUTS, outputs_of
from phrase_augmentation.keyphrase import Keyphrase
from tests.support.moonshine_package import needs_encoder
from tests.support.untrained_bundle import large_detector, line, spoken_in_quiet

PHRASE = "computer"
SLOPE = 0.2
BOUNDS = [VERDICT_WEIGHT * verdict + NOISE_WEIGHT * noise for verdict, noise in zip(VERDICTS, NOISE, strict=True)]


@cache
def gentle(verified: bool = True) -> EncoderDetector:
    """A detector none of whose scores is 0 or 1."""
    made: EncoderDetector = line(large_detector(PHRASE, 1.4, verified=verified), SLOPE, 0.0)
    return made


@pytest.fixture
def detector() -> EncoderDetector:
    return gentle()


def unasked(detector: EncoderDetector) -> EncoderDetector:
    """Return the detector without its second pass."""
    made: EncoderDetector = line(EncoderDetector(replace(detector.config, spellings=())), SLOPE, 0.0)
    return made


def stored_frames(detector: EncoderDetector, audio: np.ndarray, folder: Path) -> np.ndarray:
    """Return the stored form of an example of that sound."""
    front_end = detector.front_end(folder)
    (computed,) = front_end.computer()([front_end.sound(audio, 0, len(audio))])
    return front_end.storer()(computed, 0, len(audio))


# ---- the verifier


def test_a_phrase_is_located_where_the_keyword_hmm_matches() -> None:
    rng = np.random.default_rng(3)
    phones = torch.tensor([[4, 9, 9, 2], [7, 1, 3, 0]])
    lengths = torch.tensor([4, 3])
    probabilities = rng.dirichlet(np.full(PHONE_OUTPUTS, 0.02), (2, 90))
    for row, (way, count) in enumerate(zip(phones.tolist(), lengths.tolist(), strict=True)):
        probabilities[row, 40 : 40 + 6 * count] *= 0.05
        for place, phone in enumerate(way[:count]):
            probabilities[row, 40 + 6 * place, phone] += 0.95
            probabilities[row, 41 + 6 * place : 46 + 6 * place, 0] += 0.95
    heard = torch.from_numpy(np.sqrt(probabilities)).float()
    score, end, begins = located(heard, phones, lengths)
    assert end.tolist() == [58, 52]
    assert begins[0].tolist() == [40, 46, 52, 58] and begins[1, :3].tolist() == [40, 46, 52]
    for row, count in enumerate(lengths.tolist()):
        match = KeywordHMM((tuple(phones[row, :count].tolist()),), -5.0)(heard[row : row + 1])[0]
        assert float(match.max()) == pytest.approx(float(score[row]), abs=0.1), "equal except for their leaks"


def test_padding_after_a_phrase_in_a_batch_has_no_effect() -> None:
    verifier, rng = shipped_verifier()[0], np.random.default_rng(0)
    heard = torch.from_numpy(np.sqrt(rng.dirichlet(np.full(PHONE_OUTPUTS, 0.05), (2, 80)))).float()
    states = torch.from_numpy(rng.standard_normal((2, 20, 288))).float()
    phones, lengths = torch.tensor([[3, 4, 5, 30, 31], [8, 9, 10, 11, 12]]), torch.tensor([3, 5])
    with torch.no_grad():
        together = verifier(heard, states, phones, lengths)[2]
        alone = verifier(heard[:1], states[:1], phones[:1, :3], lengths[:1])[2]
    assert torch.allclose(together[:1], alone, atol=1e-4)


@needs_encoder
@pytest.mark.parametrize("frames", [80, 112])
def test_the_graph_gives_the_verifiers_scores(frames: int) -> None:
    rng = np.random.default_rng(frames)
    ways = (*outputs_of(Keyphrase(PHRASE)), (3, 4, 9))
    given = {
        "heard": np.sqrt(rng.dirichlet(np.full(PHONE_OUTPUTS, 0.05), (1, frames))).astype(np.float32),
        "states": rng.standard_normal((1, frames // STATE_FRAMES, 288)).astype(np.float32),
    }
    asked = session(rescoring_graph(spellings(PHRASE)).SerializeToString())
    rescoring, evidence = asked.run(["rescoring", "evidence"], {"states": given["states"]})
    graph = session(second_pass_graph(ways, spellings(PHRASE), verifier_name()).SerializeToString())
    gain = graph.run(None, given)[0]
    with torch.no_grad():
        told = (*map(torch.from_numpy, (given["heard"], given["states"], evidence)), *phones_and_lengths(ways))
        expected = PhraseVerifier(shipped_verifier()[0]).eval()(*told)
    assert gain.shape == (1, 1) and BOUNDS[0] <= expected[0, 0] <= BOUNDS[1]
    assert gain[0, 0] == pytest.approx(CERTAIN_WEIGHT * rescoring[0, 0] + float(expected[0, 0]), abs=1e-3)


@cache
def gain(text: str, phrase: str) -> float:
    """Return how much the second pass raises a phrase's score in a spoken text."""
    phones, states = loaded_backbone().encode(spoken_in_quiet(text, 0.3, 0.5))
    graph = second_pass_graph(outputs_of(Keyphrase(phrase)), spellings(phrase), verifier_name())
    asked = SecondPass(graph.SerializeToString(), 0.0, STATES_BEFORE)
    return asked.gain(phones, states, STATE_FRAMES * min(len(states), 20))


@needs_encoder
def test_confusables_are_distinguished() -> None:
    said = gain("computer", "computer")
    assert said > gain("commuter", "computer") + 2 and said > gain("banana", "computer") + 8
    assert gain("commuter", "commuter") > gain("computer", "commuter") + 2


def test_a_verifier_of_a_different_version_is_rejected() -> None:
    with pytest.raises(HarkError) as caught:
        second_pass_graph(((1, 2),), ((3,),), "0123456789ab")
    assert "a different version" in caught.value.why


# ---- frames and streams


def test_a_matching_span_is_rescored_once() -> None:
    places: list[int] = []

    class Asked(SecondPass):
        def gain(self, heard: Any, states: Any, frame: int) -> float:
            places.append(frame)
            return 0.25 * len(places)

    asked = Asked.__new__(Asked)
    asked._above = -3.0
    match = np.full(40, -5.0, np.float32)
    match[10:14] = [-2.5, -1.0, -2.0, -2.75]
    match[30] = -2.75
    match[39] = -1.0
    none = np.zeros((0, 288), np.float32)
    gains = asked.gains(match, none, none)
    assert places == [11, 30, 39]
    assert (gains[10:14] == 0.25).all() and gains[30] == 0.5 and gains[39] == 0.75
    assert gains.sum() == 4 * 0.25 + 0.5 + 0.75
    assert asked.gains(np.zeros(0, np.float32), none, none).shape == (0,)


def test_the_second_pass_uses_all_audio_that_was_read() -> None:
    asked = SecondPass.__new__(SecondPass)
    asked._before = STATES_BEFORE
    shapes: list[tuple[int, int]] = []

    class Graph:
        def run(self, names: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
            shapes.append((given["heard"].shape[1], given["states"].shape[1]))
            return [np.full((1, 1), 0.5, np.float32)]

    asked._graph = Graph()
    phones, states = np.zeros((161, PHONE_OUTPUTS), np.float16), np.zeros((41, 288), np.float16)
    assert [asked.gain(phones, states, frame) for frame in (3, 100, 160)] == [0.5] * 3
    assert shapes == [
        (STATE_FRAMES * STATES_AFTER, STATES_AFTER),
        (STATE_FRAMES * (STATES_BEFORE + STATES_AFTER), STATES_BEFORE + STATES_AFTER),
        (STATE_FRAMES * STATES_BEFORE + 1, STATES_BEFORE + 1),
    ]


@needs_encoder
@pytest.mark.parametrize("verified", [True, False])
def test_every_export_form_has_the_same_second_pass(verified: bool, tmp_path: Path) -> None:
    detector = gentle(verified)
    path = tmp_path / "model.onnx"
    assert detector.export(path) == detector.config.window_samples + 2
    audio = np.concatenate(
        [spoken_in_quiet("we walked home"), spoken_in_quiet(PHRASE), spoken_in_quiet("ask the computer")]
    )
    parity = check_parity(detector, path, None, audio)
    assert parity.onnx < 1e-5 and parity.streaming < 1e-5
    with_second, without = (
        torch.logit(torch.from_numpy(one.stream_scores(audio))).numpy() / SLOPE for one in (detector, unasked(detector))
    )
    home = len(spoken_in_quiet("we walked home")) // CHUNK_SAMPLES
    least, most = BOUNDS if verified else (0.0, 0.0)
    certain = CERTAIN_WEIGHT if verified else RESCORED_WEIGHT
    gained = with_second - without
    assert gained.min() > least - 1e-3 and 0.6 * certain < gained.max() <= certain + most + 1e-3
    assert gained[: home - 8].max() < 0.7 * gained[home:].max(), "other audio gains less"


@needs_encoder
def test_an_anti_keyword_lowers_the_second_pass_in_every_form(detector: EncoderDetector, tmp_path: Path) -> None:
    anti_keywords = outputs_of(Keyphrase("commuter"))
    model = detector.with_anti_keywords(anti_keywords, -0.5)
    path = tmp_path / "model.onnx"
    model.export(path)
    audio = spoken_in_quiet(PHRASE, 2.0, 1.5)
    assert check_parity(model, path, None, audio).onnx < 1e-5
    with_anti_keywords, without, plain = (
        float(one.stream_scores(audio).max()) for one in (model, detector, unasked(model))
    )
    gained = (np.log(with_anti_keywords / (1 - with_anti_keywords)) - np.log(plain / (1 - plain))) / SLOPE
    assert gained > 0.7 * CERTAIN_WEIGHT, "the second pass runs nevertheless"
    best = float(model.scores(stored_frames(model, audio, tmp_path)[None]).max())
    assert with_anti_keywords < without - 0.03 and best == pytest.approx(with_anti_keywords, abs=0.4)


def test_a_long_phrase_is_rescored_from_its_beginning() -> None:
    short, long = (EncoderDetector.of_phrase(((1, 2),), seconds).config for seconds in (1.0, 3.0))
    assert short.states_before == encoder_backbone.STATES_BEFORE and long.states_before * 0.08 >= 2.9


@needs_encoder
def test_stored_frames_give_the_scores_of_a_stream(detector: EncoderDetector, tmp_path: Path) -> None:
    audio = spoken_in_quiet(PHRASE, 3.0, 1.5)
    stored = stored_frames(detector, audio, tmp_path)
    width = detector.config.stored.width
    assert stored.shape[1] == width == PHONE_OUTPUTS + 1 and stored[:, -1].any()
    assert stored_frames(detector, np.zeros(0, np.float32), tmp_path).shape == (0, width)
    assert stored_frames(unasked(detector), audio, tmp_path).shape == (len(stored), PHONE_OUTPUTS)
    best = float(detector.scores(stored[None]).max())
    assert best == pytest.approx(float(detector.stream_scores(audio).max()), abs=0.1)
