"""A network for microcontrollers in microWakeWord's format, which ESPHome's ``micro_wake_word`` loads.

It maps 40 features per 10 ms, three frames at a time, to a probability, all in 8 bits; variables of the file hold its
state. It is trained as :class:`MicroNetwork` in floating point with batch normalization, first on real speech
(:mod:`lab.weights.micro_student`, the shipped weights), then on the phrase, and finally as
:class:`QuantizedMicroNetwork`, which computes with the file's 8-bit values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.plain import from_plain
from model.weights import SHIPPED, StoredNetwork, load_weights

if TYPE_CHECKING:
    from model.devices.tflite_file import Graph, Quantization

MICRO_NETWORK = "micro-network.safetensors"
FEATURES = 40
STRIDE = 3  # frames of 10 ms per step of the network
FEATURE_SCALE, FEATURE_ZERO = float(np.float32(26 / 255)), -128  # features are between 0 and 26
LEVELS = 255
OUTPUT_SCALE = 1 / 256
RANGE_SHARE = 0.02  # weight of a new batch in a layer's running range


@dataclass(frozen=True)
class MicroShape:
    """Sizes of the network.

    Attributes:
        first_kernel: frames of 10 ms that the first convolution spans.
        channels: channels of the first convolution and of each following block.
        kernels: steps of 30 ms that the depthwise convolution of each block spans.
        last_kernel: steps that the last layer spans.
    """

    first_kernel: int = 5
    channels: tuple[int, ...] = (48, 80, 80, 80, 48)
    kernels: tuple[int, ...] = (5, 9, 13, 21)
    last_kernel: int = 5

    @property
    def steps(self) -> int:
        return 1 + sum(kernel - 1 for kernel in (*self.kernels, self.last_kernel))


def _convolutions(shape: MicroShape) -> list[nn.Conv1d]:
    """Return the layers in order: the first, a depthwise and a pointwise one per block, and the last."""
    first, *others = shape.channels
    layers = [nn.Conv1d(FEATURES, first, shape.first_kernel, stride=STRIDE)]
    before = first
    for channels, kernel in zip(others, shape.kernels, strict=True):
        layers += [nn.Conv1d(before, before, kernel, groups=before), nn.Conv1d(before, channels, 1)]
        before = channels
    return [*layers, nn.Conv1d(before, 1, shape.last_kernel)]


def _before(layer: nn.Conv1d) -> int:
    return layer.kernel_size[0] - layer.stride[0]


def _is_depthwise(layer: nn.Conv1d) -> bool:
    return layer.groups > 1


class _Convolutions(StoredNetwork):
    """The layers of both networks. All are causal."""

    def __init__(self, shape: MicroShape | None = None) -> None:
        super().__init__()
        self.config = shape or MicroShape()
        self.convolutions = _convolutions(self.config)
        self.layers = nn.ModuleList(self.convolutions)

    @classmethod
    def of_config(cls, values: dict[str, Any]) -> Self:
        return cls(from_plain(MicroShape, values))

    def _is_last(self, number: int) -> bool:
        return number == len(self.convolutions) - 1

    def _rectified(self, number: int) -> bool:
        """Return whether a ReLU follows a layer: all layers except depthwise ones and the last."""
        return not _is_depthwise(self.convolutions[number]) and not self._is_last(number)


class MicroNetwork(_Convolutions):
    """The network in floating point; batch normalization precedes every ReLU."""

    def __init__(self, shape: MicroShape | None = None) -> None:
        super().__init__(shape)
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(layer.out_channels) if self._rectified(number) else nn.Identity()
            for number, layer in enumerate(self.convolutions)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Map features [batch, time, FEATURES], from 0 to 26, to logits [batch, time / STRIDE]."""
        last = self.convolutions[-1]
        logits: Tensor = last(functional.pad(self.hidden(frames), (_before(last), 0)))
        return logits[:, 0]

    def hidden(self, frames: Tensor) -> Tensor:
        """Map features [batch, time, FEATURES] to the input of the last layer [batch, channels, time / STRIDE]."""
        x = frames.transpose(1, 2)
        for number, (layer, norm) in enumerate(zip(self.convolutions[:-1], self.norms)):
            x = norm(layer(functional.pad(x, (_before(layer), 0))))
            if self._rectified(number):
                x = torch.relu(x)
        return x

    @torch.no_grad()
    def quantized(self, frames: Tensor) -> QuantizedMicroNetwork:
        """Return the network in 8 bits, with batch normalization folded into the weights.

        ``frames`` [batch, time, FEATURES] set the initial ranges of its layers.
        """
        network = QuantizedMicroNetwork(self.config)
        for layer, norm, into in zip(self.convolutions, self.norms, network.convolutions):
            assert layer.bias is not None and into.bias is not None
            weight, bias = layer.weight, layer.bias
            if isinstance(norm, nn.BatchNorm1d):
                assert norm.running_mean is not None and norm.running_var is not None
                gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                weight, bias = weight * gain[:, None, None], (bias - norm.running_mean) * gain + norm.bias
            into.weight.copy_(weight)
            into.bias.copy_(bias)
        network.train()
        network(frames)
        return network.eval()


