"""Writes TFLite files with the format's schema (the package ``tflite``), without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite

SCHEMA_VERSION = 3
ALIGNMENT = 16  # bytes; microcontroller runtimes read constants without copying them
KINDS = {"float32": tflite.TensorType.FLOAT32, "int32": tflite.TensorType.INT32, "int8": tflite.TensorType.INT8,
         "uint8": tflite.TensorType.UINT8, "resource": tflite.TensorType.RESOURCE}  # fmt: skip


@dataclass(frozen=True)
class Quantization:
    """Maps integers to real values, ``scale * (integer - zero)``: one scale, or one per channel of ``axis``."""

    scale: tuple[float, ...]
    zero: int = 0
    axis: int = 0


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    kind: str
    buffer: int
    quantization: Quantization | None


@dataclass(frozen=True)
class _Operation:
    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: str
    values: Mapping[str, Any]


@dataclass
class Graph:
    """A graph of a file. Its tensors are identified by the numbers that :meth:`tensor` and :meth:`constant` return."""

    name: str
    _buffers: list[bytes]
    _codes: list[tuple[int, int]]
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    _tensors: list[_Tensor] = field(default_factory=list)
    _operations: list[_Operation] = field(default_factory=list)

    def tensor(self, name: str, shape: Sequence[int], kind: str, quantization: Quantization | None = None) -> int:
        """Add an input, or a tensor that an operation computes; ``kind`` is one of :data:`KINDS`."""
        # Every tensor has its own buffer, as converters write them; those without constants are empty.
        self._buffers.append(b"")
        self._tensors.append(_Tensor(name, tuple(shape), kind, len(self._buffers) - 1, quantization))
        return len(self._tensors) - 1

    def constant(self, name: str, values: np.ndarray, quantization: Quantization | None = None) -> int:
        """Add a constant tensor, stored in the file."""
        number = self.tensor(name, values.shape, str(values.dtype), quantization)
        self._buffers[self._tensors[number].buffer] = np.ascontiguousarray(values).tobytes()
        return number

    def add(
        self,
        operator: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str = "",
        version: int = 1,
        **values: Any,
    ) -> None:
        """Append an operation, named as in the schema's ``BuiltinOperator``, in order of execution.

        Args:
            options: the schema's table of options, whose fields are ``values``.
            version: the operator's version, as registered by the runtime.
        """
        code = (int(getattr(tflite.BuiltinOperator, operator)), version)
        if code not in self._codes:
            self._codes.append(code)
        self._operations.append(_Operation(self._codes.index(code), tuple(inputs), tuple(outputs), options, values))


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.vectors: dict[tuple[str, bytes], int] = {}


class TFLiteFile:
    """A file, built graph by graph. The first graph is the entry point."""

    def __init__(self, description: str) -> None:
        self.description = description
        self._buffers = [b""]  # the schema requires the first buffer to be empty
        self._codes: list[tuple[int, int]] = []
        self._graphs: list[Graph] = []

    def graph(self, name: str) -> Graph:
        self._graphs.append(Graph(name, self._buffers, self._codes))
        return self._graphs[-1]

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        builder = _Builder(1 << 16)
        buffers = [_table(builder, "Buffer", Data=_aligned(builder, data)) for data in self._buffers]
        codes = [
            _table(builder, "OperatorCode", DeprecatedBuiltinCode=min(code, 127), BuiltinCode=code, Version=version)
            for code, version in self._codes
        ]
        graphs = [_written(builder, graph) for graph in self._graphs]
        model = _table(
            builder, "Model", Version=SCHEMA_VERSION, OperatorCodes=_offsets(builder, codes),
            Subgraphs=_offsets(builder, graphs), Description=builder.CreateString(self.description),
            Buffers=_offsets(builder, buffers),
        )  # fmt: skip
        builder.Finish(model, b"TFL3")
        return bytes(builder.Output())


def _written(builder: _Builder, graph: Graph) -> int:
    tensors = [_written_tensor(builder, tensor) for tensor in graph._tensors]
    operations = []
    for operation in graph._operations:
        values: dict[str, Any] = {
            "OpcodeIndex": operation.code,
            "Inputs": _numbers(builder, operation.inputs, np.int32),
            "Outputs": _numbers(builder, operation.outputs, np.int32),
        }
        if operation.options:
            values["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, operation.options)
            texts = {
                name: builder.CreateString(value) for name, value in operation.values.items() if isinstance(value, str)
            }
            values["BuiltinOptions"] = _table(builder, operation.options, **{**operation.values, **texts})
        operations.append(_table(builder, "Operator", **values))
    return _table(
        builder, "SubGraph", Tensors=_offsets(builder, tensors), Inputs=_numbers(builder, graph.inputs, np.int32),
        Outputs=_numbers(builder, graph.outputs, np.int32), Operators=_offsets(builder, operations),
        Name=builder.CreateString(graph.name),
    )  # fmt: skip


def _written_tensor(builder: _Builder, tensor: _Tensor) -> int:
    values: dict[str, Any] = {
        "Shape": _numbers(builder, tensor.shape, np.int32),
        "Type": KINDS[tensor.kind],
        "Buffer": tensor.buffer,
        "Name": builder.CreateString(tensor.name),
        "HasRank": True,
    }
    if tensor.quantization is not None:
        scale = np.asarray(tensor.quantization.scale, np.float32)
        values["Quantization"] = _table(
            builder, "QuantizationParameters", Scale=_numbers(builder, scale, np.float32),
            ZeroPoint=_numbers(builder, [tensor.quantization.zero] * len(scale), np.int64),
            QuantizedDimension=tensor.quantization.axis,
        )  # fmt: skip
    return _table(builder, "Tensor", **values)


def _table(builder: _Builder, kind: str, **values: Any) -> int:
    getattr(tflite, f"{kind}Start")(builder)
    for name, value in values.items():
        if value is not None:
            getattr(tflite, f"{kind}Add{name}")(builder, value)
    return int(getattr(tflite, f"{kind}End")(builder))


def _numbers(builder: _Builder, numbers: Sequence[int] | np.ndarray, kind: type) -> int:
    """Write a vector, or reuse an equal one: zeros of layers are a third of a small file."""
    values: np.ndarray = np.asarray(numbers, kind)
    known = (values.dtype.str, values.tobytes())
    if known not in builder.vectors:
        builder.vectors[known] = int(builder.CreateNumpyVector(values))
    return builder.vectors[known]


def _offsets(builder: _Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _aligned(builder: _Builder, data: bytes) -> int | None:
    if not data:
        return None
    builder.StartVector(1, len(data), ALIGNMENT)
    builder.head = builder.head - len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data
    return int(builder.EndVector())
