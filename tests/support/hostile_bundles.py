"""Malicious bundles: their graph never ends, takes ever more memory, or has an operator that takes days."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from model.runtime.detector import manifest_digest

CHUNK = 1280
BOXES = 300_000


def loop_bundle(folder: Path, grows: bool = False, from_level: float = -1.0, **manifest: Any) -> Path:
    """Write an unpacked bundle whose graph loops forever if a sample of its audio exceeds ``from_level``.

    With ``grows``, each pass doubles the memory that the graph uses.
    """
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["going_on"]),
            helper.make_node("Concat", ["kept", "kept"], ["more"], axis=1)
            if grows
            else helper.make_node("Identity", ["kept"], ["more"]),
        ],
        "body",
        [_value("number", TensorProto.INT64, []), _value("going", TensorProto.BOOL, []), _value("kept")],
        [_value("going_on", TensorProto.BOOL, []), _value("more")],
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
    return _bundle(folder, nodes, constants, **manifest)


def slow_bundle(folder: Path, when: str) -> Path:
    """Write an unpacked bundle whose graph takes days to load or to run, as ``when`` ("load" or "run") says.

    Loading is slow because onnxruntime computes constant parts of a graph then; running, because of a single operator.
    """
    if when == "load":
        slow = [helper.make_node("ConstantOfShape", ["size"], ["product_0"])]
        slow += [helper.make_node("MatMul", [f"product_{i}", "product_0"], [f"product_{i + 1}"]) for i in range(10_000)]
        slow += [helper.make_node("ReduceMax", ["product_10000"], ["slow"], keepdims=0)]
    else:
        slow = [
            helper.make_node("RandomUniform", [], ["boxes"], shape=[1, BOXES, 4], seed=1.0),
            helper.make_node("RandomUniform", [], ["scores"], shape=[1, 1, BOXES], seed=2.0),
            helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap"], ["chosen"]),
            helper.make_node("ReduceMax", ["chosen"], ["number"], keepdims=0),
            helper.make_node("Cast", ["number"], ["slow"], to=TensorProto.FLOAT),
        ]
    nodes = [
        *slow,
        helper.make_node("Reshape", ["audio", "rows"], ["chunks"]),
        helper.make_node("ReduceMax", ["chunks"], ["loudest"], axes=[1], keepdims=0),
        helper.make_node("Add", ["loudest", "slow"], ["sum"]),
        helper.make_node("Unsqueeze", ["sum", "first"], ["score"]),
        helper.make_node("Identity", ["state"], ["new_state"]),
    ]
    constants = {
        "size": np.asarray([2000, 2000], np.int64),
        "most": np.asarray([BOXES], np.int64),
        "overlap": np.asarray([0.9999], np.float32),
        "rows": np.asarray([-1, CHUNK], np.int64),
        "first": np.asarray([0], np.int64),
    }
    return _bundle(folder, nodes, constants)


def resealed(files: Mapping[str, bytes], manifest: dict[str, Any] | None = None) -> dict[str, bytes]:
    """Return the files with digests that match their contents, as an attacker would write them."""
    content = dict(manifest or json.loads(files["manifest.json"]))
    if isinstance(content.get("files"), dict):
        content["files"] = {name: hashlib.sha256(files[name]).hexdigest() for name in content["files"]}
    content.pop("digest", None)
    content["digest"] = manifest_digest(content)
    return {**files, "manifest.json": json.dumps(content).encode()}


def _value(name: str, kind: int = TensorProto.FLOAT, shape: list[Any] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _bundle(folder: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any], **manifest: Any) -> Path:
    graph = helper.make_graph(
        nodes,
        "hostile",
        [_value("audio", shape=[1, "n"]), _value("state", shape=[1, 1])],
        [_value("score", shape=[1, "m"]), _value("new_state", shape=[1, 1])],
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
