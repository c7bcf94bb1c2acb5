"""Conversion of configurations to JSON values, so that checkpoints load with ``weights_only=True``."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any


def plain(config: Any) -> dict[str, Any]:
    """Return a dataclass's values as a dict. Tuples become lists."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return values


def from_plain(kind: type[Any], values: dict[str, Any]) -> Any:
    """Build the dataclass ``kind`` from the values of :func:`plain`. Ignore other versions' unknown names."""
    return kind(**{field.name: _tuples(values[field.name]) for field in fields(kind) if field.name in values})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
