"""A strict parser for JSON from clients."""

from __future__ import annotations

import json
import math
from typing import Any


def untrusted_json(text: str | bytes) -> Any:
    """Parse JSON. Raises ValueError if it is invalid, nested too deeply, or has a number that is not finite."""
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not a number")
