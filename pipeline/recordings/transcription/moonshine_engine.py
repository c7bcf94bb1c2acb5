"""Moonshine Tiny for English (MIT; Jeffries et al. 2024, arXiv 2410.15608): small, fast, with case and punctuation.

Only the weights of the package moonshine-voice are used, on onnxruntime, because its own program cuts speech at bad
positions and requires a library for microphones. The model outputs no times, so Hark's recognizer aligns the words to
the audio. This also shows whether they were spoken at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from core.onnx import session
from core.processors import usable_cores
from core.readiness import Readiness
from core.worded import listed, worded
from db.records import AlignedUnit
from model.large.decoder_tokens import BEGIN, END, FIRST_TEXT, NEXT_WORD, NO_TEXT, SPACE, spellings, token_texts
from model.large.encoder_backbone import ASSETS, PACKAGE
from phrase_augmentation.normalize import normalize
from pipeline.recordings.transcription.engine import RecognitionEngine
from pipeline.recordings.transcripts.transcript import Segment, Word
from pipeline.recordings.transcripts.words import segment_of, spread

DISTRIBUTION = "moonshine-voice"
ENCODER, DECODER, TOKENIZER = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"
INSTALL = "python -m pip install --no-deps -r requirements-alone.txt"

# A text of only these characters is not a word.
NO_WORD = "\N{EIGHTH NOTE}\N{BEAMED EIGHTH NOTES}-\N{EN DASH}\N{EM DASH}."
PRESENT = ("past_key_values", "present")  # a cache as an input, and as the output that becomes the next input
HEADS, HEAD_WIDTH = 8, 36  # attention heads of the decoder, and their width
MAX_THREADS = 4  # threads of the encoder; more do not make it faster

# Very short audio is transcribed twice or more ("left, left"). With this much silence appended, 124 of 147 single words
# of Speech Commands were correct, without it 103; with 1 s of it, or half of it before the word, 114 to 122.
MIN_DURATION_S = 2.0
# Moonshine's own limit for English (section 3.2). Real speech had at most 5.7, and 7.4 in a chunk of less than 2 s.
TOKENS_A_SECOND, SPARE_TOKENS = 6.5, 6
MAX_LOOP_TOKENS = 20  # maximum tokens in a sequence that a loop repeats
ROUNDS, ROUNDS_OF_ONE = 4, 8  # repetitions that are a loop: of a sequence, and of a single token
MIN_HALF_S = 4.0
# Nats by which an expected word may be less probable than the best alternative. Of 16 rare words that were
# misrecognized in 40 utterances of librispeech-dev-clean, 2 nats recovered two, 4 nats seven, and 6 nats eight. None
# inserted any of 30 names that were not spoken (python -m lab audio).
EXPECTED_NATS = 4.0
# Words count as spoken from this sum on: the mean log-probability of the decoder's tokens, plus half the logarithm of
# the confidence with which Hark's recognizer aligns the words. The sum was lower for 13 of 147 single words, all
# misrecognized; for 4 of 32 chunks of meetings and calls, none longer than 3 s; for none of 300 read sentences; for all
# 21 chunks of white noise; and for 75 of 89 recordings of noises (without a check by silero-vad).
MIN_SURENESS = -2.5
# If the language is unknown, words count as English if that sum or their mean confidence is high enough. In a chunk
# shorter than SHORT_S, the sum plus the mean log-probability of the tokens must reach MIN_SHORT_ENGLISH instead. Of 229
# recordings of 1 to 60 s in German, Spanish, French and Mandarin, 16 had such words ("six", "Beijing" ...). Of 258 in
# English (sentences, names, commands, meetings, learners), 217 had; nearly all of the other 41 were misrecognized.
MIN_ENGLISH_SURENESS, MIN_ENGLISH_CONFIDENCE = -1.5, 0.55
SHORT_S, MIN_SHORT_ENGLISH = 3.0, -2.0
MIN_CONFIDENCE = 1e-5  # minimum confidence of an alignment, which avoids the logarithm of 0
MIN_WORD_S = 0.1  # minimum seconds of a gap for words without a time of their own

Time = tuple[float, float]  # start and end of a word [s]


@dataclass(frozen=True)
class _Written:
    """A word from the decoder, and its tokens' probabilities."""

    text: str
    probabilities: tuple[float, ...]


