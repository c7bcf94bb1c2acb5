"""Moonshine Tiny for English (MIT; Jeffries and others 2024, arXiv 2410.15608): small, fast, with case and punctuation.

The package moonshine-voice brings the weights, and nothing else of it is used: its own program cuts speech at bad
places and wants a microphone's library. onnxruntime runs them. The model says nothing about times; Hark's recognizer
does, by laying the words over what it hears itself. That also tells whether they were said at all.
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
from model.decoder_tokens import BEGIN, END, FIRST_TEXT, NEXT_WORD, NO_TEXT, SPACE, spellings, token_texts
from model.encoder_backbone import ASSETS, PACKAGE
from phrase_augmentation.normalize import normalize
from pipeline.recordings.transcript import Segment, Word
from pipeline.recordings.transcription.engine import RecognitionEngine
from pipeline.recordings.transcription.whisper_text import segment_of, spread

DISTRIBUTION = "moonshine-voice"
ENCODER, DECODER, TOKENIZER = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"
INSTALL = "python -m pip install --no-deps -r requirements-alone.txt"

NO_WORD = "\N{EIGHTH NOTE}\N{BEAMED EIGHTH NOTES}-\N{EN DASH}\N{EM DASH}."  # what stands by itself is none
PRESENT = ("past_key_values", "present")  # a cache as an input, and as the output that is the next step's input
HEADS, HEAD_WIDTH = 8, 36  # of the decoder
MOST_THREADS = 4  # of the encoder; more are no faster

# Very short audio is written twice and more ("left, left"). With silence after it, 124 of 147 single words of Speech
# Commands came out right, without 103; 1 s of it, or half of it before the word, 114 to 122.
LEAST_S = 2.0
# Moonshine's own limit for English (section 3.2). Real speech had 5.7 at most, and 7.4 in a piece of less than 2 s.
TOKENS_A_SECOND, SPARE_TOKENS = 6.5, 6
# A text that runs in circles: as many times the same tokens in a row, by how many they are.
LONGEST_CIRCLE = 20  # tokens
ROUNDS, ROUNDS_OF_ONE = 4, 8
LEAST_HALF_S = 4.0
# By which an expected word may be less probable than what would be written in its place. Of 16 rare words that were
# misheard in 40 utterances of librispeech-dev-clean 2 nats brought back 2, 4 seven, 6 eight, and none of 30 names that
# nobody said (bench audio).
EXPECTED_NATS = 4.0
# Words count as said where decoder and Hark's recognizer together are sure enough of them: the mean logarithm of the
# tokens' probabilities, plus half that of the confidence of their alignment. Less than this had 13 of 147 single words,
# all of them misheard; 4 of 32 pieces of meetings and calls, the longest of 3 s; none of 300 read sentences; all of 21
# pieces of white noise, and 75 of 89 recordings of noises that silero-vad had not looked at.
LEAST_SURE = -2.5
# Words count as English, where that is not known, if they reach either: this, or that mean confidence of the words. Of
# 15 recordings in Mandarin, German, Spanish and French that got words (19 got none) no piece reached one; in English 55
# of 55 read sentences and orders did, 14 of 16 names and numbers, 16 of 17 of meetings and calls, 20 of 23 of children.
LEAST_ENGLISH, LEAST_ENGLISH_CONFIDENCE = -1.5, 0.55
LEAST_CONFIDENCE = 1e-5  # of an alignment, so that it has a logarithm
LEAST_WORD_S = 0.1  # in a gap where a word without a time of its own is put

Time = tuple[float, float]  # of a word: start and end [s]


@dataclass(frozen=True)
class _Written:
    """A word as the decoder wrote it, and the probabilities of its tokens."""

    text: str
    probabilities: tuple[float, ...]


@dataclass
class _Place:
    """A place in the tree of the tokens of expected words; ``whole``: a word may end here."""

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
    """To write an expected word, token by token, although others are somewhat more probable.

    Attributes:
        begun: the number of tokens before it.
        fed: the last one of them and the decoder's inputs then, to go back to.
        costs: nats by which its tokens so far were less probable than the most probable ones.
    """

    def __init__(self, expected: _Place, begun: int, fed: tuple[int, dict[str, np.ndarray]]) -> None:
        self.begun, self.fed = begun, fed
        self.costs = 0.0
        self._place = expected

    @property
    def whole(self) -> bool:
        return self._place.whole

    def next(self, row: np.ndarray) -> int | None:
        """The word's next token, out of the logits [tokens]; None where none fits."""
        token = max(self._place.following, key=lambda one: float(row[one]), default=None)
        if token is None or self.costs + row.max() - row[token] > EXPECTED_NATS:
            return None
        self.costs += float(row.max() - row[token])
        self._place = self._place.following[token]
        return token


