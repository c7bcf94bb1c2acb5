"""Conversion of configurations to JSON values, so that checkpoints load with ``weights_only=True``."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

Config = TypeVar("Config")


def plain(config: Any) -> dict[str, Any]:
    """Return a dataclass's values as a dict. Tuples become lists."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return values


def from_plain(kind: type[Config], values: dict[str, Any]) -> Config:
    """Build the dataclass ``kind`` from the values of :func:`plain`. Ignore other versions' unknown names."""
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind) if field.name in values]  # type: ignore[arg-type]
    return kind(**{name: _built(hints[name], values[name]) for name in known})


def _built(hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        return from_plain(hint, value)
    return tuple(_built(None, part) for part in value) if isinstance(value, list) else value
