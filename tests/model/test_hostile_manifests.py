"""Malicious bundles: what is refused before anything of them runs."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model.runtime.detector import MAX_MANIFEST_BYTES, Bundle, BundleError, Detector

OwnBundle = Callable[..., Path]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("smoothing_frames", 10**9),
        ("smoothing_frames", 0),
        ("receptive_samples", 10**12),
        ("state_size", 10**12),
        ("chunk_samples", -1),
        ("chunk_samples", 10**9),
        ("sample_rate", 0),
        ("score_period_s", 1e-300),
        ("refractory_s", float("inf")),
        ("refractory_s", float("nan")),
        ("smoothing_frames", "2"),
        ("phrase", "hey \x1b]0;owned\x07\x1b[2J"),
        ("phrase", "hey \u202ecompass"),
        ("phrase", "x" * 100_000),
        ("phrase", ["hey"]),
        ("phrase", None),
        ("sample_rate", "fast"),
        ("default_fa_per_day", "12"),
        ("default_fa_per_day", float("nan")),
        ("thresholds", []),
        ("thresholds", {"fa_per_day": 12.0, "threshold": 0.5}),
        ("thresholds", ["half"]),
        ("thresholds", [{}]),
        ("thresholds", [{"fa_per_day": 0.0, "threshold": 0.5}]),
        ("thresholds", [{"fa_per_day": 12.0, "threshold": None}]),
        ("thresholds", [{"fa_per_day": 12.0, "threshold": float("nan")}]),
        ("thresholds", [{"fa_per_day": 12.0, "threshold": 0.5}] * 100_000),
    ],
)
def test_out_of_range_values_are_rejected(own_bundle: OwnBundle, key: str, value: Any) -> None:
    with pytest.raises(BundleError, match="damaged manifest") as caught:
        Detector(own_bundle(**{key: value}))
    assert key in caught.value.why and str(caught.value).isprintable()


def test_texts_of_a_bundle_cannot_control_a_terminal(own_bundle: OwnBundle) -> None:
    with pytest.raises(BundleError) as caught:
        Detector(own_bundle(schema="\x1b[2J\x1b]0;owned\x07"))
    assert str(caught.value).isprintable() and "owned" in caught.value.why


@pytest.mark.parametrize("packed", [False, True])
def test_a_manifest_of_gigabytes_is_not_read(own_bundle: OwnBundle, tmp_path: Path, packed: bool) -> None:
    folder = own_bundle()
    with (folder / "manifest.json").open("ab") as file:
        file.write(b" " * (MAX_MANIFEST_BYTES + 1) if packed else b"")
        file.truncate(3 * MAX_MANIFEST_BYTES if packed else 1_500_000_000)  # sparse zeros, which take no disk space
    path = folder
    if packed:
        path = tmp_path / "bundle.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(folder / "manifest.json", "manifest.json")
    with pytest.raises(BundleError, match="more than 4 MB"):
        Bundle(path)


def test_a_deeply_nested_manifest_is_rejected(own_bundle: OwnBundle) -> None:
    folder = own_bundle()
    (folder / "manifest.json").write_text("[" * 200_000)
    with pytest.raises(BundleError, match="damaged manifest"):
        Bundle(folder)


def elsewhere(name: str, size: int) -> TensorProto:
    """Return a weight that the model places in the file ``weights.bin``."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1, size], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


@pytest.mark.parametrize("place", ["weight", "constant", "weight of a branch", "constant of a branch"])
def test_a_model_cannot_read_other_files_as_weights(
    own_bundle: OwnBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = own_bundle()
    size = json.loads((folder / "manifest.json").read_text())["state_size"]
    weight = elsewhere("secret", size)
    add = helper.make_node("Add", ["state", "secret"], ["new_state"])
    constant = [helper.make_node("Constant", [], ["secret"], value=weight)] if place.startswith("constant") else []
    weights = [] if constant else [weight]
    state = helper.make_tensor_value_info("new_state", TensorProto.FLOAT, [1, size])
    nodes, kept = [*constant, add], weights
    if place.endswith("branch"):
        branch = helper.make_graph(nodes, "branch", [], [state], weights)
        nodes = [helper.make_node("If", ["always"], ["new_state"], then_branch=branch, else_branch=branch)]
        kept = [numpy_helper.from_array(np.array(True), "always")]
    kept.append(numpy_helper.from_array(np.array([1280], np.int64), "chunk"))
    nodes += [
        helper.make_node("AveragePool", ["wave"], ["score3"], kernel_shape=[1280], strides=[1280]),
        helper.make_node("Squeeze", ["score3", "zero"], ["score"]),
    ]
    nodes.insert(0, helper.make_node("Unsqueeze", ["audio", "zero"], ["wave"]))
    kept.append(numpy_helper.from_array(np.array([1], np.int64), "zero"))
    inputs = [
        helper.make_tensor_value_info("audio", TensorProto.FLOAT, [1, "n"]),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, size]),
    ]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, "m"]), state]
    model = helper.make_model(
        helper.make_graph(nodes, "graph", inputs, outputs, kept), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    content = model.SerializeToString()
    assert onnx.load_model_from_string(content).graph.name == "graph"
    (folder / "model.onnx").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for around in (folder, tmp_path):  # next to the model, and in the current folder
        (around / "weights.bin").write_bytes(np.full(size, 7, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="cannot be loaded"):
        Detector(folder)
