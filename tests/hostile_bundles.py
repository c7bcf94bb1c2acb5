"""Bundles that mean harm: their graph never ends, or takes ever more memory."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.runtime.detector import manifest_digest

CHUNK = 1280


def loop_bundle(folder: Path, grows: bool = False, from_level: float = -1.0, **manifest: Any) -> Path:
    """An unpacked bundle that loops for ever from audio of that level on; ``grows``: with ever more memory."""

    def value(name: str, kind: int = TensorProto.FLOAT, shape: list[Any] | None = None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["going_on"]),
            helper.make_node("Concat", ["kept", "kept"], ["more"], axis=1)
            if grows
            else helper.make_node("Identity", ["kept"], ["more"]),
        ],
        "body",
        [value("number", TensorProto.INT64, []), value("going", TensorProto.BOOL, []), value("kept")],
        [value("going_on", TensorProto.BOOL, []), value("more")],
    )
    nodes = [
        helper.make_node("ReduceMax", ["audio"], ["level"], keepdims=0),
        helper.make_node("Greater", ["level", "limit"], ["loops"]),
        helper.make_node("Loop", ["", "loops", "state"], ["looped"], body=body),
        helper.make_node("Slice", ["looped", "first", "one", "one"], ["new_state"]),
        helper.make_node("Reshape", ["audio", "rows"], ["chunks"]),
        helper.make_node("ReduceMax", ["chunks"], ["loudest"], axes=[1], keepdims=0),
        helper.make_node("Unsqueeze", ["loudest", "first"], ["score"]),
    ]
    constants = {
        "limit": np.float32(from_level),
        "rows": np.asarray([-1, CHUNK], np.int64),
        "first": np.asarray([0], np.int64),
        "one": np.asarray([1], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "hostile",
        [value("audio", shape=[1, "n"]), value("state", shape=[1, 1])],
        [value("score", shape=[1, "m"]), value("new_state", shape=[1, 1])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    content = {
        "schema": 1, "phrase": "computer", "language": "en", "sample_rate": 16_000, "chunk_samples": CHUNK,
        "score_period_s": 0.08, "smoothing_frames": 2, "refractory_s": 1.0, "receptive_samples": CHUNK, "state_size": 1,
        "thresholds": [{"fa_per_day": 12.0, "threshold": 0.9}], "default_fa_per_day": 12.0,
        "files": {"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()},
        **manifest,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps({**content, "digest": manifest_digest(content)}))
    return folder
