"""Training of the verifier (:mod:`model.large.verifier`) on stretches of one to four words.

Speech is encoded once. Each stretch is paired with its own text and with similar ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.audio_file import SAMPLE_RATE
from core.data_folder import atomic_path
from core.errors import HarkError
from core.onnx import session
from lab.metrics import equal_error_rate
from lab.weights.encoder_head import HeadTrainConfig
from lab.weights.learning import learn
from model.asr.augmentation import BatchAugmenter
from model.asr.emissions import default_aligner
from model.asr.packed import Packed
from model.fit import Fit
from model.keyword_hmm import Pronunciations
from model.large.decoder_tokens import spellings
from model.large.encoder import loaded_backbone
from model.large.encoder_backbone import STATE_FRAMES, STATES_AFTER, STATES_BEFORE
from model.large.phone_head import ENCODER_WIDTH
from model.large.rescoring import rescoring_graph
from model.large.second_pass import phones_and_lengths
from model.large.verifier import Verifier, located
from model.phones import PHONE_OUTPUTS, PHONES, outputs_of, phones_of
from phrase_augmentation.distance import exchange_cost, phone_distance
from phrase_augmentation.keyphrase import Keyphrase
from phrase_augmentation.vocabulary import vocabulary
from pipeline.corpora.alignment import NotAligned, align

PHONES_FILE, STATES_FILE, TABLE_FILE = "phones.f16", "states.f16", "heard.json"
MAX_DURATION_S = 35.0  # maximum seconds of an utterance used for training
FRAMES_A_SECOND = 50
MAX_FRAMES = 160  # maximum frames of a stretch
SURE = 0.15  # minimum confidence of the words of a stretch, and of its whole utterance
GAP_S = 0.25  # maximum seconds between two words of a stretch
STRETCH_S = (0.25, 2.0)
BEFORE_S, AFTER_S = (0.05, 0.8), (0.1, 0.5)  # seconds of context around a stretch
WORDS_WEIGHT = (1.0, 1.2, 1.0, 0.6)  # weights of stretches of one to four words
PHONES_OF_TEXT = (2, 31)
MIN_DISTANCE = 0.3  # phone distance of a similar text; nearer ones count as the same
NEAR_WORDS = 14
RARITY_COST = 0.08
JUDGED_SHARE = 6  # one in this many speakers trains only the weights of the evidence
WINDOW_S = 2.9  # seconds of other speech, in which the best match of several texts is a false alarm
TEXTS_TRIED = 10
HITS_SHARE = 8  # one in this many items is such a false alarm in training
JUDGED_HITS_SHARE = 3  # the same for fitting the weights; more, because false alarms determine a threshold
HITS_AT_ONCE = 20
NOISE_PENALTY = 0.03


@dataclass(frozen=True)
class VerifierTrainConfig:
    """Parameters of the training. The weights of the evidence are fitted to ``cases`` pairs of a stretch and a text."""

    steps: int = 9_000
    batch: int = 144
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    cases: int = 6_000
    judge_steps: int = 1_500
    seed: int = 0


@dataclass(frozen=True)
class HeardSpeech:
    """An encoded utterance, and its words with times [s] and confidences."""

    speaker: str
    corpus: str
    split: str
    noisy: bool  # whether it is in rooms and noise
    first: int  # first frame in the file of phones; a quarter of that in the file of states
    frames: int
    words: list[tuple[str, float, float, float]]


@dataclass(frozen=True)
class Item:
    """A stretch of speech and the pronunciations of a text: its own text if ``is_own_text`` is True."""

    phones: np.ndarray
    states: np.ndarray
    ways: Pronunciations
    is_own_text: bool
    text: str = ""
    noisy: bool = False


class Speech:
    """Encoded speech of some speakers, and the stretches in it."""

    def __init__(self, folder: Path, rows: Sequence[HeardSpeech], rng: np.random.Generator) -> None:
        self.folder, self.rows, self.rng = folder, list(rows), rng
        self._phones = np.memmap(folder / PHONES_FILE, np.float16, "r").reshape(-1, PHONE_OUTPUTS)
        self._states = np.memmap(folder / STATES_FILE, np.float16, "r").reshape(-1, ENCODER_WIDTH)
        self.stretches = list(self._stretches())
        weights = np.asarray([self._weight(*stretch) for stretch in self.stretches])
        self._upto = np.cumsum(weights / weights.sum()) if len(weights) else weights

    def _stretches(self) -> Iterator[tuple[int, int, int]]:
        for number, row in enumerate(self.rows):
            for first in range(len(row.words)):
                for count in range(1, 1 + min(len(WORDS_WEIGHT), len(row.words) - first)):
                    words = row.words[first : first + count]
                    if any(after[1] - before[2] > GAP_S for before, after in pairwise(words)):
                        break
                    fits = STRETCH_S[0] <= words[-1][2] - words[0][1] <= STRETCH_S[1]
                    if fits and min(word[3] for word in words) > SURE:
                        yield number, first, count

    @cached_property
    def _speech_s(self) -> dict[str, float]:
        seconds: dict[str, float] = {}
        for row in self.rows:
            seconds[row.corpus] = seconds.get(row.corpus, 0.0) + row.frames / FRAMES_A_SECOND
        return seconds

    def _weight(self, number: int, first: int, count: int) -> float:
        """Weight corpora by the square root of their hours, so that a large one does not crowd out the others."""
        return WORDS_WEIGHT[count - 1] / float(np.sqrt(self._speech_s[self.rows[number].corpus]))

    @cached_property
    def texts(self) -> list[str]:
        return sorted({self.text(stretch) for stretch in self.stretches})

    @cached_property
    def words(self) -> list[str]:
        return sorted({word[0] for row in self.rows for word in row.words})

    def text(self, stretch: tuple[int, int, int]) -> str:
        number, first, count = stretch
        return " ".join(word[0] for word in self.rows[number].words[first : first + count])

    def between(self, row: HeardSpeech, start_s: float, end_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Return phones and states of a part of an utterance."""
        first = max(0, int(start_s * FRAMES_A_SECOND)) // STATE_FRAMES * STATE_FRAMES
        end = min(row.frames, int(end_s * FRAMES_A_SECOND) + 1, first + MAX_FRAMES)
        state, states = (row.first + first) // STATE_FRAMES, -(-(end - first) // STATE_FRAMES)
        phones = np.asarray(self._phones[row.first + first : row.first + end], np.float32)
        return phones, np.asarray(self._states[state : state + states], np.float32)

    def drawn(self) -> list[Item]:
        """Draw a stretch with its own text and up to two similar ones; return [] if the stretch cannot be used."""
        rng = self.rng
        number, first, count = stretch = self.stretches[int(np.searchsorted(self._upto, rng.random()))]
        row, text = self.rows[number], self.text(stretch)
        words, ways = row.words[first : first + count], ways_of(text)
        phones, states = self.between(row, words[0][1] - rng.uniform(*BEFORE_S), words[-1][2] + rng.uniform(*AFTER_S))
        if not _fit(ways) or len(phones) < 20:
            return []
        items = [Item(phones, states, ways, True, text, row.noisy)]
        for _ in range(2):
            near_text, near = self._near(text, ways)
            too_near = any(phone_distance(phones_of(a), phones_of(b)) < MIN_DISTANCE for a in ways for b in near)
            if _fit(near) and not too_near:
                items.append(Item(phones, states, near, False, near_text, row.noisy))
        return items

    def _near(self, text: str, ways: Pronunciations) -> tuple[str, Pronunciations]:
        """Return a similar text: another word in it, other phones, an additional word, or another text."""
        rng, kind, words = self.rng, self.rng.random(), text.split()
        if kind < 0.5:
            place = int(rng.integers(len(words)))
            near = near_words(words[place])
            if not near:
                return "", ()
            words[place] = near[min(len(near) - 1, int(rng.exponential(5)))]
            text = " ".join(words)
        elif kind < 0.8:
            return "", (_changed(ways[int(rng.integers(len(ways)))], rng),)
        elif kind < 0.9:
            more = self.words[int(rng.integers(len(self.words)))]
            text = f"{text} {more}" if rng.random() < 0.6 else f"{more} {text}"
        else:
            text = self.texts[int(rng.integers(len(self.texts)))]
        return text, ways_of(text)

    def hits(self, count: int) -> list[Item]:
        """Draw false alarms: other speech at the best match of several texts."""
        rng, windows, tried = self.rng, list[Item](), list[list[str]]()
        while len(windows) < count:
            row = self.rows[int(rng.integers(len(self.rows)))]
            start = rng.uniform(0, max(0.0, row.frames / FRAMES_A_SECOND - WINDOW_S))
            phones, states = self.between(row, start, start + WINDOW_S)
            spoken_words = {word[0] for word in row.words}
            texts = [self.texts[int(number)] for number in rng.integers(len(self.texts), size=TEXTS_TRIED)]
            texts = [text for text in texts if not spoken_words & set(text.split()) and _fit(ways_of(text))]
            if texts and len(phones) > 40:
                ways = tuple(ways_of(text)[0] for text in texts)
                windows.append(Item(phones, states, ways, False, noisy=row.noisy))
                tried.append(texts)
        if not windows:
            return []
        batch = batch_of(windows)
        with torch.no_grad():
            score, end, _ = located(batch.given[0], *batch.given[2:])
        hits = []
        for number, row_of_best in enumerate(batch.best(score).tolist()):
            text = tried[number][row_of_best - int(np.flatnonzero(batch.owner == number)[0])]
            place = int(end[row_of_best]) // STATE_FRAMES
            first, last = max(0, place - STATES_BEFORE - 8), place + STATES_AFTER
            window = windows[number]
            part = window.phones[STATE_FRAMES * first : STATE_FRAMES * last]
            hits.append(Item(part, window.states[first:last], ways_of(text), False, text, window.noisy))
        return hits