class Moonshine(RecognitionEngine):
    """It knows English only. Words that may be of another language have none."""

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
                    "The package %(name)s is here without its model (%(files)s).",
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
        """The model, and the recognizer that places its words."""
        from model.asr.emissions import Aligner

        folder = _folder()
        assert folder is not None
        try:
            moonshine = _Model(folder)
        except Exception as error:  # onnxruntime has many errors and no common class
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
            aligned = align(aligner.log_probabilities(audio), text, aligner, "en", least=0.0)
        except NotAligned:
            return []  # more words than can be said in that time, or none of this language
        sure = _sureness(written, aligned.confidence)
        if sure < LEAST_SURE:
            return []
        found = segment_of(_placed(written, _times(spoken, aligned.words), len(audio) / SAMPLE_RATE), "en")
        if found is None:
            return []
        if language is None and sure < LEAST_ENGLISH and found.confidence < LEAST_ENGLISH_CONFIDENCE:
            found = replace(found, language="")
        return [found]


def _folder() -> Path | None:
    """Where the package keeps the model. The package is not imported."""
    package = find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        return None
    return Path(package.submodule_search_locations[0]) / ASSETS


class _Model:
    """Encoder and decoder, and the text of each token."""

    def __init__(self, folder: Path) -> None:
        # With the arena, half a minute leaves 245 MiB behind and is heard 3 % faster; see PATIENT_THREADS.
        self._encoder = session(folder / ENCODER, min(MOST_THREADS, usable_cores()), lean=True)
        self._decoder = session(folder / DECODER, lean=True)  # it writes token by token: there is too little to share
        self._caches = [each.name for each in self._decoder.get_inputs() if each.name.startswith("past_key_values")]
        self._texts = token_texts((folder / TOKENIZER).read_bytes())

    def write(self, audio: np.ndarray, expected: _Place) -> tuple[list[_Written], bool]:
        """The words of some audio, and whether they were cut because they ran in circles."""
        heard = np.pad(audio, (0, max(0, int(LEAST_S * SAMPLE_RATE) - len(audio))))
        most = math.ceil(TOKENS_A_SECOND * len(audio) / SAMPLE_RATE) + SPARE_TOKENS
        tokens, probabilities = self._tokens(heard, most, expected)
        # A decoder that always takes the most probable token can fall into a circle that it never leaves. What it wrote
        # in the first round is kept.
        surplus = _surplus(tokens)
        kept = len(tokens) - surplus
        return self._split(tokens[:kept], probabilities[:kept]), bool(surplus)

    def _tokens(self, audio: np.ndarray, most: int, expected: _Place) -> tuple[list[int], list[float]]:
        """At most so many tokens, each the most probable one or one of an expected word, and how probable it was."""
        mask = np.ones((1, len(audio)), np.int64)
        (heard,) = self._encoder.run(None, {"input_values": audio[None], "attention_mask": mask})
        inputs = {"encoder_hidden_states": heard, "encoder_attention_mask": mask}
        inputs |= {name: np.zeros((1, HEADS, 0, HEAD_WIDTH), np.float32) for name in self._caches}
        # What the decoder makes of the encoder's outputs stays as the first step gives it.
        growing = [name for name in self._caches if ".decoder." in name]
        tokens: list[int] = []
        probabilities: list[float] = []
        token = BEGIN
        attempt: _Attempt | None = None
        tried: set[int] = set()  # numbers of tokens before which an expected word was tried, and did not fit
        while len(tokens) < most:
            fed = (token, dict(inputs))
            caches = growing if tokens else self._caches
            inputs |= {"input_ids": np.array([[token]], np.int64), "use_cache_branch": np.array([bool(tokens)])}
            logits, *after = self._decoder.run(["logits", *(name.replace(*PRESENT) for name in caches)], inputs)
            inputs |= dict(zip(caches, after, strict=True))
            row = logits[0, -1].astype(np.float64)
            token = int(row.argmax())
            if attempt is not None and attempt.whole and (token == END or self._texts[token].startswith(NEXT_WORD)):
                attempt = None  # it is written
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
        shown = [("".join(text.decode(errors="ignore").split()), tuple(found)) for text, found in words]
        return [_Written(text, found) for text, found in shown if text.strip(NO_WORD)]


