"""Options for training any of Hark's own models: epochs, batch size, fraction of the data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from core.errors import HarkError

WHOLE = 100.0  # per cent
MAX_BATCH = 1024


@dataclass(frozen=True)
class TrainingOptions:
    """Options for a training run.

    Attributes:
        epochs: passes over the data.
        batch_size: utterances or pairs per step; 0 for the model's default.
        subset: percentage of the data that is used; 2 is a quick test.
    """

    epochs: float = 1.0
    batch_size: int = 0
    subset: float = WHOLE


def part_of(count: int, subset: float, minimum: int = 1) -> int:
    """Return ``subset`` per cent of ``count``, rounded up, between ``minimum`` and ``count``."""
    return min(count, max(minimum, math.ceil(count * subset / 100)))


def curves_folder(folder: Path) -> str:
    """Return the folder for the curves of a training run; "" if TensorBoard is not installed."""
    return str(folder / "runs") if find_spec("tensorboard") else ""


@contextmanager
def curves(folder: str) -> Iterator[Callable[[str, float, int], None]]:
    """Yield a function that writes a curve's value (name, value, step) for TensorBoard; without a folder, a no-op."""
    if not folder:
        yield lambda name, value, step: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with closing(SummaryWriter(folder)) as board:
        yield board.add_scalar


def training_options(values: Mapping[str, object], epochs: float = 1.0, max_epochs: float = 1000.0) -> TrainingOptions:
    """Read the options from the values of a form or a job. Missing and empty ones get their defaults.

    Args:
        epochs: the default for epochs.

    Raises:
        HarkError: a value is not a number or is out of range.
    """
    return TrainingOptions(
        _number(values, "epochs", epochs, 0.0, max_epochs),
        round(_number(values, "batch_size", 0.0, -1.0, MAX_BATCH)),
        _number(values, "subset", WHOLE, 0.0, WHOLE),
    )


def _number(values: Mapping[str, object], name: str, otherwise: float, above: float, maximum: float) -> float:
    given = values.get(name)
    if given is None or given == "":
        return otherwise
    try:
        value = float(str(given))
    except ValueError:
        value = math.nan
    if not above < value <= maximum:
        raise HarkError(
            f"{name} cannot be {str(given)[:40]!r}.",
            f"It must be a positive number up to {maximum:g}.",
            "Correct the number, or leave the option out.",
        )
    return value
