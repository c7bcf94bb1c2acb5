"""The decoder of Moonshine Tiny (MIT licence, from the package ``moonshine-voice``) as flat ONNX nodes without caches.

The weights, and every operation on them, are those of the package, so its numbers are, too. What is put together anew
is what lies between: the package's graph works out its own shapes, over 600 of its 942 nodes, again for each token
that it writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from model.encoder_backbone import DECODER_FILE, package_model

if TYPE_CHECKING:
    import onnx

HEADS, HEAD_WIDTH = 8, 36
ROTATED = 32  # of the numbers of a head
ROOT = "/model/decoder/"
EMBEDDED = f"{ROOT}embed_tokens/Gather_output_0"


@dataclass(frozen=True)
class Decoder:
    """Attributes:
    of_states: ``encoder_hidden_states`` [1, time, 288] to keys and values of each layer.
    of_tokens: these, ``input_ids`` [n, length] and the tables of :func:`position_tables` to ``normalized``
        [n, length, 288].
    of_output: ``normalized`` to ``logits`` [n, length, tokens].
    weights: and other constants that they read.
    frequencies: of the rotations of a head's numbers, a pair each [16].
    model: the package's own.
    """

    of_states: tuple[onnx.NodeProto, ...]
    of_tokens: tuple[onnx.NodeProto, ...]
    of_output: onnx.NodeProto
    weights: tuple[onnx.TensorProto, ...]
    frequencies: np.ndarray
    model: onnx.ModelProto


@cache
def shipped_decoder() -> Decoder:
    """The decoder of the installed package. Raises HarkError where it is not there, or is another one."""
    from onnx import helper, numpy_helper

    model = package_model(DECODER_FILE)
    either = next(node for node in model.graph.node if node.op_type == "If")
    branch = next(attribute.g for attribute in either.attribute if attribute.name == "else_branch")  # without caches
    nodes = [node for node in model.graph.node if node.op_type != "If"] + list(branch.node)
    tensors = {tensor.name: tensor for tensor in [*model.graph.initializer, *branch.initializer]}
    origin = {output: node for node in nodes for output in node.output}
    of_states: list[onnx.NodeProto] = []
    of_tokens: list[onnx.NodeProto] = []

    def add(to: list[onnx.NodeProto], kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        to.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def again(to: list[onnx.NodeProto], output: str, **replaced: str) -> str:
        """A node of the package's that has this output; ``first`` and ``second`` replace its inputs."""
        node = type(origin[output])()
        node.CopyFrom(origin[output])
        node.name = ""
        for place, name in enumerate(node.input):
            node.input[place] = EMBEDDED if name.startswith(EMBEDDED) else name
        for place, each in enumerate(("first", "second")):
            if each in replaced:
                node.input[place] = replaced[each]
        to.append(node)
        return output

    def heads(to: list[onnx.NodeProto], flat: str, output: str) -> str:
        """[n, length, width] to [n, heads, length, width of a head]"""
        parted = add(to, "Reshape", [flat, "parted"], f"{output}/parted")
        return add(to, "Transpose", [parted], output, perm=[0, 2, 1, 3])

    def rotated(straight: str) -> str:
        """Rotary position embedding; each number's partner is its neighbour."""
        partner = add(of_tokens, "Gather", [straight, "partners"], f"{straight}/partner", axis=3)
        parts = [
            add(of_tokens, "Mul", [straight, "cosines"], f"{straight}/cos"),
            add(of_tokens, "Mul", [partner, "sines"], f"{straight}/sin"),
        ]
        return add(of_tokens, "Add", parts, f"{straight}/rotated")

    def attended(at: str, query: str, key: str, value: str, causal: bool) -> None:
        scores = again(of_tokens, f"{at}MatMul_output_0", first=query, second=key)
        if causal:
            scores = add(of_tokens, "Add", [scores, "causal"], f"{at}masked")
        shares = add(of_tokens, "Softmax", [scores], f"{at}shares", axis=-1)
        found = add(of_tokens, "MatMul", [shares, value], f"{at}found")
        back = add(of_tokens, "Transpose", [found], f"{at}back", perm=[0, 2, 1, 3])
        joined = add(of_tokens, "Reshape", [back, "joined"], f"{at}joined")
        again(of_tokens, f"{at}o_proj/MatMul_output_0", first=joined)

    def quantized(output: str) -> None:
        """The node that gives a projection its input, in 8 bits."""
        again(of_tokens if "self_attn" in output else of_states, origin[output].input[0])

    # The model keeps embeddings and the output layer, which are the same numbers, transposed: one of them is kept.
    output_layer = origin["logits"].input[1]
    table = numpy_helper.to_array(tensors[origin[origin[EMBEDDED].input[0]].input[0]])
    assert np.array_equal(table.T, numpy_helper.to_array(tensors[output_layer])), "the package's digest is checked"
    columns = add(of_tokens, "Gather", [output_layer, "input_ids"], "columns", axis=1)
    embedded = add(of_tokens, "Transpose", [columns], "embedded", perm=[1, 2, 0])
    again(of_tokens, EMBEDDED, first=embedded)
    add(of_tokens, "Shape", ["input_ids"], "length", start=1, end=2)
    add(of_tokens, "Concat", ["length", "length"], "square", axis=0)
    for name in ("cosines", "sines"):
        add(of_tokens, "Slice", [f"all_{name}", "first_place", "length", "first_axis"], name)
    add(of_tokens, "Slice", ["all_causal", "both_places", "square", "both_axes"], "causal")
    layer = 0
    again(of_states, origin[origin[f"{ROOT}layers.0/encoder_attn/k_proj/MatMul_output_0"].input[0]].output[0])
    while f"{ROOT}layers.{layer}/Add_output_0" in origin:
        at = f"{ROOT}layers.{layer}/"
        again(of_tokens, f"{at}input_layernorm/LayerNormalization_output_0")
        quantized(f"{at}self_attn/q_proj/MatMul_output_0")
        query, key, value = (
            heads(of_tokens, again(of_tokens, f"{at}self_attn/{name}_proj/MatMul_output_0"), f"{at}self_attn/{name}")
            for name in "qkv"
        )
        attended(f"{at}self_attn/", rotated(query), rotated(key), value, causal=True)
        again(of_tokens, f"{at}Add_output_0")
        again(of_tokens, f"{at}post_attention_layernorm/LayerNormalization_output_0")
        cross = f"{at}encoder_attn/"
        key, value = (
            heads(of_states, again(of_states, f"{cross}{name}_proj/MatMul_output_0"), f"{cross}{name}") for name in "kv"
        )
        asked = again(of_tokens, f"{cross}q_proj/MatMul_output_0")
        attended(cross, heads(of_tokens, asked, f"{cross}q"), key, value, causal=False)
        again(of_tokens, f"{at}Add_1_output_0")
        again(of_tokens, f"{at}final_layernorm/LayerNormalization_output_0")
        both = again(of_tokens, f"{at}mlp/fc1/Add_output_0")
        up, gate = f"{at}mlp/up", f"{at}mlp/gate"
        of_tokens.append(helper.make_node("Split", [both], [up, gate], axis=-1, num_outputs=2))
        opened = again(of_tokens, f"{at}mlp/activation_fn/Mul_output_0", first=gate)
        again(of_tokens, f"{at}mlp/fc2/Add_output_0", first=add(of_tokens, "Mul", [opened, up], f"{at}mlp/product"))
        again(of_tokens, f"{at}Add_2_output_0")
        layer += 1
    normalized = f"{ROOT}norm/LayerNormalization_output_0"
    again(of_tokens, normalized)
    add(of_tokens, "Identity", [normalized], "normalized")
    last: list[onnx.NodeProto] = []
    again(last, "logits", first="normalized")
    read = {name for node in (*of_states, *of_tokens, *last) for name in node.input}
    weights = tuple(tensor for name, tensor in tensors.items() if name in read)
    frequencies = numpy_helper.to_array(tensors[origin[f"{ROOT}rotary_emb/Expand_output_0"].input[0]]).ravel()
    return Decoder(tuple(of_states), tuple(of_tokens), last[0], weights, frequencies, model)


