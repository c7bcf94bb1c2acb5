"""Attention rescoring: a speech recognizer's decoder scores the phrase where a keyword HMM has matched its phones.

Single phones are easily confused in noise, whereas a decoder trained on 200,000 hours of speech models words. Where the
keyword HMM of a large detector matches, the decoder of Moonshine Tiny (MIT licence, from the package
``moonshine-voice``, like the encoder) computes the probability of the phrase. This follows Zhang and others, "Unified
Streaming and Non-streaming Two-pass End-to-end Model for Speech Recognition" (2020), where a decoder rescores CTC's
hypotheses in a second pass. Because other words may precede the phrase, the decoder first writes its own transcript,
and the phrase is scored where its first token fits best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from model.large.decoder import add_position_tables, shipped_decoder
from model.large.decoder_tokens import BEGIN, END, NEXT_WORD, VOCABULARY
from model.large.decoder_tokens import tokens as decoder_tokens
from model.large.encoder import to_onnx
from model.large.onnx_graph import Nodes, prefixed, tensor

if TYPE_CHECKING:
    import onnx

STATE_WIDTH = 288
MAX_WRITTEN_TOKENS = 20  # maximum tokens that the decoder writes; the audio is two or three seconds long
LATER_COST = 2.0  # nats that the phrase loses for following other words, because true occurrences seldom do
MIN_LOG_PROBABILITY = -20.0  # the rescoring is 0 at or below this, and 1 for a certain phrase
MIN_MARGIN, MAX_MARGIN = -12.0, 4.0


def decoder_weights() -> list[onnx.TensorProto]:
    return list(shipped_decoder().weights)


class _Asked(nn.Module):
    """Combines the decoder's log-probabilities of a phrase's spellings.

    The arguments of :meth:`forward` are ``log_p`` [spellings, tokens of the longest + 1, vocabulary], which starts with
    the token before the phrase, and ``place`` [1], the number of tokens before the phrase.
    """

    tokens: Tensor
    is_token: Tensor
    is_after: Tensor
    complete: Tensor

    def __init__(self, sequences: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        lengths = torch.tensor([[len(sequence)] for sequence in sequences])
        longest = int(lengths.max())
        padded = [[*sequence, *[END] * (longest - len(sequence))] for sequence in sequences]
        complete = torch.full((VOCABULARY,), -1e9)  # 0 for tokens that may follow the complete last word
        complete[[END, *(token for token, text in enumerate(decoder_tokens()) if text.startswith(NEXT_WORD))]] = 0.0
        self.register_buffer("tokens", torch.tensor(padded)[:, :, None])
        self.register_buffer("is_token", (torch.arange(longest) < lengths).float())
        self.register_buffer("is_after", (torch.arange(longest + 1) == lengths).float())
        self.register_buffer("complete", complete)
        self.eval()

    def forward(self, log_p: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        at_tokens = log_p[:, :-1]
        at_token = at_tokens.gather(2, self.tokens)[:, :, 0]
        rival = at_tokens.scatter(2, self.tokens, -1e9).amax(2)
        margin = (at_token - rival + 1e4 * (1 - self.is_token)).amin(1).amax(0, keepdim=True)
        ends = (log_p + self.complete).logsumexp(2)
        sequences = (at_token * self.is_token).sum(1) + (ends * self.is_after).sum(1)
        is_later = (place > 0).float()
        log_probability = sequences.logsumexp(0, keepdim=True) - LATER_COST * is_later
        rescoring = (1 - log_probability / MIN_LOG_PROBABILITY).clip(0.0, 1.0)
        evidence = [log_probability.clip(MIN_LOG_PROBABILITY), margin.clip(MIN_MARGIN, MAX_MARGIN), is_later]
        return rescoring[None], torch.stack(evidence, 1)


def rescoring_graph(sequences: tuple[tuple[int, ...], ...]) -> onnx.ModelProto:
    """Build the graph that maps ``states`` [1, time, 288] to ``rescoring`` [1, 1] and ``evidence`` [1, 3].

    ``rescoring`` is 1 for a certain phrase and 0 at :data:`MIN_LOG_PROBABILITY` or less. ``evidence`` is for the
    verifier: the phrase's log-probability; the smallest margin by which one of its tokens exceeds the most probable
    other token, in the spelling where that margin is largest; and 1 if other words precede the phrase, otherwise 0.

    Args:
        sequences: token sequences that spell the phrase (:func:`model.large.decoder_tokens.spellings`); their
            probabilities are summed.
    """
    decoder, graph, asked = shipped_decoder(), Nodes(), _Asked(sequences)
    count, longest = len(sequences), max(map(len, sequences))
    graph.constants(
        {
            "begin": [[BEGIN]], "most": MAX_WRITTEN_TOKENS, "firsts": sorted({sequence[0] for sequence in sequences}),
            "last": [-1], "end": [2**31], "start": [0], "one": [1], "one_s": 1, "second": [1], "stop": END,
            "tokens": asked.tokens[:, :, 0].numpy(), "many": [count, 1], "going": np.bool_(True),
            "later": np.float32(LATER_COST), "least": np.float32(-LATER_COST),
        }
    )  # fmt: skip
    graph.copy("states", "encoder_hidden_states")
    add_position_tables(graph, 1 + MAX_WRITTEN_TOKENS + longest)
    graph.nodes += decoder.of_states
    graph.add("Loop", ["most", "going", "begin"], "written", "fit", body=_write())
    _find_place(graph)
    graph.add("Slice", ["written", "start", "place_after", "second"], "before")
    graph.add("Expand", ["before", "many"], "before_all")
    graph.add("Concat", ["before_all", "tokens"], "asked", axis=1)
    graph.copy(_decode(graph, "ask/", "asked", "place"), "result/log_p")
    graph.copy("place", "result/place")
    example = (torch.zeros(count, longest + 1, VOCABULARY), torch.zeros(1, dtype=torch.int64))
    result = to_onnx(asked, example, ["log_p", "place"], ["rescoring", "evidence"])
    graph.include(prefixed(result.graph, "result/"))
    for name in ("rescoring", "evidence"):
        graph.copy(f"result/{name}", name)
    graph.initializers += decoder.weights
    outputs = [tensor("rescoring", [1, 1]), tensor("evidence", [1, 3])]
    return graph.model("rescoring", [tensor("states", [1, "time", STATE_WIDTH])], outputs, decoder.model)


def _write() -> onnx.GraphProto:
    """Return the body of the loop that writes a token to ``ids``; ``fits`` scores the phrase's first token."""
    write = Nodes()
    log_p = _decode(write, "write/", "ids", "last")
    write.add("Gather", [log_p, "firsts"], "first_p", axis=2)
    write.add("ReduceLogSumExp", ["first_p"], "fits", keepdims=0)
    write.add("ArgMax", [log_p], "token", axis=2, keepdims=0)
    write.add("Concat", ["ids", "token"], "ids_after", axis=1)
    write.add("Equal", ["token", "stop"], "stops")
    # No later position can score higher if the first token at the beginning costs less than a later position would.
    write.add("Less", ["number", "one_s"], "at_first")
    write.add("GreaterOrEqual", ["fits", "least"], "fits_well")
    write.add("And", ["at_first", "fits_well"], "is_found")
    write.add("Or", ["stops", "is_found"], "ends")
    write.add("Not", ["ends"], "goes")
    write.add("Squeeze", ["goes"], "going_after")
    inputs = [tensor("number", [], "INT64"), tensor("going_before", [], "BOOL"), tensor("ids", [1, "length"], "INT64")]
    outputs = [tensor("going_after", [], "BOOL"), tensor("ids_after", [1, "longer"], "INT64"), tensor("fits", [])]
    return write.body("write", inputs, outputs)


