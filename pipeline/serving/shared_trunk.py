"""Several detectors heard together: those that stand on the same trunk run it once, and only their matchers for each.

A bundle's ONNX graph is log-mel, trunk and matcher in one. It is cut in two where the trunk's phone probabilities come
out; trunks are the same when their halves are the same to the byte. A cut counts only if its halves give the scores of
the whole. What cannot be cut, as a detector trained from nothing, is run whole.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.audio_file import SAMPLE_RATE
from model.runtime.detector import BLOCK_CHUNKS, FLUSH_S, Detection, Detector, Model, Trigger, smooth_scores

SAME_SCORE = 1e-5  # largest difference between the halves' scores and the whole's that is accepted
SAME_STATE = 1e-3  # likewise of what is carried from block to block, log-mel and audio among it
CHECK_S = 4.0  # of sound that the halves are compared on
CHECK_CHUNKS = (1, 4, 2, 9)  # given in blocks of so many chunks

State = list[np.ndarray]


class NotCut(Exception):
    """This graph is not a trunk with a matcher on it."""


class Graph:
    """A graph on onnxruntime that hears a stream: one input, one output, and the state that it carries."""

    def __init__(self, model: bytes) -> None:
        """The model's first input and output are those; the others are the state, in the same order."""
        self._model = Model(model)
        self._state_sizes = [int(shape[1]) for _, shape in self._model.inputs[1:]]

    def empty(self) -> State:
        """A state that has heard nothing."""
        return [np.zeros((1, size), np.float32) for size in self._state_sizes]

    def hear(self, block: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """The output for the next block of a stream, and the state after it."""
        names = [name for name, _ in self._model.inputs]
        result = self._model.run(dict(zip(names, [block, *state])), block.shape[1] / SAMPLE_RATE)
        return result[0], result[1:]


@dataclass(frozen=True)
class Halves:
    """A detector's graph in two: the trunk from audio to phone probabilities, the matcher from there to scores."""

    trunk: bytes
    matcher: bytes

    @property
    def digest(self) -> str:
        """The same for the same trunk."""
        return hashlib.sha256(self.trunk).hexdigest()


def cut(model: bytes) -> Halves:
    """A detector's graph in two. Raises NotCut where it has no trunk with a matcher on it."""
    import onnx

    whole = onnx.load_from_string(model)
    graph = whole.graph
    made_by = {name: node for node in graph.node for name in node.output}
    splits = [node for node in graph.node if node.op_type == "Split" and node.input[0] == "state"]
    bottlenecks = [node for node in graph.node if node.op_type == "Sqrt"]  # square roots of phone probabilities
    gathered = made_by.get("new_state")
    if len(splits) != 1 or len(bottlenecks) != 1 or gathered is None or gathered.op_type != "Concat":
        raise NotCut("its graph is another")
    before, after, heard = list(splits[0].output), list(gathered.input), bottlenecks[0].output[0]
    sizes = [int(size) for size in _constant(graph, made_by, splits[0].input[1])]
    behind = {name for node in _needed(graph, [heard], set()) for name in _inputs(node)}
    count = sum(name in behind for name in before)
    if not 0 < count < len(before) == len(after) == len(sizes):
        raise NotCut("its state is another")
    audio = next((entry for entry in graph.input if entry.name == "audio"), None)
    score = next((entry for entry in graph.output if entry.name == "score"), None)
    if audio is None or score is None:
        raise NotCut("its inputs and outputs are others")
    probabilities = onnx.helper.make_tensor_value_info(heard, onnx.TensorProto.FLOAT, [1, "phones", "frames"])

    def state(names: Sequence[str], sizes: Sequence[int]) -> list[Any]:
        return [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, size])
            for name, size in zip(names, sizes)
        ]

    into, out = state(before, sizes), state(after, sizes)
    return Halves(
        _part(whole, [audio, *into[:count]], [probabilities, *out[:count]]),
        _part(whole, [probabilities, *into[count:]], [score, *out[count:]]),
    )


def _part(whole: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> bytes:
    """The nodes between some inputs and outputs as a model, in a form that says nothing of the rest of the graph."""
    import onnx

    graph = whole.graph
    nodes = _needed(graph, [entry.name for entry in outputs], {entry.name for entry in inputs})
    wanted = {name for node in nodes for name in _inputs(node)}
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    part = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "part", inputs, outputs, initializer=constants),
        opset_imports=whole.opset_import,
        ir_version=whole.ir_version,
    )
    return _renamed(part).SerializeToString(deterministic=True)


