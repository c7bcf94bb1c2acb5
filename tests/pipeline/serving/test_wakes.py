"""Clips of activations and near misses sent from a stream, a few seconds each, and a receiver that refuses them."""

from __future__ import annotations

import io
import threading
from email import message_from_bytes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.errors import HarkError
from model.runtime.detector import Detection, Detector
from pipeline.serving import sorting
from pipeline.serving.wakes import WakeSender, WakeWatch
from pipeline.serving.wyoming import Stream, open_wake_words
from tests.support.http_server import Reply, serving
from tests.support.servers import wait_for
from tests.support.untrained_bundle import keyword_hmm_bundle, spoken

CHUNK = 1_280


@pytest.fixture(scope="module")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Detector]:
    folder = tmp_path_factory.mktemp("bundles")
    return open_wake_words([keyword_hmm_bundle(folder / "hey-compass", "hey compass", threshold=0.3)])


def detections_while_sending(sender: Any, detectors: dict[str, Detector], *said: str) -> int:
    """Return how often the phrase was detected in a stream."""
    stream, count = Stream(detectors, sender), 0
    for audio in map(spoken, said):
        for start in range(0, len(audio), 800):
            count += len(stream.process(audio[start : start + 800]))
    return count + len(stream.finish())


def scored(watch: WakeWatch, *scores: float) -> list[tuple[str, float]]:
    found = []
    for score in scores:
        hits = [Detection(0.0, score)] if score >= 0.6 else []
        found += watch.process(np.zeros(CHUNK, np.float32), np.array([score], np.float32), hits)
    return [(wake.kind, round(wake.score, 2)) for wake in found]


def test_near_misses_are_sent_once_and_low_scores_never() -> None:
    low = [0.01] * 60
    assert scored(WakeWatch(0.6, 0.08), *low, 0.4, 0.5, 0.45, *low) == [("near_miss", 0.5)]
    assert scored(WakeWatch(0.6, 0.08), *low, 0.2, 0.24, *low) == []
    assert scored(WakeWatch(0.6, 0.08), 0.5, 0.7, *low) == [("wake", 0.7)], "the score was rising to a detection"
    assert scored(WakeWatch(0.6, 0.08), 0.7, 0.1, 0.5, *[0.1] * 20) == [("wake", 0.7)], "one clip per utterance"


def test_an_activation_is_sent_as_a_form_with_its_audio(detectors: dict[str, Detector]) -> None:
    got: list[tuple[str, dict[str, str], bytes]] = []
    arrived = threading.Event()

    def answer(path: str, headers: dict[str, str], body: bytes) -> Reply:
        got.append((path, headers, body))
        arrived.set()
        return 201, {}, b"{}"

    with serving(answer) as url:
        sender = WakeSender(f"{url}/api/v1/detectors/1/wakes", "hark_secret")
        assert detections_while_sending(sender, detectors, "a lovely day in the park", "hey compass") == 1
        assert arrived.wait(20)
    ((path, headers, body),) = got
    assert path == "/api/v1/detectors/1/wakes" and headers["Authorization"] == "Bearer hark_secret"
    form = message_from_bytes(f"Content-Type: {headers['Content-Type']}\n\n".encode() + body)
    parts: dict[Any, Any] = {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in form.walk()
    }
    assert parts["kind"] == b"wake" and float(parts["score"]) >= 0.3 and parts["device"]
    audio, rate = soundfile.read(io.BytesIO(parts["audio"]))
    assert rate == 16_000 and 1.0 < len(audio) / rate <= 2.5 and np.abs(audio).max() > 0.05


def test_an_unreachable_url_does_not_disturb_detection(
    detectors: dict[str, Detector], caplog: pytest.LogCaptureFixture
) -> None:
    sender = WakeSender("http://127.0.0.1:9/api/v1/detectors/1/wakes", "hark_secret")
    assert detections_while_sending(sender, detectors, "hey compass", "hey compass") == 2
    wait_for(lambda: "was not sent" in caplog.text, 20)
    assert "hark_secret" not in caplog.text


def test_an_invalid_url_is_rejected_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(HarkError, match="not a valid URL"):
        WakeSender("kitchen", "x")


@pytest.mark.parametrize(
    ("score", "said", "kind"),
    [
        (1.0, False, "phrase"), (0.6, True, "phrase"), (0.6, False, "unsure"), (0.05, True, "unsure"),
        (0.05, False, "other"), (0.3, False, "unsure"), (None, True, "phrase"), (None, False, "unsure"),
    ],
)  # fmt: skip
def test_phone_score_and_recognized_words_decide_together(score: float | None, said: bool, kind: str) -> None:
    assert sorting.sorted_by(score, said) == kind


def test_speech_is_sorted_into_phrase_and_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_SPEECH_SERVICE", "0")
    assert sorting.sort_wake("hey compass", "en", spoken("hey compass")).kind == "phrase"
    other = sorting.sort_wake("hey compass", "en", spoken("where is my umbrella"))
    assert other.kind == "other"
    assert sorting.sort_wake("hey compass", "en", np.zeros(16_000, np.float32)) == sorting.Sorted("other", "")


def test_without_a_recognizer_the_result_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: object) -> None:
        raise HarkError("The speech service is away.", "It ended.", "Start it.")

    monkeypatch.setattr(sorting, "call", away)
    assert sorting.sort_wake("hey compass", "en", np.zeros(16_000, np.float32)) == sorting.Sorted("unsure", "")
