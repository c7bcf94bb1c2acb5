"""Export: ONNX with the log-mel inside and the state as one vector, 8-bit weights, the check that all forms agree."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.errors import HarkError
from core.onnx import session
from model.encoder_trunk import RescorerFiles
from model.features import FFT, HOP, MELS, POWER_FLOOR, SAMPLE_RATE, WINDOW, hann_window, log_mel, mel_filterbank
from model.matcher import MATCH_FLOOR, Matcher
from model.model import (
    CHUNK_FRAMES,
    CHUNK_SAMPLES,
    MATCH_POOL,
    SCORE_STRIDE,
    STEM_KERNELS,
    STEM_STRIDE,
    TinyCRNN,
    TinyCRNNConfig,
    Trunk,
)
from model.runtime.detector import smooth_scores

OPSET = 17  # the first with STFT
PARITY_TOLERANCE = 1e-3  # largest difference in score between .pt, .onnx and streaming that is accepted
INT8_TOLERANCE = 0.25  # of the 8-bit weights; a detector is handed over without them where they are further off
INT8_SHIFT = 1  # scores (of 80 ms) that an edge may move by there: rounding can move it by a frame of 20 ms
AUDIO_TAIL = WINDOW - HOP  # samples that the next chunk's first frame still needs
INT8_MIN_VALUES = 512  # smaller tensors (biases, norms) stay float


class LogMel(nn.Module):
    """model/features.py as a graph: audio [1, samples] to log-mel [1, frames, MELS]."""

    window: Tensor
    filterbank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.from_numpy(hann_window()))
        self.register_buffer("filterbank", torch.from_numpy(mel_filterbank()))

    def forward(self, audio: Tensor) -> Tensor:
        # STFT centres the 400-sample window in its 512 points; padding by half the rest lines the frames up.
        margin = (FFT - WINDOW) // 2
        padded = functional.pad(audio, (margin, margin))
        spectrum = torch.stft(padded, FFT, HOP, WINDOW, self.window, center=False, return_complex=False)
        power = spectrum.square().sum(-1).transpose(1, 2)
        return torch.log(power @ self.filterbank + POWER_FLOOR)


class StreamingTinyCRNN(nn.Module):
    """TinyCRNN on chunks of audio: ``(audio [1, 1280 n], state [1, size]) -> (score [1, n], state [1, size])``.

    The state is, flattened: the audio tail, what each convolution still needs of its input, and the matcher's values or
    the recurrent layer's window. Nothing else recurrent is carried on, so the state forgets what is old.
    """

    def __init__(self, model: TinyCRNN) -> None:
        super().__init__()
        self.model = model.eval()
        self.log_mel = LogMel()
        config = model.config
        trunk = config.trunk
        first = trunk.stem_channels[0]
        self.shapes: list[tuple[int, ...]] = [
            (1, AUDIO_TAIL),
            (1, STEM_KERNELS[0] - STEM_STRIDE, MELS),
            (1, first, STEM_KERNELS[1] - 1, MELS // 2),
            *((1, trunk.channels, (trunk.kernel - 1) * d) for d in trunk.dilations),
        ]
        if model.matcher is not None:
            for matcher in filter(None, (model.matcher, model.decoys)):
                self.shapes += [(1, matcher.states), (1, MATCH_POOL - CHUNK_FRAMES // STEM_STRIDE)]
            self.shapes.append((1, 1))
        else:
            self.shapes.append((1, config.window_frames - SCORE_STRIDE, config.recurrent_input))
        self.state_size = sum(int(np.prod(shape)) for shape in self.shapes)

    def forward(self, audio: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        model = self.model
        kept: list[Tensor] = []
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        before = [part.view(shape) for part, shape in zip(state.split(sizes, dim=1), self.shapes)]

        def extended(x: Tensor, dim: int) -> Tensor:
            """``x`` with its past in front; the end of it is kept for the next chunk."""
            past = before[len(kept)]
            joined = torch.cat([past, x], dim=dim)
            kept.append(joined.narrow(dim, joined.shape[dim] - past.shape[dim], past.shape[dim]))
            return joined

        features = self.log_mel(extended(audio, 1))
        x = model.trunk.stem_first(extended(features, 1))
        x = model.trunk.stem_second(extended(x, 2))
        for block in model.trunk.blocks:
            x = block(extended(x, 2))
        heard = model.trunk.outputs(x)
        if model.matcher is not None:
            # Values are kept above their floor, so that a state of zeros is one that has heard nothing. What begins in
            # it is thrown away: the trunk's own past is not silence there, and a path through the phrase that began
            # with what it made of that would wait in the silence for the rest.
            begun = before[-1]  # 0 in a state of zeros, 1 from then on

            def windows_of(matcher: Matcher) -> Tensor:
                value = before[len(kept)] + MATCH_FLOOR
                scores, value = matcher(heard.transpose(1, 2), value)
                kept.append((value - MATCH_FLOOR) * begun)
                scores = extended((scores - MATCH_FLOOR) * begun, 1) + MATCH_FLOOR
                starts = torch.arange(0, scores.shape[1] - MATCH_POOL + 1, CHUNK_FRAMES // STEM_STRIDE)
                index = starts.unsqueeze(1) + torch.arange(MATCH_POOL).unsqueeze(0)
                return scores[0][index].unsqueeze(0)

            phrase = windows_of(model.matcher)
            logits = model.match_logits(phrase, windows_of(model.decoys) if model.decoys is not None else None)
            kept.append(torch.ones_like(begun))
        else:
            encoded = extended(model.to_recurrent(heard), 1)
            window = model.config.window_frames
            starts = torch.arange(0, encoded.shape[1] - window + 1, SCORE_STRIDE)
            index = starts.unsqueeze(1) + torch.arange(window).unsqueeze(0)
            logits = model.window_logits(encoded[0][index]).unsqueeze(0)
        return torch.sigmoid(logits), torch.cat([part.reshape(1, -1) for part in kept], dim=1)


def export_onnx(model: TinyCRNN, path: Path) -> int:
    """Write the streaming model as ONNX; returns the size of its state vector."""
    if model.config.trunk.encoder:
        import onnx

        from model.encoder import stream_graph

        onnx.save(stream_graph(model), str(path))
        return model.config.window_samples + 2
    streaming = StreamingTinyCRNN(model).eval()
    example = (torch.zeros(1, 3 * CHUNK_SAMPLES), torch.zeros(1, streaming.state_size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The newer exporter freezes the number of chunks; this one keeps it open.
        torch.onnx.export(
            streaming,
            example,
            str(path),
            input_names=["audio", "state"],
            output_names=["score", "new_state"],
            dynamic_axes={"audio": {1: "samples"}, "score": {1: "chunks"}},
            opset_version=OPSET,
            dynamo=False,
        )
    return streaming.state_size


def quantize_weights(source: Path, target: Path) -> None:
    """Write ``source`` with its large weights as 8-bit integers and a scale a row (symmetric, per output channel).

    Activations stay float: onnxruntime folds the DequantizeLinear nodes when it loads the model, so the small model is
    as fast as the large one, and nothing but the rounding of the weights changes a score.
    """
    import onnx
    from onnx import helper, numpy_helper

    proto = onnx.load(str(source))
    nodes, kept = [], []
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < INT8_MIN_VALUES or values.ndim < 2:
            kept.append(tensor)
            continue
        # Convolutions and transposed products hold one output a row; GRU weights are [1, gates, inputs].
        axis = 1 if values.ndim == 3 and values.shape[0] == 1 else 0
        others = tuple(i for i in range(values.ndim) if i != axis)
        scale = np.maximum(np.abs(values).max(axis=others), 1e-8).astype(np.float32) / 127
        shape = [1] * values.ndim
        shape[axis] = -1
        integers = np.clip(np.rint(values / scale.reshape(shape)), -127, 127).astype(np.int8)
        name = tensor.name
        kept.append(numpy_helper.from_array(integers, f"{name}_int8"))
        kept.append(numpy_helper.from_array(scale, f"{name}_scale"))
        nodes.append(
            helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name], f"{name}_dq", axis=axis)
        )
    rest = list(proto.graph.node)
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend(nodes + rest)
    proto.graph.initializer.extend(kept)
    onnx.checker.check_model(proto)
    onnx.save(proto, str(target))


def stream_scores(model: TinyCRNN, audio: np.ndarray, block_s: float = 60.0) -> np.ndarray:
    """Raw scores [len(audio) // 1280] of a recording that follows silence, by the PyTorch model itself."""
    if model.config.trunk.encoder:
        from model import encoder

        return encoder.stream_scores(model, audio)
    return features_to_scores(model, log_mel(lead_in(model, audio)), block_s)


class LogMelTrunk(nn.Module):
    """A trunk as a graph on its own: log-mel [1, frames, MELS] to what the head hears [1, time, width]."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk.eval()

    def forward(self, log_mel: Tensor) -> Tensor:
        heard: Tensor = self.trunk(log_mel)
        return heard


def export_trunk(trunk: Trunk, path: Path) -> None:
    """Write a trunk, or the encoder in its place, as ONNX, for the processes that build examples."""
    if trunk.config.encoder:
        from model.encoder import window_graph

        path.write_bytes(window_graph().SerializeToString())
        return
    example = torch.zeros(1, trunk.config.receptive_frames + 16, MELS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            LogMelTrunk(trunk),
            (example,),
            str(path),
            input_names=["log_mel"],
            output_names=["heard"],
            dynamic_axes={"log_mel": {0: "batch", 1: "frames"}, "heard": {0: "batch", 1: "time"}},
            opset_version=OPSET,
            dynamo=False,
        )


def export_rescorer(config: TinyCRNNConfig, folder: Path) -> RescorerFiles | None:
    """Write what rescores a phrase into a folder, for the processes that build examples; None where nothing does."""
    if not config.spellings:
        return None
    from model.encoder import matcher_graph
    from model.rescoring import rescoring_graph

    matcher, decoder = folder / "matcher.onnx", folder / "decoder.onnx"
    matcher.write_bytes(matcher_graph(config.pronunciations).SerializeToString())
    decoder.write_bytes(rescoring_graph(config.spellings).SerializeToString())
    return RescorerFiles(str(matcher), str(decoder), config.rescore_above, config.states_before)


def lead_in(model: TinyCRNN, audio: np.ndarray) -> np.ndarray:
    """The recording behind as much silence as makes its first 80 ms complete the first window."""
    silence = np.zeros(model.config.receptive_samples - CHUNK_SAMPLES, np.float32)
    return np.concatenate([silence, np.asarray(audio, dtype=np.float32)])


@torch.no_grad()
def heard_of(model: TinyCRNN, audio: np.ndarray) -> np.ndarray:
    """What the trunk, or the encoder in its place, gives for a recording [frames of 20 ms, width]."""
    if model.config.trunk.encoder:
        from model.encoder import loaded_trunk

        phones: np.ndarray = loaded_trunk().hear(audio)[0]
        return phones
    heard: np.ndarray = model.trunk(torch.from_numpy(log_mel(lead_in(model, audio)))[None])[0].numpy()
    return heard


@torch.no_grad()
def features_to_scores(model: TinyCRNN, features: np.ndarray, block_s: float = 60.0) -> np.ndarray:
    """Raw scores of log-mel frames [frames, MELS]: one for each 8 frames past the receptive field, worked in blocks."""
    model.eval()
    if not model.config.trunk.phones:
        return stored_to_scores(model, features, block_s)
    device = next(model.parameters()).device
    lead, step = model.config.trunk.receptive_frames, STEM_STRIDE * round(block_s * 100 / STEM_STRIDE)
    heard = [np.zeros((0, model.config.trunk.width), np.float32)]
    for first in range(0, max(0, len(features) - lead + 1), step):
        block = np.asarray(features[first : first + step + lead - STEM_STRIDE], np.float32)
        heard.append(model.trunk(torch.from_numpy(block).to(device)[None])[0].cpu().numpy())
    return stored_to_scores(model, np.concatenate(heard), block_s)


@torch.no_grad()
def stored_to_scores(model: TinyCRNN, stored: np.ndarray, block_s: float = 60.0) -> np.ndarray:
    """Raw scores of stored frames [frames, width] (see ``model.features.StoredFrames``), worked in blocks."""
    model.eval()
    device = next(model.parameters()).device
    need, chunk = model.config.stored.window, model.config.stored.chunk
    total = (len(stored) - need) // chunk + 1 if len(stored) >= need else 0
    # A matcher has to hear all from the beginning.
    step = max(1, total if model.matcher is not None else int(block_s / 0.08))
    scores = np.empty(total, np.float32)
    for start in range(0, total, step):
        count = min(step, total - start)
        place = slice(start * chunk, start * chunk + need + (count - 1) * chunk)
        block = torch.from_numpy(np.asarray(stored[place], dtype=np.float32)).to(device)[None]
        scores[start : start + count] = torch.sigmoid(model.stored_logits(block))[0].cpu().numpy()
    return scores


@torch.no_grad()
def scores_of_many(model: TinyCRNN, pieces: Sequence[np.ndarray], batch_frames: int = 0) -> list[np.ndarray]:
    """Raw scores of many pieces of stored frames [frames, width] (see ``model.model.StoredFrames``).

    Short pieces of similar length are worked together, padded at the end, which is faster: up to ``batch_frames``
    frames, by default as many as a matcher (which goes from frame to frame) or a recurrent layer likes.
    """
    model.eval()
    batch_frames = batch_frames or (40_000 if model.matcher is None else 160_000)
    device = next(model.parameters()).device
    stored = model.config.stored
    need, chunk = stored.window, stored.chunk
    counts = [(len(piece) - need) // chunk + 1 if len(piece) >= need else 0 for piece in pieces]
    result: list[np.ndarray] = [np.zeros(0, np.float32)] * len(pieces)
    order = sorted((i for i, count in enumerate(counts) if count), key=lambda i: counts[i])
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * len(pieces[order[end]]) <= batch_frames:
            end += 1
        chosen = order[start:end]
        start = end
        if len(chosen) == 1:
            result[chosen[0]] = stored_to_scores(model, pieces[chosen[0]])
            continue
        frames = need + (counts[chosen[-1]] - 1) * chunk
        batch = np.zeros((len(chosen), frames, *pieces[chosen[0]].shape[1:]), np.float32)
        for row, index in zip(batch, chosen):
            part = pieces[index][:frames]
            row[: len(part)] = part
        scores = torch.sigmoid(model.stored_logits(torch.from_numpy(batch).to(device))).cpu().numpy()
        for row, index in zip(scores, chosen):
            result[index] = row[: counts[index]].copy()
    return result


def onnx_scores(path: Path, audio: np.ndarray, chunks: Sequence[int], receptive_samples: int) -> np.ndarray:
    """Raw scores of a recording by onnxruntime, fed as the given cycle of chunk counts."""
    model = session(path)
    size = model.get_inputs()[1].shape[1]
    silence = np.zeros((1, -(-receptive_samples // CHUNK_SAMPLES) * CHUNK_SAMPLES), np.float32)
    _, state = model.run(None, {"audio": silence, "state": np.zeros((1, size), np.float32)})
    scores, position, turn = [], 0, 0
    usable = len(audio) // CHUNK_SAMPLES * CHUNK_SAMPLES
    while position < usable:
        end = min(usable, position + chunks[turn % len(chunks)] * CHUNK_SAMPLES)
        part = np.asarray(audio[position:end], dtype=np.float32)[None]
        score, state = model.run(None, {"audio": part, "state": state})
        scores.append(score[0])
        position, turn = end, turn + 1
    return np.concatenate(scores) if scores else np.zeros(0, np.float32)


@dataclass(frozen=True)
class Parity:
    """Largest differences in score between the forms of a model on the same audio, by :func:`difference`."""

    onnx: float
    streaming: float
    int8: float | None  # of smoothed scores, with INT8_SHIFT; None where there is no such form

    @property
    def int8_agrees(self) -> bool:
        """Whether there are 8-bit weights, and they hear what the others do."""
        return self.int8 is not None and self.int8 <= INT8_TOLERANCE

    def as_dict(self) -> dict[str, float]:
        found = {"pt_against_onnx": self.onnx, "pt_against_streaming": self.streaming, "pt_against_int8": self.int8}
        return {name: value for name, value in found.items() if value is not None}


def difference(expected: np.ndarray, other: np.ndarray, shift: int = 0) -> float:
    """Largest difference of scores [n] in 0 to 1 from others of the same audio; 1 where one is not a number.

    With a ``shift``, what counts is how far a score lies outside the range of the other's scores up to that many before
    and after it: a score that steps from 0.7 to 0 within 80 ms has any value between when the step comes 20 ms sooner.
    A peak or a dip that only one of them has counts in full.
    """
    if expected.shape != other.shape:
        raise ValueError(f"{expected.shape} and {other.shape} scores cannot be compared")

    def outside(scores: np.ndarray, of: np.ndarray) -> float:
        near = np.lib.stride_tricks.sliding_window_view(np.pad(of, shift, mode="edge"), 2 * shift + 1)
        return float(np.maximum(scores - near.max(axis=1), near.min(axis=1) - scores).max())

    # Both ways: a peak of one score that the other lacks lies outside the other's range, not the other way round.
    found = np.maximum(outside(expected, other), outside(other, expected))  # which keeps a NaN
    return float(np.nan_to_num(found, nan=1.0))


def check_parity(model: TinyCRNN, onnx_path: Path, int8_path: Path | None, audio: np.ndarray) -> Parity:
    """Compare the forms on ``audio``. Whether the 8-bit weights agree is :attr:`Parity.int8_agrees`.

    Raises:
        HarkError: the float forms disagree.
    """
    expected = stream_scores(model, audio)
    need = model.config.stream_samples
    onnx = difference(expected, onnx_scores(onnx_path, audio, [10_000], need))
    streaming = difference(expected, onnx_scores(onnx_path, audio, [1, 2, 1, 5, 3], need))
    int8 = None
    if int8_path is not None:
        # Smoothed, as a detector takes them: a peak that is a score shorter may be a lower one then, and that counts.
        small = smooth_scores(onnx_scores(int8_path, audio, [25], need))
        int8 = difference(smooth_scores(expected), small, INT8_SHIFT)
    parity = Parity(onnx, streaming, int8)
    if max(onnx, streaming) > PARITY_TOLERANCE:
        raise HarkError(
            "The detector was not exported.",
            f"Its forms disagree on audio: {parity.as_dict()} (accepted: {PARITY_TOLERANCE}).",
            "This is a bug in Hark or in an installed package: please report it with the output of ./hark doctor.",
        )
    return parity


__all__ = ["SAMPLE_RATE", "Parity", "check_parity", "difference", "export_onnx", "quantize_weights", "stream_scores"]