def _surplus(tokens: Sequence[int]) -> int:
    """How many tokens at the end only repeat what is before them, again and again; 0 where they do not."""
    for length in range(1, LONGEST_CIRCLE + 1):
        rounds = ROUNDS_OF_ONE if length == 1 else ROUNDS
        if len(tokens) < length * ROUNDS:
            return 0
        last = list(tokens[-length:])
        if list(tokens[-length * rounds :]) == last * rounds:
            return length * (rounds - 1)
    return 0


def _words(model: _Model, audio: np.ndarray, expected: _Place) -> list[_Written]:
    """The words of a piece. Where they ran in circles, its halves are heard by themselves, and no speech is lost."""
    written, cut = model.write(audio, expected)
    if not cut or len(audio) < 2 * LEAST_HALF_S * SAMPLE_RATE:
        return written
    middle = _quietest(audio)
    return [*_words(model, audio[:middle], expected), *_words(model, audio[middle:], expected)]


def _quietest(audio: np.ndarray) -> int:
    """The sample in the middle third around which it is quietest, in 0.1 s."""
    width = SAMPLE_RATE // 10
    third = audio[len(audio) // 3 : 2 * len(audio) // 3]
    blocks = third[: len(third) // width * width].reshape(-1, width)
    return len(audio) // 3 + int(np.square(blocks).mean(axis=1).argmin()) * width + width // 2


def _sureness(written: Sequence[_Written], confidence: float) -> float:
    """How sure it is that words were said, and not invented for a noise; ``confidence`` is that of their alignment."""
    sure = sum(math.log(p) for word in written for p in word.probabilities)
    sure /= sum(len(word.probabilities) for word in written)
    return sure + math.log(max(LEAST_CONFIDENCE, confidence)) / 2


def _times(spoken: Sequence[Sequence[str]], units: Sequence[AlignedUnit]) -> list[Time | None]:
    """When each written word is said, from when the words are that it is spoken as: "25" as "twenty" and "five"."""
    times: list[Time | None] = []
    at = 0
    for words in spoken:
        own = [unit for unit in units[at : at + len(words)] if unit.end_s > unit.start_s]
        times.append((own[0].start_s, own[-1].end_s) if own else None)
        at += len(words)
    return times


def _placed(written: Sequence[_Written], times: Sequence[Time | None], seconds: float) -> tuple[Word, ...]:
    """Words of a piece of ``seconds``. Those without a time share what is between their neighbours; where that is too
    little, the time of the one before them, too."""
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
        if placed and end - begin < LEAST_WORD_S * (after - number):
            begin, number = placed.pop()[0], number - 1
        text = " ".join(word.text for word in written[number:after])
        placed += [(word.start_s, word.end_s) for word in spread(text, begin, max(begin, end), 0.0)]
    return tuple(
        Word(word.text, *time, round(math.prod(word.probabilities), 4))
        for word, time in zip(written, placed, strict=True)
    )