def _find_place(graph: Nodes) -> None:
    """Add the phrase's position in the decoder's transcript: the beginning, or, at a cost, after some tokens."""
    graph.add("Slice", ["fit", "one", "end", "start"], "fit_later")
    graph.add("Slice", ["fit", "start", "one", "start"], "fit_first")
    graph.add("Sub", ["fit_later", "later"], "fit_less")
    graph.add("Concat", ["fit_first", "fit_less"], "fit_all", axis=0)
    graph.add("ArgMax", ["fit_all"], "place", axis=0, keepdims=1)
    graph.add("Add", ["place", "one"], "place_after")


def _decode(graph: Nodes, prefix: str, ids: str, place: str) -> str:
    """Add the decoder's log-probabilities of next tokens [n, positions, tokens], from position ``place`` on.

    The graph must already contain the keys and values of the states (:attr:`model.large.decoder.Decoder.of_states`).
    """
    from onnx import NodeProto

    decoder = shipped_decoder()
    given = {"input_ids": ids}
    outputs = {output for node in decoder.of_tokens for output in node.output}

    def copied(original: onnx.NodeProto) -> None:
        node = NodeProto()
        node.CopyFrom(original)
        for side in (node.input, node.output):
            side[:] = [given.get(n, prefix + n if n in outputs else n) for n in side]
        graph.nodes.append(node)

    for original in decoder.of_tokens:
        copied(original)
    given["normalized"] = graph.add("Slice", [f"{prefix}normalized", place, "end", "second"], f"{prefix}wanted")
    given["logits"] = f"{prefix}logits"
    copied(decoder.of_output)
    return graph.add("LogSoftmax", [f"{prefix}logits"], f"{prefix}log_p", axis=-1)