@cache
def ways_of(text: str) -> Pronunciations:
    """Return the encoder's output for each phone of a text, in each accent; () if the text cannot be spoken."""
    try:
        return outputs_of(Keyphrase(text))
    except HarkError:
        return ()


def _fit(ways: Pronunciations) -> bool:
    return bool(ways) and min(map(len, ways)) >= PHONES_OF_TEXT[0] and max(map(len, ways)) <= PHONES_OF_TEXT[1]


@cache
def near_words(word: str) -> list[str]:
    """Return words that sound similar but not the same, common ones first."""
    ways = ways_of(word)
    if not ways:
        return []
    nearest = vocabulary("en").nearest(phones_of(ways[0]), 40, RARITY_COST)
    return [near for near, distance in nearest if distance > MIN_DISTANCE and near != word][:NEAR_WORDS]


@cache
def _near_phones(phone: int) -> list[int]:
    """Return other phones, the nearest first, except those that are hardly different."""
    costs = {other: exchange_cost(PHONES[phone - 1], PHONES[other - 1]) for other in range(1, PHONE_OUTPUTS)}
    return sorted((other for other, cost in costs.items() if cost > 0.15), key=lambda other: costs[other])


def _changed(way: Sequence[int], rng: np.random.Generator) -> tuple[int, ...]:
    """Exchange, delete or insert one or two phones."""
    changed = list(way)
    for _ in range(1 + (rng.random() < 0.3)):
        kind, place = rng.random(), int(rng.integers(len(changed)))
        if kind < 0.6:
            near = _near_phones(changed[place])
            changed[place] = near[min(len(near) - 1, int(rng.exponential(6)))]
        elif kind < 0.8 and len(changed) > 2:
            del changed[place]
        else:
            changed.insert(place, int(rng.integers(1, PHONE_OUTPUTS)))
    return tuple(changed)


