"""The clip library: figures, search, audio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from django.http import FileResponse, Http404, HttpRequest
from ninja import Query, Router, Status

from webui.api.authentication import caller, needs
from webui.api.documentation import file_of
from webui.api.paging import MOST, USUAL
from webui.api.schemas import ClipChangeIn, ClipOut, ClipsOut, LibraryOut
from webui.jobs.services import user_data

if TYPE_CHECKING:
    from db.db_api import Library
    from db.records import Clip, LibraryStats

router = Router(tags=["Clip library"])


@contextmanager
def _library(request: HttpRequest) -> Iterator[Library | None]:
    """The caller's library; None where nothing has been put into one yet."""
    from db.db_api import Library, library_exists

    data = user_data(caller(request).user)
    if not library_exists(data):
        yield None
        return
    with Library(data) as library:
        yield library


@router.get("/library", response=LibraryOut, summary="What the library holds", **needs("read"))
def figures(request: HttpRequest) -> LibraryStats:
    """Counts and hours."""
    from db.records import LibraryStats

    with _library(request) as library:
        return library.stats() if library else LibraryStats(0, 0.0, 0, 0, 0, 0, 0, {}, {}, {}, {})


@router.get("/clips", response=ClipsOut, summary="Search clips", **needs("read"))
def clips(
    request: HttpRequest,
    phrase: str = Query("", max_length=300, description="Whole words of what is said.", examples=["compass"]),
    language: str = Query("", max_length=20, examples=["en"]),
    engine: str = Query("", max_length=40, examples=["espeak"]),
    voice: str = Query("", max_length=100, description="A part of the voice's or speaker's name.", examples=["en-us"]),
    origin: Literal["", "generated", "imported", "recorded", "cut"] = "",
    state: Literal["", "ready", "rejected"] = "",
    after: int = Query(0, ge=0, le=2**62, description="The last id that is known already.", examples=[0]),
    limit: int = Query(USUAL, ge=1, le=MOST, examples=[USUAL]),
) -> ClipsOut:
    """In order of their ids; ``next`` leads on."""
    from db.records import Filters

    filters = Filters(phrase=phrase, engine=engine, voice=voice, language=language, origin=origin, state=state)
    with _library(request) as library:
        found = library.page(filters, limit + 1, after_id=after)[::-1] if library else []
    following = None
    if len(found) > limit:
        query = request.GET.copy()
        query["after"] = str(found[limit - 1].id)
        following = f"{request.path}?{query.urlencode()}"
    return ClipsOut(items=[ClipOut.from_orm(clip) for clip in found[:limit]], next=following)


@router.get("/clips/{int:clip_id}", response=ClipOut, summary="A clip", **needs("read"))
def clip(request: HttpRequest, clip_id: int) -> Clip:
    """What is said in it, and by whom."""
    with _library(request) as library:
        found = library.clips([clip_id]) if library else []
    if not found:
        raise Http404
    return found[0]


@router.patch("/clips/{int:clip_id}", response=ClipOut, summary="Mend a clip", **needs("train"))
def change(request: HttpRequest, clip_id: int, wish: ClipChangeIn) -> Clip:
    """Gives it other words (what was mined out of it by the old ones goes), or puts it aside: a rejected clip is kept,
    but not used any more."""
    from webui.library import services

    with _library(request) as library:
        found = library.clips([clip_id]) if library else []
        if not library or not found:
            raise Http404
        if wish.text is not None:
            services.relabel(library, found[0], wish.text)
        if wish.state is not None:
            library.set_state([clip_id], wish.state)
        return library.clips([clip_id])[0]


@router.delete("/clips/{int:clip_id}", response={204: None}, summary="Delete a clip", **needs("train"))
def delete(request: HttpRequest, clip_id: int) -> Status:
    """With its audio, if no other clip has the same."""
    with _library(request) as library:
        if not library or not library.clips([clip_id]):
            raise Http404
        library.delete_clips([clip_id])
    return Status(204, None)


@router.get(
    "/clips/{int:clip_id}/audio",
    response=None,
    summary="Hear a clip",
    **needs("read", **file_of("audio/flac")),
)
def audio(request: HttpRequest, clip_id: int) -> FileResponse:
    """As a FLAC (or WAV) file."""
    with _library(request) as library:
        found = library.clips([clip_id]) if library else []
        if not library or not found or not library.file(found[0]).is_file():
            raise Http404
        path = library.file(found[0])
    kind = "audio/flac" if path.suffix == ".flac" else "audio/wav"
    return FileResponse(path.open("rb"), content_type=kind, filename=f"clip-{clip_id}{path.suffix}")
