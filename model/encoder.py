"""The trunk of a *large* detector: a speech encoder that has heard 200,000 hours, with phone outputs of Hark's own.

The encoder is that of Moonshine Tiny (Useful Sensors, MIT licence; Jeffries and others, "Moonshine: Speech Recognition
for Live Transcription and Voice Commands", 2024), as the package ``moonshine-voice`` brings it, in 8 bits. It hears
both ways within a window, so a stream is heard in windows that overlap. A small network (:class:`PhoneHead`) makes
phone probabilities of its outputs, and they are read off every 20 ms, as a trunk gives them. All of that, and the
matcher, is one ONNX graph with the same inputs and outputs as every detector's: what runs a bundle does not know the
difference.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from core.onnx import session
from model.encoder_trunk import (
    ENCODER_FILE,
    FRAME_SAMPLES,
    STATE_FRAMES,
    STATES_AFTER,
    EncoderTrunk,
    Rescorer,
    frame_places,
    package_model,
)
from model.matcher import Matcher
from model.model import CHUNK_SAMPLES, ENCODER_HOP, ENCODER_MATCH_FLOOR, TinyCRNN, TinyCRNNConfig, TrunkConfig
from model.phone_head import ENCODER_WIDTH, PhoneHead
from model.phones import PHONE_OUTPUTS
from model.rescoring import decoder_weights, rescoring_graph
from model.shipped_weights import load_head

if TYPE_CHECKING:
    import onnx

NAME = "moonshine-tiny-en"
OPSET = 18


@cache
def _encoder() -> onnx.ModelProto:
    """The encoder as ONNX: ``input_values`` [1, samples], ``attention_mask`` [1, samples] to ``last_hidden_state``."""
    model = package_model(ENCODER_FILE)
    del model.graph.value_info[:]
    return model


def encoder_session(threads: int = 1) -> Any:
    """The encoder alone, by onnxruntime: ``input_values`` and ``attention_mask`` [1, samples] to [1, time, 288]."""
    return session(_encoder().SerializeToString(), threads)


class _Probabilities(nn.Module):
    def __init__(self, head: PhoneHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, heard: Tensor) -> Tensor:
        return torch.softmax(self.head(heard), dim=2)


def to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    varying_time: bool = False,
) -> onnx.ModelProto:
    """A module as ONNX, in the encoder's version of it; ``varying_time``: the second dimension of all is open."""
    import onnx

    axes = {name: {1: "time"} for name in (*inputs, *outputs)} if varying_time else None
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = str(Path(folder) / "part.onnx")
        torch.onnx.export(
            module,
            example,
            path,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        return onnx.load(path)


def prefixed(graph: onnx.GraphProto, prefix: str) -> onnx.GraphProto:
    """A copy in which the name of every value begins so, those in loops and branches, too: ``onnx.compose.add_prefix``
    leaves out what these take from around them."""
    from onnx import AttributeProto, GraphProto

    copy = GraphProto()
    copy.CopyFrom(graph)

    def rename(part: onnx.GraphProto) -> None:
        for value in (*part.input, *part.output, *part.initializer, *part.value_info):
            value.name = prefix + value.name
        for node in part.node:
            node.name = node.name and prefix + node.name
            for names in (node.input, node.output):
                names[:] = [name and prefix + name for name in names]
            for attribute in node.attribute:
                if attribute.type == AttributeProto.GRAPH:
                    rename(attribute.g)

    rename(copy)
    return copy


@cache
def window_graph() -> onnx.ModelProto:
    """Encoder and shipped head: ``audio`` [1, samples] to ``probabilities`` [1, time at 24 ms, PHONE_OUTPUTS] and
    ``states`` [1, time at 24 ms, 288]."""
    import onnx
    from onnx import helper

    encoder = _encoder()
    probabilities = _Probabilities(shipped_head()).eval()
    made = to_onnx(probabilities, (torch.zeros(1, 50, ENCODER_WIDTH),), ["heard"], ["probabilities"], varying_time=True)
    head = prefixed(made.graph, "head/")
    ones = onnx.numpy_helper.from_array(np.ones(1, np.int64))
    nodes = [
        helper.make_node("Shape", ["audio"], ["audio/shape"]),
        helper.make_node("ConstantOfShape", ["audio/shape"], ["attention_mask"], value=ones),
        helper.make_node("Identity", ["audio"], ["input_values"]),
        *encoder.graph.node,
        helper.make_node("Identity", ["last_hidden_state"], ["head/heard"]),
        *head.node,
        helper.make_node("Identity", ["head/probabilities"], ["probabilities"]),
        helper.make_node("Identity", ["last_hidden_state"], ["states"]),
    ]
    graph = helper.make_graph(
        nodes,
        "window",
        [helper.make_tensor_value_info("audio", onnx.TensorProto.FLOAT, [1, "samples"])],
        [
            helper.make_tensor_value_info("probabilities", onnx.TensorProto.FLOAT, [1, "time", PHONE_OUTPUTS]),
            helper.make_tensor_value_info("states", onnx.TensorProto.FLOAT, [1, "time", ENCODER_WIDTH]),
        ],
        [*encoder.graph.initializer, *head.initializer],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=encoder.ir_version)


def matcher_graph(pronunciations: tuple[tuple[int, ...], ...]) -> onnx.ModelProto:
    """A phrase's matcher alone: ``heard`` [1, time, PHONE_OUTPUTS] to ``match`` [1, time]."""

    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matcher = Matcher(pronunciations, ENCODER_MATCH_FLOOR)

        def forward(self, heard: Tensor) -> Tensor:
            scores: Tensor = self.matcher(heard, self.matcher.start(heard))[0]
            return scores

    example = torch.full((1, 60, PHONE_OUTPUTS), 0.1)
    return to_onnx(Scores().eval(), (example,), ["heard"], ["match"], varying_time=True)


class _Window(nn.Module):
    def __init__(self, model: TinyCRNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, heard: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.model.encoder_window(heard)


class _Score(nn.Module):
    def __init__(self, model: TinyCRNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, matched: Tensor, rescored: Tensor, taken: Tensor) -> Tensor:
        return torch.sigmoid(self.model.encoder_logit(matched, rescored, taken))


def stream_graph(model: TinyCRNN) -> onnx.ModelProto:
    """A detector on a stream: ``audio`` [1, 1280 n] and ``state`` [1, size] to ``score`` [1, n] and ``new_state``.

    Every :data:`model.model.ENCODER_HOP` samples the last ``window_samples`` are heard anew, and the score of a chunk
    is that of the window before. Nothing but audio is carried on between two windows, so no path through the phrase is
    torn where they meet, and nothing older than a window can matter. A state of zeros is silence.
    """
    from onnx import TensorProto, helper, numpy_helper

    model = model.eval()
    config, window = model.config, model.config.window_samples
    frames = window // FRAME_SAMPLES
    one = torch.zeros(1, 1)
    hearing = prefixed(window_graph().graph, "hear/")
    heard = torch.zeros(1, frames, config.trunk.width)
    following = prefixed(to_onnx(_Window(model), (heard,), ["heard"], ["best", "frame", "taken"]).graph, "match/")
    scoring = prefixed(
        to_onnx(_Score(model), (one, one, one), ["matched", "rescored", "taken"], ["score"]).graph, "score/"
    )
    places = frame_places(window, frames)
    constants = {
        "chunk_shape": np.asarray([1, CHUNK_SAMPLES], np.int64),
        "rows_shape": np.asarray([-1, CHUNK_SAMPLES], np.int64),
        "flat": np.asarray([1, -1], np.int64),
        "places": places,
        "chunk": np.asarray([CHUNK_SAMPLES], np.int64),
        "end": np.asarray([2**31], np.int64),
        "axis": np.asarray([1], np.int64),
        "first": np.asarray(0, np.int64),
        "one": np.ones((1, 1), np.float32),
        "hop": np.asarray([[ENCODER_HOP / CHUNK_SAMPLES - 0.5]], np.float32),
        "zero": np.zeros((1, 1), np.float32),
        "yes": np.asarray(True),
        "sizes": np.asarray([window, 1, 1], np.int64),
        "above": np.asarray(config.rescore_above, np.float32),
        "state_places": places[::STATE_FRAMES],
        "state_frames": np.asarray([STATE_FRAMES], np.int64),
        "states_before": np.asarray([config.states_before], np.int64),
        "states_after": np.asarray([STATES_AFTER], np.int64),
        "no_states": np.asarray([0], np.int64),
        "single": np.asarray([-1], np.int64),
    }
    made = [numpy_helper.from_array(value, name) for name, value in constants.items()]

    def tensor(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def copied(source: str, target: str) -> onnx.NodeProto:
        return helper.make_node("Identity", [source], [target])

    rescored = [copied("zero", "rescored")]
    if config.spellings:
        asking = prefixed(rescoring_graph(config.spellings).graph, "ask/")
        made += asking.initializer
        ask = helper.make_graph(
            [
                helper.make_node("Gather", ["hear/states", "state_places"], ["states_all"], axis=1),
                helper.make_node("Reshape", ["match/frame", "single"], ["frame"]),
                helper.make_node("Div", ["frame", "state_frames"], ["place"]),
                helper.make_node("Sub", ["place", "states_before"], ["place_before"]),
                helper.make_node("Max", ["place_before", "no_states"], ["states_from"]),
                helper.make_node("Add", ["place", "states_after"], ["states_to"]),
                helper.make_node("Slice", ["states_all", "states_from", "states_to", "axis"], ["ask/states"]),
                *asking.node,
                copied("ask/rescoring", "asked"),
            ],
            "ask",
            [],
            [tensor("asked", [1, 1])],
        )
        none = helper.make_graph([copied("zero", "not_asked")], "none", [], [tensor("not_asked", [1, 1])])
        rescored = [
            helper.make_node("Greater", ["match/best", "above"], ["matches"]),
            helper.make_node("Squeeze", ["matches"], ["is_match"]),
            helper.make_node("If", ["is_match"], ["rescored"], then_branch=ask, else_branch=none),
        ]
    hear = helper.make_graph(
        [
            copied("buffer_after", "hear/audio"),
            *hearing.node,
            helper.make_node("Gather", ["hear/probabilities", "places"], ["read"], axis=1),
            helper.make_node("Sqrt", ["read"], ["match/heard"]),
            *following.node,
            *rescored,
            copied("match/best", "score/matched"),
            copied("rescored", "score/rescored"),
            copied("match/taken", "score/taken"),
            *scoring.node,
            copied("score/score", "new_score"),
        ],
        "hear",
        [],
        [tensor("new_score", [1, 1])],
    )
    wait = helper.make_graph([copied("score_before", "same_score")], "wait", [], [tensor("same_score", [1, 1])])
    every_chunk = helper.make_graph(
        [
            helper.make_node("Gather", ["chunks", "number"], ["row"], axis=0),
            helper.make_node("Reshape", ["row", "chunk_shape"], ["new"]),
            helper.make_node("Slice", ["buffer", "chunk", "end", "axis"], ["kept"]),
            helper.make_node("Concat", ["kept", "new"], ["buffer_after"], axis=1),
            helper.make_node("Add", ["waited", "one"], ["counted"]),
            helper.make_node("Greater", ["counted", "hop"], ["due"]),
            helper.make_node("Where", ["due", "zero", "counted"], ["waited_after"]),
            helper.make_node("Squeeze", ["due"], ["is_due"]),
            helper.make_node("If", ["is_due"], ["score_after"], then_branch=hear, else_branch=wait),
            copied("score_after", "chunk_score"),
            copied("going", "going_on"),
        ],
        "every_chunk",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            tensor("buffer", [1, window]),
            tensor("waited", [1, 1]),
            tensor("score_before", [1, 1]),
        ],
        [
            helper.make_tensor_value_info("going_on", TensorProto.BOOL, []),
            tensor("buffer_after", [1, window]),
            tensor("waited_after", [1, 1]),
            tensor("score_after", [1, 1]),
            tensor("chunk_score", [1, 1]),
        ],
    )
    nodes = [
        helper.make_node("Split", ["state", "sizes"], ["buffer_first", "waited_first", "score_first"], axis=1),
        helper.make_node("Reshape", ["audio", "rows_shape"], ["chunks"]),
        helper.make_node("Shape", ["chunks"], ["chunks_shape"]),
        helper.make_node("Gather", ["chunks_shape", "first"], ["chunk_count"], axis=0),
        helper.make_node(
            "Loop",
            ["chunk_count", "yes", "buffer_first", "waited_first", "score_first"],
            ["buffer_last", "waited_last", "score_last", "scores"],
            body=every_chunk,
        ),
        helper.make_node("Reshape", ["scores", "flat"], ["score"]),
        helper.make_node("Concat", ["buffer_last", "waited_last", "score_last"], ["new_state"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [tensor("audio", [1, "samples"]), tensor("state", [1, window + 2])],
        [tensor("score", [1, "chunks"]), tensor("new_state", [1, window + 2])],
        [*made, *hearing.initializer, *following.initializer, *scoring.initializer],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=window_graph().ir_version)


@cache
def shipped_head() -> PhoneHead:
    """The phone outputs that ship with Hark, in evaluation mode. Raises HarkError where they are missing or damaged."""
    return load_head()[0]


@cache
def loaded_trunk() -> EncoderTrunk:
    """Encoder and shipped head, loaded once a process."""
    return EncoderTrunk(window_graph().SerializeToString())


@lru_cache(maxsize=1)
def rescorer_of(config: TinyCRNNConfig) -> Rescorer | None:
    """What rescores a phrase; None without spellings."""
    if not config.spellings:
        return None
    decoder = rescoring_graph(config.spellings).SerializeToString()
    return Rescorer(decoder, config.rescore_above, config.states_before)


@torch.no_grad()
def window_matches(
    model: TinyCRNN, rescorer: Rescorer | None, heard: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of windows of a stream, each as :meth:`EncoderTrunk.window` gives it, all equally long: how well the phrase
    matches, how that was rescored, and what decoys take [windows, 1] each; :meth:`TinyCRNN.encoder_logit` reads them.
    """
    matched, frames, taken = model.encoder_window(torch.from_numpy(np.stack([phones for phones, _ in heard])))
    rescored = torch.zeros_like(matched)
    if rescorer is not None:
        for row in torch.nonzero(matched[:, 0] > model.config.rescore_above)[:, 0].tolist():
            rescored[row] = rescorer.at(heard[row][1], int(frames[row]))
    return matched, rescored, taken


@torch.no_grad()
def matches_to_scores(model: TinyCRNN, matches: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> np.ndarray:
    """Raw scores [windows] of what :func:`window_matches` gave."""
    scores: np.ndarray = torch.sigmoid(model.encoder_logit(*matches))[:, 0].numpy()
    return scores


@torch.no_grad()
def stream_scores(model: TinyCRNN, audio: np.ndarray) -> np.ndarray:
    """Raw scores [len(audio) // 1280] of a recording that follows silence, window by window as a stream hears it."""
    trunk, window = loaded_trunk(), model.config.window_samples
    rescorer = rescorer_of(model.config)
    padded = np.pad(np.asarray(audio, np.float32), (window, 0))
    model.eval()

    def score(end: int) -> float:
        heard = trunk.window(padded[end - window : end], window // FRAME_SAMPLES)
        return float(matches_to_scores(model, window_matches(model, rescorer, [heard]))[0])

    chunks = len(audio) // CHUNK_SAMPLES
    hop = ENCODER_HOP // CHUNK_SAMPLES
    scores = np.full(chunks, score(window), np.float32)
    for first in range(hop - 1, chunks, hop):
        scores[first : first + hop] = score(window + (first + 1) * CHUNK_SAMPLES)
    return scores


def parameter_count(model: TinyCRNN) -> int:
    """Parameters of a detector: with the encoder and its phone head, and with the decoder where it rescores."""
    count = sum(p.numel() for p in model.parameters())
    if model.config.trunk.encoder:
        tensors = [*window_graph().graph.initializer, *(decoder_weights() if model.config.spellings else ())]
        count += sum(math.prod(tensor.dims) for tensor in tensors if len(tensor.dims) > 1)
    return count


@cache
def trunk_config() -> TrunkConfig:
    """The trunk of a large detector; its name changes with the weights of the phone head that ships."""
    digest = hashlib.sha256()
    for _, value in sorted(shipped_head().state_dict().items()):
        digest.update(value.numpy().tobytes())
    return TrunkConfig(phones=PHONE_OUTPUTS, encoder=f"{NAME}+{digest.hexdigest()[:12]}")
