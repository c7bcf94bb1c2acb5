"""What is refused of what somebody sent."""

from __future__ import annotations

import pytest

from core.untrusted_json import untrusted_json


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 200_000, '{"a":' * 200_000, "1e999", '{"a": -1e999}', "NaN", "[Infinity]", "9" * 5000, b"\xff"],
)
def test_what_is_no_json_or_too_much(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        untrusted_json(text)


def test_what_is() -> None:
    assert untrusted_json(b'{"a": [1, -2.5, "\xc3\xa4", null]}') == {"a": [1, -2.5, "ä", None]}
