"""The *large* detector: a keyword HMM on a speech encoder, with a second pass by its decoder.

The encoder is bidirectional within a window, so a stream is processed in overlapping windows, and phones are computed
per 20 ms, as by a backbone. Where the phrase matches, the decoder scores it (:mod:`model.large.rescoring`). All of
this is one ONNX graph with the same inputs and outputs as other detectors, so the runtime does not need a special case.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor

from model.export import Call
from model.features import CHUNK_SAMPLES, FRAME_STRIDE, HOP, StoredFrames
from model.keyword_hmm import CHUNK_STEPS, HMMConfig, HMMDetector, KeywordHMM, Pronunciations, window_frames
from model.large.encoder import any_time, encoder_name, loaded_backbone, to_onnx, window_graph
from model.large.encoder_backbone import (
    FRAME_SAMPLES,
    STATE_FRAMES,
    STATES_AFTER,
    STATES_BEFORE,
    EncoderFrontEnd,
    SecondPass,
    frame_positions,
)
from model.large.onnx_graph import Nodes, prefixed, tensor
from model.large.phone_head import shipped_head
from model.large.rescoring import decoder_weights
from model.large.second_pass import second_pass_graph
from model.large.verifier import shipped_verifier
from model.phones import PHONE_OUTPUTS

if TYPE_CHECKING:
    import onnx

ENCODER_MATCH_FLOOR = -5.0  # lower than a backbone's, because an encoder is more certain which phones occur
ENCODER_HOP = 7_680  # samples between two windows of a stream: 480 ms
ENCODER_BEFORE = 8_000  # samples of context before the phrase
MIN_ENCODER_SAMPLES = 46_080  # minimum samples per window, 2.88 s; 2.4 s were worse in noise
MIN_VERIFIED_MATCH = 0.0  # match score; 23 % of confusables by people unknown to the verifier score higher
# Frames of a window (its last 960 ms) whose best score counts: the new 480 ms, and the 480 ms before again.
ENCODER_POOL = 48


@dataclass(frozen=True, kw_only=True)
class EncoderDetectorConfig(HMMConfig):
    """The shape of a detector on an encoder.

    Attributes:
        encoder: the name of the encoder (:func:`model.large.encoder.encoder_name`).
        spellings: the phrase as tokens of the decoder; empty for no second pass.
        rescore_above: the match score above which the second pass runs.
        verifier: the name of the verifier (:func:`model.large.second_pass.verifier_name`); empty for the decoder only.
        allow_confusables: do not raise the default threshold to reject confusables
            (:attr:`EncoderDetector.min_score`).
    """

    kind = "encoder"
    encoder: str = field(default_factory=encoder_name)
    spellings: Pronunciations = ()
    rescore_above: float = 0.0
    verifier: str = ""
    allow_confusables: bool = False

    @property
    def stored(self) -> StoredFrames:
        """Phones and, with a second pass, a last column with its gain for each match."""
        width = PHONE_OUTPUTS + bool(self.spellings)
        return StoredFrames(width, FRAME_STRIDE, self.window_frames, CHUNK_STEPS, FRAME_STRIDE)

    @property
    def states_before(self) -> int:
        """Number of states before a match's end that the decoder reads: enough for the whole phrase, spoken slowly."""
        return max(STATES_BEFORE, self.window_frames // STATE_FRAMES)

    @property
    def window_samples(self) -> int:
        """Samples per window of a stream: the phrase, the context before it, and a hop."""
        needed = self.window_frames * FRAME_STRIDE * HOP + ENCODER_BEFORE + ENCODER_HOP
        return max(MIN_ENCODER_SAMPLES, -(-needed // ENCODER_HOP) * ENCODER_HOP)

    @property
    def receptive_frames(self) -> int:
        return super().receptive_frames + ENCODER_BEFORE // HOP

    @property
    def stream_samples(self) -> int:
        return self.window_samples + ENCODER_HOP


class EncoderDetector(HMMDetector):
    """The most accurate and largest detector. It includes encoder and decoder."""

    title = "A keyword HMM of phones on a speech encoder, with a second pass,"
    floor = ENCODER_MATCH_FLOOR
    slope = 0.7  # logits per match score; small, because rescoring has a range of 8 logits
    level = 1.0  # about the level of calibrated detectors
    quantizes = False
    config: EncoderDetectorConfig

    @classmethod
    def of_phrase(
        cls,
        pronunciations: Pronunciations,
        window_s: float,
        spellings: Pronunciations = (),
        rescore_above: float = 0.0,
        verifier: str = "",
        allow_confusables: bool = False,
    ) -> Self:
        """Return an uncalibrated detector for a phrase that fits into ``window_s`` seconds."""
        config = EncoderDetectorConfig(
            pronunciations=pronunciations, window_frames=window_frames(window_s), spellings=spellings,
            rescore_above=rescore_above, verifier=verifier, allow_confusables=allow_confusables,
        )  # fmt: skip
        return cls(config).eval()

    @property
    def min_score(self) -> float:
        """The lowest match score that may map to 0.5; below it, the verifier prefers a similar-sounding phrase."""
        return MIN_VERIFIED_MATCH if self.config.verifier and not self.config.allow_confusables else -math.inf

    @property
    def front_end_id(self) -> str:
        return self.config.encoder

    def foundation(self) -> dict[str, Any]:
        backbone = shipped_head()[1] | {"rescored": bool(self.config.spellings)}
        verifier = {"verifier": shipped_verifier()[1]} if self.config.verifier else {}
        return {"backbone": backbone, **verifier}

    @property
    def stored_id(self) -> Hashable:
        config = self.config
        asked = (config.pronunciations, config.spellings, config.rescore_above, config.verifier)
        return self.front_end_id, asked if config.spellings else ()

    @cached_property
    def second_pass(self) -> SecondPass | None:
        """The second pass, run on matches of the phrase; None without spellings."""
        if not self.config.spellings:
            return None
        return SecondPass(self._second_pass_graph(), self.config.rescore_above, self.config.states_before)

    def _second_pass_graph(self) -> bytes:
        config = self.config
        graph: bytes = second_pass_graph(config.pronunciations, config.spellings, config.verifier).SerializeToString()
        return graph

    def front_end(self, folder: Path) -> EncoderFrontEnd:
        graph, keyword_hmm, second = (
            str(folder / f"{name}.onnx") for name in ("encoder", "keyword_hmm", "second_pass")
        )
        Path(graph).write_bytes(window_graph().SerializeToString())
        if not self.config.spellings:
            return EncoderFrontEnd(self.config.stored, graph)
        Path(keyword_hmm).write_bytes(keyword_hmm_graph(self.config.pronunciations).SerializeToString())
        Path(second).write_bytes(self._second_pass_graph())
        above, before = self.config.rescore_above, self.config.states_before
        return EncoderFrontEnd(self.config.stored, graph, keyword_hmm, second, above, before)

    def encode(self, audio: np.ndarray) -> np.ndarray:
        return loaded_backbone().encode(audio)[0]

    @torch.no_grad()
    def matches(self, stored: np.ndarray) -> np.ndarray:
        phones, gains = torch.from_numpy(stored).tensor_split([PHONE_OUTPUTS], dim=2)
        return self._matches(phones, gains.sum(dim=2))  # zeros if that column is missing

    def window_match(self, roots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return each window's best match of the phrase, its frame, and the match minus anti-keywords, each [n, 1].

        ``roots`` holds windows of a stream [n, time, PHONE_OUTPUTS]. A match that only decays ended before the window
        and counted in earlier ones; the result is then the floor.
        """
        followed = [keyword_hmm(roots)[0][:, None] for keyword_hmm in self.keyword_hmms]
        scores = [match[:, :, -ENCODER_POOL:] for match in followed]
        best, place = scores[0].max(dim=2)
        fades = followed[0][:, :, -ENCODER_POOL - 1] > best
        best = torch.where(fades, torch.full_like(best, self.floor), best)
        return best, place + (roots.shape[1] - ENCODER_POOL), self.combined(scores)

    def window_total(self, match: Tensor, gain: Tensor) -> Tensor:
        """Return the scores of windows [n, 1] from their matches and the second pass's gains."""
        return torch.sigmoid(self.logits(match + gain))

    @torch.no_grad()
    def window_scores(self, windows: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Return the scores [n] of windows, each from :meth:`model.large.encoder_backbone.EncoderBackbone.window`."""
        best, frame, match = self.window_match(torch.from_numpy(np.stack([phones for phones, _ in windows])))
        gain = torch.zeros_like(best)
        if self.second_pass is not None:
            for row in torch.nonzero(best[:, 0] > self.config.rescore_above)[:, 0].tolist():
                phones, states = windows[row]
                gain[row] = self.second_pass.gain(phones, states, int(frame[row]))
        scores: np.ndarray = self.window_total(match, gain)[:, 0].numpy()
        return scores

    def stream_scores(self, audio: np.ndarray) -> np.ndarray:
        encoder, window = loaded_backbone(), self.config.window_samples
        padded = np.pad(np.asarray(audio, np.float32), (window, 0))

        def score(end: int) -> float:
            return float(self.window_scores([encoder.window(padded[end - window : end], window // FRAME_SAMPLES)])[0])

        chunks = len(audio) // CHUNK_SAMPLES
        hop = ENCODER_HOP // CHUNK_SAMPLES
        scores = np.full(chunks, score(window), np.float32)
        for first in range(hop - 1, chunks, hop):
            scores[first : first + hop] = score(window + (first + 1) * CHUNK_SAMPLES)
        return scores

    def export(self, path: Path) -> int:
        import onnx

        onnx.save(stream_graph(self), str(path))
        return self.config.window_samples + 2

    def parameter_count(self) -> int:
        tensors = [*window_graph().graph.initializer, *(decoder_weights() if self.config.spellings else ())]
        verifier = sum(p.numel() for p in shipped_verifier()[0].parameters()) if self.config.verifier else 0
        others = sum(math.prod(tensor.dims) for tensor in tensors if len(tensor.dims) > 1)
        return super().parameter_count() + others + verifier


def keyword_hmm_graph(pronunciations: Pronunciations) -> onnx.ModelProto:
    """Build a phrase's keyword HMM as ONNX: ``heard`` [1, time, PHONE_OUTPUTS] to ``match`` [1, time]."""
    keyword_hmm = KeywordHMM(pronunciations, ENCODER_MATCH_FLOOR)
    call = Call(keyword_hmm, lambda roots: keyword_hmm(roots)[0])
    example = torch.full((1, 60, PHONE_OUTPUTS), 0.1)
    return to_onnx(call, (example,), ["heard"], ["match"], any_time("heard", "match"))


def stream_graph(detector: EncoderDetector) -> onnx.ModelProto:
    """Build a detector's graph for streams (:meth:`model.detector.Detector.export`).

    Every :data:`ENCODER_HOP` samples, the last ``window_samples`` are processed again; in between, chunks get the
    previous window's score. Only audio is carried from window to window, so window boundaries do not cut paths through
    the phrase, and nothing older than a window matters.
    """
    window = detector.config.window_samples
    graph = Nodes()
    graph.constants(_stream_constants(detector.config))
    every_chunk = _every_chunk(_new_score(detector, graph), window)
    graph.add("Split", ["state", "sizes"], "buffer_first", "waited_first", "score_first", axis=1)
    graph.add("Reshape", ["audio", "rows_shape"], "chunks")
    graph.add("Shape", ["chunks"], "chunks_shape")
    graph.add("Gather", ["chunks_shape", "first"], "chunk_count", axis=0)
    first = ["chunk_count", "yes", "buffer_first", "waited_first", "score_first"]
    graph.add("Loop", first, "buffer_last", "waited_last", "score_last", "scores", body=every_chunk)
    graph.add("Reshape", ["scores", "flat"], "score")
    graph.add("Concat", ["buffer_last", "waited_last", "score_last"], "new_state", axis=1)
    inputs = [tensor("audio", [1, "samples"]), tensor("state", [1, window + 2])]
    outputs = [tensor("score", [1, "chunks"]), tensor("new_state", [1, window + 2])]
    return graph.model("detector", inputs, outputs, window_graph())


def _stream_constants(config: EncoderDetectorConfig) -> dict[str, object]:
    """Return the constants that the nodes of :func:`stream_graph` read, by name."""
    places = frame_positions(config.window_samples, config.window_samples // FRAME_SAMPLES)
    return {
        "chunk_shape": [1, CHUNK_SAMPLES],
        "rows_shape": [-1, CHUNK_SAMPLES],
        "flat": [1, -1],
        "places": places,
        "chunk": [CHUNK_SAMPLES],
        "end": [2**31],
        "axis": [1],
        "first": 0,
        "one": np.ones((1, 1), np.float32),
        "hop": np.asarray([[ENCODER_HOP / CHUNK_SAMPLES - 0.5]], np.float32),
        "zero": np.zeros((1, 1), np.float32),
        "yes": np.bool_(True),
        "sizes": [config.window_samples, 1, 1],
        "above": np.float32(config.rescore_above),
        "state_places": places[::STATE_FRAMES],
        "state_frames": [STATE_FRAMES],
        "states_before": [config.states_before],
        "states_after": [STATES_AFTER],
        "no_states": [0],
        "single": [-1],
    }


def _every_chunk(hear: onnx.GraphProto, window: int) -> onnx.GraphProto:
    """Return the body of the loop over chunks. It buffers ``window`` samples, and ``hear`` computes a score per hop."""
    wait = Nodes()
    wait.copy("score_before", "same_score")
    otherwise = wait.body("wait", [], [tensor("same_score", [1, 1])])
    chunk = Nodes()
    chunk.add("Gather", ["chunks", "number"], "row", axis=0)
    chunk.add("Reshape", ["row", "chunk_shape"], "new")
    chunk.add("Slice", ["buffer", "chunk", "end", "axis"], "kept")
    chunk.add("Concat", ["kept", "new"], "buffer_after", axis=1)
    chunk.add("Add", ["waited", "one"], "counted")
    chunk.add("Greater", ["counted", "hop"], "due")
    chunk.add("Where", ["due", "zero", "counted"], "waited_after")
    chunk.add("Squeeze", ["due"], "is_due")
    chunk.add("If", ["is_due"], "score_after", then_branch=hear, else_branch=otherwise)
    chunk.copy("score_after", "chunk_score")
    chunk.copy("going", "going_on")
    inputs = [
        tensor("number", [], "INT64"), tensor("going", [], "BOOL"),
        tensor("buffer", [1, window]), tensor("waited", [1, 1]), tensor("score_before", [1, 1]),
    ]  # fmt: skip
    outputs = [
        tensor("going_on", [], "BOOL"), tensor("buffer_after", [1, window]), tensor("waited_after", [1, 1]),
        tensor("score_after", [1, 1]), tensor("chunk_score", [1, 1]),
    ]  # fmt: skip
    return chunk.body("every_chunk", inputs, outputs)


def _new_score(detector: EncoderDetector, graph: Nodes) -> onnx.GraphProto:
    """Return the branch of ``graph`` that processes the window ``buffer_after`` and outputs ``new_score``."""
    one = torch.zeros(1, 1)
    roots = torch.zeros(1, detector.config.window_samples // FRAME_SAMPLES, PHONE_OUTPUTS)
    match, score = Call(detector, detector.window_match), Call(detector, detector.window_total)
    following = to_onnx(match, (roots,), ["heard"], ["best", "frame", "match"])
    scoring = to_onnx(score, (one, one), ["matched", "gain"], ["score"])
    ask = _second_pass_branch(detector.config, graph) if detector.config.spellings else None
    hear = Nodes(graph)
    hear.copy("buffer_after", "hear/audio")
    hear.include(prefixed(window_graph().graph, "hear/"))
    hear.add("Gather", ["hear/probabilities", "places"], "read", axis=1)
    hear.add("Sqrt", ["read"], "match/heard")
    hear.include(prefixed(following.graph, "match/"))
    if ask is None:
        hear.copy("zero", "gain")
    else:
        none = Nodes(graph)
        none.copy("zero", "not_asked")
        otherwise = none.body("none", [], [tensor("not_asked", [1, 1])])
        hear.add("Greater", ["match/best", "above"], "matches")
        hear.add("Squeeze", ["matches"], "is_match")
        hear.add("If", ["is_match"], "gain", then_branch=ask, else_branch=otherwise)
    hear.copy("match/match", "score/matched")
    hear.copy("gain", "score/gain")
    hear.include(prefixed(scoring.graph, "score/"))
    hear.copy("score/score", "new_score")
    return hear.body("hear", [], [tensor("new_score", [1, 1])])


def _second_pass_branch(config: EncoderDetectorConfig, graph: Nodes) -> onnx.GraphProto:
    """Return the branch of ``graph`` that runs the second pass on the best match of a window."""
    asked = second_pass_graph(config.pronunciations, config.spellings, config.verifier)
    ask = Nodes(graph)
    ask.add("Gather", ["hear/states", "state_places"], "states_all", axis=1)
    ask.add("Reshape", ["match/frame", "single"], "frame")
    ask.add("Div", ["frame", "state_frames"], "place")
    ask.add("Sub", ["place", "states_before"], "place_before")
    ask.add("Max", ["place_before", "no_states"], "states_from")
    ask.add("Add", ["place", "states_after"], "states_to")
    ask.add("Slice", ["states_all", "states_from", "states_to", "axis"], "ask/states")
    ask.add("Mul", ["states_from", "state_frames"], "frames_from")
    ask.add("Mul", ["states_to", "state_frames"], "frames_to")
    ask.add("Slice", ["match/heard", "frames_from", "frames_to", "axis"], "ask/heard")
    ask.include(prefixed(asked.graph, "ask/"))
    ask.copy("ask/gain", "asked")
    return ask.body("ask", [], [tensor("asked", [1, 1])])
