"""What becomes of a user's options: which channels are separate, and what if speakers cannot be distinguished."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import HarkError
from core.worded import Worded
from pipeline.recordings import transcribing
from pipeline.recordings.recording_options import RecordingOptions
from pipeline.recordings.transcribing import transcribed
from pipeline.recordings.transcription.transcribe import TranscribeOptions
from pipeline.recordings.transcripts.transcript import Transcript
from tests.support.ready_recordings import transcript_of_words

WORDS = replace(transcript_of_words(), speakers={}, diarization="")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TranscribeOptions]:
    """The options that recognition got. Nobody can distinguish speakers."""
    options: list[TranscribeOptions] = []

    def transcribe(audio: Path, wanted: TranscribeOptions, *_more: object) -> Transcript:
        options.append(wanted)
        return WORDS

    def diarize(*_given: object, **_more: object) -> Any:
        raise HarkError("There are no voices.", "The test wanted it.", "Go on.")

    monkeypatch.setattr(transcribing, "transcribe", transcribe)
    monkeypatch.setattr(transcribing, "diarize", diarize)
    return options


@pytest.mark.parametrize(
    ("diarize", "speakers", "channels"), [(True, None, True), (True, 2, True), (True, 3, False), (False, None, False)]
)
def test_channels_are_mixed_if_they_cannot_be_two_people(
    asked: list[TranscribeOptions], tmp_path: Path, diarize: bool, speakers: int | None, channels: bool
) -> None:
    options = RecordingOptions("hark", "en", speakers, diarize, translate=True)
    transcribed(tmp_path, options, data=tmp_path, work=tmp_path, words=["Zanzibar"], warnings=[])
    assert asked == [TranscribeOptions("hark", "en", channels, tmp_path, True, ("Zanzibar",))]


def test_a_failure_to_find_speakers_is_an_error_or_a_warning(asked: Any, tmp_path: Path) -> None:
    warnings: list[Worded] = []
    found = transcribed(tmp_path, RecordingOptions(), data=tmp_path, work=tmp_path, warnings=warnings)
    assert found == WORDS and warnings == ["There are no voices. The test wanted it. Go on."]
    with pytest.raises(HarkError, match="no voices"):
        transcribed(tmp_path, RecordingOptions(), data=tmp_path, work=tmp_path)
    assert transcribed(tmp_path, RecordingOptions(), data=tmp_path, work=tmp_path, only_channels=True) == WORDS
