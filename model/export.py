"""Export to ONNX with the log-mel inside and the state as one vector; 8-bit weights; a check that all forms agree."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import HarkError
from core.onnx import session
from model.detector import Detector
from model.features import CHUNK_SAMPLES
from model.runtime.detector import smooth_scores

OPSET = 17  # the first opset with STFT
PARITY_TOLERANCE = 1e-3  # maximum difference in score between .pt, .onnx and streaming
INT8_TOLERANCE = 0.25  # maximum difference in score with 8-bit weights; beyond it, a bundle does not include them
INT8_SHIFT = 1  # scores by which an edge may then move, because rounding can shift it by a 20 ms frame
INT8_MIN_VALUES = 512  # smaller tensors (biases, norms) remain float


class Carried:
    """The parts of a stream's state: those of the last chunk, and those stored for the next one."""

    def __init__(self, state: Tensor, shapes: Sequence[tuple[int, ...]]) -> None:
        sizes = [int(np.prod(shape)) for shape in shapes]
        self.before = [part.view(shape) for part, shape in zip(state.split(sizes, dim=1), shapes)]
        self._after: list[Tensor] = []

    def take(self) -> Tensor:
        """Return the next part of the state; :meth:`keep` stores its successor."""
        return self.before[len(self._after)]

    def keep(self, part: Tensor) -> None:
        self._after.append(part)

    def extended(self, x: Tensor, dim: int) -> Tensor:
        """Prepend the past (the next part of the state) to ``x``, and store as many of the newest values."""
        past = self.take()
        joined = torch.cat([past, x], dim=dim)
        self.keep(joined.narrow(dim, joined.shape[dim] - past.shape[dim], past.shape[dim]))
        return joined

    def state(self) -> Tensor:
        return torch.cat([part.reshape(1, -1) for part in self._after], dim=1)


