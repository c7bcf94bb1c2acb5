"""Segments of recordings as clips of the library, for mining phrases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from db.db_api import Library, library_exists, source_id
from db.records import RECORDING, NewClip
from phrase_augmentation.normalize import normalize
from pipeline.corpora.importing import ENGINE, MAX_DURATION_S, MIN_DURATION_S
from pipeline.recordings.files.media import open_normalized, read_part
from pipeline.recordings.files.recording_folder import AUDIO
from pipeline.recordings.transcripts.transcript import Segment, Transcript
from pipeline.training.clips.removed_recordings import forget_in_runs

LICENCE = "private"
AROUND_S = 0.1  # seconds of margin around a segment, because boundaries are never exact


def bring_up_to_date(data: Path, recording: str, folder: Path, transcript: Transcript) -> tuple[int, int]:
    """Update a recording's clips to its transcript; return the number of clips, and of removed ones.

    Unchanged segments keep their clips. If a segment's words or speaker have changed, it gets a new clip, and the old
    one is deleted with its mined clips.
    """
    wanted = {
        _source(recording, segment): segment for segment in transcript.segments if _is_usable(segment, transcript)
    }
    with Library(data) as library:
        existing = {str(clip.source): clip for clip in library.with_source(_prefix(recording))}
        stale = [
            clip.id
            for source, clip in existing.items()
            if source not in wanted
            or (clip.text_original, clip.speaker) != (wanted[source].text, _speaker(recording, wanted[source]))
        ]
        library.delete_clips(stale)
        unchanged = {source for source, clip in existing.items() if clip.id not in stale}
        new = {source: segment for source, segment in wanted.items() if source not in unchanged}
        if new:
            library.add_clips(_clips(recording, folder / AUDIO, transcript, new))
    return len(wanted), len(stale)


def remove_from_library(data: Path, recording: str) -> int:
    """Remove a recording's clips, and those mined from them, from library and runs; return the number of clips."""
    if not library_exists(data):
        return 0
    with Library(data) as library:
        clips = library.with_source(_prefix(recording))
        library.delete_clips([clip.id for clip in clips])
        forget_in_runs(data, library)
    return len(clips)


def _prefix(recording: str) -> str:
    return f"{RECORDING}-{recording}"


def _source(recording: str, segment: Segment) -> str:
    return source_id(_prefix(recording), f"{round(1000 * segment.start_s)}-{round(1000 * segment.end_s)}")


def _speaker(recording: str, segment: Segment) -> str:
    return f"{recording}-{segment.speaker}" if segment.speaker else recording


def _is_usable(segment: Segment, transcript: Transcript) -> bool:
    language = segment.language or transcript.language or "en"
    seconds = segment.end_s - segment.start_s
    return (
        not segment.overlap and MIN_DURATION_S <= seconds <= MAX_DURATION_S and bool(normalize(segment.text, language))
    )


def _clips(recording: str, audio: Path, transcript: Transcript, wanted: Mapping[str, Segment]) -> Iterator[NewClip]:
    with open_normalized(audio) as file:
        for source, segment in wanted.items():
            samples = read_part(file, segment.start_s - AROUND_S, segment.end_s + AROUND_S).mean(axis=1)
            if not len(samples):
                continue
            language = segment.language or transcript.language or "en"
            yield NewClip(
                audio=samples, text=segment.text, text_normalized=normalize(segment.text, language),
                language=language, engine=ENGINE, speaker=_speaker(recording, segment), licence=LICENCE, source=source,
                settings={"recording": recording},
            )  # fmt: skip
