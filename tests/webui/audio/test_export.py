"""GET /recordings/<id>/export."""

from __future__ import annotations

import pytest
from django.test import Client

from webui.audio.models import Recording


@pytest.mark.parametrize(
    ("wanted", "begins"),
    [("txt", b"meeting"), ("srt", b"1\n00:00:00,000"), ("vtt", b"WEBVTT"), ("json", b"{"), ("docx", b"PK")],
)
def test_formats(owners: Client, recording: Recording, wanted: str, begins: bytes) -> None:
    answer = owners.get(f"/recordings/{recording.pk}/export?format={wanted}")
    assert answer.getvalue().startswith(begins)
    assert f'filename="meeting.{wanted}"' in answer["Content-Disposition"]


def test_unknown_format_gets_422(owners: Client, recording: Recording) -> None:
    assert owners.get(f"/recordings/{recording.pk}/export?format=exe").status_code == 422


def test_name_is_quoted_in_the_header(owners: Client, recording: Recording) -> None:
    Recording.objects.update(name='a"; b\r\nX: y – ü.wav')
    said = owners.get(f"/recordings/{recording.pk}/export?format=txt")["Content-Disposition"]
    assert "\n" not in said and '"' not in said and "filename*=utf-8''" in said
