"""Detectors in other projects' runtimes, measured on the same streams.

They run the projects' own models, from their packages, and the files for devices in bundles.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pocketsphinx
import pymicro_wakeword
import pyopen_wakeword
from pymicro_features import MicroFrontend

from core.audio_file import SAMPLE_RATE
from model.devices.openwakeword import embedding
from model.features import CHUNK_SAMPLES, HOP
from model.phones import PHONES, phone_indices
from phrase_augmentation.normalize import normalize
from phrase_augmentation.phonemes import phonemes_of_words

VERSION = 2  # part of the cache's key; increase it with each change here that affects scores
USUAL_THRESHOLD = 0.5  # openWakeWord's default
WARM_UP_S = 4.0  # seconds of silence before the stream; longer than the memory of any detector here
FULL_SCALE = 32767.0
SPHINX_THRESHOLD = 1e-30  # pocketsphinx's default for keyphrases
NOT_HEADS = ("melspectrogram", "embedding_model")
ARPABET = {
    "ə": "AH", "ɹ": "R", "n": "N", "t": "T", "ɪ": "IH", "s": "S", "d": "D", "l": "L", "i": "IY", "ð": "DH", "æ": "AE",
    "ʌ": "AH", "ɛ": "EH", "m": "M", "z": "Z", "k": "K", "w": "W", "aɪ": "AY", "v": "V", "h": "HH", "f": "F", "p": "P",
    "ɔ": "AO", "b": "B", "eɪ": "EY", "oʊ": "OW", "ɑ": "AA", "u": "UW", "ŋ": "NG", "ɡ": "G", "ʃ": "SH", "ʊ": "UH",
    "ɾ": "T", "j": "Y", "aʊ": "AW", "tʃ": "CH", "θ": "TH", "dʒ": "JH", "ɔɪ": "OY", "ʒ": "ZH",
}  # fmt: skip


def _digest(package: str, paths: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{VERSION} {WARM_UP_S} {package} {version(package)}".encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


def _in_16_bits(samples: np.ndarray) -> np.ndarray:
    return np.round(np.clip(samples, -1.0, 1.0) * FULL_SCALE).astype("<i2")


class OpenWakeWord:
    """openWakeWord: log-mels, Google's speech embedding per 80 ms, and a small head per phrase.

    One instance is one stream, scored for all phrases together.

    Attributes:
        name: name of the project.
        phrases: phrases that it detects.
        thresholds: default thresholds of each phrase.
        score_period_s: seconds per score.
        digest: digest of the models and their runtime.
    """

    name = "openWakeWord"
    score_period_s = CHUNK_SAMPLES / SAMPLE_RATE

    def __init__(self, heads: Sequence[Path]) -> None:
        self._heads = [pyopen_wakeword.OpenWakeWord.from_model(path) for path in heads]
        self._embed = embedding()
        # A file's name contains its phrase: "hey_jarvis_v0.1.tflite".
        self.phrases = tuple(normalize(path.stem.split("_v0")[0].replace("_", " ")) for path in heads)
        self.thresholds = (USUAL_THRESHOLD,) * len(heads)
        self.digest = _digest("pyopen-wakeword", heads)
        self.reset()

    def reset(self) -> None:
        for head in self._heads:
            head.reset()
        self._audio = np.zeros(0, np.float32)
        self.scores(np.zeros(round(WARM_UP_S * SAMPLE_RATE), np.float32))

    def scores(self, samples: np.ndarray) -> np.ndarray:
        """Return scores [n, phrases], one per 80 ms."""
        self._audio = np.concatenate([self._audio, np.asarray(samples, np.float32)])
        embeddings = self._embed(self._audio)
        self._audio = self._audio[len(embeddings) * CHUNK_SAMPLES :]
        columns = [[score for one in embeddings for score in head.process_streaming(one[None, None, None])]
                   for head in self._heads]  # fmt: skip
        return np.asarray(columns, np.float32).T.reshape(-1, len(self._heads))


class MicroWakeWord:
    """microWakeWord: TensorFlow's micro frontend and a quantized streaming network, which stores its own state.

    Attributes as in :class:`OpenWakeWord`.
    """

    name = "microWakeWord"

    def __init__(self, manifest: Path) -> None:
        self._network = pymicro_wakeword.MicroWakeWord.from_config(manifest)
        self._stride = int(self._network.stride)
        self.phrases: tuple[str, ...] = (normalize(self._network.wake_word),)
        self.thresholds: tuple[float, ...] = (float(self._network.probability_cutoff),)
        self.digest = _digest("pymicro-wakeword", [manifest, Path(self._network.tflite_model)])
        self.score_period_s = self._stride * HOP / SAMPLE_RATE
        self.reset()

    def reset(self) -> None:
        self._network.reset()
        self._frontend = MicroFrontend()
        self._pending = b""
        self._frames = 0
        self.scores(np.zeros(round(WARM_UP_S * SAMPLE_RATE), np.float32))

    def scores(self, samples: np.ndarray) -> np.ndarray:
        """Return scores [n, 1], one per stride of the network (30 ms)."""
        self._pending += _in_16_bits(samples).tobytes()
        step, scores = 2 * HOP, []
        usable = len(self._pending) // step * step
        for start in range(0, usable, step):
            features = self._frontend.process_samples(self._pending[start : start + step]).features
            if not features:  # empty until the first window is full
                continue
            score = self._network.process_streaming_prob(np.asarray(features, np.float32)[None, None])
            self._frames += 1
            if self._frames % self._stride == 0:
                scores.append(score)
        self._pending = self._pending[usable:]
        return np.asarray(scores, np.float32)[:, None]


class PocketSphinx:
    """pocketsphinx: hidden Markov models of US English phones, which score a phrase against a loop of all phones.

    Attributes as in :class:`OpenWakeWord`.
    """

    name = "pocketsphinx"
    score_period_s = CHUNK_SAMPLES / SAMPLE_RATE

    def __init__(self, phrases: Sequence[str]) -> None:
        """Prepare for English phrases. Words missing from pocketsphinx's dictionary get Hark's phonemes."""
        self.phrases = tuple(phrases)
        self.thresholds = (SPHINX_THRESHOLD,) * len(self.phrases)
        self.digest = _digest("pocketsphinx", []) + hashlib.sha256("/".join(self.phrases).encode()).hexdigest()[:20]
        self._decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
        for word in {word for phrase in self.phrases for word in phrase.split()}:
            if self._decoder.lookup_word(word) is None:
                (phones,) = phonemes_of_words([word])
                symbols = " ".join(ARPABET[PHONES[index - 1]] for index in phone_indices(phones))
                self._decoder.add_word(word, symbols, True)
        with tempfile.NamedTemporaryFile("w", suffix=".kws") as listed:
            listed.write("".join(f"{phrase}/{SPHINX_THRESHOLD}/\n" for phrase in self.phrases))
            listed.flush()
            self._decoder.add_kws("phrases", listed.name)
        self._decoder.activate_search("phrases")
        self.reset()

    def reset(self) -> None:
        self._pending = np.zeros(0, np.int16)

    def scores(self, samples: np.ndarray) -> np.ndarray:
        """Return scores [n, phrases]: the probability of a detected phrase, otherwise 0. Each call is an utterance."""
        self._pending = np.concatenate([self._pending, _in_16_bits(samples)])
        count = len(self._pending) // CHUNK_SAMPLES
        whole, self._pending = np.split(self._pending, [count * CHUNK_SAMPLES])
        scores = np.zeros((count, len(self.phrases)), np.float32)
        if not count:
            return scores
        self._decoder.start_utt()
        self._decoder.process_raw(whole.tobytes(), full_utt=True)
        self._decoder.end_utt()
        for segment in self._decoder.seg() or ():
            chunk = min(count - 1, segment.end_frame * HOP // CHUNK_SAMPLES)
            column = self.phrases.index(segment.word)
            scores[chunk, column] = max(scores[chunk, column], segment.prob)
        return scores


Peer = OpenWakeWord | MicroWakeWord | PocketSphinx


def packaged_peers() -> list[Peer]:
    """Return the detectors in other projects' packages."""
    heads = sorted((Path(pyopen_wakeword.__file__).parent / "models").glob("*.tflite"))
    manifests = sorted((Path(pymicro_wakeword.__file__).parent / "models").glob("*.json"))
    return [OpenWakeWord([head for head in heads if head.stem not in NOT_HEADS]), *map(MicroWakeWord, manifests)]