def position_tables(positions: int) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Nodes and constants of what :attr:`Decoder.of_tokens` reads of up to ``positions`` tokens: rotations of each
    place, and which places each may see."""
    from onnx import helper

    frequencies = shipped_decoder().frequencies
    angles = np.zeros((positions, HEAD_WIDTH), np.float32)
    angles[:, :ROTATED] = np.arange(positions, dtype=np.float32)[:, None] * np.repeat(frequencies, 2)
    numbers = np.arange(HEAD_WIDTH)
    constants = {
        "angles": angles,
        "signs": np.where(numbers % 2, 1, -1).astype(np.float32),
        "partners": numbers ^ 1,
        "all_causal": np.triu(np.full((positions, positions), -np.inf, np.float32), 1),
        "parted": np.asarray([0, 0, HEADS, HEAD_WIDTH]),
        "joined": np.asarray([0, 0, HEADS * HEAD_WIDTH]),
        "first_place": np.zeros(1, np.int64),
        "first_axis": np.zeros(1, np.int64),
        "both_places": np.zeros(2, np.int64),
        "both_axes": np.arange(2),
    }
    nodes = [
        helper.make_node("Cos", ["angles"], ["all_cosines"]),
        helper.make_node("Sin", ["angles"], ["all_sines_unsigned"]),
        helper.make_node("Mul", ["all_sines_unsigned", "signs"], ["all_sines"]),
    ]
    return nodes, constants