class Streaming(nn.Module):
    """A detector on a backbone, chunk by chunk: (audio [1, 1280 n], state [1, size]) to (score [1, n], new state).

    The detector must have ``backbone``, ``stream_shapes()`` (its own state in addition to the backbone's) and
    ``stream_logits(outputs, carried)`` (new outputs of the backbone [1, width, time] to logits [1, n]). The flattened
    state holds the audio and layer inputs that the backbone still needs, and the detector's own part. Nothing else is
    carried over, so older audio has no effect.
    """

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector
        self.shapes: list[tuple[int, ...]] = [*detector.backbone.stream_shapes(), *detector.stream_shapes()]
        self.state_size = sum(int(np.prod(shape)) for shape in self.shapes)
        self.eval()

    def forward(self, audio: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        carried = Carried(state, self.shapes)
        outputs = self.detector.backbone.encode(audio, carried).transpose(1, 2)
        logits = self.detector.stream_logits(outputs, carried)
        return torch.sigmoid(logits), carried.state()


def export_streaming(detector: Detector, path: Path) -> int:
    """Write a detector on a backbone, as :meth:`model.detector.Detector.export` specifies; return its state's size."""
    streaming = Streaming(detector)
    write_streaming(streaming, streaming.state_size, path)
    return streaming.state_size


def write_streaming(streaming: nn.Module, state_size: int, path: Path) -> None:
    """Write a module that maps audio [1, 1280 n] and state [1, ``state_size``] to scores [1, n] and the next state."""
    write_onnx(
        streaming,
        (torch.zeros(1, 3 * CHUNK_SAMPLES), torch.zeros(1, state_size)),
        path,
        ("audio", "state"),
        ("score", "new_state"),
        {"audio": {1: "samples"}, "score": {1: "chunks"}},
    )


def write_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    open_axes: Mapping[str, Mapping[int, str]],
    opset: int = OPSET,
) -> None:
    """Write a module as ONNX. ``open_axes`` are the variable dimensions, by name and index."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The newer exporter fixes the number of chunks; this one leaves it variable.
        torch.onnx.export(
            module, example, str(path), input_names=list(inputs), output_names=list(outputs),
            dynamic_axes=open_axes, opset_version=opset, dynamo=False,
        )  # fmt: skip


class Call(nn.Module):
    """Wraps a function of a module as a module, for the exporter."""

    def __init__(self, owner: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.owner, self.function = owner, function
        self.eval()

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def quantize_weights(source: Path, target: Path) -> None:
    """Write ``source`` with its large weights as 8-bit integers, one scale per row (symmetric, per output channel).

    Activations stay float: onnxruntime folds the DequantizeLinear nodes when it loads the model, so the small model is
    as fast as the large one, and only the rounding of weights affects scores.
    """
    import onnx
    from onnx import helper, numpy_helper

    proto = onnx.load(str(source))
    nodes, tensors = [], []
    constants = [node for node in proto.graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]
    for node in constants:
        tensor = proto.graph.initializer.add()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        proto.graph.node.remove(node)
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < INT8_MIN_VALUES or values.ndim < 2:
            tensors.append(tensor)
            continue
        # Convolutions and transposed products have one output per row; GRU weights are [1, gates, inputs].
        axis = 1 if values.ndim == 3 and values.shape[0] == 1 else 0
        others = tuple(i for i in range(values.ndim) if i != axis)
        scale = np.maximum(np.abs(values).max(axis=others), 1e-8).astype(np.float32) / 127
        shape = [1] * values.ndim
        shape[axis] = -1
        integers = np.clip(np.rint(values / scale.reshape(shape)), -127, 127).astype(np.int8)
        name = tensor.name
        tensors.append(numpy_helper.from_array(integers, f"{name}_int8"))
        tensors.append(numpy_helper.from_array(scale, f"{name}_scale"))
        nodes.append(
            helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name], f"{name}_dq", axis=axis)
        )
    rest = list(proto.graph.node)
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend(nodes + rest)
    proto.graph.initializer.extend(tensors)
    onnx.checker.check_model(proto)
    onnx.save(proto, str(target))


def onnx_scores(path: Path, audio: np.ndarray, chunks: Sequence[int], receptive_samples: int) -> np.ndarray:
    """Return a recording's unsmoothed scores from onnxruntime; calls get ``chunks`` chunks each, in turn."""
    graph = session(path)
    size = graph.get_inputs()[1].shape[1]
    silence = np.zeros((1, -(-receptive_samples // CHUNK_SAMPLES) * CHUNK_SAMPLES), np.float32)
    _, state = graph.run(None, {"audio": silence, "state": np.zeros((1, size), np.float32)})
    scores, position, turn = [], 0, 0
    usable = len(audio) // CHUNK_SAMPLES * CHUNK_SAMPLES
    while position < usable:
        end = min(usable, position + chunks[turn % len(chunks)] * CHUNK_SAMPLES)
        part = np.asarray(audio[position:end], dtype=np.float32)[None]
        score, state = graph.run(None, {"audio": part, "state": state})
        scores.append(score[0])
        position, turn = end, turn + 1
    return np.concatenate(scores) if scores else np.zeros(0, np.float32)


@dataclass(frozen=True)
class Parity:
    """Largest differences in score between the forms of a model on the same audio, from :func:`difference`."""

    onnx: float
    streaming: float
    int8: float | None  # for smoothed scores, with INT8_SHIFT; None without 8-bit weights

    @property
    def int8_agrees(self) -> bool:
        return self.int8 is not None and self.int8 <= INT8_TOLERANCE

    def as_dict(self) -> dict[str, float]:
        figures = {"pt_against_onnx": self.onnx, "pt_against_streaming": self.streaming, "pt_against_int8": self.int8}
        return {name: value for name, value in figures.items() if value is not None}


def difference(expected: np.ndarray, other: np.ndarray, shift: int = 0) -> float:
    """Return the largest difference between scores [n] from 0 to 1 of the same audio; 1 if one is NaN.

    With a ``shift``, each score is compared with the range of the other's scores up to ``shift`` positions before and
    after it. A score that falls from 0.7 to 0 within 80 ms has any value in between if the fall comes 20 ms earlier, so
    this does not count as a difference. A peak or dip that only one of them has does.
    """
    if expected.shape != other.shape:
        raise ValueError(f"{expected.shape} and {other.shape} scores cannot be compared")

    def outside(scores: np.ndarray, of: np.ndarray) -> float:
        near = np.lib.stride_tricks.sliding_window_view(np.pad(of, shift, mode="edge"), 2 * shift + 1)
        return float(np.maximum(scores - near.max(axis=1), near.min(axis=1) - scores).max())

    # In both directions: a peak that only one of them has lies outside the other's range, but not the reverse.
    largest = np.maximum(outside(expected, other), outside(other, expected))  # propagates NaN
    return float(np.nan_to_num(largest, nan=1.0))


def check_parity(detector: Detector, onnx_path: Path, int8_path: Path | None, audio: np.ndarray) -> Parity:
    """Compare the forms on ``audio``. :attr:`Parity.int8_agrees` says whether the 8-bit weights agree.

    Raises:
        HarkError: the float forms do not agree.
    """
    expected = detector.stream_scores(audio)
    need = detector.config.stream_samples
    onnx = difference(expected, onnx_scores(onnx_path, audio, [10_000], need))
    streaming = difference(expected, onnx_scores(onnx_path, audio, [1, 2, 1, 5, 3], need))
    int8 = None
    if int8_path is not None:
        # Smoothed, as a detector uses them: a peak that is one score shorter may then be lower, which counts.
        small = smooth_scores(onnx_scores(int8_path, audio, [25], need))
        int8 = difference(smooth_scores(expected), small, INT8_SHIFT)
    parity = Parity(onnx, streaming, int8)
    if max(onnx, streaming) > PARITY_TOLERANCE:
        raise HarkError(
            "The detector was not exported.",
            f"Its forms disagree on audio: {parity.as_dict()} (accepted: {PARITY_TOLERANCE}).",
            "This is a bug in Hark or in an installed package: please report it with the output of ./hark doctor.",
        )
    return parity
