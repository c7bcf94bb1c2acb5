"""What a detector's measures mean for its user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST = 0.5


def misses_most(summary: Mapping[str, Any]) -> bool:
    """Whether a detector with this summary (in its ``report.json``) misses most of what is said close and quiet."""
    missed = summary.get("miss_rate_clean", {}).get("value")
    return missed is not None and missed > MOST
