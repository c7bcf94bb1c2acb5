"""Other projects' detectors: run as they are meant to be, or left out with the reason."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from audio_generation.registry import default_engines
from benchmark.peers import MicroWakeWord, OpenWakeWord, Peer, open_peers
from benchmark.streams import CONDITIONS
from benchmark.synthetic import spoken, voices_for
from benchmark.wakeword import best_scores, score_stream
from core.audio_file import SAMPLE_RATE
from phrase_augmentation.phrase_text import PhraseText
from tests.support.wakeword_samples import openwakeword_models, tone


class Interpreter:
    """Stands in for LiteRT's: gives the mean of its input, and one more at every second call, as its state."""

    def __init__(self, model_content: bytes, num_threads: int) -> None:
        if model_content == b"damaged":
            raise ValueError("Model provided has model identifier 'dama'")
        self.given: list[np.ndarray] = []

    def allocate_tensors(self) -> None:
        pass

    def get_input_details(self) -> list[dict[str, object]]:
        return [{"index": 3, "shape": np.array([1, 3, 40]), "quantization": (0.1, -128)}]

    def get_output_details(self) -> list[dict[str, object]]:
        return [{"index": 9, "quantization": (1 / 256, 0)}]

    def set_tensor(self, index: int, value: np.ndarray) -> None:
        assert index == 3 and value.shape == (1, 3, 40) and value.dtype == np.int8
        self.given.append(value)

    def invoke(self) -> None:
        pass

    def get_tensor(self, index: int) -> np.ndarray:
        assert index == 9
        level = np.mean(self.given[-1].astype(np.int32) + 128)
        return np.array([[min(255, int(level) + len(self.given) % 2)]], np.uint8)


class MicroFrontend:
    """Stands in for TensorFlow's: each 10 ms the loudest sample of the last 30 ms, 40 times over."""

    def __init__(self) -> None:
        self.heard = np.zeros(0, np.int16)

    def process_samples(self, audio: bytes) -> SimpleNamespace:
        assert len(audio) == 320
        self.heard = np.concatenate([self.heard, np.frombuffer(audio, np.int16)])[-480:]
        loud = float(np.abs(self.heard.astype(np.int32)).max()) / 1310
        return SimpleNamespace(features=[loud] * 40 if len(self.heard) == 480 else [], samples_read=160)


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the optional packages."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", SimpleNamespace(Interpreter=Interpreter))
    monkeypatch.setitem(sys.modules, "pymicro_features", SimpleNamespace(MicroFrontend=MicroFrontend))


def micro_model(folder: Path, name: str = "okay_nabu", content: bytes = b"model") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    told = {"wake_word": "Okay Nabu", "micro": {"probability_cutoff": 0.97, "sliding_window_size": 5}}
    (folder / f"{name}.json").write_text(json.dumps(told))
    (folder / f"{name}.tflite").write_bytes(content)
    return folder / f"{name}.tflite"


@pytest.fixture
def open_peer(tmp_path: Path, packages: None) -> Callable[[str], Peer]:
    def make(name: str) -> Peer:
        if name == "micro":
            return MicroWakeWord(micro_model(tmp_path))
        folder = openwakeword_models(tmp_path)
        return OpenWakeWord(folder, sorted([folder / "alexa_v0.1.onnx", folder / "hey_robot_v0.1.onnx"]))

    return make


@pytest.mark.parametrize("name", ["open", "micro"])
def test_blocks_change_no_score_and_reset_forgets(open_peer: Callable[[str], Peer], name: str) -> None:
    peer = open_peer(name)
    audio = np.concatenate([np.zeros(8000, np.float32), tone(1000, 1.0), np.zeros(40_000, np.float32)])
    whole = score_stream(peer, [audio])
    in_blocks = score_stream(peer, [audio[at : at + 777] for at in range(0, len(audio), 777)])
    np.testing.assert_allclose(in_blocks, whole, atol=1e-5)
    assert whole.shape[1] == len(peer.phrases)
    assert abs(len(whole) - len(audio) / SAMPLE_RATE / peer.score_period_s) <= 1
    assert whole.dtype == np.float32 and whole.min() >= 0 and whole.max() <= 1
    assert whole[: int(0.4 / peer.score_period_s)].max() < whole.max() - 0.1  # it rises when there is something to hear
    loudest = np.argmax(whole[:, 0]) * peer.score_period_s
    assert 0.5 <= loudest <= 3.0


