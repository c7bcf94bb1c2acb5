"""A speech encoder that has heard 200,000 hours, with phone outputs of Hark's own, as an ONNX graph.

The encoder is that of Moonshine Tiny (Useful Sensors, MIT licence; Jeffries and others, "Moonshine: Speech Recognition
for Live Transcription and Voice Commands", 2024), as the package ``moonshine-voice`` brings it, in 8 bits. A small
network (:class:`PhoneHead`) makes phone probabilities of its outputs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from core.onnx import session
from model import shipped_weights
from model.encoder_backbone import ENCODER_FILE, EncoderBackbone, package_model
from model.export import write_onnx
from model.phone_head import ENCODER_WIDTH, PhoneHead
from model.phones import PHONE_OUTPUTS

if TYPE_CHECKING:
    import onnx

NAME = "moonshine-tiny-en"
OPSET = 18


def any_time(*names: str) -> dict[str, dict[int, str]]:
    """The second dimension of those inputs and outputs is open, for :func:`to_onnx`."""
    return {name: {1: "time"} for name in names}


@cache
def _encoder() -> onnx.ModelProto:
    """The encoder as ONNX: ``input_values`` [1, samples], ``attention_mask`` [1, samples] to ``last_hidden_state``."""
    model = package_model(ENCODER_FILE)
    del model.graph.value_info[:]
    return model


def encoder_session(threads: int = 1) -> Any:
    """The encoder alone, by onnxruntime: ``input_values`` and ``attention_mask`` [1, samples] to [1, time, 288]."""
    return session(_encoder().SerializeToString(), threads)


def to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    open_axes: Mapping[str, Mapping[int, str]] | None = None,
) -> onnx.ModelProto:
    """A module as ONNX, in the encoder's version of it. ``open_axes``: see :func:`model.export.write_onnx`."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.onnx"
        write_onnx(module, example, path, inputs, outputs, open_axes or {}, OPSET)
        return onnx.load(str(path))


def prefixed(graph: onnx.GraphProto, prefix: str) -> onnx.GraphProto:
    """A copy in which the name of every value begins so, those in loops and branches, too: ``onnx.compose.add_prefix``
    leaves out what these take from around them."""
    from onnx import AttributeProto, GraphProto

    copy = GraphProto()
    copy.CopyFrom(graph)

    def rename(part: onnx.GraphProto) -> None:
        for value in (*part.input, *part.output, *part.initializer, *part.value_info):
            value.name = prefix + value.name
        for node in part.node:
            node.name = node.name and prefix + node.name
            for names in (node.input, node.output):
                names[:] = [name and prefix + name for name in names]
            for attribute in node.attribute:
                if attribute.type == AttributeProto.GRAPH:
                    rename(attribute.g)

    rename(copy)
    return copy


@cache
def window_graph() -> onnx.ModelProto:
    """Encoder and shipped head: ``audio`` [1, samples] to ``probabilities`` [1, time at 24 ms, PHONE_OUTPUTS] and
    ``states`` [1, time at 24 ms, 288]."""
    import onnx
    from onnx import helper

    encoder = _encoder()
    probabilities = nn.Sequential(shipped_head(), nn.Softmax(dim=2)).eval()
    axes = any_time("heard", "probabilities")
    made = to_onnx(probabilities, (torch.zeros(1, 50, ENCODER_WIDTH),), ["heard"], ["probabilities"], axes)
    head = prefixed(made.graph, "head/")
    ones = onnx.numpy_helper.from_array(np.ones(1, np.int64))
    nodes = [
        helper.make_node("Shape", ["audio"], ["audio/shape"]),
        helper.make_node("ConstantOfShape", ["audio/shape"], ["attention_mask"], value=ones),
        helper.make_node("Identity", ["audio"], ["input_values"]),
        *encoder.graph.node,
        helper.make_node("Identity", ["last_hidden_state"], ["head/heard"]),
        *head.node,
        helper.make_node("Identity", ["head/probabilities"], ["probabilities"]),
        helper.make_node("Identity", ["last_hidden_state"], ["states"]),
    ]
    graph = helper.make_graph(
        nodes,
        "window",
        [helper.make_tensor_value_info("audio", onnx.TensorProto.FLOAT, [1, "samples"])],
        [
            helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, [1, "time", PHONE_OUTPUTS]),
            helper.make_tensor_value_info("states", onnx.TensorProto.FLOAT, [1, "time", ENCODER_WIDTH]),
        ],
        [*encoder.graph.initializer, *head.initializer],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=encoder.ir_version)


@cache
def shipped_head() -> PhoneHead:
    """The phone outputs that ship with Hark, in evaluation mode. Raises HarkError where they are missing or damaged."""
    return shipped_weights.shipped_head()[0]


@cache
def loaded_backbone() -> EncoderBackbone:
    """Encoder and shipped head, loaded once a process."""
    return EncoderBackbone(window_graph().SerializeToString())


@cache
def encoder_name() -> str:
    """Of the encoder with the phone outputs that ship with Hark; it changes with their weights."""
    return f"{NAME}+{shipped_weights.weights_digest(shipped_head())}"
