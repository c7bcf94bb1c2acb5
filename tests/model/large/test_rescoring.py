"""Rescoring by a decoder: the graph against the decoder itself, and its results on speech."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest

from core.onnx import session
from model.large import decoder_tokens, encoder_backbone, rescoring
from model.large.decoder import add_position_tables, shipped_decoder
from model.large.decoder_tokens import BEGIN, END, FIRST_TEXT, NEXT_WORD, SPACE, spellings
from model.large.encoder import loaded_backbone
from model.large.encoder_backbone import DECODER_FILE, package_file
from model.large.onnx_graph import Nodes, tensor
from model.large.rescoring import LATER_COST, MAX_MARGIN, MIN_LOG_PROBABILITY, MIN_MARGIN, rescoring_graph
from tests.support.moonshine_package import needs_encoder
from tests.support.untrained_bundle import spoken_in_quiet

PHRASE = "computer"


@cache
def asked(text: str, phrase: str) -> float:
    """Return the phrase's rescoring of a spoken text."""
    _, states = loaded_backbone().encode(spoken_in_quiet(text, 0.3, 0.5))
    return float(asking(phrase).run(["rescoring"], {"states": states[None, :27]})[0][0, 0])


@cache
def asking(phrase: str) -> Any:
    return session(rescoring_graph(spellings(phrase)).SerializeToString())


# ---- spellings


@needs_encoder
@pytest.mark.parametrize("phrase", ["computer", "smart mirror", "hadouken", "hey, it's 9"])
def test_spellings_write_the_phrase(phrase: str) -> None:
    found = spellings(phrase)
    texts = decoder_tokens.tokens()
    written = {b"".join(texts[token] for token in way).replace(SPACE, b" ").decode().strip() for way in found}
    assert phrase in written and len(set(found)) == len(found)
    assert {text.lower() for text in written} == {phrase}
    assert any(text[0].isupper() for text in written)
    first_word = FIRST_TEXT + 256  # tokens before it are bytes, the decoder's fallback
    assert all(token >= first_word for way in found for token in way)


@needs_encoder
def test_a_long_phrase_is_spelled_quickly() -> None:
    started = time.perf_counter()
    assert spellings("okay refrigerator what temperature is the freezer compartment")
    assert time.perf_counter() - started < 3


@needs_encoder
def test_a_phrase_outside_the_tokens_has_no_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_tokens, "tokens", lambda: (b"", b"", b"", SPACE + b"a", b"b"))
    assert spellings("ab") == ((3, 4),)
    assert spellings("ac") == ()


# ---- the graph


class Said(NamedTuple):
    total: float
    margin: float
    is_later: bool


def scored_by_the_decoder(states: np.ndarray, sequences: Sequence[Sequence[int]]) -> Said:
    """Return the scores of the packaged decoder, computed step by step."""
    path = package_file(DECODER_FILE)
    assert path is not None
    package = session(str(path))
    texts = decoder_tokens.tokens()
    next_word = np.array([number == END or text.startswith(NEXT_WORD) for number, text in enumerate(texts)])
    caches = [entry.name for entry in package.get_inputs() if entry.name.startswith("past_key_values")]

    def log_p(tokens: Sequence[int]) -> np.ndarray:
        inputs = {"input_ids": np.asarray([tokens], np.int64), "use_cache_branch": np.array([False])}
        mask = np.ones((1, 384 * len(states)), int)
        inputs |= {"encoder_hidden_states": states[None], "encoder_attention_mask": mask}
        inputs |= {name: np.zeros((1, 8, 0, 36), np.float32) for name in caches}
        logits = package.run(["logits"], inputs)[0][0].astype(np.float64)
        return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))

    written, fits = [BEGIN], []
    firsts = sorted({way[0] for way in sequences})
    while len(fits) < rescoring.MAX_WRITTEN_TOKENS:
        row = log_p(written)[-1]
        fits.append(np.logaddexp.reduce(row[firsts]) - (LATER_COST if fits else 0.0))
        written.append(int(row.argmax()))
        if written[-1] == END:
            break
    place = int(np.argmax(fits))
    each, margins = [], []
    for way in sequences:
        rows = log_p([*written[: place + 1], *way])[place:]
        after = np.logaddexp.reduce(rows[len(way)][: len(texts)][next_word])
        each.append(sum(rows[k][token] for k, token in enumerate(way)) + after)
        others = [np.delete(rows[k], token).max() for k, token in enumerate(way)]
        margins.append(min(rows[k][token] - other for k, (token, other) in enumerate(zip(way, others, strict=True))))
    total = np.logaddexp.reduce(each) - (LATER_COST if place else 0.0)
    return Said(float(total), float(max(margins)), place > 0)


