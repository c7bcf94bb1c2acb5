"""The specification of a run or of its plan: JSON values, from which a job's process makes its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.training.configuration.run_config import CHOICES, RunConfig, chosen

JOB = "job"  # the key of a job's id in its specification
BESIDE_CHOICES = {"install_voices", "targets", "run", JOB}  # other keys in the specification of a run or its plan

Spec = Mapping[str, Any]


def choices_of(spec: Spec) -> dict[str, Any]:
    """Return a run's choices from the specification of the run or its plan."""
    return {name: value for name, value in spec.items() if name not in BESIDE_CHOICES}


def run_config(spec: Spec) -> RunConfig:
    """Build the configuration from the specification of a run or a plan. Raises TypeError if a name is unknown."""
    return chosen(RunConfig(""), choices_of(spec))


def as_spec(config: RunConfig) -> dict[str, Any]:
    """Return a configuration as a job's spec."""
    values = {name: getattr(config, name) for name in CHOICES}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
