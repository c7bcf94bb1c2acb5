"""The second pass of a large detector as one ONNX graph.

Where the keyword HMM has matched, the decoder scores the phrase (:mod:`model.large.rescoring`), and the verifier
checks each of its phones (:mod:`model.large.verifier`).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from core.errors import HarkError
from model.keyword_hmm import Pronunciations
from model.large.encoder import to_onnx
from model.large.onnx_graph import Nodes, prefixed, tensor
from model.large.phone_head import ENCODER_WIDTH
from model.large.rescoring import rescoring_graph
from model.large.verifier import DECODER_EVIDENCE, Verifier, shipped_verifier
from model.phones import PHONE_OUTPUTS
from model.weights import weights_digest

if TYPE_CHECKING:
    import onnx

RESCORED_WEIGHT = 4.0  # match score that a phrase gains if the decoder is certain, without a verifier
CERTAIN_WEIGHT = 12.0  # the same with a verifier
VERDICT_WEIGHT = 0.75  # match score gained or lost per logit of the verifier
VERDICTS = (-10.0, 4.0)  # bounds of the match score from the verifier
NOISE_WEIGHT = 0.1  # match score gained per logit of noise, because detectors miss people in noise


@cache
def verifier_name() -> str:
    """Return the name of the shipped verifier; it changes with its weights."""
    return weights_digest(shipped_verifier()[0])


class PhraseVerifier(nn.Module):
    """Verifies a phrase. The pronunciation that fits best counts."""

    def __init__(self, verifier: Verifier) -> None:
        super().__init__()
        self.verifier = verifier

    def forward(self, roots: Tensor, states: Tensor, decoder: Tensor, phones: Tensor, lengths: Tensor) -> Tensor:
        """Return the phrase's gain [1, 1].

        ``roots`` and ``states`` have a batch size of one; ``phones`` [pronunciations, phones] and ``lengths`` are as in
        :class:`model.large.verifier.Verifier`.
        """
        ways = phones.shape[0]
        evidence = self.verifier(roots.expand(ways, -1, -1), states.expand(ways, -1, -1), phones, lengths)[2]
        best = evidence[:, 0].argmax(dim=0, keepdim=True)
        heard_best = evidence.index_select(0, best)
        verdict = self.verifier.verdict(torch.cat([heard_best, decoder], dim=1))
        return VERDICT_WEIGHT * verdict.clamp(*VERDICTS)[:, None] + NOISE_WEIGHT * heard_best[:, -1:]


def phones_and_lengths(pronunciations: Pronunciations) -> tuple[Tensor, Tensor]:
    longest = max(map(len, pronunciations))
    phones = torch.tensor([[*way, *[0] * (longest - len(way))] for way in pronunciations])
    return phones, torch.tensor([len(way) for way in pronunciations])


@cache
def _verifier_graph() -> onnx.GraphProto:
    """Return :class:`PhraseVerifier` as ONNX, for any phrase; built once per process, because it takes seconds."""
    ways = phones_and_lengths(((1, 2, 3), (4, 5)))
    example = (
        torch.full((1, 112, PHONE_OUTPUTS), 0.1), torch.zeros(1, 28, ENCODER_WIDTH),
        torch.zeros(1, DECODER_EVIDENCE), *ways,
    )  # fmt: skip
    axes: dict[str, dict[int, str]] = {
        "heard": {1: "frames"}, "states": {1: "time"}, "phones": {0: "ways", 1: "phones"}, "lengths": {0: "ways"}
    }  # fmt: skip
    module = PhraseVerifier(shipped_verifier()[0]).eval()
    return to_onnx(module, example, ["heard", "states", "decoder", "phones", "lengths"], ["gain"], axes).graph


def second_pass_graph(pronunciations: Pronunciations, spellings: Pronunciations, verifier: str) -> onnx.ModelProto:
    """Build the graph from ``heard`` [1, time, PHONE_OUTPUTS] and ``states`` [1, time / 4, 288] to ``gain`` [1, 1].

    The gain is added to the match score.

    Args:
        verifier: the name of the verifier; empty for none.

    Raises:
        HarkError: the shipped verifier has a different name.
    """
    if verifier not in ("", verifier_name()):
        raise HarkError(
            "This detector cannot be used.",
            "Its second pass came with a different version of Hark.",
            "Train the phrase again.",
        )
    asked = rescoring_graph(spellings)
    graph = Nodes()
    graph.copy("states", "ask/states")
    graph.include(prefixed(asked.graph, "ask/"))
    graph.constants({"weight": np.float32(CERTAIN_WEIGHT if verifier else RESCORED_WEIGHT)})
    graph.add("Mul", ["ask/rescoring", "weight"], "rescored")
    if verifier:
        phones, lengths = phones_and_lengths(pronunciations)
        graph.constants({"verify/phones": phones.numpy(), "verify/lengths": lengths.numpy()})
        for name, source in {"heard": "heard", "states": "states", "decoder": "ask/evidence"}.items():
            graph.copy(source, f"verify/{name}")
        graph.include(prefixed(_verifier_graph(), "verify/"))
        graph.add("Add", ["rescored", "verify/gain"], "gain")
    else:
        graph.copy("rescored", "gain")
    inputs = [tensor("heard", [1, "frames", PHONE_OUTPUTS]), tensor("states", [1, "time", ENCODER_WIDTH])]
    return graph.model("second_pass", inputs, [tensor("gain", [1, 1])], asked)
