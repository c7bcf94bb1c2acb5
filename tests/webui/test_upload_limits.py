"""Which bodies may be large, how large, and how many at the same time."""

from __future__ import annotations

from uuid import uuid4

import pytest

from core.errors import HarkError
from webui.accounts.models import User
from webui.http.body_limits import Body
from webui.upload_limits import LARGE_AT_ONCE, MAX_CHUNK_BYTES, MAX_FILE_BYTES, MAX_FORM_BYTES, check_body, largest_body


def test_the_limit_of_a_body_depends_on_the_path() -> None:
    assert largest_body(f"/recordings/uploads/{uuid4()}") == MAX_CHUNK_BYTES
    for path in (
        "/recordings/upload",
        "/library/import/upload",
        "/detectors/1/2/try/file",
        "/api/v1/detectors/1/detect",
    ):
        assert largest_body(path) == 201_000_000 > MAX_FILE_BYTES
    for path in ("/recordings/uploads", "/recordings/", "/library/record/keep", "/nowhere/try/file"):
        assert largest_body(path) == MAX_FORM_BYTES


@pytest.mark.django_db
def test_simultaneous_large_bodies_are_limited_per_user(owner: User, other: User) -> None:
    large = [Body(other, "/api/v1/x/detect", 3_000_000) for _ in range(LARGE_AT_ONCE)]
    check_body(large[-1], large[:-1])
    with pytest.raises(HarkError, match="too many uploads at the same time"):
        check_body(Body(other, "/api/v1/x/detect", 3_000_000), large)
    check_body(Body(other, "/api/v1/x/detect", 3_000), large)
    check_body(Body(owner, "/api/v1/x/detect", 3_000_000), large)
    large[0].is_whole = True
    check_body(Body(other, "/api/v1/x/detect", 3_000_000), large)
