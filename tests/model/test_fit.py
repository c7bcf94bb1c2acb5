from __future__ import annotations

import pytest
import torch

from model.fit import Fit


def test_the_learning_rate_goes_up_and_down_and_an_overflow_changes_nothing() -> None:
    model = torch.nn.Linear(1, 1)
    fit = Fit(model, torch.optim.SGD(model.parameters(), 1.0), 100, 10, ema_decay=0.9)
    rates = []
    for step in range(100):
        rates += fit.schedule.get_last_lr()
        before = model.weight.clone()
        fit.learn(model.weight.sum() * float("inf" if step else 1))
        assert torch.equal(model.weight, before) == bool(step)
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] and 0.0 < rates[-1] < 0.001
    assert rates[9:] == sorted(rates[9:], reverse=True)
