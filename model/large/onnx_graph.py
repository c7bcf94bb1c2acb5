"""ONNX graphs built node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx


class Nodes:
    """Nodes in order of execution, and constants. Those of a body or branch are stored in the graph ``around`` it."""

    def __init__(self, around: Nodes | None = None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = around.initializers if around else []

    def add(self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its first output."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    def copy(self, source: str, target: str) -> None:
        self.add("Identity", [source], target)

    def constants(self, values: Mapping[str, Any]) -> None:
        """Add constants by name: arrays, or integers, which become int64."""
        from onnx import numpy_helper

        for name, value in values.items():
            array = value if isinstance(value, np.ndarray | np.generic) else np.asarray(value, np.int64)
            self.initializers.append(numpy_helper.from_array(np.asarray(array), name))

    def include(self, graph: onnx.GraphProto) -> None:
        """Add all nodes and constants of another graph, whose names must differ (:func:`prefixed`)."""
        self.nodes += graph.node
        self.initializers += graph.initializer

    def body(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.GraphProto:
        """Return the nodes as the body of a loop or a branch."""
        from onnx import helper

        return helper.make_graph(self.nodes, name, inputs, outputs)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        like: onnx.ModelProto,
    ) -> onnx.ModelProto:
        """Return the nodes as a model with the versions of ``like``."""
        from onnx import helper

        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        return helper.make_model(graph, opset_imports=list(like.opset_import), ir_version=like.ir_version)


def tensor(name: str, shape: Sequence[int | str], kind: str = "FLOAT") -> onnx.ValueInfoProto:
    """Declare an input or output; ``kind`` is the name of an ONNX type."""
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.DataType.Value(kind), shape)


def prefixed(graph: onnx.GraphProto, prefix: str) -> onnx.GraphProto:
    """Return a copy with ``prefix`` before every value's name, even in bodies, unlike ``onnx.compose.add_prefix``."""
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
