"""Rescoring by a decoder: what the graph says against the decoder itself, what it makes of speech, and its stream."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import HarkError
from model import encoder_backbone, rescoring
from model.encoder import loaded_backbone
from model.encoder_backbone import (
    ASSETS,
    DECODER_FILE,
    STATE_FRAMES,
    Rescorer,
    encoder_path,
    package_file,
    session,
)
from model.encoder_detector import RESCORED_WEIGHT, EncoderDetector
from model.export import check_parity
from model.features import CHUNK_SAMPLES
from model.phones import PHONE_OUTPUTS, outputs_of
from model.rescoring import BEGIN, END, LATER_COST, LEAST_LOG_PROBABILITY, SPACE, rescoring_graph, spellings
from phrase_augmentation.keyphrase import Keyphrase
from tests.support.untrained_bundle import large_detector, line, spoken

needs_encoder = pytest.mark.skipif(encoder_path() is None, reason="the package moonshine-voice is not installed")
PHRASE = "computer"


@pytest.fixture(scope="module")
def detector() -> EncoderDetector:
    return line(large_detector(PHRASE, 1.4), 1.0, 0.0)  # gentle, so that no score is 0 or 1


def unasked(detector: EncoderDetector) -> EncoderDetector:
    """The same without a decoder."""
    return line(EncoderDetector(replace(detector.config, spellings=())), 1.0, 0.0)


def stored_frames(detector: EncoderDetector, audio: np.ndarray, folder: Path) -> np.ndarray:
    """What an example of that sound is stored as."""
    front_end = detector.front_end(folder)
    (computed,) = front_end.computer()([front_end.sound(audio, 0, len(audio))])
    return front_end.storer()(computed, 0, len(audio))


def said(text: str, before_s: float = 1.0, after_s: float = 1.0) -> np.ndarray:
    audio = spoken(text)
    quiet = 1e-4 * np.random.default_rng(0).standard_normal(int(16_000 * (before_s + after_s)) + len(audio))
    start = int(16_000 * before_s)
    quiet[start : start + len(audio)] += audio
    return quiet.astype(np.float32)


@cache
def asked(text: str, phrase: str) -> float:
    """The rescoring of a phrase over everything that was said."""
    _, states = loaded_backbone().hear(said(text, 0.3, 0.5))
    return rescorer_of(phrase).at(states, STATE_FRAMES * min(len(states), 20))


@cache
def rescorer_of(phrase: str) -> Rescorer:
    return Rescorer(rescoring_graph(spellings(phrase)).SerializeToString(), 0.0, 20)


# ---- spellings


@needs_encoder
@pytest.mark.parametrize("phrase", ["computer", "smart mirror", "hadouken", "hey, it's 9"])
def test_a_spelling_writes_the_phrase(phrase: str) -> None:
    found = spellings(phrase)
    texts = rescoring._tokens()
    written = {b"".join(texts[token] for token in way).replace(SPACE, b" ").decode().strip() for way in found}
    assert phrase in written and len(set(found)) == len(found)
    assert {text.lower() for text in written} == {phrase}
    assert any(text[0].isupper() for text in written)
    assert not any(token in (BEGIN, END) for way in found for token in way)


@needs_encoder
def test_a_long_phrase_is_spelled_at_once() -> None:
    started = time.perf_counter()
    assert spellings("okay refrigerator what temperature is the freezer compartment")
    assert time.perf_counter() - started < 3


@needs_encoder
def test_what_the_tokens_cannot_write_has_no_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescoring, "_tokens", lambda: (b"", b"", b"", SPACE + b"a", b"b"))
    assert spellings("ab") == ((3, 4),)
    assert spellings("ac") == ()


# ---- the graph


def by_hand(states: np.ndarray, sequences: Sequence[Sequence[int]]) -> float:
    """The same with the decoder as the package has it, step by step."""
    path = package_file(DECODER_FILE)
    assert path is not None
    decoder = session(str(path))
    texts = rescoring._tokens()
    next_word = np.array([number == END or text.startswith(rescoring.NEXT_WORD) for number, text in enumerate(texts)])
    caches = [entry.name for entry in decoder.get_inputs() if entry.name.startswith("past_key_values")]

    def log_p(tokens: Sequence[int]) -> np.ndarray:
        inputs = {"input_ids": np.asarray([tokens], np.int64), "use_cache_branch": np.array([False])}
        inputs |= {
            "encoder_hidden_states": states[None],
            "encoder_attention_mask": np.ones((1, 384 * len(states)), int),
        }
        inputs |= {name: np.zeros((1, 8, 0, 36), np.float32) for name in caches}
        logits = decoder.run(["logits"], inputs)[0][0].astype(np.float64)
        return (
            logits
            - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True))
            - logits.max(1, keepdims=True)
        )

    written, fits = [BEGIN], []
    firsts = sorted({way[0] for way in sequences})
    while len(fits) < rescoring.MOST_WRITTEN:
        row = log_p(written)[-1]
        fits.append(np.logaddexp.reduce(row[firsts]) - (LATER_COST if fits else 0.0))
        written.append(int(row.argmax()))
        if written[-1] == END:
            break
    place = int(np.argmax(fits))
    each = []
    for way in sequences:
        rows = log_p([*written[: place + 1], *way])[place:]
        after = np.logaddexp.reduce(rows[len(way)][: len(texts)][next_word])
        each.append(sum(rows[k][token] for k, token in enumerate(way)) + after)
    total = np.logaddexp.reduce(each) - (LATER_COST if place else 0.0)
    return float(np.clip(1 - total / LEAST_LOG_PROBABILITY, 0.0, 1.0))


@needs_encoder
@pytest.mark.parametrize("text", ["computer", "please ask the computer", "we walked home"])
def test_the_graph_says_what_the_decoder_says(text: str) -> None:
    _, states = loaded_backbone().hear(said(text, 0.2, 0.4))
    ways = spellings(PHRASE)
    rescorer = Rescorer(rescoring_graph(ways).SerializeToString(), 0.0, encoder_backbone.STATES_BEFORE)
    at = STATE_FRAMES * (len(states) - encoder_backbone.STATES_AFTER)
    near = states[max(0, len(states) - encoder_backbone.STATES_AFTER - encoder_backbone.STATES_BEFORE) :]
    # 8-bit products are quantized by the range of a whole batch, so that ways asked together differ a little.
    assert rescorer.at(states, at) == pytest.approx(by_hand(near, ways), abs=0.04)


@needs_encoder
def test_the_phrase_is_more_probable_where_it_was_said() -> None:
    assert asked("computer", "computer") > 0.75
    assert asked("ask computer", "computer") > 0.6, "other words may be before it"
    assert asked("computer", "computer") > asked("commuter", "computer") > asked("banana", "computer")
    assert asked("banana", "banana") > asked("computer", "banana") + 0.2


# ---- frames and streams


def test_a_stretch_that_matches_is_asked_about_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rescorer = Rescorer.__new__(Rescorer)
    rescorer._above = -3.0
    frames: list[int] = []
    monkeypatch.setattr(rescorer, "at", lambda states, frame: frames.append(frame) or 0.25 * len(frames))
    match = np.full(40, -5.0, np.float32)
    match[10:14] = [-2.5, -1.0, -2.0, -2.9]
    match[30] = -2.9
    match[39] = -1.0
    rescored = rescorer.frames(match, np.zeros((10, 288), np.float32))
    assert frames == [11, 30, 39]
    assert (rescored[10:14] == 0.25).all() and rescored[30] == 0.5 and rescored[39] == 0.75
    assert rescored.sum() == 4 * 0.25 + 0.5 + 0.75
    assert rescorer.frames(np.zeros(0, np.float32), np.zeros((0, 288))).shape == (0,)


@needs_encoder
def test_every_form_rescores_alike(detector: EncoderDetector, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert detector.export(path) == detector.config.window_samples + 2
    audio = np.concatenate([said("we walked home"), said(PHRASE), said("ask the computer")])
    parity = check_parity(detector, path, None, audio)
    assert parity.onnx < 1e-5 and parity.streaming < 1e-5
    gained = torch.logit(torch.from_numpy(detector.stream_scores(audio))) - torch.logit(
        torch.from_numpy(unasked(detector).stream_scores(audio))
    )
    assert gained.min() > -1e-3 and 0.6 * RESCORED_WEIGHT < gained.max() <= RESCORED_WEIGHT + 1e-3
    home = len(said("we walked home")) // CHUNK_SAMPLES
    assert gained[: home - 8].max() < 0.7 * gained[home:].max(), "what is not the phrase gains less"


@needs_encoder
def test_an_anti_keyword_takes_from_what_was_rescored_in_every_form(detector: EncoderDetector, tmp_path: Path) -> None:
    anti_keywords = outputs_of(Keyphrase("commuter"))
    model = detector.with_anti_keywords(anti_keywords, -0.5)
    path = tmp_path / "model.onnx"
    model.export(path)
    audio = said(PHRASE, 2.0, 1.5)
    assert check_parity(model, path, None, audio).onnx < 1e-5
    with_anti_keywords, without, plain = (
        float(one.stream_scores(audio).max()) for one in (model, detector, unasked(model))
    )
    gained = np.log(with_anti_keywords / (1 - with_anti_keywords)) - np.log(plain / (1 - plain))
    assert gained > 0.7 * RESCORED_WEIGHT, "the decoder is asked all the same"
    best = float(model.scores(stored_frames(model, audio, tmp_path)[None]).max())
    assert with_anti_keywords < without - 0.05 and best == pytest.approx(with_anti_keywords, abs=0.4)


def test_a_long_phrase_is_asked_for_from_its_beginning() -> None:
    short, long = (EncoderDetector.of_phrase(((1, 2),), seconds).config for seconds in (1.0, 3.0))
    assert short.states_before == encoder_backbone.STATES_BEFORE and long.states_before * 0.08 >= 2.9


@needs_encoder
def test_stored_frames_give_what_a_stream_gives(detector: EncoderDetector, tmp_path: Path) -> None:
    audio = said(PHRASE, 3.0, 1.5)
    stored = stored_frames(detector, audio, tmp_path)
    width = detector.config.stored.width
    assert stored.shape[1] == width == PHONE_OUTPUTS + 1 and stored[:, -1].min() >= 0
    assert stored_frames(detector, np.zeros(0, np.float32), tmp_path).shape == (0, width)
    assert stored_frames(unasked(detector), audio, tmp_path).shape == (len(stored), PHONE_OUTPUTS)
    best = float(detector.scores(stored[None]).max())
    assert best == pytest.approx(float(detector.stream_scores(audio).max()), abs=0.1)


def test_a_decoder_that_is_missing_or_another_one_is_said_plainly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "decoder_model_merged.ort"
    other.write_bytes(b"another")
    assert ASSETS / other.name == DECODER_FILE
    for found in (None, other):
        rescoring._decoder.cache_clear()
        monkeypatch.setattr(encoder_backbone, "package_file", lambda name, found=found: found)
        with pytest.raises(HarkError) as caught:
            rescoring._decoder()
        assert "moonshine-voice" in caught.value.why and "requirements-alone.txt" in caught.value.what_to_do
    rescoring._decoder.cache_clear()
