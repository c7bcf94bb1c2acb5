"""Partial and final results of streams, from a scripted recognizer and from Hark's own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from pipeline.recordings.transcription import streaming
from pipeline.recordings.transcription.streaming import Partial, Result, StreamingTranscriber
from pipeline.recordings.transcripts.transcript import Segment, Word
from tests.support.sounds import noise
from tests.support.untrained_bundle import spoken

ONE = "the weather will be nice tomorrow"
OTHER = "please call me when you are at home"


class Listener:
    """Recognizes every piece as one segment that states its length, and records its input."""

    def __init__(self) -> None:
        self.pieces: list[float] = []
        self.fails = False

    def __call__(self, audio: np.ndarray) -> list[Segment]:
        if self.fails:
            raise HarkError("No.", "The test says so.", "Nothing.")
        seconds = len(audio) / SAMPLE_RATE
        self.pieces.append(seconds)
        word = Word(f"{seconds:.1f}", 0.1, seconds, 0.9)
        return [Segment(0.1, seconds, word.text, 0.9, (word,), "en")]


def conversation() -> np.ndarray:
    return np.concatenate([spoken(ONE, 1.0, 1.0), spoken(OTHER, 1.0, 1.5)])


def stream(transcriber: StreamingTranscriber, audio: np.ndarray, size: int) -> list[Result]:
    found: list[Result] = []
    for at in range(0, len(audio), size):
        found += transcriber.feed(audio[at : at + size])
    return [*found, *transcriber.finish()]


def finals(found: list[Result]) -> list[Partial]:
    return [one for one in partials(found) if one.final]


def partials(found: list[Result]) -> list[Partial]:
    return [one for one in found if isinstance(one, Partial)]


@pytest.fixture
def no_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "PARTIAL_EVERY_S", 1e9)


@pytest.mark.parametrize("size", [160, 1600, 16_000, 10**6])
def test_utterances_end_at_pauses_for_any_chunk_size(no_guesses: None, size: int) -> None:
    audio = conversation()
    found = finals(stream(StreamingTranscriber(Listener()), audio, size))
    assert len(found) == 2
    first, second = found
    assert 0.5 < first.start_s < 1.1 and first.end_s < second.start_s
    assert second.end_s < len(audio) / SAMPLE_RATE
    assert first.segments[0].start_s == pytest.approx(first.start_s + 0.1, abs=0.01)


def test_the_result_does_not_depend_on_chunk_sizes() -> None:
    results = {
        tuple(finals(stream(StreamingTranscriber(Listener()), conversation(), size))) for size in (512, 1000, 40_000)
    }
    assert len(results) == 1


@pytest.mark.parametrize(("takes_s", "every_s", "fewest"), [(0.0, 1.0, 2), (1.0, 2.0, 1)])
def test_slow_recognition_makes_partial_results_less_frequent(
    monkeypatch: pytest.MonkeyPatch, takes_s: float, every_s: float, fewest: int
) -> None:
    clock = itertools.count(step=takes_s)  # read before and after each recognition
    monkeypatch.setattr(streaming, "monotonic", lambda: float(next(clock)))
    long = np.concatenate([spoken(ONE, 0.5, 0.1), spoken(OTHER, 0.1, 0.1), spoken(ONE, 0.1, 1.5)])
    found = partials(stream(StreamingTranscriber(Listener()), long, 1600))
    kinds = [one.final for one in found]
    assert kinds.count(True) == 1 and kinds[-1]
    guesses = [one for one in found if not one.final]
    assert fewest <= len(guesses) <= len(long) / SAMPLE_RATE
    assert all(after.end_s - before.end_s >= every_s - 1e-6 for before, after in itertools.pairwise(guesses))
    assert {one.start_s for one in found} == {found[-1].start_s}  # all of the same utterance


@pytest.mark.parametrize("level", [0.0, 0.05])
def test_silence_and_noise_give_no_results(level: float) -> None:
    listener = Listener()
    assert stream(StreamingTranscriber(listener), noise(30.0, level=level), 4000) == []
    assert listener.pieces == []


def test_speech_without_a_pause_is_bounded(no_guesses: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class AlwaysSpeech:
        rest = 0

        def feed(self, audio: np.ndarray, last: bool = False) -> np.ndarray:
            self.rest += len(audio)
            whole, self.rest = divmod(self.rest, 512)
            return np.full(whole + (last and self.rest > 0), 0.9, np.float32)

    monkeypatch.setattr(streaming, "SpeechProbability", AlwaysSpeech)
    listener = Listener()
    monkeypatch.setattr(streaming, "CHUNK_S", 10.0)
    transcriber = StreamingTranscriber(listener)
    found = finals(stream(transcriber, np.full(60 * SAMPLE_RATE, 0.1, np.float32), 8000))
    assert max(listener.pieces) <= 10.0
    assert sum(listener.pieces) == pytest.approx(60.0, abs=0.1)
    for before, after in itertools.pairwise(found):
        assert before.end_s == pytest.approx(after.start_s)


def test_hours_of_silence_buffer_no_audio() -> None:
    transcriber = StreamingTranscriber(Listener())
    for _ in range(600):
        transcriber.feed(np.zeros(SAMPLE_RATE, np.float32))
    assert len(transcriber._audio) < SAMPLE_RATE


def test_a_failure_ends_the_utterance_but_not_the_stream(no_guesses: None) -> None:
    listener = Listener()
    transcriber = StreamingTranscriber(listener)
    listener.fails = True
    (error,) = stream(transcriber, spoken(ONE, 1.0, 1.5), 1600)
    assert isinstance(error, HarkError) and error.why == "The test says so."
    listener.fails = False
    assert len(finals(transcriber.feed(spoken(OTHER, 1.0, 1.5)))) == 1


def test_audio_after_a_failure_in_the_same_part_is_recognized(no_guesses: None) -> None:
    audio, calls = np.tile(conversation(), 2), itertools.count(1)

    def fails_second(piece: np.ndarray) -> list[Segment]:
        listener = Listener()
        listener.fails = next(calls) == 2
        return listener(piece)

    whole = stream(StreamingTranscriber(Listener()), audio, len(audio))
    first, error, *rest = stream(StreamingTranscriber(fails_second), audio, len(audio))
    assert isinstance(error, HarkError) and [first, *rest] == [whole[0], *whole[2:]] and len(rest) == 2


def test_invalid_and_out_of_range_samples_are_accepted(no_guesses: None) -> None:
    audio = conversation() * 50
    audio[100:200] = np.nan
    audio[300:400] = np.inf
    assert finals(stream(StreamingTranscriber(Listener()), audio, 1600))


def test_a_stream_without_audio_gives_no_results() -> None:
    transcriber = StreamingTranscriber(Listener())
    assert transcriber.feed(np.zeros(0, np.float32)) == []
    assert transcriber.finish() == [] == transcriber.finish()


def test_harks_recognizer_works_in_a_stream() -> None:
    from pipeline.recordings.transcription.hark_engine import HarkCtc

    engine = HarkCtc()
    audio = conversation()
    found = partials(stream(StreamingTranscriber(lambda piece: engine.recognize(piece, "en")), audio, 1600))
    said = finals(found)
    assert len(said) == 2
    assert {"weather", "nice", "tomorrow"} <= set(said[0].text.split())
    assert {"call", "home"} <= set(said[1].text.split())
    words = [word for one in said for segment in one.segments for word in segment.words]
    assert all(before.start_s <= after.start_s for before, after in itertools.pairwise(words))
    assert words[-1].end_s < len(audio) / SAMPLE_RATE - 1.0
    assert any(not one.final and "weather" in one.text for one in found)
