"""The training loop shared by all shipped weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from model.fit import Fit
from model.training_options import curves


def learn(
    fit: Fit[Any], loss_of: Callable[[], Tensor], on_progress: Callable[[int, int, float], None], tensorboard: str
) -> None:
    """Run the remaining steps of ``fit``, each on a loss from ``loss_of``."""
    with curves(tensorboard) as draw:
        while fit.step < fit.steps:
            fit.learn(loss_of())
            if fit.step % 20 == 0 or fit.step in (1, fit.steps):
                on_progress(fit.step, fit.steps, fit.loss)
                draw("loss", fit.loss, fit.step)