@dataclass
class _Place:
    """A node in the tree of the expected words' tokens; ``whole`` means that a word may end here."""

    following: dict[int, _Place] = field(default_factory=dict)
    whole: bool = False


@lru_cache(maxsize=4)
def _expected(words: tuple[str, ...]) -> _Place:
    root = _Place()
    for word in words:
        for sequence in spellings(word):
            place = root
            for token in sequence:
                place = place.following.setdefault(token, _Place())
            place.whole = True
    return root


class _Attempt:
    """An attempt to write an expected word, token by token, although other tokens are slightly more probable.

    Attributes:
        begun: number of tokens before it.
        fed: the last of these tokens and the decoder's inputs at that point, for backtracking.
        costs: nats by which each of its tokens so far was less probable than the best one.
    """

    def __init__(self, expected: _Place, begun: int, fed: tuple[int, dict[str, np.ndarray]]) -> None:
        self.begun, self.fed = begun, fed
        self.costs = 0.0
        self._place = expected

    @property
    def whole(self) -> bool:
        return self._place.whole

    def next(self, row: np.ndarray) -> int | None:
        """Return the word's next token, given the logits [tokens]; None if none fits."""
        token = max(self._place.following, key=lambda one: float(row[one]), default=None)
        if token is None or self.costs + row.max() - row[token] > EXPECTED_NATS:
            return None
        self.costs += float(row.max() - row[token])
        self._place = self._place.following[token]
        return token


class Moonshine(RecognitionEngine):
    """English only. Words that may be in another language have no language."""

    name = "moonshine"
    why = worded("no Whisper model is on this machine; this one comes with Hark")
    licence = "MIT"
    model = "tiny-en"

    def available(self) -> Readiness:
        folder = _folder()
        if folder is None:
            return Readiness(False, worded("The package %(name)s is not installed.", name=DISTRIBUTION), INSTALL)
        lacking = [name for name in (ENCODER, DECODER, TOKENIZER) if not (folder / name).is_file()]
        if lacking:
            return Readiness(
                False,
                worded(
                    "The package %(name)s is installed without its model (%(files)s).",
                    name=DISTRIBUTION,
                    files=listed(lacking),
                ),
                INSTALL,
            )
        return Readiness(True)

    def languages(self) -> tuple[str, ...] | None:
        return ("en",)

    def versions(self) -> dict[str, str]:
        try:
            return {DISTRIBUTION: version(DISTRIBUTION)}
        except PackageNotFoundError:
            return {}

    def load(self) -> Any:
        """Load the model, and the recognizer that aligns its words."""
        from model.asr.emissions import Aligner

        folder = _folder()
        assert folder is not None
        try:
            moonshine = _Model(folder)
        except Exception as error:  # onnxruntime has many errors without a common base class
            raise HarkError(
                worded("Moonshine cannot be loaded."),
                f"{str(error)[:200].rstrip('.')}.",
                worded("%(install)s --force-reinstall", install=INSTALL),
            ) from error
        return moonshine, Aligner()

    def run(
        self, model: Any, audio: np.ndarray, language: str | None, translate: bool, words: Sequence[str]
    ) -> list[Segment]:
        from pipeline.corpora.alignment import NotAligned, align

        moonshine, aligner = model
        written = _words(moonshine, audio, _expected(tuple(words)))
        spoken = [normalize(word.text, "en").split() for word in written]
        if not any(spoken):
            return []
        try:
            text = " ".join(" ".join(words) for words in spoken)
            aligned = align(aligner.log_probabilities(audio), text, aligner, "en", min_confidence=0.0)
        except NotAligned:
            return []  # too many words for the time, or words of another language
        sure = _sureness(written, aligned.confidence)
        if sure < MIN_SURENESS:
            return []
        segment = segment_of(_placed(written, _times(spoken, aligned.words), len(audio) / SAMPLE_RATE), "en")
        if segment is None:
            return []
        if len(audio) < SHORT_S * SAMPLE_RATE:
            is_english = sure + _sureness(written, 1.0) >= MIN_SHORT_ENGLISH
        else:
            is_english = sure >= MIN_ENGLISH_SURENESS or segment.confidence >= MIN_ENGLISH_CONFIDENCE
        if language is None and not is_english:
            segment = replace(segment, language="")
        return [segment]


