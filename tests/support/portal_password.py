"""The password of the users of ``tests/webui/conftest.py``."""

from __future__ import annotations

PASSWORD = "a-good-long-password"
