"""Feature computation on a GPU: whether to use one, and why a requested one cannot be used.

One process uses the GPU and computes in batches, while the others mix audio (``model.examples``). An encoder's 8-bit
matrices have no kernels there, so :func:`with_float_weights` converts them to floats with nearly the same results: 97
to 99 % of the most probable phones are the same. No detector trained this way was measured.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from core.onnx import CPU

if TYPE_CHECKING:
    import onnx

GPU_BATCH = 32  # recordings or windows per batch on a GPU
CUDA = "CUDAExecutionProvider"
TO_DO = "install onnxruntime-gpu in the place of onnxruntime (docs/gpu.md), or set HARK_TORCH=cpu"


def wanted() -> bool:
    """Return whether to use a GPU: HARK_TORCH is cuda, or is unset and torch has one."""
    setting = os.environ.get("HARK_TORCH", "")
    if setting:
        return setting == "cuda"
    import torch

    return bool(torch.cuda.is_available())


def providers() -> tuple[str, ...]:
    """Return onnxruntime's providers for features: CUDA first if it is wanted and this build has it."""
    import onnxruntime

    return (CUDA, CPU) if wanted() and CUDA in onnxruntime.get_available_providers() else (CPU,)


def complaint() -> str:
    """Explain why features are computed on the processor although a GPU is wanted; "" if they are not."""
    if not wanted() or CUDA in providers():
        return ""
    return (
        f"A GPU was requested, but this build of onnxruntime has no {CUDA}: features are computed on the CPU; {TO_DO}."
    )


def with_float_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with dynamically quantized products as float products and an open first dimension."""
    import onnx
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    quantized = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DynamicQuantizeLinear"}
    nodes: list[onnx.NodeProto] = []

    def constant(name: str) -> np.ndarray:
        return np.asarray(numpy_helper.to_array(constants[name]))

    def product(node: Any, given: str, weights: str, scale: str, zero: str, bias: str) -> None:
        values = constant(weights).astype(np.float32) - (constant(zero).astype(np.float32) if zero else 0.0)
        name = f"{weights}/float"
        if name not in constants:
            constants[name] = numpy_helper.from_array((values * constant(scale)).astype(np.float32), name)
        total = f"{node.output[0]}/product" if bias else node.output[0]
        nodes.append(helper.make_node("MatMul", [given, name], [total]))
        if bias:
            nodes.append(helper.make_node("Add", [total, bias], [node.output[0]]))

    for node in graph.node:
        inputs = [*node.input, "", "", ""]
        if node.op_type == "DynamicQuantizeLinear":
            continue
        if node.op_type == "DynamicQuantizeMatMul":  # A, B, B's scale, B's zero point, bias
            product(node, inputs[0], inputs[1], inputs[2], inputs[3], inputs[4])
        elif node.op_type == "MatMulIntegerToFloat":  # A, B, A's scale, B's scale, A's zero point, B's zero point, bias
            product(node, quantized[inputs[0]], inputs[1], inputs[3], inputs[5], inputs[6])
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(tensor for name, tensor in constants.items() if name in used)
    for value in (*result.graph.input, *result.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return result
