"""The specification of a run or of its plan: JSON values, from which a job's process makes its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.training.configuration.run_config import CHOICES, RunConfig, chosen

JOB = "job"  # the key of a job's id in its specification

Spec = Mapping[str, Any]


def run_config(spec: Spec) -> RunConfig:
    """Build the configuration from the specification of a run or a plan. Raises TypeError if a name is unknown."""
    return chosen(RunConfig(""), spec["choices"])


def as_spec(config: RunConfig) -> dict[str, Any]:
    """Return the specification of a run or a plan: its user's ``choices``."""
    values = {name: getattr(config, name) for name in CHOICES}
    return {"choices": {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}}