def _inputs(node: Any) -> Iterator[str]:
    """What a node reads, and what the graphs inside of it read from without."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            inside = {entry.name for entry in attribute.g.input} | {n for x in attribute.g.node for n in x.output}
            inside |= {tensor.name for tensor in attribute.g.initializer}
            for inner in attribute.g.node:
                yield from (name for name in _inputs(inner) if name not in inside)
            yield from (entry.name for entry in attribute.g.output if entry.name not in inside)


def _needed(graph: Any, wanted: Sequence[str], known: set[str]) -> list[Any]:
    """The nodes that make ``wanted``, in order, where ``known`` is given."""
    missing = set(wanted) - known
    nodes = []
    for node in reversed(graph.node):
        if missing & set(node.output):
            nodes.append(node)
            missing |= set(_inputs(node)) - known
    return nodes[::-1]


def _renamed(part: Any) -> Any:
    """The same graph with numbers for names, which the exporter counts through the whole model."""
    names: dict[str, str] = {"": ""}

    def short(name: str) -> str:
        return names.setdefault(name, f"v{len(names)}")

    def rename(graph: Any) -> None:
        for entry in (*graph.input, *graph.initializer):
            entry.name = short(entry.name)
        for number, node in enumerate(graph.node):
            node.name = f"{node.op_type}_{number}"
            node.input[:] = [short(name) for name in node.input]
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    rename(attribute.g)
            node.output[:] = [short(name) for name in node.output]
        for entry in graph.output:
            entry.name = short(entry.name)
        del graph.value_info[:]

    rename(part.graph)
    return part


def _constant(graph: Any, made_by: Mapping[str, Any], name: str) -> np.ndarray:
    from onnx import numpy_helper

    if name in made_by:
        values = [attribute.t for attribute in made_by[name].attribute if attribute.name == "value"]
    else:
        values = [tensor for tensor in graph.initializer if tensor.name == name]
    return np.atleast_1d(numpy_helper.to_array(values[0])) if values else np.zeros(0)


@dataclass(frozen=True)
class Phrase:
    """One detector among those that are heard together: its settings, its graph, and how that is after silence."""

    name: str
    detector: Detector
    graph: Graph
    silent_state: State
    silent_scores: np.ndarray

    def trigger(self) -> Trigger:
        """What decides on detections in a new stream."""
        manifest = self.detector.bundle.manifest
        refractory = round(float(manifest["refractory_s"]) / self.detector.score_period_s)
        return Trigger(self.detector.threshold, refractory)


@dataclass(frozen=True)
class Group:
    """Phrases that hear through the same trunk, or one that hears for itself (``trunk`` is None)."""

    chunk: int
    trunk: Graph | None
    silent_state: State
    phrases: list[Phrase] = field(default_factory=list)


@dataclass(frozen=True)
class Heard:
    """A phrase was said."""

    name: str
    detection: Detection


class HeardTogether:
    """Detectors that listen to the same streams. Nothing in here changes: any number of streams may run at once."""

    def __init__(self, detectors: Mapping[str, Detector]) -> None:
        """Cut what can be cut, and check it; ``detectors`` by name."""
        self.groups: list[Group] = []
        shared: dict[tuple[str, int], Group] = {}
        for name, detector in detectors.items():
            model = detector.bundle.read("model.onnx")
            halves = _checked_cut(model, detector)
            if halves is None:
                graph = Graph(model)
                score, state = graph.hear(_silence(detector), graph.empty())
                self.groups.append(Group(detector.chunk, None, [], [_phrase(name, detector, graph, score, state)]))
                continue
            key = halves.digest, detector.chunk
            if key not in shared:
                trunk = Graph(halves.trunk)
                shared[key] = Group(detector.chunk, trunk, trunk.hear(_silence(detector), trunk.empty())[1])
                self.groups.append(shared[key])
            front = shared[key].trunk
            assert front is not None
            graph = Graph(halves.matcher)
            score, state = graph.hear(front.hear(_silence(detector), front.empty())[0], graph.empty())
            shared[key].phrases.append(_phrase(name, detector, graph, score, state))
        self.detectors = dict(detectors)

    def stream(self, names: Sequence[str] | None = None) -> Stream:
        """A new stream, after silence, in which the phrases of these names (all of them) are listened for."""
        wanted = set(self.detectors if names is None else names)
        return Stream([group for group in self.groups if any(p.name in wanted for p in group.phrases)], wanted)


class Stream:
    """One stream of audio."""

    def __init__(self, groups: Sequence[Group], names: set[str]) -> None:
        self._parts = [
            (phrases, [phrase.trigger() for phrase in phrases], GroupScores(group, phrases))
            for group in groups
            if (phrases := [phrase for phrase in group.phrases if phrase.name in names])
        ]

    def process(self, samples: np.ndarray) -> list[Heard]:
        """Give the next samples (float32 in [-1, 1], 16 kHz, any number of them); get what was heard in them."""
        found = []
        for phrases, triggers, listener in self._parts:
            for block in listener.blocks(samples):
                for phrase, trigger, scores in zip(phrases, triggers, block):
                    start = trigger.frames
                    for index in trigger.fired(scores):
                        time_s = (start + index + 1) * phrase.detector.score_period_s
                        found.append(Heard(phrase.name, Detection(round(time_s, 3), float(scores[index]))))
        return sorted(found, key=lambda heard: heard.detection.time_s)

    def finish(self, sample_rate: int) -> list[Heard]:
        """The silence after the end of a stream, which completes what was said last."""
        return self.process(np.zeros(round(FLUSH_S * sample_rate), np.float32))


class GroupScores:
    """The scores of a group's phrases in one stream that follows silence."""

    def __init__(self, group: Group, phrases: Sequence[Phrase]) -> None:
        """Of these ``phrases`` of it."""
        self._group, self._phrases = group, phrases
        self._pending = np.zeros(0, np.float32)
        self._trunk_state = group.silent_state
        self._states = [phrase.silent_state for phrase in phrases]
        self._before = [phrase.silent_scores for phrase in phrases]

    def blocks(self, samples: np.ndarray) -> Iterator[list[np.ndarray]]:
        """Give the next samples; get the scores [chunks] of each phrase, for so many chunks at a time as are heard."""
        new = np.nan_to_num(np.asarray(samples, np.float32).reshape(-1), nan=0.0, posinf=1.0, neginf=-1.0)
        self._pending = np.concatenate([self._pending, new])
        chunk = self._group.chunk
        while len(self._pending) >= chunk:
            usable = min(len(self._pending) // chunk, BLOCK_CHUNKS) * chunk
            block, self._pending = self._pending[None, :usable], self._pending[usable:]
            if self._group.trunk is not None:
                block, self._trunk_state = self._group.trunk.hear(block, self._trunk_state)
            yield [self._smooth(number, raw) for number, raw in enumerate(self.raw(block))]

    def raw(self, block: np.ndarray) -> list[np.ndarray]:
        """Unsmoothed scores [chunks] of each phrase, of what the trunk gave next (or of the audio, without a trunk)."""
        return [self.hear(number, block) for number in range(len(self._phrases))]

    def hear(self, number: int, block: np.ndarray) -> np.ndarray:
        """The same of one phrase."""
        raw, self._states[number] = self._phrases[number].graph.hear(block, self._states[number])
        return np.asarray(raw[0])

    def _smooth(self, number: int, raw: np.ndarray) -> np.ndarray:
        before = self._before[number]
        self._before[number] = np.concatenate([before, raw])[len(raw) :]
        return smooth_scores(raw, before, len(before) + 1)


def _phrase(name: str, detector: Detector, graph: Graph, score: np.ndarray, state: State) -> Phrase:
    past = int(detector.bundle.manifest["smoothing_frames"]) - 1
    return Phrase(name, detector, graph, state, np.full(past, score[0, -1], np.float32))


def _silence(detector: Detector) -> np.ndarray:
    receptive = int(detector.bundle.manifest["receptive_samples"])
    return np.zeros((1, -(-receptive // detector.chunk) * detector.chunk), np.float32)


def _checked_cut(model: bytes, detector: Detector) -> Halves | None:
    """The halves of a detector's graph; None where it cannot be cut or they do not give what the whole gives."""
    try:
        halves = cut(model)
        difference = largest_differences(model, halves, detector.chunk, detector.sample_rate)
    except NotCut:
        return None
    except Exception:  # of onnx or onnxruntime: the whole model, which has been loaded before, is always there
        logging.getLogger(__name__).warning("%s could not be cut in two", detector.phrase, exc_info=True)
        return None
    if not (difference[0] <= SAME_SCORE and difference[1] <= SAME_STATE):  # false for NaN too
        logging.getLogger(__name__).warning("%s is run whole: its halves differ by %s", detector.phrase, difference)
        return None
    return halves


def largest_differences(model: bytes, halves: Halves, chunk: int, sample_rate: int) -> tuple[float, float]:
    """Between the halves and the whole, in (scores, state), on sound with speech's ups and downs."""
    whole, trunk, matcher = Graph(model), Graph(halves.trunk), Graph(halves.matcher)
    state, trunk_state, matcher_state = whole.empty(), trunk.empty(), matcher.empty()
    audio = _test_sound(round(CHECK_S * sample_rate) // chunk * chunk, sample_rate)
    differences = [(0.0, 0.0)]
    start = turn = 0
    while start < len(audio):
        block = audio[None, start : start + CHECK_CHUNKS[turn % len(CHECK_CHUNKS)] * chunk]
        start, turn = start + block.shape[1], turn + 1
        score, state = whole.hear(block, state)
        heard, trunk_state = trunk.hear(block, trunk_state)
        again, matcher_state = matcher.hear(heard, matcher_state)
        joined = np.concatenate([*trunk_state, *matcher_state], axis=1)
        differences.append((float(np.abs(score - again).max()), float(np.abs(state[0] - joined).max())))
    return float(np.max([row[0] for row in differences])), float(np.max([row[1] for row in differences]))


def _test_sound(samples: int, sample_rate: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    places = np.linspace(0, 1, samples)
    steps = np.linspace(0, 1, 24)
    pitch = np.interp(places, steps, rng.uniform(90, 250, len(steps)))
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    tone = sum(np.interp(places, steps, rng.uniform(0, 1, len(steps))) * np.sin(k * phase) for k in range(1, 16))
    loudness = np.interp(places, steps, rng.uniform(0, 0.15, len(steps)))
    return np.asarray(loudness * (tone + 0.5 * rng.standard_normal(samples)), np.float32)
