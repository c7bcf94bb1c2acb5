"""A head in openWakeWord's contract: a window of 16 speech embeddings of 96 numbers to a probability, in a TFLite file
that Home Assistant's add-on and every other user of openWakeWord loads."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import tflite
import torch
from torch import Tensor, nn

from model.devices.tflite_file import TFLiteFile

WINDOW = 16  # embeddings, one every 80 ms
EMBEDDING = 96  # numbers
WIDTHS = (128, 64)


class OpenWakeWordHead(nn.Module):
    """A perceptron with two hidden layers on a window of the public speech embedding.

    Args:
        widths: of the hidden layers.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        sizes = (WINDOW * EMBEDDING, *widths, 1)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))

    def forward(self, windows: Tensor) -> Tensor:
        """Windows [batch, WINDOW, EMBEDDING] to logits [batch]."""
        heard = windows.flatten(1)
        for layer in self.layers[:-1]:
            heard = torch.relu(layer(heard))
        logits: Tensor = self.layers[-1](heard)[:, 0]
        return logits

    @torch.no_grad()
    def tflite(self, threshold: float = 0.0) -> bytes:
        """The TFLite file: float32 [1, WINDOW, EMBEDDING] to a probability [1, 1].

        Args:
            threshold: the logit that gets the probability 0.5, which is where openWakeWord's users detect.
        """
        made = TFLiteFile("openWakeWord head by Hark")
        graph = made.graph("main")
        heard = graph.tensor("embeddings", (1, WINDOW, EMBEDDING), "float32")
        graph.inputs = (heard,)
        flat = graph.tensor("flat", (1, WINDOW * EMBEDDING), "float32")
        shape = graph.constant("flat/shape", np.asarray([1, WINDOW * EMBEDDING], np.int32))
        graph.add("RESHAPE", (heard, shape), (flat,), "ReshapeOptions")
        heard = flat
        for number, layer in enumerate(self.layers):
            last = number == len(self.layers) - 1
            assert isinstance(layer, nn.Linear)
            bias = layer.bias.numpy() - np.float32(threshold if last else 0.0)
            weights = graph.constant(f"layer{number}/weight", layer.weight.numpy())
            biases = graph.constant(f"layer{number}/bias", bias)
            made_here = graph.tensor(f"layer{number}", (1, layer.out_features), "float32")
            activation = tflite.ActivationFunctionType.NONE if last else tflite.ActivationFunctionType.RELU
            graph.add(
                "FULLY_CONNECTED", (heard, weights, biases), (made_here,), "FullyConnectedOptions",
                FusedActivationFunction=activation,
            )  # fmt: skip
            heard = made_here
        probability = graph.tensor("probability", (1, 1), "float32")
        graph.add("LOGISTIC", (heard,), (probability,))
        graph.outputs = (probability,)
        return made.to_bytes()
