"""The keyword HMM over phone probabilities, and the common base of detectors that use it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.detector import Detector, DetectorConfig
from model.features import CHUNK_FRAMES, FRAME_STRIDE
from model.phones import PHONE_OUTPUTS

# Square roots of phone probabilities below this count as equal. It exceeds the smallest value that a negative set
# stores, so that stored and live speech have the same scores.
MIN_MATCH = 0.04
# A state's score in a frame is its log probability, minus this share of that of the frame's most probable output. At 1,
# a frame in which every phone is uncertain (noise) costs a path almost nothing; at 0, as much as a wrong phone.
MATCH_RIVAL = 0.5
# Nats for going from phone to phone without a blank in between; speech is seldom that fast.
MATCH_JUMP = 1.0
MATCH_LEAK = 0.001  # nats that a path loses per 20 ms frame; a higher value would penalize slow speakers
MATCH_FLOOR = -2.5  # lowest match score
CHUNK_STEPS = CHUNK_FRAMES // FRAME_STRIDE  # frames per score of a detector
MATCH_POOL = 10  # frames; the best score of the last 200 ms counts
ANTI_KEYWORD_POOL = MATCH_POOL + CHUNK_STEPS  # the same for an anti-keyword, whose path may end 80 ms earlier
ANTI_KEYWORD_SLOPE = 4.0  # match score lost per unit by which an anti-keyword's advantage exceeds the margin

Pronunciations = tuple[tuple[int, ...], ...]  # pronunciations of a phrase, as outputs of the front end


# Scripted, so that the ONNX loop accepts any length.
@torch.jit.script
def follow_states(cost: Tensor, first: Tensor, skip: Tensor, value: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Run Viterbi's recursion: cost [batch, time, states] and value [batch, states] to values [batch, time, states].

    A state is reached from itself, from the preceding one (from outside, at no cost, for states in ``first`` [states]),
    or from the one before that (at ``skip`` [states], a large negative value where that is not allowed).
    """
    values: list[Tensor] = []
    for time in range(cost.size(1)):
        before = torch.cat([value[:, :1], value[:, :-1]], dim=1)
        before = torch.where(first, torch.zeros_like(before), before)
        earlier = torch.cat([value[:, :2], value[:, :-2]], dim=1) + skip
        value = torch.clamp(torch.maximum(torch.maximum(value, before), earlier) + cost[:, time], min=floor)
        values.append(value)
    return torch.stack(values, dim=1), value


