"""/clips."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.webui.api.conftest import Call, World, a_token, problem_of

pytestmark = pytest.mark.django_db


def test_search_is_paged(call: Call, world: World, portal: Path) -> None:
    from db.db_api import Library
    from db.records import NewClip
    from tests.support.sounds import noise

    with Library(portal) as library:
        library.add_clips(
            NewClip(
                audio=noise(0.1 + n / 100), text="compass", text_normalized="compass", language="en", engine="flite"
            )
            for n in range(3)
        )
    headers = a_token(world.user, "read")
    first = call("get", "/clips?phrase=compass&limit=3", headers=headers).json()
    then = call("get", first["next"], headers=headers).json()
    assert [clip["id"] for clip in first["items"] + then["items"]] == [1, 2, 3, 4] and then["next"] is None
    assert call("get", "/clips?engine=espeak", headers=headers).json()["items"][0]["text"] == "Hey, compass!"
    assert call("get", "/clips?phrase=nothing", headers=headers).json()["items"] == []


def test_change_and_delete(call: Call, world: World, portal: Path) -> None:
    headers = a_token(world.user, "train", "read")
    place = f"/clips/{world.clip}"
    said = call("patch", place, body={"text": "Hey campus.", "state": "rejected"}, headers=headers).json()
    assert (said["text"], said["state"]) == ("Hey campus.", "rejected")
    assert call("get", "/clips?phrase=campus&state=ready", headers=headers).json()["items"] == []
    problem_of(call("patch", place, body={"text": "!"}, headers=headers), 422)
    assert call("delete", place, headers=headers).status_code == 204
    problem_of(call("get", f"{place}/audio", headers=headers), 404)
    problem_of(call("delete", place, headers=headers), 404)
