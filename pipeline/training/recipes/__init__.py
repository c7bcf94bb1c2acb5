"""Recipes: how a run makes its own detector, one file for each kind."""

from __future__ import annotations

from model.large import encoder_backbone
from pipeline.training.configuration.efforts import EFFORTS
from pipeline.training.configuration.run_config import AUTO_SIZE, RunConfig
from pipeline.training.recipes.from_nothing import FromNothing
from pipeline.training.recipes.large import Large
from pipeline.training.recipes.recipe import Recipe
from pipeline.training.recipes.standard import Calibrated, Network


def recipe_of(config: RunConfig) -> Recipe:
    """Return the recipe of a run's own detector; the shipped weights know English only."""
    if config.from_nothing:
        return FromNothing(config)
    size = size_for(config) if config.size == AUTO_SIZE else config.size
    if size == "large":
        return Large(config)
    return Network(config) if EFFORTS[config.effort].network_steps else Calibrated(config)


def size_for(config: RunConfig) -> str:
    """Return the most accurate size that can be trained here: large for English if its encoder is installed.

    A trial is of size standard, because it should end soon and misses many utterances at any size.
    """
    if config.from_nothing or config.effort == "trial" or encoder_backbone.encoder_path() is None:
        return "standard"
    return "large"