def train_verifier(
    packed: Packed,
    config: VerifierTrainConfig,
    folder: Path,
    on_progress: Callable[[int, int, float], None],
    tensorboard: str = "",
) -> tuple[Verifier, dict[str, float]]:
    """Train on the pack's ``train`` split; return the verifier, and its errors on the speech of ``validation``.

    The errors are equal error rates on similar texts, by group. The encoder's outputs are cached in ``folder`` (350 MB
    an hour), so that a repeated call does not compute them.

    Args:
        on_progress: called with steps done, total steps, and the loss (NaN while the encoder runs).

    Raises:
        HarkError: too few speakers have a transcript.
    """
    rows = _hear(packed, config, folder, on_progress)
    rng = np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    groups: dict[str, list[HeardSpeech]] = {"train": [], "judge": [], "validation": []}
    for row in rows:
        groups["judge" if row.split == "train" and is_judge(row.speaker) else row.split].append(row)
    speech = {name: Speech(folder, group, rng) for name, group in groups.items()}
    for name in ("train", "judge"):
        if not speech[name].stretches:
            raise HarkError(
                "There is too little speech to train a verifier.",
                f"No transcribed speaker that can be aligned is left for the group {name!r}.",
                "Give corpora with more speakers.",
            )
    verifier = Verifier()
    _train(verifier, speech["train"], config, on_progress, tensorboard)
    _fit_judge(verifier, _cases(speech["judge"], config.cases), config)
    return verifier, _errors(verifier, speech["validation"], config)


