"""Reads endpoints and responses from docs/compatibility.md."""

from __future__ import annotations

import re
import uuid

from core.data_folder import REPOSITORY

PAGE = (REPOSITORY / "docs" / "compatibility.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(GET|POST|DELETE) (/\S+)` \| ([\w ,-]+) \|", PAGE, flags=re.MULTILINE)


def filled(address: str) -> str:
    return address.replace("{name}", "transcript.txt").replace("{meeting_id}", str(uuid.uuid4())).replace(
        "{session_id}", str(uuid.uuid4())
    )  # fmt: skip


def expected_of_nobody(method: str, scopes: str) -> int:
    """Return the status for an empty request without an account."""
    open_to_all = 200 if method == "GET" else 400
    return {"-": open_to_all, "metrics token": 404}.get(scopes, 401)  # none is set
