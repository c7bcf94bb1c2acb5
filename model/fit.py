"""Shared by all training runs: the step, the learning rate, averaged weights, and the state to resume from."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from core.data_folder import atomic_path

GRADIENT_CLIP = 1.0
Model = TypeVar("Model", bound=nn.Module)


class Fit(Generic[Model]):
    """A model in training. The learning rate rises over ``warmup`` steps and then follows a cosine down to 0.

    Attributes:
        average: the moving average of the model's weights; without ``ema_decay``, the model.
        step: number of steps taken.
        loss: moving average; NaN before the first step.
    """

    def __init__(
        self, model: Model, optimizer: torch.optim.Optimizer, steps: int, warmup: int, ema_decay: float = 0.0
    ) -> None:
        self.model, self.optimizer, self.steps, self.ema_decay = model, optimizer, steps, ema_decay
        self.average = copy.deepcopy(model).eval() if ema_decay else model
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda s: min(1.0, (s + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * min(1.0, s / steps)))
        )
        self.step, self.loss = 0, math.nan

    def learn(self, loss: Tensor) -> None:
        """Take a step along the negative gradient of ``loss``."""
        self.step += 1
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_CLIP)
        if bool(torch.isfinite(norm)):  # a batch with an overflow must not damage the model
            self.optimizer.step()
        self.schedule.step()
        if self.average is not self.model:
            decay = min(self.ema_decay, self.step / (self.step + 10.0))
            for target, source in zip(self.average.state_dict().values(), self.model.state_dict().values()):
                if target.dtype.is_floating_point:
                    target.lerp_(source, 1.0 - decay)
                else:
                    target.copy_(source)
        value = float(loss.detach())
        self.loss = value if math.isnan(self.loss) else 0.95 * self.loss + 0.05 * value

    def save(self, path: Path, identity: object, **more: Any) -> None:
        """Write a file with everything needed to resume, and with ``more``."""
        parts = {name: part.state_dict() for name, part in self._parts.items()}
        write_checkpoint(path, {"identity": identity, "step": self.step, **parts, **more})

    def resume(
        self, path: Path, identity: object, usable: Callable[[dict[str, Any]], bool] = lambda saved: True
    ) -> dict[str, Any]:
        """Resume from a file of :meth:`save` with this identity; return its content, {} if there is none."""
        if path.is_file():
            device = next(self.model.parameters()).device
            saved: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
            if saved["identity"] == identity and usable(saved):
                for name, part in self._parts.items():
                    part.load_state_dict(saved[name])
                self.step = saved["step"]
                return saved
        return {}

    @property
    def _parts(self) -> dict[str, Any]:
        return {
            "model": self.model, "average": self.average, "optimizer": self.optimizer, "schedule": self.schedule,
        }  # fmt: skip


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a file that loads with ``weights_only=True``, atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)  # given a path, it would raise RuntimeError if the disk is full
