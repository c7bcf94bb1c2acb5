"""The public speech embedding (Google, Apache-2.0), from which the training of a backbone starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.standard.backbone import EmbeddingBackbone


@torch.no_grad()
def with_public_embedding(backbone: EmbeddingBackbone) -> EmbeddingBackbone:
    """Copy the public speech embedding's mel filters and convolutions into a backbone.

    Raises:
        ImportError: the package pyopen-wakeword is not installed.
    """
    import tflite

    backbone.filterbank.copy_(_constants("melspectrogram.tflite", tflite.BuiltinOperator.BATCH_MATMUL)[0])
    for convolution, (kernel, bias) in zip(backbone.convs, public_convolutions()):
        assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
        convolution.weight.copy_(kernel)
        convolution.bias.copy_(bias)
    return backbone


def public_convolutions() -> list[tuple[Tensor, Tensor]]:
    """Return the public speech embedding's kernels [after, before, frames, bands] and biases [after].

    Raises ImportError if pyopen-wakeword is not installed.
    """
    import tflite

    weights = _constants("embedding_model.tflite", tflite.BuiltinOperator.CONV_2D)
    return [(kernel.permute(0, 3, 1, 2), bias) for kernel, bias in zip(weights[::2], weights[1::2])]


def _constants(name: str, operator: int) -> list[Tensor]:
    """Return the constant inputs of an operator in a TFLite file, in the file's order."""
    import pyopen_wakeword
    import tflite

    file = Path(pyopen_wakeword.__file__).with_name("models") / name
    model = tflite.Model.GetRootAsModel(file.read_bytes(), 0)
    graph = model.Subgraphs(0)
    constants = []
    for step in (graph.Operators(at) for at in range(graph.OperatorsLength())):
        if model.OperatorCodes(step.OpcodeIndex()).BuiltinCode() == operator:
            for tensor in (graph.Tensors(step.Inputs(at)) for at in range(1, step.InputsLength())):
                values = np.frombuffer(model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes(), np.float32)
                constants.append(torch.from_numpy(values.reshape(tensor.ShapeAsNumpy()).copy()))
    return constants
