"""Detectors for devices: the files give in the devices' own runtimes what the networks give here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tflite
import torch

from model.devices import microwakeword
from model.devices.micro_network import STRIDE, MicroNetwork, QuantizedMicroNetwork
from model.devices.openwakeword import EMBEDDING, WINDOW, OpenWakeWordDetector

# What ESPHome's micro_wake_word registers; any other operator keeps the device from starting.
REGISTERED = {
    "CALL_ONCE", "VAR_HANDLE", "RESHAPE", "READ_VARIABLE", "STRIDED_SLICE", "CONCATENATION",
    "ASSIGN_VARIABLE", "CONV_2D", "MUL", "ADD", "MEAN", "FULLY_CONNECTED", "LOGISTIC", "QUANTIZE",
    "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "PAD", "PACK", "SPLIT_V",
}  # fmt: skip


@pytest.fixture(scope="module")
def micro() -> QuantizedMicroNetwork:
    """A network trained for some steps to distinguish falling and rising features, then quantized to 8 bits."""
    torch.manual_seed(0)
    network = MicroNetwork()

    def train(network: torch.nn.Module, steps: int) -> list[float]:
        network.train()
        optimizer = torch.optim.Adam(network.parameters(), 2e-3)
        losses = []
        for _ in range(steps):
            frames, label = sweeps(16)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(network(frames)[:, -1], label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        network.eval()
        return losses

    losses = train(network, 60)
    assert losses[-1] < 0.3 < losses[0], "the network has learned something to compare"
    quantized = network.quantized(sweeps(16)[0])
    frames, _ = sweeps(16)
    with torch.no_grad():
        assert float((quantized(frames) - network(frames)).abs().mean()) < 0.5
    before = quantized.layers[0].weight.detach().clone()
    assert train(quantized, 10)[-1] < 0.4
    assert not torch.equal(before, quantized.layers[0].weight), "gradients pass through the rounding"
    return quantized


def sweeps(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [count, 150, 40] of a peak that rises or falls through noise, and which of them rise."""
    rises = torch.arange(count) % 2 == 0
    time = torch.linspace(0, 1, 150)[None, :, None]
    place = 40 * torch.where(rises[:, None, None], time, 1 - time)
    frames = 20 * torch.exp(-((torch.arange(40.0) - place) ** 2) / 8) + 6 * torch.rand(count, 150, 40)
    return frames.clamp(0, 26), rises.float()


def file_scores(network: QuantizedMicroNetwork, frames: torch.Tensor) -> torch.Tensor:
    """Return the file's output: 256 times the probability [batch, time / STRIDE]."""
    return torch.round(256 * torch.sigmoid(network.device_logits(frames))).clamp(0, 255)


def micro_file(folder: Path, network: QuantizedMicroNetwork) -> Path:
    """The network's file, with the manifest that ESPHome and others read."""
    (folder / "sweep.tflite").write_bytes(network.tflite())
    micro = {"feature_step_size": 10, "tensor_arena_size": 30_000, "probability_cutoff": 0.5, "sliding_window_size": 1}
    manifest = {"type": "micro", "wake_word": "Sweep", "model": "sweep.tflite", "version": 2, "micro": micro}
    (folder / "sweep.json").write_text(json.dumps(manifest))
    return folder / "sweep.json"


def test_the_device_runtime_gives_the_micro_networks_scores(tmp_path: Path, micro: QuantizedMicroNetwork) -> None:
    runtime = pytest.importorskip("pymicro_wakeword")
    manifest = micro_file(tmp_path, micro)
    frames = torch.cat([sweeps(1)[0][0] for _ in range(4)])
    expected = file_scores(micro, frames[None])[0].numpy()
    for _ in range(2):  # a reloaded one has no state
        loaded = runtime.MicroWakeWord.from_config(manifest)
        heard = [loaded.process_streaming_prob(frame.numpy()[None, None]) for frame in frames]
        got = 256 * np.asarray(heard[STRIDE - 1 :: STRIDE])
        assert got.shape == expected.shape and np.ptp(expected) > 100
        # Desktop kernels round once where those of microcontrollers, as in `device_logits`, round twice: they differ
        # by one of the logit's 256 levels at most, and seldom.
        level = 256 * 0.25 * micro._scale(len(micro.convolutions) - 1)[0]
        assert np.abs(got - expected).max() <= level + 1 and np.abs(got - expected).mean() < 0.5