def is_judge(speaker: str) -> bool:
    """Return whether a speaker trains only the evidence's weights; the same in every run on every machine."""
    return hashlib.sha256(speaker.encode()).digest()[0] % JUDGED_SHARE == 0


def _hear(
    packed: Packed, config: VerifierTrainConfig, folder: Path, on_progress: Callable[[int, int, float], None]
) -> list[HeardSpeech]:
    """Encode utterances in quiet, and those for training also in rooms and noise."""
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / TABLE_FILE
    augmentation = replace(
        HeadTrainConfig().augmentation, speed_share=0.0
    )  # without a change of speed, words keep their times
    wanted = {"seed": config.seed, "augmentation": repr(augmentation), "speech": packed.digest}
    known: dict[str, Any] = json.loads(table.read_text()) if table.is_file() else {}
    if known.get("made") == wanted:
        return [HeardSpeech(**row) for row in known["rows"]]
    table.unlink(missing_ok=True)
    aligner, encoder = default_aligner(), loaded_backbone()
    augmenter = BatchAugmenter(augmentation, packed.noise, packed.rooms, "cpu")
    torch.manual_seed(config.seed)
    rows: list[dict[str, Any]] = []
    indices = [
        i for i, u in enumerate(packed.utterances) if u.text and packed.length[i] <= MAX_DURATION_S * SAMPLE_RATE
    ]
    first = 0
    with (folder / PHONES_FILE).open("wb") as phones_file, (folder / STATES_FILE).open("wb") as states_file:
        for number, index in enumerate(indices):
            utterance, audio = packed.utterances[index], packed.audio(index)
            try:
                aligned = align(aligner.log_probabilities(audio), utterance.text, aligner)
            except NotAligned:
                continue
            words = [(word.label, word.start_s, word.end_s, word.confidence) for word in aligned.words]
            sounds = [audio]
            if utterance.split == "train":
                with torch.no_grad():
                    changed, _ = augmenter.waveform(torch.from_numpy(audio)[None], torch.tensor([len(audio)]))
                sounds.append(changed[0].numpy())
            for noisy, sound in enumerate(sounds if aligned.confidence > SURE else ()):
                phones, states = encoder.encode(sound)
                frames = len(states) * STATE_FRAMES  # so that both files cover the same time
                np.pad(phones, ((0, frames - len(phones)), (0, 0)), "edge").astype(np.float16).tofile(phones_file)
                states.astype(np.float16).tofile(states_file)
                rows.append(
                    {
                        "speaker": utterance.speaker, "corpus": utterance.corpus, "split": utterance.split,
                        "noisy": bool(noisy), "first": first, "frames": len(phones), "words": words,
                    }
                )  # fmt: skip
                first += frames
            if number % 100 == 0:
                on_progress(number, len(indices), float("nan"))
    with atomic_path(table) as temporary:
        temporary.write_text(json.dumps({"made": wanted, "rows": rows}))
    return [HeardSpeech(**row) for row in rows]


