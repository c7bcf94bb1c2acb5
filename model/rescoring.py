"""Attention rescoring: what the decoder of a speech recognizer says to a phrase where a keyword HMM has heard its
phones.

Phones one by one are easily mistaken in noise; a decoder that has heard 200,000 hours of speech knows words. Where the
keyword HMM of a large detector hears something like the phrase, the decoder of Moonshine Tiny (MIT licence, from the
package ``moonshine-voice``, as the encoder) is asked how probable it is that the phrase was said: after Zhang and
others, "Unified Streaming and Non-streaming Two-pass End-to-end Model for Speech Recognition" (2020), where a decoder
rescores in a second pass what CTC has found. The phrase may follow other words: the decoder first writes what
it hears, and the phrase is asked for at the place where its first token fits best.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from model.decoder import position_tables, shipped_decoder
from model.encoder_backbone import TOKENIZER_FILE, package_content

if TYPE_CHECKING:
    import onnx

STATE_WIDTH = 288
VOCABULARY = 32_768
BEGIN, END = 1, 2  # tokens
FIRST_TEXT = 3  # those before it are no text
NO_TEXT = b"<<ST_"  # nor are those that begin so
SPACE = "\N{LOWER ONE EIGHTH BLOCK}".encode()  # begins a token that begins a word
NEXT_WORD = (SPACE, b".", b",", b"!", b"?", b";", b":")  # begin a token before which a word is complete
SPELLINGS_A_FORM = 2  # with and without capitals, that is
MOST_WRITTEN = 20  # tokens that the decoder writes; the audio holds two or three seconds
LATER_COST = 2.0  # nats that it costs the phrase to follow other words: what is wanted is seldom said so
LEAST_LOG_PROBABILITY = -20.0  # a rescoring of 0; a phrase that is certain has 1
LEAST_MARGIN, MOST_MARGIN = -12.0, 4.0


def token_texts(content: bytes) -> list[bytes]:
    """The text of each token. The file is each token's length and bytes; a length of 128 and more has two bytes, the
    lower seven bits first.
    """
    texts: list[bytes] = []
    at = 0
    while at < len(content):
        length = content[at]
        at += 1
        if length >= 128:
            length += 128 * content[at] - 128
            at += 1
        texts.append(content[at : at + length])
        at += length
    return texts


@cache
def _tokens() -> tuple[bytes, ...]:
    return tuple(token_texts(package_content(TOKENIZER_FILE)))


def spellings(phrase: str) -> tuple[tuple[int, ...], ...]:
    """Sequences of tokens that write a phrase, with and without capitals, the :data:`SPELLINGS_A_FORM` shortest of
    each; none where the tokens cannot write it."""
    number = {text: token for token, text in reversed(list(enumerate(_tokens()))) if token >= FIRST_TEXT}
    words = phrase.split()
    forms = dict.fromkeys(
        " ".join(form) for form in (words, [words[0].capitalize(), *words[1:]], [word.capitalize() for word in words])
    )
    found = [sequence for form in forms for sequence in _split((" " + form).encode().replace(b" ", SPACE), number)]
    return tuple(dict.fromkeys(found))


def _split(text: bytes, number: dict[bytes, int]) -> list[tuple[int, ...]]:
    """The :data:`SPELLINGS_A_FORM` shortest sequences of tokens that write a text, the shortest first."""
    # Of each beginning of the text the shortest ways to write it: what follows does not depend on them.
    ways: list[list[tuple[int, ...]]] = [[()]]
    longest = max(map(len, number), default=0)
    size = {token: len(piece) for piece, token in number.items()}
    for end in range(1, len(text) + 1):
        found = [
            (*way, number[text[start:end]])
            for start in range(max(0, end - longest), end)
            if text[start:end] in number
            for way in ways[start]
        ]
        # Of those as short, the ones that begin with long tokens.
        found.sort(key=lambda way: (len(way), [-size[token] for token in way]))
        ways.append(found[:SPELLINGS_A_FORM])
    return ways[len(text)]


def decoder_weights() -> list[onnx.TensorProto]:
    """The decoder's weights and other constants."""
    return list(shipped_decoder().weights)