class KeywordHMM(nn.Module):
    """A keyword HMM on a backbone's outputs, which scores how well the last frames match the phones of the phrase.

    The score is the log-probability of the best path through the phrase's CTC states, per phone, minus
    :data:`MATCH_RIVAL` times that of the best path of any phones (at 1, the usual CTC keyword score). It needs no
    recordings of the phrase, so it does not prefer the voices of speech engines. Values decay and have a floor, so
    frames older than 50 s cannot matter, and in speech those older than a second or two rarely do.
    """

    first: Tensor
    skip: Tensor
    symbols: Tensor
    scale: Tensor
    last: Tensor

    def __init__(self, pronunciations: Pronunciations, floor: float = MATCH_FLOOR) -> None:
        super().__init__()
        self.floor = floor
        symbols: list[int] = []
        first: list[bool] = []
        skip: list[float] = []
        scale: list[float] = []
        last: list[int] = []
        for phones in pronunciations:
            for place, phone in enumerate(phones):
                states = [phone] if place == 0 else [0, phone]
                for symbol in states:
                    symbols.append(symbol)
                    first.append(place == 0)
                    follows = symbol and place and phones[place - 1] != phone
                    skip.append(-MATCH_JUMP / len(phones) if follows else -1e4)
                    scale.append(1.0 / len(phones))
            last.append(len(symbols) - 1)
        buffers = {"symbols": symbols, "first": first, "skip": skip, "scale": scale, "last": last}
        for name, values in buffers.items():
            self.register_buffer(name, torch.tensor(values), persistent=False)

    @property
    def states(self) -> int:
        return len(self.symbols)

    def _follow(self, log_p: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        cost = (log_p - MATCH_RIVAL * log_p.amax(dim=2, keepdim=True))[:, :, self.symbols] * self.scale - MATCH_LEAK
        values, value = follow_states(cost, self.first, self.skip, value, self.floor)
        return values[:, :, self.last], value

    def forward(self, roots: Tensor, value: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map square roots of phone probabilities [batch, time, width] to scores [batch, time] <= 0 and new values.

        Columns after the phones are ignored. ``value`` [batch, states] is the value of each state; None at the start.
        """
        log_p = 2.0 * torch.log(roots[:, :, :PHONE_OUTPUTS].clamp(min=MIN_MATCH))
        each, value = self._follow(log_p, self.start(roots) if value is None else value)
        return each.amax(dim=2), value

    def start(self, roots: Tensor) -> Tensor:
        return roots.new_full((roots.shape[0], self.states), self.floor)


@dataclass(frozen=True, kw_only=True)
class HMMConfig(DetectorConfig):
    """The common configuration of detectors with a keyword HMM.

    Attributes:
        pronunciations: those of the phrase.
        window_frames: frames of 20 ms that a score depends on (the keyword HMM alone may depend on more).
        anti_keywords: pronunciations of words that were mistaken for the phrase.
        anti_keyword_margin: match score by which an anti-keyword must exceed the phrase to count.
        anti_keyword_pool: number of latest frames over which an anti-keyword's best score is taken.
    """

    pronunciations: Pronunciations
    window_frames: int = 80
    anti_keywords: Pronunciations = ()
    anti_keyword_margin: float = 0.0
    anti_keyword_pool: int = MATCH_POOL


def window_frames(window_s: float) -> int:
    """Return the frames of 20 ms in a window for phrases of up to ``window_s`` seconds."""
    return 2 * max(12, round(window_s / 0.04))


class HMMDetector(Detector):
    """A phrase's keyword HMM, one for its anti-keywords, and a line that maps match scores to logits.

    None of these is trained: the line's slope is a constant, and calibration chooses the match score that maps to 0.5.

    Attributes:
        floor: the keyword HMMs' lowest score.
        slope: logits per unit of match score.
        level: the match score that maps to 0.5 before calibration.
    """

    floor: ClassVar[float]
    slope: ClassVar[float]
    level: ClassVar[float]
    batch_frames = 40_000  # large, because a keyword HMM runs frame by frame
    config: HMMConfig

    def __init__(self, config: HMMConfig) -> None:
        super().__init__()
        self.config = config
        ways = filter(None, (config.pronunciations, config.anti_keywords))
        keyword_hmms = nn.ModuleList(KeywordHMM(each, self.floor) for each in ways)
        self.keyword_hmms = cast("Sequence[KeywordHMM]", keyword_hmms)  # for the phrase and any anti-keywords
        self.match = nn.Linear(1, 1).requires_grad_(False)  # maps match scores to logits
        self.centre(self.level)

    @property
    def min_score(self) -> float:
        """The lowest match score that calibration may map to 0.5."""
        return -math.inf

    @torch.no_grad()
    def centre(self, match: float) -> None:
        self.match.weight.fill_(self.slope)
        self.match.bias.fill_(-self.slope * match)

    def centred(self, match: float) -> Self:
        """Return the detector with this match score mapped to 0.5."""
        detector = self._with(self.config)
        detector.centre(match)
        return detector

    def with_anti_keywords(self, anti_keywords: Pronunciations, margin: float) -> Self:
        config = replace(self.config, anti_keywords=anti_keywords, anti_keyword_margin=margin)
        return self._with(replace(config, anti_keyword_pool=ANTI_KEYWORD_POOL))

    def _with(self, config: HMMConfig) -> Self:
        detector = type(self)(config)
        detector.load_state_dict(self.state_dict())
        return detector.eval()

    @abstractmethod
    def encode(self, audio: np.ndarray) -> np.ndarray:
        """Return square roots of phone probabilities [20 ms frames, outputs] of a recording that follows silence."""

    @torch.no_grad()
    def follow(self, phones: np.ndarray) -> np.ndarray:
        """Return the phrase's match score at each frame [time] of phones [time, outputs]."""
        match: np.ndarray = self.keyword_hmms[0](torch.from_numpy(phones)[None])[0][0].numpy()
        return match

    def pools(self) -> Iterator[tuple[KeywordHMM, int]]:
        """Yield the keyword HMMs of the phrase and of any anti-keywords, each with the size of its pool [frames]."""
        return zip(self.keyword_hmms, (MATCH_POOL, self.config.anti_keyword_pool), strict=False)

    def combined(self, scores: Sequence[Tensor], gained: Tensor | None = None) -> Tensor:
        """Combine the phrase's scores, anti-keywords' scores and rescoring gains into match scores [batch, n].

        Scores and gains are [batch, n, pool]. A match that fits an anti-keyword better than the phrase loses
        :data:`ANTI_KEYWORD_SLOPE` times the difference.
        """
        phrase, *anti_keywords = scores
        match = (phrase if gained is None else phrase + gained).amax(dim=2)
        for anti_keyword in anti_keywords:
            lost = anti_keyword.amax(dim=2) - phrase.amax(dim=2) - self.config.anti_keyword_margin
            match = match - ANTI_KEYWORD_SLOPE * functional.relu(lost)
        return match

    def logits(self, match: Tensor) -> Tensor:
        logits: Tensor = self.match(match.unsqueeze(-1)).squeeze(-1)
        return logits

    @torch.no_grad()
    def score(self, match: np.ndarray) -> np.ndarray:
        scores: np.ndarray = torch.sigmoid(self.logits(torch.from_numpy(match))).numpy()
        return scores

    def matches(self, stored: np.ndarray) -> np.ndarray:
        """Return match scores [batch, n] of stored frames [batch, window + chunk (n - 1), width]."""
        return self._matches(torch.from_numpy(stored))

    @torch.no_grad()
    def _matches(self, phones: Tensor, gained: Tensor | None = None) -> np.ndarray:
        """Return match scores of phones [batch, time, outputs], with rescoring gains for each frame [batch, time]."""

        def pooled(frames: Tensor, pool: int) -> Tensor:
            return frames[:, self.config.window_frames - pool :].unfold(1, pool, CHUNK_STEPS)

        scores = [pooled(keyword_hmm(phones)[0], pool) for keyword_hmm, pool in self.pools()]
        match: np.ndarray = self.combined(scores, None if gained is None else pooled(gained, MATCH_POOL)).numpy()
        return match

    def scores(self, stored: np.ndarray) -> np.ndarray:
        return self.score(self.matches(stored))
