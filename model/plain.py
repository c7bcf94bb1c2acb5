"""Configurations as plain values, for JSON and for checkpoints that load with ``weights_only=True``."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any


def plain(config: Any) -> dict[str, Any]:
    """The values of a dataclass; tuples become lists."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return values


def from_plain(kind: type[Any], values: dict[str, Any]) -> Any:
    """The dataclass ``kind`` of such values: lists become tuples. What it does not know is left out: other versions of
    Hark write more."""
    return kind(**{field.name: _tuples(values[field.name]) for field in fields(kind) if field.name in values})


# Names that files of earlier versions use, and what they are called now.
_EARLIER = {
    "trunk": "backbone",
    "matchers": "keyword_hmms",
    "decoys": "anti_keywords",
    "decoy_margin": "anti_keyword_margin",
    "negative_bank": "negative_set",
}


def with_current_names(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration, a report or weights of any version, with the names of this one. A dot ends a module's name."""
    renamed = {}
    for name, value in values.items():
        first, dot, rest = name.partition(".")
        renamed[_EARLIER.get(first, first) + dot + rest] = value
    return renamed


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
