"""A speech encoder trained on 200,000 hours, with Hark's own phone head, as an ONNX graph.

The encoder is that of Moonshine Tiny (Useful Sensors, MIT licence; Jeffries and others, "Moonshine: Speech Recognition
for Live Transcription and Voice Commands", 2024), in 8 bits, from the package ``moonshine-voice``. A small network
(:class:`PhoneHead`) computes phone probabilities from its outputs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from model.export import write_onnx
from model.large.encoder_backbone import ENCODER_FILE, EncoderBackbone, package_model
from model.large.onnx_graph import Nodes, prefixed, tensor
from model.large.phone_head import ENCODER_WIDTH, shipped_head
from model.phones import PHONE_OUTPUTS
from model.weights import weights_digest

if TYPE_CHECKING:
    import onnx

NAME = "moonshine-tiny-en"
OPSET = 18


def any_time(*names: str) -> dict[str, dict[int, str]]:
    """Mark the second dimension of those inputs and outputs as variable, for :func:`to_onnx`."""
    return {name: {1: "time"} for name in names}


def to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    open_axes: Mapping[str, Mapping[int, str]] | None = None,
) -> onnx.ModelProto:
    """Convert a module to ONNX in the encoder's opset. ``open_axes``: see :func:`model.export.write_onnx`."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.onnx"
        write_onnx(module, example, path, inputs, outputs, open_axes or {}, OPSET)
        return onnx.load(str(path))


@cache
def window_graph() -> onnx.ModelProto:
    """Build the encoder with the shipped head: ``audio`` [1, samples] to ``probabilities`` and ``states``.

    ``probabilities`` are [1, time at 24 ms, PHONE_OUTPUTS], ``states`` [1, time at 24 ms, 288].
    """
    from onnx import numpy_helper

    encoder = package_model(ENCODER_FILE)
    probabilities = nn.Sequential(shipped_head()[0], nn.Softmax(dim=2)).eval()
    axes = any_time("heard", "probabilities")
    head = to_onnx(probabilities, (torch.zeros(1, 50, ENCODER_WIDTH),), ["heard"], ["probabilities"], axes)
    graph = Nodes()
    graph.add("Shape", ["audio"], "audio/shape")
    ones = numpy_helper.from_array(np.ones(1, np.int64))
    graph.add("ConstantOfShape", ["audio/shape"], "attention_mask", value=ones)
    graph.copy("audio", "input_values")
    graph.include(encoder.graph)
    graph.copy("last_hidden_state", "head/heard")
    graph.include(prefixed(head.graph, "head/"))
    graph.copy("head/probabilities", "probabilities")
    graph.copy("last_hidden_state", "states")
    outputs = [tensor("probabilities", [1, "time", PHONE_OUTPUTS]), tensor("states", [1, "time", ENCODER_WIDTH])]
    return graph.model("window", [tensor("audio", [1, "samples"])], outputs, encoder)


@cache
def loaded_backbone() -> EncoderBackbone:
    """Return the encoder with the shipped head; loaded once per process."""
    return EncoderBackbone(window_graph().SerializeToString())


@cache
def encoder_name() -> str:
    """Return the name of the encoder with the shipped phone head; it changes with the head's weights."""
    return f"{NAME}+{weights_digest(shipped_head()[0])}"
