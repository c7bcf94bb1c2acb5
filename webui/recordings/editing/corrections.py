"""Corrections of a transcript, with undo."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from core.data_folder import atomic_path, storing
from core.errors import HarkError
from pipeline.recordings.files.recording_folder import SUMMARY, TEXT, TRANSCRIPT
from pipeline.recordings.library_clips import bring_up_to_date
from pipeline.recordings.transcripts import vocabulary
from pipeline.recordings.transcripts.captions import write
from pipeline.recordings.transcripts.transcript import Segment, Transcript, save_transcript
from webui.accounts.storage import user_data
from webui.recordings.editing import history
from webui.recordings.editing.segments import corrected, joined, with_joined_segments, without_segment
from webui.recordings.models import Recording
from webui.recordings.reading import search
from webui.recordings.reading.derived import summary_is_outdated, summary_of
from webui.recordings.reading.transcripts import check_version, segments_with, transcript_to_change
from webui.recordings.transcribing import expected_words
from webui.transactions import serialized

MAX_TEXT_LENGTH = 5000  # characters per passage

Recited = Callable[[dict[str, Any]], dict[str, Any]]  # updates a summary's citations to the current segments


class Correction(NamedTuple):
    """The result of a correction: the segment (None if removed) and the transcript's version.

    ``places`` is the number of other segments with the words ``old``, which may have to become ``new`` too.
    """

    segment: Segment | None
    version: int
    old: str = ""
    new: str = ""
    places: int = 0


def update_segment(
    *, recording: Recording, number: int, text: str, version: int | None = None, start_s: str = ""
) -> Correction:
    """Correct the text of a segment, which begins at ``start_s`` as on the page; an empty text removes the segment.

    ``version`` is the one that the user saw, or None for any. Raises Changed if the transcript has since changed, and
    HarkError if the segment is missing or the text too long.
    """
    text = " ".join(search.plain(text).split())
    if len(text) > MAX_TEXT_LENGTH:
        raise HarkError(
            _("The text is too long."), _("A passage can have %(most)d characters.") % {"most": MAX_TEXT_LENGTH},
            _("Enter only the words spoken in it."),
        )  # fmt: skip
    with serialized():
        recording, transcript = transcript_to_change(recording)
        segments = segments_with(transcript, number, start_s)
        before = segments[number]
        advice = _("Your text is still in its field: compare it with the new text, then save again.")
        check_version(recording, version, advice, before.text)
        changed = corrected(before, text) if text else None
        segments[number : number + 1] = [changed] if changed is not None else []
        recited = None if changed is not None else partial(without_segment, number=number)
        save(recording, replace(transcript, segments=tuple(segments)), recited)
    language = before.language or recording.language
    words, old, new = vocabulary.learned(before.text, text, language)
    expected_words.learn(recording, words, language)
    others = [one.text for place, one in enumerate(segments) if old and place != number]
    places = sum(vocabulary.replace_word(other, old, new) != other for other in others)
    return Correction(changed, recording.version, old, new, places)


def replace_words(*, recording: Recording, old: str, new: str, besides: int | None, version: int | None = None) -> int:
    """Replace words in all segments as one change, except where the text would be too long.

    Returns the number of changed segments.

    Args:
      besides: the number of a segment to skip.
      version: the one that the user saw; None for any.

    Raises Changed if the transcript has since changed, and HarkError if words are missing.
    """
    old, new = (" ".join(search.plain(words).split()) for words in (old, new))
    if not (old and new):
        raise HarkError(
            _("The words were not replaced."),
            _("Enter both the recognized word and the correct one."),
            _("Correct the passages one by one."),
        )
    with serialized():
        recording, transcript = transcript_to_change(recording)
        check_version(recording, version, _("Reload the page, then correct the word in one passage again."))
        segments, changed = [], 0
        for number, segment in enumerate(transcript.segments):
            text = segment.text if number == besides else vocabulary.replace_word(segment.text, old, new)
            if text != segment.text and len(text) <= MAX_TEXT_LENGTH:
                segment, changed = corrected(segment, text), changed + 1
            segments.append(segment)
        if changed:
            save(recording, replace(transcript, segments=tuple(segments)))
    return changed


def join_with_next(*, recording: Recording, number: int, start_s: str = "") -> None:
    """Join a passage, which begins at ``start_s`` as on the page, with its speaker's next one.

    Raises HarkError if that has a different speaker, or does not exist.
    """
    with serialized():
        recording, transcript = transcript_to_change(recording)
        segments = segments_with(transcript, number, start_s)
        if number + 1 == len(segments) or segments[number + 1].speaker != segments[number].speaker:
            raise HarkError(
                _("The passages cannot be joined."),
                _("The next passage has a different speaker, or there is none."),
                _("Assign both to one speaker first."),
            )
        segments[number : number + 2] = [joined(segments[number], segments[number + 1])]
        save(recording, replace(transcript, segments=tuple(segments)), partial(with_joined_segments, number=number))


def undo(*, recording: Recording, version: int | None = None) -> None:
    """Undo the last change of the transcript (words, speakers, names). Words learned from it are still expected.

    The summary remains if its citations still fit, unless only the one from before the change summarizes the restored
    words. Otherwise the summary from before the change returns, if there was one.

    ``version`` is the one that the user saw, or None for any. Raises Changed if the transcript has since changed, and
    HarkError if there is nothing to undo or the earlier files are damaged.
    """
    with serialized():
        recording, current = transcript_to_change(recording)
        check_version(recording, version, _("Reload the page and check the last change."))
        before = history.newest(recording.path)
        if before is None:
            raise HarkError(
                _("There is nothing to undo."),
                _("The transcript was not changed, or its changes were undone."),
                _("Reload the page."),
            )
        transcript, summary = history.read(before)
        recording.speakers = len({one.speaker for one in transcript.segments} - {""})
        newer = summary_of(recording)
        if current.spans == transcript.spans and (_fits(newer, transcript) or not _fits(summary, transcript)):
            _write(recording, transcript, None)
        else:
            _write(recording, transcript, summary, remove_summary=summary is None)
        history.forget(before)


def _fits(summary: dict[str, Any] | None, transcript: Transcript) -> bool:
    return summary is not None and not summary_is_outdated(summary, transcript)


def save(recording: Recording, transcript: Transcript, recited: Recited | None = None) -> None:
    """Write a changed transcript, and its summary as updated by ``recited``; on failure, write nothing."""
    summary = summary_of(recording) if recited is not None else None
    if recited is not None and summary is not None:
        summary = recited(summary)
    with storing("saving the transcript"):
        before = history.remember(recording.path, recording.version)
    try:
        _write(recording, transcript, summary)
    except BaseException:
        history.forget(before)
        raise


def _write(
    recording: Recording, transcript: Transcript, summary: Mapping[str, Any] | None, remove_summary: bool = False
) -> None:
    """Write a transcript (and summary) to files, search index and clip library. On failure, change none of them."""
    with _undone_on_failure(recording.path, TRANSCRIPT, TEXT, SUMMARY):
        with storing("saving the transcript"):
            save_transcript(transcript, recording.path / TRANSCRIPT)
            with atomic_path(recording.path / TEXT) as temporary:
                temporary.write_bytes(write(transcript, "txt", recording.name))
            if summary is not None:
                with atomic_path(recording.path / SUMMARY) as temporary:
                    temporary.write_text(json.dumps(summary, ensure_ascii=False), encoding="utf-8")
            elif remove_summary:
                (recording.path / SUMMARY).unlink(missing_ok=True)
        recording.version += 1
        recording.words = sum(len(segment.text.split()) for segment in transcript.segments)
        recording.save(update_fields=["version", "speakers", "words"])
        search.index(recording, transcript)
        if recording.minable:
            bring_up_to_date(user_data(recording.user), str(recording.pk), recording.path, transcript)


@contextmanager
def _undone_on_failure(folder: Path, *names: str) -> Iterator[None]:
    """Restore these files if the block fails, as the transaction does for rows. Hard links make the copies free."""
    copies = [(folder / name, folder / f".{name}.before") for name in names if (folder / name).is_file()]
    for path, before in copies:
        before.unlink(missing_ok=True)
        before.hardlink_to(path)
    try:
        yield
    except BaseException:
        for path, before in copies:
            before.replace(path)
        raise
    finally:
        for _path, before in copies:
            before.unlink(missing_ok=True)
