"""The decoder of Moonshine Tiny (MIT licence, package ``moonshine-voice``) as a flat ONNX graph without caches.

The weights, every operation on them and the results are those of the package. Only the nodes between the operations are
new: in the package's graph, over 600 of 942 nodes recompute its own shapes for each token.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from model.large.encoder_backbone import DECODER_FILE, package_model
from model.large.onnx_graph import Nodes

if TYPE_CHECKING:
    import onnx

HEADS, HEAD_WIDTH = 8, 36
ROTATED = 32  # dimensions of a head that are rotated
ROOT = "/model/decoder/"
EMBEDDED = f"{ROOT}embed_tokens/Gather_output_0"


@dataclass(frozen=True)
class Decoder:
    """The package's decoder, split into parts of a graph.

    Attributes:
        of_states: maps ``encoder_hidden_states`` [1, time, 288] to each layer's keys and values.
        of_tokens: maps these, ``input_ids`` [n, length] and the tables of :func:`add_position_tables` to ``normalized``
            [n, length, 288].
        of_output: maps ``normalized`` to ``logits`` [n, length, tokens].
        weights: weights and other constants that the nodes read.
        frequencies: rotation frequencies of a head's dimensions, one per pair [16].
        model: the package's original model.
    """

    of_states: tuple[onnx.NodeProto, ...]
    of_tokens: tuple[onnx.NodeProto, ...]
    of_output: onnx.NodeProto
    weights: tuple[onnx.TensorProto, ...]
    frequencies: np.ndarray
    model: onnx.ModelProto


@cache
def shipped_decoder() -> Decoder:
    """Return the installed package's decoder. Raises HarkError if the file is missing or has a different version."""
    parts = _Parts()
    parts.embed()
    parts.again(parts.of_states, parts.origin[f"{ROOT}layers.0/encoder_attn/k_proj/MatMul_output_0"].input[0])
    layer = 0
    while f"{ROOT}layers.{layer}/Add_output_0" in parts.origin:
        at = f"{ROOT}layers.{layer}/"
        parts.attend_to_tokens(at)
        parts.attend_to_states(at)
        parts.feed_forward(at)
        layer += 1
    return parts.decoder()