def test_tflite_micro_gives_exactly_the_micro_networks_scores(
    micro: QuantizedMicroNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tflite_micro")
    frames = torch.cat([sweeps(1)[0][0] for _ in range(4)])
    expected = file_scores(micro, frames[None])[0].numpy()
    got = 256 * microwakeword.in_tflite_micro({"sweep.tflite": micro.tflite()}, frames.numpy())
    assert np.array_equal(got, expected) and np.ptp(expected) > 100
    monkeypatch.setattr(microwakeword, "ARENA", 40_000)
    with pytest.raises(RuntimeError, match="failed to allocate"):
        microwakeword.in_tflite_micro({"sweep.tflite": micro.tflite()}, frames.numpy())


def test_the_micro_network_scores_streams_like_whole_recordings(micro: QuantizedMicroNetwork) -> None:
    frames = sweeps(2)[0]
    with torch.no_grad():
        rounded = torch.round(torch.sigmoid(micro(frames)) * 256)
    exact = file_scores(micro, frames)
    assert float((rounded.clamp(0, 255) - exact).abs().mean()) < 1.5, "training simulates the arithmetic of the device"
    assert torch.equal(file_scores(micro, frames[:, :90]), exact[:, :30]), "later frames do not affect a score"


def test_a_micro_file_follows_the_device_contract(micro: QuantizedMicroNetwork) -> None:
    content = micro.tflite()
    model = tflite.Model.GetRootAs(content, 0)
    codes = [model.OperatorCodes(i).BuiltinCode() for i in range(model.OperatorCodesLength())]
    assert {tflite.opcode2name(code) for code in codes} <= REGISTERED
    graph = model.Subgraphs(0)
    features, probability = graph.Tensors(graph.Inputs(0)), graph.Tensors(graph.Outputs(0))
    assert (features.Type(), features.ShapeAsNumpy().tolist()) == (tflite.TensorType.INT8, [1, 3, 40])
    assert features.Quantization().Scale(0) == pytest.approx(26 / 255) and features.Quantization().ZeroPoint(0) == -128
    assert (probability.Type(), probability.ShapeAsNumpy().tolist()) == (tflite.TensorType.UINT8, [1, 1])
    assert probability.Quantization().Scale(0) == 1 / 256 and probability.Quantization().ZeroPoint(0) == 0
    variables = [graph.Tensors(i) for i in range(graph.TensorsLength())]
    assert sum(tensor.Type() == tflite.TensorType.RESOURCE for tensor in variables) <= 20
    assert len(content) <= 60 * 1024
    for number in range(model.BuffersLength()):
        data = model.Buffers(number).DataAsNumpy()
        if isinstance(data, np.ndarray) and len(data):
            place = data.ctypes.data - np.frombuffer(content, np.uint8).ctypes.data
            assert place % 16 == 0, "devices read constants in place, so they must be aligned"


def test_openwakeword_gives_the_heads_scores(tmp_path: Path) -> None:
    runtime = pytest.importorskip("pyopen_wakeword")
    torch.manual_seed(1)
    head = OpenWakeWordDetector().eval()
    embeddings = torch.randn(30, EMBEDDING) * 20
    windows = embeddings.unfold(0, WINDOW, 1).transpose(1, 2)
    with torch.no_grad():
        logits = head(windows)[:, 0].mean(dim=1)
    threshold = logits.median().item()
    expected = torch.sigmoid(logits - threshold).numpy()
    (tmp_path / "head.tflite").write_bytes(head.tflite(threshold))
    loaded = runtime.OpenWakeWord.from_model(tmp_path / "head.tflite")
    got = np.asarray(list(loaded.process_streaming(embeddings.numpy()[None, None])))
    assert loaded.input_windows == WINDOW and np.ptp(expected) > 0.2 and 0.5 in expected
    np.testing.assert_allclose(got, expected, atol=1e-5)
