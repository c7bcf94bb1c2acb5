"""What trainings are told: the same words on the command line, in forms and in jobs."""

from __future__ import annotations

import pytest

from core.errors import HarkError
from model.training_options import TrainingOptions, part_of, training_options


def test_what_is_absent_is_as_by_default() -> None:
    assert (
        training_options({}) == training_options({"epochs": "", "batch_size": None, "all": True}) == TrainingOptions()
    )
    assert training_options({"epochs": "2", "batch_size": 8, "subset": "2.5"}) == TrainingOptions(2.0, 8, 2.5)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"epochs": 51},
        {"epochs": "x"},
        {"batch_size": -1},
        {"subset": 0},
        {"subset": 101},
        {"subset": "nan"},
    ],
)
def test_what_is_out_of_range_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(HarkError, match=next(iter(values))):
        training_options(values, most_epochs=50)


def test_a_part_is_never_nothing_and_never_more_than_there_is() -> None:
    assert [part_of(1132, 2.0), part_of(3, 2.0), part_of(0, 2.0), part_of(40, 100.0), part_of(300, 2.0, 20)] == [
        23, 1, 0, 40, 20,
    ]  # fmt: skip
