"""Transcribed speech for training: all audio in one file of 16-bit samples, from which batches are drawn."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from core.audio_file import SAMPLE_RATE, read_audio
from core.data_folder import atomic_path
from core.processors import usable_cores

AUDIO_FILE = "audio.i16"
TABLE_FILE = "utterances.jsonl"
NOISE_FILE = "noise.i16"
ROOMS_FILE = "rooms.npz"
JOIN_UNTIL_S = (2.0, 7.0)  # seconds; short utterances are joined until an item is about this long
JOIN_GAP_S = (0.0, 0.4)
MAX_DURATION_S = 17.0


@dataclass(frozen=True)
class Utterance:
    """A recording and its transcript.

    Attributes:
        path: the audio file, relative to the packed folder.
        text: the normalized transcript; empty for untranscribed speech.
        phones: the text's phones, in IPA.
        speaker: an ID that is unique across corpora.
        corpus: the corpus, or the speech engine.
        real: True for a person, False for a speech engine.
        split: train, validation or test.
    """

    path: str
    text: str
    phones: tuple[str, ...]
    speaker: str
    corpus: str
    real: bool
    split: str


@dataclass(frozen=True)
class Packed:
    """The ``samples`` of a pack (int16 memory map), utterances and their positions, noise, rooms, and a ``digest``."""

    samples: np.ndarray
    utterances: list[Utterance]
    first: np.ndarray
    length: np.ndarray
    noise: np.ndarray
    rooms: list[np.ndarray]
    digest: str

    def audio(self, index: int) -> np.ndarray:
        """Return an utterance [samples] float32."""
        part = self.samples[self.first[index] : self.first[index] + self.length[index]]
        return np.asarray(part, np.float32) / 32768.0

    def where(self, split: str, transcribed: bool | None = None) -> np.ndarray:
        """Return the indices of a split's utterances; ``transcribed`` None selects both with and without phones."""
        wanted = (u.split == split and transcribed in (None, bool(u.phones)) for u in self.utterances)
        return np.flatnonzero(np.fromiter(wanted, bool))


def _to_int16(audio: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(audio * 32768.0), -32768, 32767).astype(np.int16)