@needs_encoder
@pytest.mark.parametrize("text", ["computer", "please ask the computer", "we walked home"])
def test_the_graph_gives_the_decoders_scores(text: str) -> None:
    _, states = loaded_backbone().encode(spoken_in_quiet(text, 0.2, 0.4))
    near = states[-encoder_backbone.STATES_AFTER - encoder_backbone.STATES_BEFORE :]
    rescoring, evidence = asking(PHRASE).run(["rescoring", "evidence"], {"states": near[None]})
    by_hand = scored_by_the_decoder(near, spellings(PHRASE))
    # 8-bit products are quantized by the range of a whole batch, so phrases scored together differ slightly.
    assert rescoring[0, 0] == pytest.approx(np.clip(1 - by_hand.total / MIN_LOG_PROBABILITY, 0, 1), abs=0.04)
    assert evidence[0, 0] == pytest.approx(max(by_hand.total, MIN_LOG_PROBABILITY), abs=0.8)
    assert evidence[0, 1] == pytest.approx(np.clip(by_hand.margin, MIN_MARGIN, MAX_MARGIN), abs=0.8)
    assert evidence[0, 2] == by_hand.is_later


@needs_encoder
def test_the_phrase_is_more_probable_where_it_was_spoken() -> None:
    assert asked("computer", "computer") > 0.75
    assert asked("ask computer", "computer") > 0.6, "other words may precede the phrase"
    assert asked("computer", "computer") > asked("commuter", "computer") > asked("banana", "computer")
    assert asked("banana", "banana") > asked("computer", "banana") + 0.2


@needs_encoder
def test_the_flattened_decoder_gives_the_packages_outputs() -> None:
    decoder = shipped_decoder()
    graph = Nodes()
    add_position_tables(graph, 12)
    graph.nodes += [*decoder.of_states, *decoder.of_tokens, decoder.of_output]
    graph.initializers += decoder.weights
    inputs = [tensor("input_ids", ["n", "length"], "INT64"), tensor("encoder_hidden_states", [1, "time", 288])]
    made = graph.model("decoder", inputs, [tensor("logits", ["n", "length", "tokens"])], decoder.model)
    flat, package = session(made.SerializeToString()), session(str(package_file(DECODER_FILE)))
    caches = [entry.name for entry in package.get_inputs() if entry.name.startswith("past_key_values")]
    rng = np.random.default_rng(0)
    for count, length, frames in ((1, 1, 3), (1, 7, 27), (3, 12, 40)):
        tokens = rng.integers(3, 32_000, (count, length))
        states = rng.standard_normal((1, frames, 288)).astype(np.float32)
        given = {
            "input_ids": tokens,
            "encoder_hidden_states": np.repeat(states, count, axis=0),
            "encoder_attention_mask": np.ones((count, 384 * frames), np.int64),
            "use_cache_branch": np.array([False]),
            **{name: np.zeros((count, 8, 0, 36), np.float32) for name in caches},
        }
        of_package = package.run(["logits"], given)[0]
        of_flat = flat.run(["logits"], {"input_ids": tokens, "encoder_hidden_states": states})[0]
        assert np.array_equal(of_flat, of_package)