@dataclass(frozen=True)
class Batch:
    """Items with all their pronunciations: a verifier's tensors, and the item of each row."""

    given: tuple[Tensor, Tensor, Tensor, Tensor]
    owner: np.ndarray

    def best(self, scores: Tensor) -> Tensor:
        """Return each item's row with the best score."""
        rows = [np.flatnonzero(self.owner == item) for item in range(self.owner.max() + 1)]
        return torch.tensor([int(own[int(scores[own].argmax())]) for own in rows])

    def rows(self, chosen: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor[chosen] for tensor in self.given)


def batch_of(items: Sequence[Item]) -> Batch:
    rows = [(number, way) for number, item in enumerate(items) for way in item.ways]
    frames = max(len(item.phones) for item in items)
    outputs = torch.zeros(len(rows), frames, PHONE_OUTPUTS)
    outputs[:, :, 0] = 1.0  # after an item: silence
    states = torch.zeros(len(rows), -(-frames // STATE_FRAMES), ENCODER_WIDTH)
    for row, (number, _) in enumerate(rows):
        item = items[number]
        outputs[row, : len(item.phones)] = torch.from_numpy(item.phones)
        states[row, : len(item.states)] = torch.from_numpy(item.states)
    phones, lengths = phones_and_lengths(tuple(way for _, way in rows))
    return Batch((outputs, states, phones, lengths), np.asarray([number for number, _ in rows]))


def _train(
    verifier: Verifier,
    speech: Speech,
    config: VerifierTrainConfig,
    on_progress: Callable[[int, int, float], None],
    tensorboard: str,
) -> None:
    optimizer = torch.optim.AdamW(verifier.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    fit = Fit(verifier, optimizer, config.steps, min(100, config.steps), ema_decay=0.995)

    def loss() -> Tensor:
        items = speech.hits(config.batch // HITS_SHARE)
        while len(items) < config.batch:
            items += speech.drawn()
        batch = batch_of(items)
        with torch.no_grad():
            chosen = batch.best(located(batch.given[0], *batch.given[2:])[0])
        labels = torch.tensor([float(item.is_own_text) for item in items])
        given = batch.rows(chosen)
        logit, each, _ = verifier.train()(*given)
        right = (torch.arange(each.shape[1])[None] < given[3][:, None]) & (labels > 0)[:, None]
        of_phones = functional.softplus(-each[right]).mean()  # every phone of a spoken text counts as correct
        return functional.binary_cross_entropy_with_logits(logit, labels) + 0.2 * of_phones

    learn(fit, loss, on_progress, tensorboard)
    verifier.load_state_dict(fit.average.state_dict())
    verifier.eval()


def _cases(speech: Speech, count: int) -> list[tuple[Item, np.ndarray]]:
    """Return items whose texts the decoder can spell, and its evidence for them [3]."""
    cases: list[tuple[Item, np.ndarray]] = []
    false_alarms = count // JUDGED_HITS_SHARE
    while len(cases) < count:
        left = min(HITS_AT_ONCE, false_alarms)
        false_alarms -= left
        for item in speech.hits(left) if left else speech.drawn():
            ways = spellings(item.text) if item.text else ()
            if ways:
                asked = session(rescoring_graph(ways).SerializeToString())
                cases.append((item, asked.run(["evidence"], {"states": item.states[None]})[0][0]))
    return cases


@torch.no_grad()
def _evidence(verifier: Verifier, items: Sequence[Item]) -> Tensor:
    """Return the acoustic evidence of items [items, ACOUSTIC_EVIDENCE], computed one by one, without padding."""
    vectors = []
    for item in items:
        evidence = verifier(*batch_of([item]).given)[2]
        vectors.append(evidence[evidence[:, 0].argmax()])
    return torch.stack(vectors)


def _fit_noise(verifier: Verifier, items: Sequence[Item], config: VerifierTrainConfig) -> None:
    """Fit the layer that distinguishes noise from quiet."""
    noisy = torch.tensor([float(item.noisy) for item in items])
    states = [torch.from_numpy(item.states) for item in items]
    known = torch.stack([torch.cat([each.mean(dim=0), each.std(dim=0, correction=0)]) for each in states])
    centre, spread = known.mean(dim=0), known.std(dim=0).clamp(min=1e-3)
    layer = nn.Linear(known.shape[1], 1)
    _fit_logistic(layer, (known - centre) / spread, noisy, config, NOISE_PENALTY)
    with torch.no_grad():
        verifier.noise.weight.copy_(layer.weight / spread)
        verifier.noise.bias.copy_(layer.bias - layer.weight @ (centre / spread))


def _fit_logistic(
    module: nn.Module, known: Tensor, wanted: Tensor, config: VerifierTrainConfig, penalty: float = 0.0
) -> None:
    """Fit a logistic regression, with ``penalty`` times the squared weights added to the loss."""
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2, weight_decay=0.0 if penalty else 0.1)
    fit = Fit(module, optimizer, config.judge_steps, 1)
    for _ in range(config.judge_steps):
        loss = functional.binary_cross_entropy_with_logits(module(known)[:, 0], wanted)
        fit.learn(loss + penalty * sum(weight.square().sum() for weight in module.parameters()))


def _fit_judge(verifier: Verifier, cases: Sequence[tuple[Item, np.ndarray]], config: VerifierTrainConfig) -> None:
    """Fit the weights of the evidence, on speakers that nothing else was trained on."""
    items = [item for item, _ in cases]
    _fit_noise(verifier, items, config)
    evidence = torch.cat([_evidence(verifier, items), torch.from_numpy(np.stack([extra for _, extra in cases]))], dim=1)
    labels = torch.tensor([float(item.is_own_text) for item in items])
    verifier.centre.copy_(evidence.mean(dim=0))
    verifier.spread.copy_(evidence.std(dim=0).clamp(min=1e-3))
    _fit_logistic(verifier.judge, (evidence - verifier.centre) / verifier.spread, labels, config)


def _errors(verifier: Verifier, speech: Speech, config: VerifierTrainConfig) -> dict[str, float]:
    """Return equal error rates ``eer/<corpus>`` of the verifier without the decoder, on similar texts."""
    by_corpus: dict[str, list[HeardSpeech]] = {}
    for row in speech.rows:
        by_corpus.setdefault(row.corpus, []).append(row)
    errors = {}
    for corpus, rows in sorted(by_corpus.items()):
        part = Speech(speech.folder, rows, np.random.default_rng(config.seed))
        items = [item for _ in range(min(400, len(part.stretches))) for item in part.drawn()]
        if any(item.is_own_text for item in items) and not all(item.is_own_text for item in items):
            logits, labels = _evidence(verifier, items)[:, 2].numpy(), np.asarray([item.is_own_text for item in items])
            errors[f"eer/{corpus}"] = equal_error_rate(logits[labels], logits[~labels])
    return errors
