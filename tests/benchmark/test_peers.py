"""Detectors in other projects' runtimes, run as intended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pymicro_wakeword
import pyopen_wakeword
import pytest

from audio_generation.registry import default_engines
from benchmark.peers import MicroWakeWord, OpenWakeWord, Peer, PocketSphinx, packaged_peers
from benchmark.streams import CONDITIONS, Stream
from benchmark.synthetic import spoken, voices_for
from benchmark.wakeword import best_scores, score_stream
from core.audio_file import SAMPLE_RATE
from phrase_augmentation.phrase_text import PhraseText
from tests.support.sounds import tone
from tests.support.wakeword_samples import device_files


def unpacked(folder: Path, name: str = "hey_robot") -> Path:
    for file, content in device_files(name).items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    return folder


@pytest.fixture(params=["openwakeword", "esphome"])
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Peer:
    folder = unpacked(tmp_path)
    if request.param == "esphome":
        return MicroWakeWord(folder / "esphome" / "hey_robot.json")
    return OpenWakeWord([folder / "openwakeword" / "hey_robot.tflite"])


def test_scores_do_not_depend_on_block_size_and_reset_clears_the_state(peer: Peer) -> None:
    audio = np.concatenate([np.zeros(8000, np.float32), tone(1.0, 1000), np.zeros(40_000, np.float32)])
    whole = score_stream(peer, [audio])
    in_blocks = score_stream(peer, [audio[at : at + 777] for at in range(0, len(audio), 777)])
    np.testing.assert_allclose(in_blocks, whole, atol=1e-5)
    assert whole.shape[1] == len(peer.phrases) == 1
    assert abs(len(whole) - len(audio) / SAMPLE_RATE / peer.score_period_s) <= 1
    assert whole.dtype == np.float32 and whole.min() >= 0 and whole.max() <= 1
    assert np.ptp(whole) > 0.01, "the tone changes the scores"


def test_a_detector_names_its_phrase_and_threshold(tmp_path: Path) -> None:
    folder = unpacked(tmp_path)
    micro = MicroWakeWord(folder / "esphome" / "hey_robot.json")
    assert (micro.phrases, micro.thresholds, micro.score_period_s) == (("hey robot",), (0.97,), 0.03)
    (folder / "openwakeword" / "hey_robot.tflite").rename(folder / "openwakeword" / "hey_robot_v0.1.tflite")
    head = OpenWakeWord([folder / "openwakeword" / "hey_robot_v0.1.tflite"])
    assert (head.phrases, head.thresholds, head.score_period_s) == (("hey robot",), (0.5,), 0.08)


def test_the_digest_distinguishes_models(tmp_path: Path) -> None:
    manifest = unpacked(tmp_path) / "esphome" / "hey_robot.json"
    digest = MicroWakeWord(manifest).digest
    assert MicroWakeWord(manifest).digest == digest
    manifest.write_text(manifest.read_text().replace("0.97", "0.5"))
    assert MicroWakeWord(manifest).digest != digest


def test_packaged_peers_include_their_projects_detectors() -> None:
    phrases = {peer.name: set[str]() for peer in packaged_peers()}
    for peer in packaged_peers():
        phrases[peer.name].update(peer.phrases)
    assert {"alexa", "hey jarvis", "hey mycroft"} <= phrases["openWakeWord"] & phrases["microWakeWord"]


@pytest.fixture
def alexa(tmp_path: Path) -> Stream:
    """Eight synthesized voices that say "alexa"."""
    if "flite" not in default_engines():
        pytest.skip("flite cannot speak here")
    return spoken(
        [PhraseText("alexa", "alone")] * 8, {"flite": voices_for("en")["all"]["flite"]}, "en", 0, tmp_path, ""
    )


@pytest.mark.parametrize("name", ["openWakeWord", "microWakeWord"])
def test_scores_match_the_projects_own_pipeline(alexa: Stream, name: str) -> None:
    blocks = list(alexa.blocks(CONDITIONS[0], np.zeros(0, np.float32), 0))
    raw = (32767 * np.concatenate(blocks)).astype("<i2").tobytes()
    chunks = [raw[at : at + 2560] for at in range(0, len(raw) - 2559, 2560)]
    if name == "openWakeWord":
        features, head = pyopen_wakeword.OpenWakeWordFeatures.from_builtin(), pyopen_wakeword.Model.ALEXA
        network = pyopen_wakeword.OpenWakeWord.from_builtin(head)
        theirs = [
            s for chunk in chunks for e in features.process_streaming(chunk) for s in network.process_streaming(e)
        ]
    else:
        frames = pymicro_wakeword.MicroWakeWordFeatures()
        micro = pymicro_wakeword.MicroWakeWord.from_builtin(pymicro_wakeword.Model.ALEXA)
        theirs = [micro.process_streaming_prob(e) for chunk in chunks for e in frames.process_streaming(chunk)][2::3]
    peer = next(peer for peer in packaged_peers() if peer.name == name and "alexa" in peer.phrases)
    ours = score_stream(peer, blocks)[:, peer.phrases.index("alexa")]
    their_scores = np.asarray(theirs, np.float32)[-len(ours) :]
    best, their_best = (best_scores(scores, alexa.spans, peer.score_period_s) for scores in (ours, their_scores))
    assert (best >= 0.5).all()
    np.testing.assert_allclose(best, their_best, atol=0.02)


def test_pocketsphinx_detects_phrases_outside_its_dictionary(alexa: Stream) -> None:
    blocks = list(alexa.blocks(CONDITIONS[0], np.zeros(0, np.float32), 0))
    peer = PocketSphinx(["alexa", "snowboy"])  # its dictionary has neither
    scores = score_stream(peer, blocks)
    assert scores.shape[1] == 2 and scores.dtype == np.float32
    assert abs(len(scores) - sum(map(len, blocks)) / SAMPLE_RATE / peer.score_period_s) <= 1
    said, other = (best_scores(scores[:, column], alexa.spans, peer.score_period_s) for column in (0, 1))
    assert (said > 0).mean() >= 0.75 and (said > other).mean() >= 0.75
    assert PocketSphinx(["alexa"]).digest != peer.digest