def _folder() -> Path | None:
    """Return the folder of the model in its package, without importing it."""
    package = find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        return None
    return Path(package.submodule_search_locations[0]) / ASSETS


class _Model:
    """Encoder, decoder, and the text of each token."""

    def __init__(self, folder: Path) -> None:
        # With the arena, half a minute of audio leaves 245 MiB allocated and is 3 % faster; see PATIENT_THREADS.
        self._encoder = session(folder / ENCODER, min(MAX_THREADS, usable_cores()), lean=True)
        self._decoder = session(folder / DECODER, lean=True)  # runs token by token, too little work for threads
        self._caches = [each.name for each in self._decoder.get_inputs() if each.name.startswith("past_key_values")]
        self._texts = token_texts((folder / TOKENIZER).read_bytes())

    def write(self, audio: np.ndarray, expected: _Place) -> tuple[list[_Written], bool]:
        """Return the words of audio, and whether they were truncated because of a loop."""
        padded = np.pad(audio, (0, max(0, int(MIN_DURATION_S * SAMPLE_RATE) - len(audio))))
        most = math.ceil(TOKENS_A_SECOND * len(audio) / SAMPLE_RATE) + SPARE_TOKENS
        tokens, probabilities = self._tokens(padded, most, expected)
        # A greedy decoder can be caught in a loop. The text of the first repetition is used.
        surplus = _surplus(tokens)
        length = len(tokens) - surplus
        return self._split(tokens[:length], probabilities[:length]), bool(surplus)

    def _tokens(self, audio: np.ndarray, max_tokens: int, expected: _Place) -> tuple[list[int], list[float]]:
        """Return at most ``max_tokens``, each the best one or part of an expected word, and their probabilities."""
        mask = np.ones((1, len(audio)), np.int64)
        (hidden_states,) = self._encoder.run(None, {"input_values": audio[None], "attention_mask": mask})
        inputs = {"encoder_hidden_states": hidden_states, "encoder_attention_mask": mask}
        inputs |= {name: np.zeros((1, HEADS, 0, HEAD_WIDTH), np.float32) for name in self._caches}
        # The decoder's cache of the encoder's outputs does not change after the first step.
        growing = [name for name in self._caches if ".decoder." in name]
        tokens: list[int] = []
        probabilities: list[float] = []
        token = BEGIN
        attempt: _Attempt | None = None
        tried: set[int] = set()  # numbers of tokens after which an expected word was tried without success
        while len(tokens) < max_tokens:
            fed = (token, dict(inputs))
            caches = growing if tokens else self._caches
            inputs |= {"input_ids": np.array([[token]], np.int64), "use_cache_branch": np.array([bool(tokens)])}
            logits, *after = self._decoder.run(["logits", *(name.replace(*PRESENT) for name in caches)], inputs)
            inputs |= dict(zip(caches, after, strict=True))
            row = logits[0, -1].astype(np.float64)
            token = int(row.argmax())
            if attempt is not None and attempt.whole and (token == END or self._texts[token].startswith(NEXT_WORD)):
                attempt = None  # complete
            if attempt is None and len(tokens) not in tried:
                attempt = _Attempt(expected, len(tokens), fed)
            if attempt is not None:
                wanted = attempt.next(row)
                if wanted is None and attempt.costs:
                    tried.add(attempt.begun)
                    token, inputs = attempt.fed
                    del tokens[attempt.begun :], probabilities[attempt.begun :]
                    attempt = None
                    continue
                if wanted is None:
                    attempt = None
                else:
                    token = wanted
            if token == END:
                break
            tokens.append(token)
            probabilities.append(float(1 / np.exp(row - row[token]).sum()))
            if _surplus(tokens):
                break
        return tokens, probabilities

    def _split(self, tokens: Sequence[int], probabilities: Sequence[float]) -> list[_Written]:
        words: list[tuple[bytes, list[float]]] = []
        for token, probability in zip(tokens, probabilities, strict=True):
            text = self._texts[token]
            if token < FIRST_TEXT or text.startswith(NO_TEXT):
                continue
            if not words or text.startswith(SPACE):
                words.append((b"", []))
            words[-1][1].append(probability)
            words[-1] = (words[-1][0] + text.replace(SPACE, b""), words[-1][1])
        shown = [("".join(text.decode(errors="ignore").split()), tuple(values)) for text, values in words]
        return [_Written(text, values) for text, values in shown if text.strip(NO_WORD)]


