"""Operations on a user's own clip library."""

from __future__ import annotations

import math
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from django.http import FileResponse, Http404
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from core.audio_file import SAMPLE_RATE
from core.errors import HarkError
from db.alignments import EMISSIONS_FOLDER
from db.db_api import Library, library_exists
from db.records import ORIGINS, Clip, LibrarySearch, NewClip, real_speaker
from phrase_augmentation.normalize import normalize
from pipeline.corpora.importing import MIN_DURATION_S
from pipeline.corpora.mining import ENGINE as MINED
from pipeline.corpora.mining import faded
from pipeline.recordings.files.media import peaks
from webui.accounts.audit import Action, record
from webui.accounts.models import User
from webui.accounts.storage import bytes_below, user_data
from webui.http.parameters import MAX_INTEGER

PAGE = 50  # clips per page
MAX_COUNTED = 10_000  # matches; beyond these, a page shows "more than"
MAX_CLIPS_A_FORM = 500  # clips per form
PEAKS = 600  # peaks of a displayed waveform
STATES = {"": "ready", "rejected": "rejected", "any": ""}  # names on the page, and in the library
MAX_TEXT_LENGTH = 2000  # characters of a transcript
FOLDERS = ("clips", EMISSIONS_FOLDER, "models", "jobs")


def library_of(user: User) -> Library:
    return Library(user_data(user))


def has_library(user: User) -> bool:
    """Return whether the library exists, without creating it."""
    return library_exists(user_data(user))


@contextmanager
def clip_of(user: User, clip_id: int) -> Iterator[tuple[Library, Clip]]:
    """Open the user's library with one of its clips. Raises Http404 if it has no such clip."""
    if clip_id > MAX_INTEGER or not has_library(user):
        raise Http404
    with library_of(user) as library:
        clips = library.clips([clip_id])
        if not clips:
            raise Http404
        yield library, clips[0]


def audio_response(user: User, clip_id: int) -> FileResponse:
    """Return the audio of a clip as stored, FLAC or WAV. Raises Http404 if it is missing."""
    with clip_of(user, clip_id) as (library, clip):
        path = library.file(clip)
    if not path.is_file():
        raise Http404
    kind = "audio/flac" if path.suffix == ".flac" else "audio/wav"
    return FileResponse(path.open("rb"), content_type=kind, filename=f"clip-{clip_id}{path.suffix}")


def filters_of(query: Mapping[str, str]) -> LibrarySearch:
    """Return the filters of the library page's form, without invalid values."""
    origin = query.get("origin", "")
    language = query.get("language", "")[:20]
    words = query.get("q", "")[:300]
    return LibrarySearch(
        phrase=normalize(words, language or "en") or words.strip(),
        engine=query.get("engine", "")[:60],
        voice=query.get("voice", "")[:100],
        language=language,
        origin=origin if origin in ORIGINS else "",
        state=STATES.get(query.get("state", ""), "ready"),
    )


@dataclass(frozen=True)
class Page:
    """A page of found clips, newest first; ``newer`` and ``older`` are the ids from which the next pages continue."""

    clips: list[Clip]
    newer: int | None
    older: int | None


def page(library: Library, filters: LibrarySearch, before: int | None = None, after: int | None = None) -> Page:
    """Return the page before an id, or after one. It is as fast at the end of the library as at its beginning."""
    clips = library.page(filters, PAGE + 1, before_id=before, after_id=None if before is not None else after)
    more = len(clips) > PAGE
    if after is not None and before is None:
        clips = clips[-PAGE:]
        older_left = bool(clips)  # the user came from that page
        return Page(clips, clips[0].id if more else None, clips[-1].id if older_left else None)
    clips = clips[:PAGE]
    newer = clips[0].id if clips and before is not None else None
    return Page(clips, newer, clips[-1].id if more else None)


def space(user: User) -> dict[str, Any]:
    """Return the bytes in each folder, and the free space on the disk."""
    data = user_data(user)
    used = {name: bytes_below(data / name) for name in FOLDERS}
    try:
        free = shutil.disk_usage(data).free
    except OSError:
        free = 0
    return {"used": used, "total": sum(used.values()), "free": free}


