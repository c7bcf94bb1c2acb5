"""/recordings/<id>/so-far: words are read before speakers are told apart."""

from __future__ import annotations

import json
from dataclasses import asdict

from django.test import Client

from pipeline.recordings.transcription.transcribe import PROGRESS_FILE
from tests.webui.audio.conftest import transcript_of_words
from webui.audio.models import Recording
from webui.jobs.models import Job


def begun(recording: Recording, *said: str, rest: bytes = b"") -> None:
    """As a transcription writes down what it has done; ``rest``: half a line."""
    words = transcript_of_words(tuple(("", text, 0.9) for text in said))
    rows = [{"schema": 1}, {"piece": ["", 0, 1], "segments": [asdict(segment) for segment in words.segments]}]
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    (recording.path / PROGRESS_FILE).write_bytes(lines + rest)
    assert recording.job is not None
    Job.objects.filter(pk=recording.job.pk).update(state=Job.State.RUNNING)
    Recording.objects.filter(pk=recording.pk).update(state=Recording.State.WORKING, version=0)


def test_words_are_shown_while_the_recording_is_transcribed(owners: Client, recording: Recording) -> None:
    page = f"/recordings/{recording.pk}"
    begun(recording, "We meet <b>here</b>", "who brings it", rest=b'{"piece": ["", 1, 2], "segm')
    for address in (page, f"{page}/so-far"):
        shown = owners.get(address).content.decode()
        assert "We meet &lt;b&gt;here&lt;/b&gt;" in shown and "who brings it" in shown
        assert f'hx-get="{page}/so-far"' in shown


def test_nothing_is_shown_before_there_are_words(owners: Client, recording: Recording) -> None:
    begun(recording)
    (recording.path / PROGRESS_FILE).unlink()
    shown = owners.get(f"/recordings/{recording.pk}/so-far").content.decode()
    assert "hidden" in shown and "hx-get" in shown


def test_of_a_long_recording_the_end_is_shown(owners: Client, recording: Recording) -> None:
    begun(recording, *(f"number {number}" for number in range(45)))
    shown = owners.get(f"/recordings/{recording.pk}/so-far").content.decode()
    assert "number 44<" in shown and "number 5<" in shown and "number 4<" not in shown and "…" in shown


def test_a_transcript_that_is_there_is_on_its_own_page(owners: Client, recording: Recording) -> None:
    shown = owners.get(f"/recordings/{recording.pk}/so-far").content.decode()
    assert "hx-get" not in shown and "hidden" in shown
