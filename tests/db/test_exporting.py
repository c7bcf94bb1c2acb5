"""Export of clips."""

from __future__ import annotations

import json
from pathlib import Path

import soundfile

from db import clip_files
from db.db_api import Library
from db.exporting import export_clips
from db.records import NewClip
from tests.support.library_clips import new_clip
from tests.support.sounds import noise


def test_an_export_can_be_imported(library: Library, tmp_path: Path) -> None:
    library.add_clips(
        [
            NewClip(noise(0.1, 1), "Hey compass!", "hey compass", "en", "fake", speaker="s1"),
            new_clip("", 2, text_known=False),
        ]
    )
    report = export_clips(library, tmp_path / "out")
    lines = [json.loads(line) for line in report.manifest.read_text(encoding="utf-8").splitlines()]
    assert report.clips == 2 and [line.get("text") for line in lines] == ["hey compass", None]
    assert lines[0]["text_original"] == "Hey compass!" and lines[0]["speaker"] == "s1"
    audio, rate = soundfile.read(str(report.manifest.parent / lines[0]["audio_filepath"]), dtype="float32")
    assert rate == 16000 and clip_files.audio_digest(audio) == clip_files.audio_digest(noise(0.1, 1))
    assert export_clips(library, tmp_path / "out").clips == 2
