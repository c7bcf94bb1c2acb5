"""A plan of speech requests."""

from __future__ import annotations

from typing import Any

from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.planning.clip_choice import PlannedRequest
from pipeline.training.planning.plan import Plan


def request(number: int, engine: str, voice: str, behave: str = "", split: str = "train") -> PlannedRequest:
    settings: dict[str, float | int | str] = {"behave": behave} if behave else {}
    text = f"hey compass {'abcdefgh'[number % 8]}"
    return PlannedRequest(f"run:positive:{number}", "positive", split, engine, voice, text, settings)


def plan_of(requests: list[PlannedRequest], engines: dict[str, Any]) -> Plan:
    config = RunConfig("hey compass", engines=tuple(engines), from_scratch=True)
    counts = {name: len({v.speaker for v in engine.voices("en")}) for name, engine in engines.items()}
    return Plan("run", config, (), tuple(requests), (), 0.0, counts, {}, "", 0.0)
