"""Secrets of the environment: one that an example shows is refused before anything starts."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest

from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.given_secrets import check_given_secrets
from tests.support.programs import prepared

SHIPPED = re.findall(
    r"^  (DATABASE_URL|REDIS_URL|HARK_SECRET_KEY|HARK_METRICS_TOKEN): (.+)$",
    (REPOSITORY / "deploy" / "kubernetes" / "data.yaml").read_text(),
    re.MULTILINE,
)


def test_the_start_refuses_a_placeholder_in_words(tmp_path: Path) -> None:
    said = prepared(tmp_path, HARK_SECRET_KEY="replace-with-a-long-random-string")
    assert said.startswith("HARK_SECRET_KEY can be guessed. It is a placeholder") and "openssl rand" in said
    assert "Traceback" not in said and "replace-with" not in said and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *SHIPPED,
        ("HARK_SECRET_KEY", "hunter2"),
        ("HARK_SECRET_KEY", "change-me-to-something-long-and-random"),
        ("HARK_SECRET_KEY", "django-insecure-1#q8z!u0r5w6y7x9k2m4n3p"),
        ("HARK_SECRET_KEY", "x" * 40),
        ("HARK_METRICS_TOKEN", "changeme"),
        ("HARK_SECRET_KEY_FALLBACKS", "changeme"),
        ("HARK_SECRET_KEY_FALLBACKS", "hunter2," + "0123456789abcdef" * 4),
    ],
)
def test_what_can_be_guessed_is_refused(name: str, value: str) -> None:
    with pytest.raises(HarkError, match=f"{name} can be guessed"):
        check_given_secrets({name: value})


def test_what_is_shipped_has_all_of_them() -> None:
    assert len(SHIPPED) == 4


def test_real_secrets_are_taken() -> None:
    for make in (secrets.token_hex, secrets.token_urlsafe):
        for _ in range(1000):
            check_given_secrets({"HARK_SECRET_KEY": make(32), "DATABASE_URL": f"postgresql://hark:{make(24)}@db/hark"})
    check_given_secrets({"REDIS_URL": "redis://[", "HARK_METRICS_TOKEN": "0123abcd"})
