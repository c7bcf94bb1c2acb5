"""Live detection of a phrase without training."""

from __future__ import annotations

import numpy as np
import pytest

from model.large.encoder_backbone import encoder_path
from phrase_augmentation.keyphrase import Keyphrase
from pipeline.scoring import zero_shot
from pipeline.serving.zero_shot import ZeroShotStream
from tests.support.moonshine_package import replace_package
from tests.support.untrained_bundle import spoken

GAP_S = 3.5  # between two utterances: longer than one stays in a window


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARK_SPEECH_SERVICE", "0")
    zero_shot._scorer.cache_clear()


@pytest.mark.parametrize("encoder", [True, False], ids=["encoder", "recognizer"])
def test_each_utterance_is_detected_once_and_near_its_end(monkeypatch: pytest.MonkeyPatch, encoder: bool) -> None:
    if encoder and encoder_path() is None:
        pytest.skip("the package moonshine-voice is not installed")
    if not encoder:
        replace_package(monkeypatch, None)
    stream = ZeroShotStream(Keyphrase("hey compass"))
    said = spoken("hey compass", 0.5, GAP_S)
    audio = np.concatenate([spoken("the weather is nice", 0.5, 0.5), said, said])
    first = len(audio) - 2 * len(said)
    ends = [(first + number * len(said) + len(said)) / 16_000 - GAP_S for number in range(2)]
    hits = []
    for start in range(0, len(audio), 1_000):  # no multiple of a score's 80 ms
        hits += stream.detections(stream.scores(audio[start : start + 1_000]))
    assert [hit.time_s for hit in hits] == pytest.approx(ends, abs=0.9)
    assert all(stream.threshold <= hit.score <= 1 for hit in hits)
