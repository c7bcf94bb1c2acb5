"""The trunk of TinyCRNN with its own file: it has learned people's speech, and no phrase yet.

``python -m lab.weights.train crnn`` trains it.
"""

from __future__ import annotations

from typing import Any, Self

from model.plain import from_plain
from model.tiny.tiny_crnn import Trunk, TrunkConfig
from model.weights import SHIPPED, StoredNetwork, load_weights

CRNN_TRUNK = "crnn-trunk.safetensors"


class CrnnTrunk(Trunk, StoredNetwork):
    """The trunk as a network whose weights are stored."""

    def __init__(self, config: TrunkConfig | None = None) -> None:
        super().__init__(config or TrunkConfig())

    @classmethod
    def of_config(cls, values: dict[str, Any]) -> Self:
        return cls(from_plain(TrunkConfig, values))


def shipped_trunk() -> tuple[CrnnTrunk, dict[str, Any]]:
    """Return the shipped trunk, and what its file says about it. Raises HarkError if it is missing or damaged."""
    return load_weights(SHIPPED / CRNN_TRUNK, CrnnTrunk)
