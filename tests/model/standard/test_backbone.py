"""The backbone on the public speech embedding: it matches the embedding, and streaming changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lab.weights.public_embedding import public_convolutions, with_public_embedding
from model.devices.openwakeword import EMBEDDED_FRAMES, embedding
from model.export import Carried
from model.features import CHUNK_FRAMES, CHUNK_SAMPLES, FFT, HOP
from model.phones import phone_indices
from model.standard.backbone import FLOOR, SLOPE, EmbeddingBackbone, EmbeddingBackboneConfig
from model.standard.backbone_detector import BackboneDetector
from tests.support.sounds import speech

SNOWBOY = tuple(phone_indices(("s", "n", "oʊ", "b", "ɔɪ")))


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    return speech(6.0, 5)[: 70 * CHUNK_SAMPLES]


@pytest.fixture(scope="module")
@torch.no_grad()
def backbone(audio: np.ndarray) -> EmbeddingBackbone:
    """An untrained backbone, scaled so that its frames differ."""
    torch.manual_seed(0)
    made = with_public_embedding(EmbeddingBackbone(EmbeddingBackboneConfig()))
    convolved = made.convolved(made.mel(torch.from_numpy(audio)[None]))[0]
    made.mean.copy_(convolved.mean(0))
    made.std.copy_(convolved.std(0) + 0.1)
    made.out.weight.mul_(10.0)
    return made.eval()


@torch.no_grad()
def test_the_layers_reproduce_the_public_embedding(audio: np.ndarray) -> None:
    backbone = with_public_embedding(EmbeddingBackbone(EmbeddingBackboneConfig())).eval()
    samples = (CHUNK_FRAMES * 20 + EMBEDDED_FRAMES - 1) * HOP + FFT
    loud = np.trunc(audio * 32767)[None, :samples] / 32767  # the embedding model reads 16-bit samples
    convolved = backbone.convolved(backbone.mel(torch.from_numpy(loud.astype(np.float32))))
    x = convolved[..., convolved.shape[2] // 2 :].unflatten(2, (2, -1)).permute(0, 3, 1, 2)
    (kernel, bias), (last_kernel, last_bias) = public_convolutions()[len(backbone.convs) :]
    x = functional.leaky_relu(functional.conv2d(x, kernel, bias), SLOPE).clamp(min=FLOOR)
    x = functional.conv2d(functional.max_pool2d(x, (2, 2)), last_kernel, last_bias)
    expected = embedding()(audio)[:20]
    assert expected.std() > 5
    np.testing.assert_allclose(x[0, :, :20, 0].T, expected, atol=0.05 * expected.std())


@torch.no_grad()
@pytest.mark.parametrize("chunks", [1, 3])
def test_streaming_gives_the_same_outputs_as_the_whole_audio(
    backbone: EmbeddingBackbone, audio: np.ndarray, chunks: int
) -> None:
    state = torch.zeros(1, sum(int(np.prod(shape)) for shape in backbone.stream_shapes()))
    heard = []
    for part in torch.from_numpy(audio[: 60 * CHUNK_SAMPLES])[None].split(chunks * CHUNK_SAMPLES, dim=1):
        carried = Carried(state, backbone.stream_shapes())
        heard.append(backbone.encode(part, carried))
        state = carried.state()
    stream = torch.cat(heard, dim=1)[0]
    lead = CHUNK_SAMPLES - (FFT - HOP)  # frames of a stream end where chunks end
    whole = backbone.encode(torch.from_numpy(audio[lead : 60 * CHUNK_SAMPLES])[None])[0]
    assert len(stream) == 240 and whole.std() > 0.1
    np.testing.assert_allclose(stream[-len(whole) :], whole, atol=1e-5)


def test_all_export_forms_agree(
    backbone: EmbeddingBackbone, audio: np.ndarray, forms_agree: Callable[..., None]
) -> None:
    detector = BackboneDetector.of_phrase(backbone, (SNOWBOY, SNOWBOY[:3]), 1.2)
    detector.centre(-2.0)
    forms_agree(detector, audio)


def test_a_front_end_stores_the_announced_number_of_frames(
    backbone: EmbeddingBackbone, audio: np.ndarray, tmp_path: Path
) -> None:
    detector = BackboneDetector.of_phrase(backbone, (SNOWBOY,), 1.2)
    front_end = detector.front_end(tmp_path)
    compute, store = front_end.computer(), front_end.storer()
    for frames in (129, 130, 133, 200, 303):
        (computed,) = compute([front_end.sound(audio, 10, 10 + frames)])
        stored = store(computed, 10, 10 + frames)
        assert stored.shape == (detector.config.stored.position(frames), 41)
