"""Activations and near misses of a detector, sent to the portal: a few seconds around the score, never the stream."""

from __future__ import annotations

import io
import logging
import queue
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.http import Server, web_address
from model.runtime.detector import Detection, logit, sigmoid

WAKE, NEAR_MISS = "wake", "near_miss"  # webui.listening.models.Sample.Kind
BUFFER_S = 2.5  # seconds of the latest audio, which are sent
MARGIN = 1.5  # logits; a score less than this below the threshold is a near miss
SETTLED_S = 1.0  # seconds below the threshold after which a near miss is final
APART_S = 3.0  # minimum seconds between two recordings, so that each utterance is sent once
MAX_WAITING = 20  # maximum recordings that wait to be sent; further ones are dropped
TIMEOUT_S = 90.0


@dataclass(frozen=True)
class Wake:
    """A recording to send: ``kind`` (:data:`WAKE` or :data:`NEAR_MISS`), score, and float32 audio [samples, 16 kHz]."""

    kind: str
    score: float
    audio: np.ndarray


class WakeWatch:
    """Finds activations and near misses in the samples and scores of one stream."""

    def __init__(self, threshold: float, score_period_s: float) -> None:
        self._threshold, self._period_s = threshold, score_period_s
        self._near = float(sigmoid(logit(threshold) - MARGIN))
        self._recent = np.zeros(0, np.float32)
        self._now_s, self._quiet_until_s, self._peak_s = 0.0, 0.0, 0.0
        self._nearly: Wake | None = None

    def process(self, samples: np.ndarray, scores: np.ndarray, detections: Sequence[Detection]) -> list[Wake]:
        """Process the next samples, the scores that they complete, and the detections among these."""
        self._recent = np.concatenate([self._recent, samples])[-round(BUFFER_S * SAMPLE_RATE) :]
        self._now_s += len(scores) * self._period_s
        if detections:
            self._nearly = None
            return self._sent(Wake(WAKE, detections[-1].score, self._recent))
        best = float(scores.max(initial=0.0))
        if self._near <= best < self._threshold and (self._nearly is None or best > self._nearly.score):
            self._nearly, self._peak_s = Wake(NEAR_MISS, best, self._recent), self._now_s
        if self._nearly is None or self._now_s - self._peak_s < SETTLED_S:
            return []
        near_miss, self._nearly = self._nearly, None
        return self._sent(near_miss)

    def _sent(self, wake: Wake) -> list[Wake]:
        if self._now_s < self._quiet_until_s:
            return []
        self._quiet_until_s = self._now_s + APART_S
        return [wake]


class WakeSender:
    """Sends recordings to a portal from its own thread. Failures are logged and their recordings dropped."""

    def __init__(self, address: str, token: str) -> None:
        """Start the thread.

        ``address`` is the URL ``https://HOST/api/v1/detectors/ID/wakes``. Raises HarkError if it is invalid.
        """
        if web_address(address) is None:
            raise HarkError(
                f"{address} is not a valid URL.",
                "It begins with neither http:// nor https://.",
                "Copy it from the detector's page, and put the portal's URL before it.",
            )
        self._server = Server(address, "The portal", "Check the URL and the token.", token, TIMEOUT_S)
        self._waiting: queue.Queue[Wake] = queue.Queue(MAX_WAITING)
        threading.Thread(target=self._send_all, daemon=True, name="wakes").start()

    def send(self, wake: Wake) -> None:
        """Queue a recording without waiting."""
        try:
            self._waiting.put_nowait(wake)
        except queue.Full:
            logging.getLogger(__name__).warning("a %s was not sent: too many wait", wake.kind)

    def _send_all(self) -> None:
        while True:
            wake = self._waiting.get()
            try:
                file = io.BytesIO()
                soundfile.write(file, wake.audio, SAMPLE_RATE, format="FLAC")
                fields = {"kind": wake.kind, "score": f"{wake.score:.4f}", "device": socket.gethostname()[:60]}
                self._server.ask("POST", "", data=fields, files={"audio": ("wake.flac", file.getvalue())})
            except Exception as error:  # detection must continue after any error
                logging.getLogger(__name__).warning("a %s was not sent: %s", wake.kind, error)