def test_openwakeword_names_its_phrases(open_peer: Callable[[str], Peer]) -> None:
    peer = open_peer("open")
    assert peer.phrases == ("alexa", "hey robot") and peer.thresholds == (0.5, 0.5)
    assert peer.score_period_s == 0.08
    scores = score_stream(peer, [tone(1000, 2.0)])
    assert (scores[:, 0] > scores[:, 1]).all()  # the columns are the heads, in their order


def test_microwakeword_is_averaged_over_five(open_peer: Callable[[str], Peer]) -> None:
    peer = open_peer("micro")
    assert (peer.phrases, peer.thresholds, peer.score_period_s) == (("okay nabu",), (0.97,), 0.03)
    # At 0.5 the loudest of each window is 16384: feature 12.5, quantized to -3, so that the level is 125 of 256 and
    # every second output one more.
    steady = score_stream(peer, [np.full(SAMPLE_RATE, 0.5, np.float32)])[10:, 0]
    np.testing.assert_allclose(sorted(set(np.round(steady * 1280))), [125 * 5 + 2, 125 * 5 + 3])


def test_peers_that_are_not_there_are_named(tmp_path: Path) -> None:
    peers, missing = open_peers(tmp_path / "nowhere")
    assert peers == [] and set(missing) == {"openWakeWord", "microWakeWord"}
    folder = openwakeword_models(tmp_path / "openwakeword")
    (folder / "embedding_model.onnx").unlink()
    assert "no embedding_model.onnx" in open_peers(tmp_path)[1]["openWakeWord"]


def test_a_missing_package_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    micro_model(tmp_path / "microwakeword")
    openwakeword_models(tmp_path / "openwakeword")
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    peers, missing = open_peers(tmp_path)
    assert [peer.name for peer in peers] == ["openWakeWord"]
    assert "pip install ai-edge-litert pymicro-features" in missing["microWakeWord okay_nabu"]


def test_a_damaged_model_leaves_the_others(tmp_path: Path, packages: None) -> None:
    micro_model(tmp_path / "microwakeword")
    micro_model(tmp_path / "microwakeword", "alexa", b"damaged")
    openwakeword_models(tmp_path / "openwakeword")
    (tmp_path / "openwakeword" / "alexa_v0.1.onnx").write_bytes(b"nonsense")
    peers, missing = open_peers(tmp_path)
    assert [(peer.name, peer.phrases) for peer in peers] == [("microWakeWord", ("okay nabu",))]
    assert set(missing) == {"openWakeWord", "microWakeWord alexa"}


def test_the_digest_tells_models_apart(tmp_path: Path, packages: None) -> None:
    one = MicroWakeWord(micro_model(tmp_path / "a"))
    assert MicroWakeWord(micro_model(tmp_path / "b")).digest == one.digest
    assert MicroWakeWord(micro_model(tmp_path / "c", content=b"other")).digest != one.digest


@pytest.mark.slow(reason="runs other projects' models")
def test_the_real_peers_detect_their_phrases(shared_data: Path, tmp_path: Path) -> None:
    """Eight synthesized voices say each phrase: most are heard, in the place where they speak."""
    if "flite" not in default_engines():
        pytest.skip("flite cannot speak here")
    peers, missing = open_peers(shared_data / "peers")
    if not peers:
        pytest.skip(f"no peer can be run here: {missing}")
    speakers = {"flite": voices_for("en")["all"]["flite"]}
    for peer in peers:
        for column, phrase in enumerate(peer.phrases):
            stream = spoken([PhraseText(phrase, "alone")] * 8, speakers, "en", 0, tmp_path, phrase)
            scores = score_stream(peer, stream.blocks(CONDITIONS[0], np.zeros(0, np.float32), 0))
            best = best_scores(scores[:, column], stream.spans, peer.score_period_s)
            heard = (best >= 0.5).sum()
            assert heard >= (2 if phrase == "hey mycroft" else 6), (peer.name, phrase, best)
            others = np.delete(scores, column, axis=1)
            assert others.size == 0 or others.max() < 0.5
