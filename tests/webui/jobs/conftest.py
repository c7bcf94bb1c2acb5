"""Jobs with scripted child processes."""

from __future__ import annotations

from tests.support.portal_jobs import child

__all__ = ["child"]  # fixtures
