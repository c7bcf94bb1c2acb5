"""GET /recordings/<id>/words, /waveform and /audio with its ranges."""

from __future__ import annotations

import pytest
from django.test import Client

from webui.audio.models import Recording


def test_words_have_times(owners: Client, recording: Recording) -> None:
    content = owners.get(f"/recordings/{recording.pk}/words").json()
    assert content["version"] == 1
    assert content["segments"][1]["words"][0] == ["Who", 1.0, 1.225, 0.3]
    assert owners.get(f"/recordings/{recording.pk}/waveform").json() == {"peaks": [0.1, 0.5, 0.1]}


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        (None, 200, 0, None),
        ("bytes=0-", 206, 0, None),
        ("bytes=10-19", 206, 10, 19),
        ("bytes=100-999999999", 206, 100, None),
        ("bytes=-5", 206, -5, None),
        ("bytes=5-2", 200, 0, None),
        ("bytes=0-1,5-6", 200, 0, None),
        ("lines=1-2", 200, 0, None),
        ("bytes=-", 200, 0, None),
    ],
)
def test_range_of_the_audio(
    owners: Client, recording: Recording, asked: str | None, status: int, first: int, last: int | None
) -> None:
    whole = (recording.path / "audio.flac").read_bytes()
    answer = owners.get(f"/recordings/{recording.pk}/audio", headers={"Range": asked} if asked else {})
    wanted = whole[first : None if last is None else last + 1]
    assert answer.status_code == status and b"".join(answer.streaming_content) == wanted  # type: ignore[attr-defined]
    assert answer["Accept-Ranges"] == "bytes" and int(answer["Content-Length"]) == len(wanted)
    if status == 206:
        start = first if first >= 0 else len(whole) + first
        assert answer["Content-Range"] == f"bytes {start}-{start + len(wanted) - 1}/{len(whole)}"


def test_range_beyond_the_end_gets_416_and_if_range_is_checked(owners: Client, recording: Recording) -> None:
    address = f"/recordings/{recording.pk}/audio"
    answer = owners.get(address, headers={"Range": "bytes=99999999-"})
    assert answer.status_code == 416 and answer["Content-Range"].startswith("bytes */")
    assert owners.get(address, headers={"Range": "bytes=0-1", "If-Range": '"old"'}).status_code == 200
    head = owners.head(address)
    assert head.status_code == 200 and head.content == b"" and int(head["Content-Length"]) > 100
    tag = head["ETag"]
    assert owners.get(address, headers={"Range": "bytes=0-1", "If-Range": tag}).status_code == 206
