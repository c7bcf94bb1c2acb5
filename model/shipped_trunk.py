"""The front end of each size."""

from __future__ import annotations

from typing import Any

from model.encoder import trunk_config
from model.model import Trunk
from model.shipped_weights import FOLDER, TRUNKS, load_head, load_weights


def shipped_trunk(size: str) -> tuple[Trunk, dict[str, Any]]:
    """The trunk of a size. That of a ``large`` detector is empty, and names the encoder that hears in its place.

    Raises:
        HarkError: its file is missing or damaged.
    """
    if size == "large":
        return Trunk(trunk_config()).eval(), load_head()[1]
    model, about = load_weights(FOLDER / TRUNKS[size])
    assert isinstance(model, Trunk)
    return model, about