def pack(
    utterances: Iterable[Utterance],
    root: Path,
    folder: Path,
    noises: Sequence[np.ndarray] = (),
    rooms: Sequence[np.ndarray] = (),
) -> int:
    """Decode utterances under ``root`` into ``folder``; return their number. Skip unreadable and overlong ones."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TABLE_FILE).unlink(missing_ok=True)

    def decoded(utterance: Utterance) -> np.ndarray | None:
        try:
            return _to_int16(read_audio(root / utterance.path))
        except Exception:  # whatever a damaged file raises, the others can be used
            return None

    rows, position = [], 0
    with (folder / AUDIO_FILE).open("wb") as audio_file, ThreadPoolExecutor(usable_cores()) as pool:
        left = iter(utterances)
        while block := list(itertools.islice(left, 256)):
            for utterance, samples in zip(block, pool.map(decoded, block)):
                if samples is None or not 0.1 * SAMPLE_RATE <= len(samples) <= 2.1 * MAX_DURATION_S * SAMPLE_RATE:
                    continue
                samples.tofile(audio_file)
                rows.append({**asdict(utterance), "first": position, "length": len(samples)})
                position += len(samples)
    _to_int16(np.concatenate(noises) if noises else np.zeros(0, np.float32)).tofile(folder / NOISE_FILE)
    np.savez(folder / ROOMS_FILE, *rooms)
    with atomic_path(folder / TABLE_FILE) as temporary:
        temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return len(rows)


def open_pack(folder: Path) -> Packed:
    """Open a folder written by :func:`pack`."""
    rows = [json.loads(line) for line in (folder / TABLE_FILE).read_text().splitlines()]
    first = np.asarray([row.pop("first") for row in rows], np.int64)
    length = np.asarray([row.pop("length") for row in rows], np.int64)
    utterances = [Utterance(**{**row, "phones": tuple(row["phones"])}) for row in rows]
    with np.load(folder / ROOMS_FILE) as rooms:
        responses = [rooms[name] for name in rooms.files]
    return Packed(
        np.memmap(folder / AUDIO_FILE, np.int16, "r"),
        utterances,
        first,
        length,
        np.fromfile(folder / NOISE_FILE, np.int16),
        responses,
        hashlib.sha256(
            b"".join((folder / name).read_bytes() for name in (TABLE_FILE, NOISE_FILE, ROOMS_FILE))
        ).hexdigest(),
    )


@dataclass(frozen=True)
class SpeechBatch:
    """Audio [batch, samples] float32, zero-padded at the end, with its lengths and the indices of its utterances."""

    audio: np.ndarray
    lengths: np.ndarray  # in samples
    items: list[list[int]]  # utterances of the pack, in spoken order


@dataclass
class BatchSource:
    """Draws batches of about ``seconds`` of speech, at most ``max_utterances``; ``real_share`` of it is real.

    Short utterances are joined into items of a few seconds, so that single words occur between others. Items of a batch
    have similar lengths. Corpora are drawn by the square root of their hours, so that a large one does not dominate.
    """

    packed: Packed
    indices: np.ndarray
    seconds: float
    rng: np.random.Generator
    real_share: float = 0.6
    max_duration_s: float = MAX_DURATION_S
    join: bool = True
    max_utterances: int = 0  # maximum utterances per batch; 0: as many as fit into ``seconds``
    _pools: list[tuple[np.ndarray, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        keep = self.packed.length[self.indices] <= self.max_duration_s * SAMPLE_RATE
        groups: dict[tuple[bool, str], list[int]] = {}
        for index in self.indices[keep]:
            utterance = self.packed.utterances[index]
            groups.setdefault((utterance.real, utterance.corpus), []).append(int(index))
        for real in (True, False):
            mine = [np.asarray(indices) for key, indices in groups.items() if key[0] == real]
            pools = [(indices, float(np.sqrt(self.packed.length[indices].sum()))) for indices in mine]
            total = sum(weight for _, weight in pools)
            share = self.real_share if real else 1.0 - self.real_share
            self._pools += [(v, share * weight / total / self.packed.length[v].mean()) for v, weight in pools]

    def __bool__(self) -> bool:
        return bool(self._pools)

    def draw(self) -> SpeechBatch:
        rng, length = self.rng, self.packed.length
        weights = np.asarray([weight for _, weight in self._pools])
        weights /= weights.sum()

        def utterance() -> int:
            pool = self._pools[rng.choice(len(self._pools), p=weights)][0]
            return int(pool[rng.integers(len(pool))])

        # The batch is a range of similar lengths from a larger draw.
        drawn: list[list[int]] = []
        for _ in range(4 * max(2, self.max_utterances or int(self.seconds / 5))):
            item = [utterance()]
            if self.join and rng.random() < 0.8:
                until = rng.uniform(*JOIN_UNTIL_S) * SAMPLE_RATE
                while length[item].sum() < until and len(item) < (
                    min(8, self.max_utterances) if self.max_utterances else 8
                ):
                    item.append(utterance())
                if length[item].sum() > self.max_duration_s * SAMPLE_RATE:
                    item.pop()
            drawn.append(item)
        drawn.sort(key=lambda item: length[item].sum())
        start = int(rng.integers(max(1, len(drawn) - self.max_utterances)))
        items: list[list[int]] = []
        longest = held = 0
        for item in drawn[start:]:
            longest = max(longest, int(length[item].sum()))
            held += len(item)
            too_many = bool(self.max_utterances) and held > self.max_utterances
            if items and (too_many or longest * (len(items) + 1) > self.seconds * SAMPLE_RATE):
                break
            items.append(item)
        return self._assemble(items)

    def _assemble(self, items: list[list[int]]) -> SpeechBatch:
        pieces: list[np.ndarray] = []
        for item in items:
            parts: list[np.ndarray] = []
            for index in item:
                parts.append(np.zeros(int(self.rng.uniform(*JOIN_GAP_S) * SAMPLE_RATE) if self.join else 0, np.float32))
                audio = self.packed.audio(index)
                parts.append(audio * (0.05 / max(1e-4, float(np.sqrt(np.mean(audio**2))))))
            pieces.append(np.concatenate(parts))
        lengths = np.asarray([len(piece) for piece in pieces])
        batch = np.zeros((len(pieces), lengths.max()), np.float32)
        for row, piece in zip(batch, pieces):
            row[: len(piece)] = piece
        return SpeechBatch(batch, lengths, items)