def outline(library: Library, clip: Clip) -> dict[str, Any]:
    """Return the length [s] of a clip, and the peaks (0 to 1) of its waveform."""
    return {"seconds": round(clip.duration_s, 3), "peaks": peaks(library.read_audio(clip), PEAKS)}


def relabel(library: Library, clip: Clip, text: str) -> None:
    """Change a clip's transcript, and delete clips mined with the old one.

    Raises HarkError if the new one has no words.
    """
    text = " ".join(text.split())[:MAX_TEXT_LENGTH]
    normalized = normalize(text, clip.language)
    if not normalized:
        raise HarkError(
            _("The transcript was not changed."),
            _("The new one contains no words."),
            _("Enter the spoken words, or exclude the clip."),
        )
    if (text, normalized) == (clip.text_original, clip.text_normalized) and clip.text_known:
        return
    library.set_texts({clip.id: (text, normalized)})
    if normalized != clip.text_normalized:
        library.delete_clips([cut.id for cut in library.cuts_of([clip.id]) if cut.engine == MINED])


def trim(library: Library, clip: Clip, *, start_s: float, end_s: float, text: str, put_aside: bool) -> int:
    """Store a part of a clip as a new clip; return its id, which is the same if repeated.

    Raises HarkError if the part is invalid.
    """
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        raise _no_part(_("Start and end must be numbers of seconds."))
    start_s, end_s = max(0.0, round(start_s, 3)), min(round(end_s, 3), clip.duration_s)
    if end_s - start_s < MIN_DURATION_S:
        raise _no_part(_("A clip must last at least %(s)s s.") % {"s": number_format(MIN_DURATION_S)})
    if start_s == 0.0 and end_s >= round(clip.duration_s, 3) - 0.001:
        raise _no_part(_("Start and end are those of the whole clip."))
    audio = library.read_audio(clip)[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
    text = " ".join(text.split())[:MAX_TEXT_LENGTH] or clip.text_original
    normalized = normalize(text, clip.language)
    settings = dict(clip.settings)
    parent, offset_s = clip.id, 0.0
    if clip.engine == MINED and clip.parent_id is not None:
        # A part of a mined clip belongs to the same recording; the phrase's position in it changes.
        parent, offset_s = clip.parent_id, clip.start_s or 0.0
        length = end_s - start_s
        for name in ("phrase_start_s", "phrase_end_s"):
            settings[name] = round(min(max(0.0, settings.get(name, 0.0) - start_s), length), 3)
    else:
        settings["trimmed"] = True
    milliseconds = f"{round(1000 * start_s)}-{round(1000 * end_s)}"
    (trimmed,) = library.add_clips(
        [
            NewClip(
                audio=faded(audio), text=text, text_normalized=normalized, text_known=bool(normalized),
                language=clip.language, engine=clip.engine, model=clip.model, voice=clip.voice,
                speaker=real_speaker(clip) if clip.engine == MINED else clip.speaker, licence=clip.licence,
                settings=settings, parent_id=parent, start_s=round(offset_s + start_s, 3),
                end_s=round(offset_s + end_s, 3), request_id=f"trimmed:{clip.sha256[:16]}:{clip.id}:{milliseconds}",
                # Named like mined clips of recordings: the same voice, and not a name from an import.
                source=None if clip.source is None else f"{clip.source}@{milliseconds}",
            )
        ]
    )  # fmt: skip
    if put_aside:
        library.set_state([clip.id], "rejected")
    return trimmed


def _no_part(why: str) -> HarkError:
    return HarkError(_("This part of the clip is invalid."), why, _("Choose another start or end."))


def change(library: Library, ids: Collection[int], action: str) -> int:
    """Apply ``reject``, ``restore`` or ``delete`` to clips; return how many existed."""
    existing = [clip.id for clip in library.clips(ids)]
    if action == "delete":
        library.delete_clips(existing)
        if existing:
            record(Action.CLIPS_DELETED, what=str(len(existing)))
    else:
        library.set_state(existing, {"reject": "rejected", "restore": "ready"}[action])
    return len(existing)


def anywhere(filters: LibrarySearch) -> bool:
    """Return whether the search has no filter except the state."""
    return filters == replace(LibrarySearch(), state=filters.state)
