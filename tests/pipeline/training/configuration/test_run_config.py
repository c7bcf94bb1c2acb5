"""A user's options of a run: only those in the list are accepted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pipeline.training.configuration.run_config import CHOICES, USUAL, RunConfig, chosen
from pipeline.training.configuration.specification import as_spec, run_config


def test_user_options_set_the_configuration() -> None:
    choices = {"phrase": "hey compass", "seed": 7, "engines": ["espeak", "flite"], "devices": []}
    assert chosen(USUAL, choices) == RunConfig("hey compass", seed=7, size="auto", engines=("espeak", "flite"))


@pytest.mark.parametrize("name", ["start_from", "hold_out", "size ", "colour"])
def test_options_that_users_cannot_set_are_rejected(name: str) -> None:
    assert name not in CHOICES
    with pytest.raises(TypeError, match=name):
        chosen(USUAL, {"phrase": "hey compass", name: 1})
    with pytest.raises(TypeError, match=name):
        run_config({"choices": {"phrase": "hey compass", name: 1}})


def test_a_jobs_spec_gives_its_configuration_back() -> None:
    config = RunConfig("hey compass", seed=7, engines=("espeak", "flite"))
    assert run_config({**as_spec(config), "targets": ["pi"], "install_voices": True}) == config


def test_a_new_option_does_not_change_existing_run_names() -> None:
    @dataclass(frozen=True)
    class Later(RunConfig):
        colour: str = "red"

    assert Later("hey compass", seed=3).run_name == RunConfig("hey compass", seed=3).run_name
    assert Later("hey compass", colour="blue").run_name != RunConfig("hey compass").run_name