def _surplus(tokens: Sequence[int]) -> int:
    """Return the number of tokens at the end that only repeat earlier ones; 0 without a loop."""
    for length in range(1, MAX_LOOP_TOKENS + 1):
        rounds = ROUNDS_OF_ONE if length == 1 else ROUNDS
        if len(tokens) < length * ROUNDS:
            return 0
        last = list(tokens[-length:])
        if list(tokens[-length * rounds :]) == last * rounds:
            return length * (rounds - 1)
    return 0


def _words(model: _Model, audio: np.ndarray, expected: _Place) -> list[_Written]:
    """Return the words of a chunk. After a loop, its halves are recognized separately, so that no speech is lost."""
    written, cut = model.write(audio, expected)
    if not cut or len(audio) < 2 * MIN_HALF_S * SAMPLE_RATE:
        return written
    middle = _quietest(audio)
    return [*_words(model, audio[:middle], expected), *_words(model, audio[middle:], expected)]


def _quietest(audio: np.ndarray) -> int:
    """Return the sample in the middle third around which 0.1 s is quietest."""
    width = SAMPLE_RATE // 10
    third = audio[len(audio) // 3 : 2 * len(audio) // 3]
    blocks = third[: len(third) // width * width].reshape(-1, width)
    return len(audio) // 3 + int(np.square(blocks).mean(axis=1).argmin()) * width + width // 2


def _sureness(written: Sequence[_Written], confidence: float) -> float:
    """Return the certainty that words were spoken, not invented for a noise; ``confidence`` is their alignment's."""
    sure = sum(math.log(p) for word in written for p in word.probabilities)
    sure /= sum(len(word.probabilities) for word in written)
    return sure + math.log(max(MIN_CONFIDENCE, confidence)) / 2


def _times(spoken: Sequence[Sequence[str]], units: Sequence[AlignedUnit]) -> list[Time | None]:
    """Return the time of each written word, from its spoken words: "25" is "twenty" and "five"."""
    times: list[Time | None] = []
    at = 0
    for words in spoken:
        own = [unit for unit in units[at : at + len(words)] if unit.end_s > unit.start_s]
        times.append((own[0].start_s, own[-1].end_s) if own else None)
        at += len(words)
    return times


def _placed(written: Sequence[_Written], times: Sequence[Time | None], seconds: float) -> tuple[Word, ...]:
    """Set the times of words. Those without share the gap or, if it is too short, the previous word's time."""
    placed: list[Time] = []
    while (number := len(placed)) < len(times):
        time = times[number]
        if time is not None:
            placed.append((time[0], min(time[1], seconds)))
            continue
        after = next((later for later in range(number, len(times)) if times[later] is not None), len(times))
        following = times[after] if after < len(times) else None
        begin = placed[-1][1] if placed else 0.0
        end = seconds if following is None else following[0]
        if placed and end - begin < MIN_WORD_S * (after - number):
            begin, number = placed.pop()[0], number - 1
        text = " ".join(word.text for word in written[number:after])
        placed += [(word.start_s, word.end_s) for word in spread(text, begin, max(begin, end), 0.0)]
    return tuple(
        Word(word.text, *time, round(math.prod(word.probabilities), 4))
        for word, time in zip(written, placed, strict=True)
    )
