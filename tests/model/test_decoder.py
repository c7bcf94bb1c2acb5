"""The decoder as flat nodes gives the numbers of the package's own."""

from __future__ import annotations

import numpy as np
import pytest

from core.onnx import session
from model.decoder import add_position_tables, shipped_decoder
from model.encoder_backbone import DECODER_FILE, encoder_path, package_file
from model.onnx_graph import Nodes, tensor

pytestmark = pytest.mark.skipif(encoder_path() is None, reason="the package moonshine-voice is not installed")


def test_its_numbers_are_those_of_the_package() -> None:
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
    for count, length, time in ((1, 1, 3), (1, 7, 27), (3, 12, 40)):
        tokens = rng.integers(3, 32_000, (count, length))
        states = rng.standard_normal((1, time, 288)).astype(np.float32)
        given = {
            "input_ids": tokens,
            "encoder_hidden_states": np.repeat(states, count, axis=0),
            "encoder_attention_mask": np.ones((count, 384 * time), np.int64),
            "use_cache_branch": np.array([False]),
            **{name: np.zeros((count, 8, 0, 36), np.float32) for name in caches},
        }
        of_package = package.run(["logits"], given)[0]
        of_flat = flat.run(["logits"], {"input_ids": tokens, "encoder_hidden_states": states})[0]
        assert np.array_equal(of_flat, of_package)
