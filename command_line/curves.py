"""TensorBoard: the curves of a training, and what to do where it is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from command_line.options import Parser
from core.errors import HarkError

INSTALL = ".venv/bin/python -m pip install tensorboard -c constraints.txt"


def curves_option(parser: Parser) -> None:
    """``--tensorboard``, of trainings that write curves wherever TensorBoard is there."""
    parser.add_argument("--tensorboard", action="store_true", help="do not begin where no curves can be written")


def require_tensorboard() -> None:
    """Raise HarkError where no curves can be written."""
    if importlib.util.find_spec("tensorboard") is None:
        raise HarkError(
            "The curves cannot be written.",
            "TensorBoard is not installed.",
            f"In Hark's folder: {INSTALL}. It brings the command .venv/bin/tensorboard.",
        )


def curves_line(folder: str | Path) -> str:
    """How to see the curves in a folder; "" for none: how to get them."""
    if folder:
        return f"tensorboard --logdir {folder}"
    return f"not written: TensorBoard is not installed ({INSTALL})"
