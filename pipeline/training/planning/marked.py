"""Clips in the library that users marked: false alarms and misses of a detector."""

from __future__ import annotations

from db.db_api import Library
from db.records import Clip

CORPUS = "inbox"  # prefix of the source of marked clips
FALSE_ALARM_OF = "false_alarm_of"  # setting of a clip: the phrase for which a detector mistook it


def marked_false_alarms(library: Library, phrase: str, language: str) -> list[Clip]:
    """Return the library's clips that users marked as false alarms of the phrase's detector, newest first."""
    clips = [clip for clip in library.with_source(CORPUS) if (clip.state, clip.language) == ("ready", language)]
    return [clip for clip in reversed(clips) if clip.settings.get(FALSE_ALARM_OF) == phrase]


def marked_misses(library: Library, phrase: str, language: str) -> list[Clip]:
    """Return the library's clips that users marked as missed utterances of the phrase, newest first."""
    clips = [clip for clip in library.with_source(CORPUS) if clip.state == "ready" and "role" in clip.settings]
    return [clip for clip in reversed(clips) if (clip.text_normalized, clip.language) == (phrase, language)]
