"""Refusals of the portal, expected by their status."""

from __future__ import annotations

import pytest

from webui.http.errors import StatusError


def refuses(status: int, match: str | None = None) -> pytest.RaisesExc[StatusError]:
    return pytest.raises(StatusError, match=match, check=lambda error: error.status == status)
