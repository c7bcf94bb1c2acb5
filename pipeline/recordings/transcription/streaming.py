"""Live transcription: guesses at the current utterance, and its final text after a pause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.voice_activity import FRAME, FRAME_S, SpeechProbability
from pipeline.recordings.transcription.chunks import MARGIN_S, MIN_SPEECH_S, SPEECH, STILL_SPEECH
from pipeline.recordings.transcription.engine import CHUNK_S
from pipeline.recordings.transcription.segmenting import shifted, split
from pipeline.recordings.transcripts.transcript import Segment

PARTIAL_EVERY_S = 1.0  # seconds of audio between two guesses at the same utterance
REST = 2.0  # time between guesses, at least, as a multiple of what the last one took: they must not delay final texts
PAUSE_S = 0.7  # seconds; a longer pause ends an utterance
STEP = SAMPLE_RATE  # samples processed at a time

Recognize = Callable[[np.ndarray], list[Segment]]


@dataclass(frozen=True)
class Partial:
    """The text of an utterance, with times [s] in the stream; unless ``final``, a guess that the next one replaces."""

    start_s: float
    end_s: float
    segments: tuple[Segment, ...]
    final: bool = True

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)


Result = Partial | HarkError


class StreamingTranscriber:
    """A stream of mono float32 audio at 16 kHz, in parts of any size. Memory stays below that of two chunks.

    Args:
        recognize: returns the segments of a chunk of at most ``CHUNK_S`` seconds, with times from its start, such as
            ``lambda audio: recognize(engine, audio, language)``. If it raises HarkError, that is the result of the
            utterance, and the stream continues.
    """

    def __init__(self, recognize: Recognize) -> None:
        self._recognize = recognize
        self._longest = int(CHUNK_S / FRAME_S)
        self._margin = round(MARGIN_S / FRAME_S)
        self._pause = round(PAUSE_S / FRAME_S)
        self._hearing = SpeechProbability()
        self._audio = np.zeros(0, np.float32)  # starts at frame ``_base``
        self._probabilities: list[float] = []  # for the frames from ``_base`` on
        self._base = 0
        self._next = 0  # first frame that is not processed yet
        self._open: int | None = None  # frame at which speech began
        self._last_speech = 0  # frame after the last one with speech
        self._guessed_at = 0  # end of the audio of the last guess
        self._guess_took_s = 0.0

    def feed(self, audio: np.ndarray) -> list[Result]:
        """Process the next part; return the utterances that ended in it, in order, and a guess at the open one."""
        samples = np.ascontiguousarray(audio, dtype=np.float32).reshape(-1)
        samples = np.clip(np.nan_to_num(samples), -1.0, 1.0)
        partials: list[Result] = []
        for first in range(0, len(samples), STEP):
            partials += self._take(samples[first : first + STEP], last=False)
        return [*partials, *self._guess()]

    def finish(self) -> list[Result]:
        """End the stream and return the open utterance, if any."""
        partials = self._take(np.zeros(0, np.float32), last=True)
        if self._open is not None:
            partials += self._close(self._last_speech)
        return partials

    def _take(self, samples: np.ndarray, last: bool) -> list[Result]:
        self._audio = np.concatenate([self._audio, samples])
        self._probabilities += self._hearing.feed(samples, last).tolist()
        partials: list[Result] = []
        while self._next < self._base + len(self._probabilities):
            frame, probability = self._next, self._probabilities[self._next - self._base]
            self._next += 1
            if self._open is None:
                if probability >= SPEECH:
                    self._open = self._guessed_at = frame
                    self._last_speech = frame + 1
                continue
            if probability >= STILL_SPEECH:
                self._last_speech = frame + 1
            if frame + 1 - self._last_speech >= self._pause:
                partials += self._close(self._last_speech)
            elif frame + 1 - self._first() >= self._longest:
                partials += self._part()
        if self._open is None:  # retain only a possible margin of the next utterance
            self._drop(max(self._base, self._next - self._margin))
        return partials

    def _first(self) -> int:
        """Return the first frame of the open utterance's audio."""
        assert self._open is not None
        return max(self._base, self._open - self._margin)

    def _part(self) -> list[Result]:
        """Close an utterance of an engine's maximum length at its least probable frame, and continue after it."""
        begin = self._first()
        look_from = begin + 2 * self._longest // 3
        probabilities = self._probabilities[look_from - self._base : self._next - self._base]
        cut = look_from + int(np.argmin(probabilities))
        after = self._last_speech
        partials = self._close(cut, margin=0)
        if after > cut:
            self._open, self._last_speech, self._guessed_at = cut, after, self._next
        return partials

    def _close(self, end: int, margin: int | None = None) -> list[Result]:
        assert self._open is not None
        begin, speech = self._first(), end - self._open
        stop = min(end + (self._margin if margin is None else margin), self._next)
        self._open = None
        audio = self._between(begin, stop)
        self._drop(end if margin == 0 else stop)
        if speech * FRAME_S < MIN_SPEECH_S:
            return []
        return self._recognized(audio, begin, stop, final=True)

    def _guess(self) -> list[Result]:
        if self._open is None:
            return []
        fresh_s = (self._next - self._guessed_at) * FRAME_S
        if fresh_s < max(PARTIAL_EVERY_S, REST * self._guess_took_s):
            return []
        begin, self._guessed_at = self._first(), self._next
        started = monotonic()
        guesses = self._recognized(self._between(begin, self._next), begin, self._next, final=False)
        self._guess_took_s = monotonic() - started
        return guesses

    def _recognized(self, audio: np.ndarray, begin: int, end: int, final: bool) -> list[Result]:
        try:
            found = self._recognize(audio)
        except HarkError as error:  # not raised: the rest of the audio would not be processed
            return [error]
        segments = tuple(shifted(part, _seconds(begin)) for segment in found for part in split(segment))
        return [Partial(_seconds(begin), _seconds(end), segments, final)] if segments else []

    def _between(self, begin: int, end: int) -> np.ndarray:
        return self._audio[(begin - self._base) * FRAME : (end - self._base) * FRAME]

    def _drop(self, until: int) -> None:
        count = min(until - self._base, len(self._probabilities))
        self._audio = self._audio[count * FRAME :]
        del self._probabilities[:count]
        self._base += count


def _seconds(frame: int) -> float:
    return round(frame * FRAME_S, 3)