class QuantizedMicroNetwork(_Convolutions):
    """The network with all weights and activations rounded to the file's 8 bits (quantization-aware training).

    As in Jacob et al. 2018, gradients pass through the rounding. In training, ranges follow the layers' outputs.
    """

    def __init__(self, shape: MicroShape | None = None) -> None:
        super().__init__(shape)
        # The lowest and the highest output of each layer.
        self.ranges: Tensor
        self.register_buffer("ranges", torch.zeros(len(self.convolutions), 2))

    def forward(self, frames: Tensor) -> Tensor:
        """Map features [batch, time, FEATURES], from 0 to 26, to logits [batch, time / STRIDE]."""
        scale, zero = FEATURE_SCALE, FEATURE_ZERO
        x = torch.fake_quantize_per_tensor_affine(frames.transpose(1, 2), scale, zero, -128, 127)
        for number, layer in enumerate(self.convolutions):
            weight, bias = self._rounded(layer, scale)
            x = functional.conv1d(
                functional.pad(x, (_before(layer), 0)), weight, bias, layer.stride, groups=layer.groups
            )
            if self._rectified(number):
                x = torch.relu(x)
            if self.training:
                self._follow(number, x)
            scale, zero = self._scale(number)
            x = torch.fake_quantize_per_tensor_affine(x, scale, zero, -128, 127)
        return x[:, 0]

    @torch.no_grad()
    def device_logits(self, frames: Tensor) -> Tensor:
        """Map features [batch, time, FEATURES] to logits [batch, time / STRIDE] in integers, as the file does.

        The arithmetic is exactly that of TFLite's reference kernels, which microcontrollers use.
        """
        scale, zero = FEATURE_SCALE, FEATURE_ZERO
        # Values are relative to the zero point, so that padding is 0.
        x = (torch.round(frames.transpose(1, 2).double() / scale) + zero).clamp(-128, 127) - zero
        for number, layer in enumerate(self.convolutions):
            weight, bias, steps = self._integers(layer, scale)
            # Floats represent integers below 2^53 exactly.
            total = functional.conv1d(
                functional.pad(x, (_before(layer), 0)), weight.double(), bias.double(), layer.stride, 0, 1,
                layer.groups,
            )  # fmt: skip
            gives, zero = self._scale(number)
            # TFLite multiplies the two scales of a fully connected layer in single precision.
            both = (steps * scale).double() if self._is_last(number) else steps.double() * scale
            x = _requantized(total.long(), both / gives)
            lowest = 0 if self._rectified(number) else -128 - zero
            x = x.clamp(lowest, 127 - zero).double()
            scale = gives
        return (x * scale).float()[:, 0]

    @torch.no_grad()
    def _follow(self, number: int, values: Tensor) -> None:
        seen = torch.stack([values.amin().clamp(max=0.0), values.amax().clamp(min=1e-3)])
        known = self.ranges[number]
        share = RANGE_SHARE if bool(known.any()) else 1.0
        self.ranges[number] = known + share * (seen - known)

    @property
    def logit_step(self) -> float:
        """The difference between two neighbouring 8-bit logits."""
        return self._scale(len(self.convolutions) - 1)[0]

    def _scale(self, number: int) -> tuple[float, int]:
        """Return scale and zero point of a layer's output; 0 is exactly representable."""
        low, high = self.ranges[number].tolist()
        scale = float(np.float32((high - low) / LEVELS))
        return scale, round(-128 - low / scale)

    def _weight_scale(self, layer: nn.Conv1d) -> Tensor:
        """Return one scale per output channel. The last layer, fully connected in the file, has one channel."""
        largest = layer.weight.detach().abs().amax(dim=(1, 2))
        return (largest / 127).clamp(min=1e-8)

    def _rounded(self, layer: nn.Conv1d, input_scale: float) -> tuple[Tensor, Tensor]:
        """Return weights and bias rounded as in the file; gradients pass through."""
        scale = self._weight_scale(layer)
        zeros = torch.zeros(len(scale), dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(layer.weight, scale, zeros, 0, -127, 127)
        assert layer.bias is not None
        step = scale * input_scale
        bias = layer.bias
        return weight, bias + (torch.round(bias / step) * step - bias).detach()

    def _integers(self, layer: nn.Conv1d, input_scale: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return integer weights, integer bias, and one scale of the weights per output channel."""
        scale = self._weight_scale(layer)
        assert layer.bias is not None
        weight = torch.round(layer.weight / scale[:, None, None]).clamp(-127, 127)
        return weight.to(torch.int8), torch.round(layer.bias / (scale * input_scale)).to(torch.int32), scale

    @torch.no_grad()
    def tflite(self) -> bytes:
        """Return the TFLite file: int8 [1, STRIDE, FEATURES] to uint8 [1, 1], which is 256 times the probability."""
        from model.devices.tflite_file import Quantization, TFLiteFile

        file = TFLiteFile("microWakeWord network by Hark")
        graph, beginning = file.graph("main"), file.graph("beginning")
        known = Quantization((FEATURE_SCALE,), FEATURE_ZERO)
        value = graph.tensor("features", (1, STRIDE, FEATURES), "int8", known)
        graph.inputs = (value,)
        graph.add("CALL_ONCE", (), (), "CallOnceOptions", InitSubgraphIndex=1)
        value = _reshaped(graph, "frames", value, (1, STRIDE, 1, FEATURES), known)
        frames = STRIDE
        for number, layer in enumerate(self.convolutions):
            if before := _before(layer):
                value = _remembered(graph, beginning, number, value, (before, frames, layer.in_channels), known)
            value, known = self._written(graph, number, layer, value, known)
            frames = 1
        probability = Quantization((OUTPUT_SCALE,), -128)
        signed = graph.tensor("probability/signed", (1, 1), "int8", probability)
        graph.add("LOGISTIC", (value,), (signed,), version=2)
        unsigned = graph.tensor("probability", (1, 1), "uint8", Quantization((OUTPUT_SCALE,), 0))
        graph.add("QUANTIZE", (signed,), (unsigned,), "QuantizeOptions")
        graph.outputs = (unsigned,)
        return file.to_bytes()

    def _written(
        self, graph: Graph, number: int, layer: nn.Conv1d, value: int, known: Quantization
    ) -> tuple[int, Quantization]:
        """Add a layer's operation on ``value``; return its output and the output's quantization."""
        import tflite

        from model.devices.tflite_file import Quantization

        scale, zero = self._scale(number)
        gives = Quantization((scale,), zero)
        integers, bias, steps = self._integers(layer, known.scale[0])
        weight = integers.numpy().transpose(0, 2, 1)[:, :, None]  # [out, time, 1, in]
        biases = bias.numpy()
        name = f"layer{number}"
        step_sizes = tuple(steps.tolist())
        in_bias = Quantization(tuple((steps * known.scale[0]).tolist()))
        relu = tflite.ActivationFunctionType.RELU if self._rectified(number) else tflite.ActivationFunctionType.NONE
        common = {"FusedActivationFunction": relu}

        def constants(weight: np.ndarray, axis: int = 0) -> tuple[int, int]:
            return (
                graph.constant(f"{name}/weight", weight, Quantization(step_sizes, 0, axis)),
                graph.constant(f"{name}/bias", biases, in_bias),
            )

        if self._is_last(number):
            flat = layer.kernel_size[0] * layer.in_channels
            value = _reshaped(graph, f"{name}/flat", value, (1, flat), known)
            given = (value, *constants(weight.reshape(1, flat)))
            output = graph.tensor(name, (1, 1), "int8", gives)
            graph.add("FULLY_CONNECTED", given, (output,), "FullyConnectedOptions", version=4, **common)
            return output, gives
        output = graph.tensor(name, (1, 1, 1, layer.out_channels), "int8", gives)
        common |= {"Padding": tflite.Padding.VALID, "StrideW": 1, "DilationWFactor": 1, "DilationHFactor": 1}
        if _is_depthwise(layer):
            given = (value, *constants(weight.transpose(3, 1, 2, 0), 3))
            graph.add(
                "DEPTHWISE_CONV_2D", given, (output,), "DepthwiseConv2DOptions", version=3, StrideH=1,
                DepthMultiplier=1, **common,
            )  # fmt: skip
        else:
            given = (value, *constants(weight))
            graph.add("CONV_2D", given, (output,), "Conv2DOptions", version=3, StrideH=layer.stride[0], **common)
        return output, gives


def _requantized(total: Tensor, multiplier: Tensor) -> Tensor:
    """Multiply integers [batch, channels, time] per channel, as TFLite's ``MultiplyByQuantizedMultiplier`` does."""
    mantissa, exponent = torch.frexp(multiplier)
    factor = torch.round(mantissa * 2**31).long()
    carried = factor == 2**31
    factor, exponent = torch.where(carried, factor // 2, factor), exponent.long() + carried
    left, right = exponent.clamp(min=0)[:, None], (-exponent).clamp(min=0)[:, None]
    product = (total << left) * factor[:, None]
    nudge = torch.where(product >= 0, 2**30, 1 - 2**30)
    high = torch.div(product + nudge, 2**31, rounding_mode="trunc")
    mask = (torch.ones_like(right) << right) - 1
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0).long()).long()


def _reshaped(graph: Graph, name: str, value: int, shape: tuple[int, ...], known: Quantization) -> int:
    output = graph.tensor(name, shape, "int8", known)
    graph.add(
        "RESHAPE", (value, graph.constant(f"{name}/shape", np.asarray(shape, np.int32))), (output,), "ReshapeOptions"
    )
    return output


def _remembered(
    graph: Graph, beginning: Graph, number: int, value: int, sizes: tuple[int, int, int], known: Quantization
) -> int:
    """Prepend a layer's state to its new input, and store the newest part as the next state.

    Args:
        sizes: number of state frames, new frames and channels.
    """
    before, now, channels = sizes
    name = f"layer{number}/past"
    shape = (1, before, 1, channels)
    zeros = beginning.constant(f"{name}/zeros", np.full(shape, known.zero, np.int8), known)
    handle = beginning.tensor(name, (), "resource")
    beginning.add("VAR_HANDLE", (), (handle,), "VarHandleOptions", SharedName=name)
    beginning.add("ASSIGN_VARIABLE", (handle, zeros), (), "AssignVariableOptions")
    handle = graph.tensor(name, (), "resource")
    graph.add("VAR_HANDLE", (), (handle,), "VarHandleOptions", SharedName=name)
    past = graph.tensor(f"{name}/read", shape, "int8", known)
    graph.add("READ_VARIABLE", (handle,), (past,), "ReadVariableOptions")
    both = graph.tensor(f"{name}/both", (1, before + now, 1, channels), "int8", known)
    graph.add("CONCATENATION", (past, value), (both,), "ConcatenationOptions", version=2, Axis=1)
    first, end, step = (
        graph.constant(f"{name}/{part}", np.asarray(values, np.int32))
        for part, values in (("first", (0, now, 0, 0)), ("end", (0, 0, 0, 0)), ("step", (1, 1, 1, 1)))
    )
    newest = graph.tensor(f"{name}/newest", shape, "int8", known)
    graph.add(
        "STRIDED_SLICE", (both, first, end, step), (newest,), "StridedSliceOptions", version=2,
        BeginMask=0b1101, EndMask=0b1111,
    )  # fmt: skip
    graph.add("ASSIGN_VARIABLE", (handle, newest), (), "AssignVariableOptions")
    return both


def shipped_micro_network() -> tuple[MicroNetwork, dict[str, Any]]:
    """Load the network for microcontrollers, without a phrase yet, and its ``about``.

    Raises HarkError if it is missing or damaged.
    """
    return load_weights(SHIPPED / MICRO_NETWORK, MicroNetwork)
