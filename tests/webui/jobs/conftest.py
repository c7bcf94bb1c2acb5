"""Jobs with scripted child processes."""

from __future__ import annotations

from tests.support.job_child import child

__all__ = ["child"]  # fixtures