class _Nodes:
    """Nodes that are being put together, and their constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, value: object, kind: Any = np.int64) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def decode(self, prefix: str, ids: str, place: str) -> str:
        """Log-probabilities of the next token by the decoder [n, positions, tokens], from position ``place`` on.

        The keys and values of the states are there already (:attr:`model.decoder.Decoder.of_states`).
        """
        from onnx import NodeProto

        decoder = shipped_decoder()
        given = {"input_ids": ids}
        made = {output for node in decoder.of_tokens for output in node.output}

        def copied(original: onnx.NodeProto) -> None:
            node = NodeProto()
            node.CopyFrom(original)
            for side in (node.input, node.output):
                side[:] = [given.get(n, prefix + n if n in made else n) for n in side]
            self.nodes.append(node)

        for original in decoder.of_tokens:
            copied(original)
        given["normalized"] = self.add("Slice", [f"{prefix}normalized", place, "end", "second"], f"{prefix}wanted")
        given["logits"] = f"{prefix}logits"
        copied(decoder.of_output)
        return self.add("LogSoftmax", [f"{prefix}logits"], f"{prefix}log_p", axis=-1)


def rescoring_graph(sequences: tuple[tuple[int, ...], ...]) -> onnx.ModelProto:
    """``states`` [1, time, 288] to ``rescoring`` [1, 1]: 1 where the phrase is certain, 0 where its probability is that
    of :data:`LEAST_LOG_PROBABILITY` or less; and to ``evidence`` [1, 3] for a verifier: the logarithm of that
    probability, the least margin of its tokens over the most probable other one (in the spelling where that is
    greatest), and 1 where other words come first.

    Args:
        sequences: of tokens that write the phrase (:func:`spellings`); its probability is the sum of theirs.
    """
    from onnx import TensorProto, helper

    complete = np.full(VOCABULARY, -1e9, np.float32)  # 0 for what may follow when the last word is complete
    complete[[END, *(token for token, text in enumerate(_tokens()) if text.startswith(NEXT_WORD))]] = 0.0
    count, longest = len(sequences), max(map(len, sequences))
    tokens = np.full((count, longest), END, np.int64)
    said = np.zeros((count, longest, 1), np.float32)
    over = np.zeros((count, longest + 1), np.float32)
    for row, sequence in enumerate(sequences):
        tokens[row, : len(sequence)] = sequence
        said[row, : len(sequence)] = 1.0
        over[row, len(sequence)] = 1.0

    made = _Nodes()
    for name, value in {
        "begin": [[BEGIN]],
        "most": MOST_WRITTEN,
        "firsts": sorted({sequence[0] for sequence in sequences}),
        "last": [-1],
        "end": [2**31],
        "start": [0],
        "one": [1],
        "one_s": 1,
        "second": [1],
        "stop": END,
        "tokens": tokens,
        "tokens_3": tokens[:, :, None],
        "many": [count, 1],
        "single": [1, 1],
    }.items():  # fmt: skip
        made.constant(name, value)
    made.constant("going", True, np.bool_)
    for name, value in {
        "complete": complete,
        "said": said,
        "over": over,
        "not_said": 1e4 * (1 - said),
        "never": np.full((count, longest, 1), -1e9),
        "least_p": LEAST_LOG_PROBABILITY,
        "least_margin": LEAST_MARGIN,
        "most_margin": MOST_MARGIN,
        "later": LATER_COST,
        "least": -LATER_COST,
        "zero_f": [0.0],
        "range": -LEAST_LOG_PROBABILITY,
        "low": 0.0,
        "high": 1.0,
    }.items():  # fmt: skip
        made.constant(name, value, np.float32)

    decoder = shipped_decoder()
    tables, values = position_tables(1 + MOST_WRITTEN + longest)
    made.nodes += [helper.make_node("Identity", ["states"], ["encoder_hidden_states"]), *tables, *decoder.of_states]
    for name, table in values.items():
        made.constant(name, table, table.dtype)

    write = _Nodes()
    log_p = write.decode("write/", "ids", "last")
    write.add("Gather", [log_p, "firsts"], "first_p", axis=2)
    write.add("ReduceLogSumExp", ["first_p"], "fits", keepdims=0)
    write.add("ArgMax", [log_p], "token", axis=2, keepdims=0)
    write.add("Concat", ["ids", "token"], "ids_after", axis=1)
    write.add("Equal", ["token", "stop"], "stops")
    # Nothing is better than what fits at the beginning for less than what a later place costs at the least.
    write.add("Less", ["number", "one_s"], "at_first")
    write.add("GreaterOrEqual", ["fits", "least"], "fits_well")
    write.add("And", ["at_first", "fits_well"], "is_found")
    write.add("Or", ["stops", "is_found"], "ends")
    write.add("Not", ["ends"], "goes")
    write.add("Squeeze", ["goes"], "going_after")
    body = helper.make_graph(
        write.nodes,
        "write",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("going_before", TensorProto.BOOL, []),
            helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "length"]),
        ],
        [
            helper.make_tensor_value_info("going_after", TensorProto.BOOL, []),
            helper.make_tensor_value_info("ids_after", TensorProto.INT64, [1, "longer"]),
            helper.make_tensor_value_info("fits", TensorProto.FLOAT, []),
        ],
    )
    made.nodes.append(helper.make_node("Loop", ["most", "going", "begin"], ["written", "fit"], body=body))
    # Where in what was written the phrase begins: at its beginning, or, at a cost, after some tokens.
    made.add("Slice", ["fit", "one", "end", "start"], "fit_later")
    made.add("Slice", ["fit", "start", "one", "start"], "fit_first")
    made.add("Sub", ["fit_later", "later"], "fit_less")
    made.add("Concat", ["fit_first", "fit_less"], "fit_all", axis=0)
    made.add("ArgMax", ["fit_all"], "place", axis=0, keepdims=1)
    made.add("Add", ["place", "one"], "place_after")
    made.add("Slice", ["written", "start", "place_after", "second"], "before")
    made.add("Expand", ["before", "many"], "before_all")
    made.add("Concat", ["before_all", "tokens"], "asked", axis=1)
    log_p = made.decode("ask/", "asked", "place")
    made.add(
        "GatherElements",
        [made.add("Slice", [log_p, "start", "last", "second"], "but_last"), "tokens_3"],
        "each",
        axis=2,
    )
    made.add("ScatterElements", ["but_last", "tokens_3", "never"], "others", axis=2)
    made.add("ReduceMax", ["others", made.constant("third", [2])], "rival")
    made.add("Sub", ["each", "rival"], "margins")
    made.add("Add", ["margins", "not_said"], "margins_said")
    made.add("ReduceMin", ["margins_said", made.constant("both", [1, 2])], "margin_each", keepdims=0)
    made.add("ReduceMax", ["margin_each"], "margin_best", keepdims=0)
    made.add("Clip", ["margin_best", "least_margin", "most_margin"], "margin")
    made.add("Mul", ["each", "said"], "each_said")
    made.add("ReduceSum", ["each_said", "both"], "sequence_p", keepdims=0)
    made.add("Add", [log_p, "complete"], "complete_p")
    made.add("ReduceLogSumExp", ["complete_p", "third"], "complete_at", keepdims=0)
    made.add("Mul", ["complete_at", "over"], "complete_over")
    made.add("ReduceSum", ["complete_over", "one"], "complete_sequence", keepdims=0)
    made.add("Add", ["sequence_p", "complete_sequence"], "total_each")
    made.add("ReduceLogSumExp", ["total_each"], "total", keepdims=0)
    made.add("Greater", ["place", "start"], "is_later")
    made.add("Where", ["is_later", "later", "zero_f"], "cost")
    made.add("Sub", ["total", "cost"], "log_probability")
    made.add("Div", ["log_probability", "range"], "share")
    made.add("Add", ["share", "high"], "shifted")
    made.add("Clip", ["shifted", "low", "high"], "clipped")
    made.add("Reshape", ["clipped", "single"], "rescoring")
    made.add("Max", ["log_probability", "least_p"], "probable")
    made.add("Cast", ["is_later"], "later_f", to=TensorProto.FLOAT)
    columns = [made.add("Reshape", [name, "single"], f"{name}_1") for name in ("probable", "margin", "later_f")]
    made.add("Concat", columns, "evidence", axis=1)
    graph = helper.make_graph(
        made.nodes,
        "rescoring",
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, [1, "time", STATE_WIDTH])],
        [
            helper.make_tensor_value_info("rescoring", TensorProto.FLOAT, [1, 1]),
            helper.make_tensor_value_info("evidence", TensorProto.FLOAT, [1, 3]),
        ],
        [*made.constants, *decoder.weights],
    )
    return helper.make_model(graph, opset_imports=list(decoder.model.opset_import), ir_version=decoder.model.ir_version)
