"""The clip library: figures, search, audio."""

from __future__ import annotations

from typing import Literal

from django.http import FileResponse, HttpRequest
from ninja import Query, Router, Status

from db.records import Clip, LibrarySearch, LibraryStats
from webui.api.authentication import caller, needs
from webui.api.documentation import file_of
from webui.api.paging import MAX_LIMIT, USUAL
from webui.api.schemas import ClipChangeIn, ClipOut, ClipsOut, LibraryOut
from webui.library import services

router = Router(tags=["Clip library"])


@router.get("/library", response=LibraryOut, summary="Contents of the library", **needs("read"))
def figures(request: HttpRequest) -> LibraryStats:
    """Return the number of clips and their hours."""
    user = caller(request).user
    if not services.has_library(user):
        return LibraryStats(0, 0.0, 0, 0, 0, 0, 0, {}, {}, {}, {})
    with services.library_of(user) as library:
        return library.stats()


@router.get("/clips", response=ClipsOut, summary="Search clips", **needs("read"))
def clips(
    request: HttpRequest,
    phrase: str = Query("", max_length=300, description="Whole words of the transcript.", examples=["compass"]),
    language: str = Query("", max_length=20, examples=["en"]),
    engine: str = Query("", max_length=40, examples=["espeak"]),
    voice: str = Query("", max_length=100, description="A part of the voice's or speaker's name.", examples=["en-us"]),
    origin: Literal["", "generated", "imported", "recorded", "cut"] = "",
    state: Literal["", "ready", "rejected"] = "",
    after: int = Query(0, ge=0, le=2**62, description="The last id that you already have.", examples=[0]),
    limit: int = Query(USUAL, ge=1, le=MAX_LIMIT, examples=[USUAL]),
) -> ClipsOut:
    """List clips in the order of their ids; ``next`` is the URL of the next page."""
    user = caller(request).user
    if not services.has_library(user):
        return ClipsOut(items=[], next=None)
    filters = LibrarySearch(phrase=phrase, engine=engine, voice=voice, language=language, origin=origin, state=state)
    with services.library_of(user) as library:
        rows = library.page(filters, limit + 1, after_id=after)[::-1]
    following = None
    if len(rows) > limit:
        query = request.GET.copy()
        query["after"] = str(rows[limit - 1].id)
        following = f"{request.path}?{query.urlencode()}"
    return ClipsOut(items=[ClipOut.from_orm(clip) for clip in rows[:limit]], next=following)


@router.get("/clips/{int:clip_id}", response=ClipOut, summary="A clip", **needs("read"))
def clip(request: HttpRequest, clip_id: int) -> Clip:
    """Return the clip's text and speaker."""
    with services.clip_of(caller(request).user, clip_id) as (_library, clip):
        return clip


@router.patch("/clips/{int:clip_id}", response=ClipOut, summary="Correct a clip", **needs("train"))
def change(request: HttpRequest, clip_id: int, payload: ClipChangeIn) -> Clip:
    """Change the clip's text, or exclude it from training. A new text deletes segments mined with the old one."""
    with services.clip_of(caller(request).user, clip_id) as (library, clip):
        if payload.text is not None:
            services.relabel(library, clip, payload.text)
        if payload.state is not None:
            library.set_state([clip_id], payload.state)
        return library.clips([clip_id])[0]


@router.delete("/clips/{int:clip_id}", response={204: None}, summary="Delete a clip", **needs("train"))
def delete(request: HttpRequest, clip_id: int) -> Status:
    """Delete the clip, and its audio unless another clip has the same."""
    with services.clip_of(caller(request).user, clip_id) as (library, _clip):
        services.change(library, [clip_id], "delete")
    return Status(204, None)


@router.get(
    "/clips/{int:clip_id}/audio", response=None, summary="Play a clip", **needs("read", **file_of("audio/flac"))
)
def audio(request: HttpRequest, clip_id: int) -> FileResponse:
    """Return the clip's audio as a FLAC (or WAV) file."""
    return services.audio_response(caller(request).user, clip_id)
