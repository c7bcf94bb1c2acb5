"""Options that all training commands share, and messages on their curves in TensorBoard."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from command_line.options import Parser, count, per_cent, seed
from core.errors import HarkError
from model.training_options import WHOLE

INSTALL = ".venv/bin/python -m pip install tensorboard -c constraints.txt"


def training_options(parser: Parser, epochs: Callable[[str], float], default_epochs: str, batch: str, of: str) -> None:
    """Add the options that all training commands share.

    Args:
        epochs: the type of the number of epochs.
        batch: the help text on a batch's content and default.
        of: the data that ``--subset`` takes a percentage of.
    """
    help_text = f"default: {default_epochs}"
    parser.add_argument("--epochs", type=epochs, default=default_epochs, metavar="N", help=help_text)
    parser.add_argument("--batch_size", "--batch-size", type=count, default=0, metavar="N", help=batch)
    help_text = f"of {of}; 2 is a quick test; default: 100"
    parser.add_argument("--subset", type=per_cent, default=WHOLE, metavar="PERCENT", help=help_text)
    parser.add_argument("--tensorboard", action="store_true", help="refuse to start if curves cannot be written")
    parser.add_argument("--seed", type=seed, default=0, metavar="N")


def require_tensorboard() -> None:
    """Raise HarkError if no curves can be written."""
    if importlib.util.find_spec("tensorboard") is None:
        raise HarkError(
            "The curves cannot be written.",
            "TensorBoard is not installed.",
            f"In Hark's folder: {INSTALL}. It provides the command .venv/bin/tensorboard.",
        )


def curves_line(folder: str | Path) -> str:
    """Return how to display the curves in a folder or, without a folder, how to record them."""
    if folder:
        return f"tensorboard --logdir {folder}"
    return f"not written: TensorBoard is not installed ({INSTALL})"