class _Parts:
    """The package's nodes by their outputs, its weights, and the decoder assembled from them."""

    def __init__(self) -> None:
        self.model = package_model(DECODER_FILE)
        either = next(node for node in self.model.graph.node if node.op_type == "If")
        branch = next(each.g for each in either.attribute if each.name == "else_branch")  # the branch without caches
        nodes = [node for node in self.model.graph.node if node.op_type != "If"] + list(branch.node)
        self.tensors = {tensor.name: tensor for tensor in [*self.model.graph.initializer, *branch.initializer]}
        self.origin = {output: node for node in nodes for output in node.output}
        self.of_states, self.of_tokens = Nodes(), Nodes()

    def again(self, to: Nodes, output: str, *inputs: str) -> str:
        """Copy the package's node that computes ``output``, with ``inputs`` in place of its first inputs."""
        node = type(self.origin[output])()
        node.CopyFrom(self.origin[output])
        node.name = ""
        for place, name in enumerate(node.input):
            node.input[place] = EMBEDDED if name.startswith(EMBEDDED) else name
        node.input[: len(inputs)] = inputs
        to.nodes.append(node)
        return output

    def embed(self) -> None:
        """Add the token embeddings, and slices of the position tables of the tokens' length.

        The package stores the same numbers twice, as embeddings and, transposed, as the output layer. One copy is used.
        """
        from onnx import numpy_helper

        output_layer = self.origin["logits"].input[1]
        table = self.tensors[self.origin[self.origin[EMBEDDED].input[0]].input[0]]
        transposed, stored = numpy_helper.to_array(table).T, numpy_helper.to_array(self.tensors[output_layer])
        assert np.array_equal(transposed, stored), "the package's digest is checked"
        add = self.of_tokens.add
        columns = add("Gather", [output_layer, "input_ids"], "columns", axis=1)
        self.again(self.of_tokens, EMBEDDED, add("Transpose", [columns], "embedded", perm=[1, 2, 0]))
        add("Shape", ["input_ids"], "length", start=1, end=2)
        add("Concat", ["length", "length"], "square", axis=0)
        for name in ("cosines", "sines"):
            add("Slice", [f"all_{name}", "first_place", "length", "first_axis"], name)
        add("Slice", ["all_causal", "both_places", "square", "both_axes"], "causal")

    def attend_to_tokens(self, at: str) -> None:
        """Add the self-attention of the layer ``at``."""
        tokens = self.of_tokens
        self.again(tokens, f"{at}input_layernorm/LayerNormalization_output_0")
        self.again(tokens, self.origin[f"{at}self_attn/q_proj/MatMul_output_0"].input[0])  # 8-bit
        query, key, value = (self._heads(tokens, f"{at}self_attn/", name) for name in "qkv")
        self._attend(f"{at}self_attn/", self._rotated(query), self._rotated(key), value, causal=True)
        self.again(tokens, f"{at}Add_output_0")

    def attend_to_states(self, at: str) -> None:
        """Add the attention of the layer ``at`` to the encoder's states."""
        self.again(self.of_tokens, f"{at}post_attention_layernorm/LayerNormalization_output_0")
        key, value = (self._heads(self.of_states, f"{at}encoder_attn/", name) for name in "kv")
        query = self._heads(self.of_tokens, f"{at}encoder_attn/", "q")
        self._attend(f"{at}encoder_attn/", query, key, value, causal=False)
        self.again(self.of_tokens, f"{at}Add_1_output_0")

    def feed_forward(self, at: str) -> None:
        """Add the gated feed-forward block of the layer ``at``."""
        tokens = self.of_tokens
        self.again(tokens, f"{at}final_layernorm/LayerNormalization_output_0")
        both = self.again(tokens, f"{at}mlp/fc1/Add_output_0")
        up, gate = f"{at}mlp/up", f"{at}mlp/gate"
        tokens.add("Split", [both], up, gate, axis=-1, num_outputs=2)
        opened = self.again(tokens, f"{at}mlp/activation_fn/Mul_output_0", gate)
        self.again(tokens, f"{at}mlp/fc2/Add_output_0", tokens.add("Mul", [opened, up], f"{at}mlp/product"))
        self.again(tokens, f"{at}Add_2_output_0")

    def _heads(self, to: Nodes, at: str, name: str) -> str:
        """Add a projection that maps [n, length, width] to [n, heads, length, width of a head]."""
        flat = self.again(to, f"{at}{name}_proj/MatMul_output_0")
        parted = to.add("Reshape", [flat, "parted"], f"{at}{name}/parted")
        return to.add("Transpose", [parted], f"{at}{name}", perm=[0, 2, 1, 3])

    def _rotated(self, straight: str) -> str:
        """Add the rotary position embedding, which pairs neighbouring dimensions."""
        add = self.of_tokens.add
        partner = add("Gather", [straight, "partners"], f"{straight}/partner", axis=3)
        turned = add("Mul", [straight, "cosines"], f"{straight}/cos"), add("Mul", [partner, "sines"], f"{straight}/sin")
        return add("Add", turned, f"{straight}/rotated")

    def _attend(self, at: str, query: str, key: str, value: str, causal: bool) -> None:
        add = self.of_tokens.add
        scores = self.again(self.of_tokens, f"{at}MatMul_output_0", query, key)
        if causal:
            scores = add("Add", [scores, "causal"], f"{at}masked")
        context = add("MatMul", [add("Softmax", [scores], f"{at}shares", axis=-1), value], f"{at}found")
        joined = add("Reshape", [add("Transpose", [context], f"{at}back", perm=[0, 2, 1, 3]), "joined"], f"{at}joined")
        self.again(self.of_tokens, f"{at}o_proj/MatMul_output_0", joined)

    def decoder(self) -> Decoder:
        """Return the assembled decoder, with the output layer and the weights that it reads."""
        from onnx import numpy_helper

        normalized = self.again(self.of_tokens, f"{ROOT}norm/LayerNormalization_output_0")
        self.of_tokens.copy(normalized, "normalized")
        last = Nodes()
        self.again(last, "logits", "normalized")
        states, tokens, output = (tuple(part.nodes) for part in (self.of_states, self.of_tokens, last))
        read = {name for node in (*states, *tokens, *output) for name in node.input}
        weights = tuple(tensor for name, tensor in self.tensors.items() if name in read)
        rotations = self.tensors[self.origin[f"{ROOT}rotary_emb/Expand_output_0"].input[0]]
        return Decoder(states, tokens, output[0], weights, numpy_helper.to_array(rotations).ravel(), self.model)


def add_position_tables(graph: Nodes, positions: int) -> None:
    """Add the tables that :attr:`Decoder.of_tokens` reads for up to ``positions`` tokens: rotations and causal mask."""
    angles = np.zeros((positions, HEAD_WIDTH), np.float32)
    angles[:, :ROTATED] = np.arange(positions, dtype=np.float32)[:, None] * np.repeat(shipped_decoder().frequencies, 2)
    numbers = np.arange(HEAD_WIDTH)
    graph.constants(
        {
            "angles": angles,
            "signs": np.where(numbers % 2, 1, -1).astype(np.float32),
            "partners": numbers ^ 1,
            "all_causal": np.triu(np.full((positions, positions), -np.inf, np.float32), 1),
            "parted": [0, 0, HEADS, HEAD_WIDTH],
            "joined": [0, 0, HEADS * HEAD_WIDTH],
            "first_place": [0],
            "first_axis": [0],
            "both_places": [0, 0],
            "both_axes": [0, 1],
        }
    )
    graph.add("Cos", ["angles"], "all_cosines")
    graph.add("Sin", ["angles"], "all_sines_unsigned")
    graph.add("Mul", ["all_sines_unsigned", "signs"], "all_sines")
