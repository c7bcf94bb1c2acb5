"""Uploads of recordings: small files in a form, large ones in chunks."""

from __future__ import annotations

import contextlib
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from core.errors import HarkError
from webui.accounts.signed_in import signed_in
from webui.http.parameters import json_object, uuid_of, whole_number
from webui.recordings.models import Recording, UploadInProgress
from webui.recordings.reading import transcripts
from webui.recordings.transcribing import intake
from webui.recordings.transcribing.form import options_of
from webui.recordings.uploading import chunks
from webui.recordings.uploading.whole_files import name_of, one_by_one, saved_upload
from webui.translation import explained
from webui.upload_limits import MAX_CHUNK_BYTES

MAX_FILES = 100  # files per form
MAX_JSON_BYTES = 100_000  # maximum bytes of a JSON body


@require_POST
def form(request: HttpRequest) -> HttpResponse:
    """Upload the files of a form: ``audio`` (several), ``together`` (as one recording), and the options."""
    user = signed_in(request)
    sent = request.FILES.getlist("audio")
    if not sent or len(sent) > MAX_FILES:
        raise HarkError(
            _("No recording was uploaded."),
            _("The form has no file, or more than %(most)d.") % {"most": MAX_FILES},
            _("Choose at least one file."),
        )
    options = options_of(request)
    if "together" in request.POST and len(sent) > 1:
        with contextlib.ExitStack() as stack:
            first, *more = [stack.enter_context(saved_upload(user, file)) for file in sent]
            name = name_of(sent[0])
            rows = [intake.create_recording(user=user, name=name, source=first, options=options, more=more)]
    else:

        def take(file: UploadedFile) -> Recording:
            with saved_upload(user, file) as path:
                return intake.create_recording(user=user, name=name_of(file), source=path, options=options)

        rows, refused = one_by_one(sent, take)
        for (what, why), alike in groupby(refused, itemgetter("what", "why")):
            names = ", ".join(one["filename"] for one in alike)
            messages.error(request, f"{what} {why} " + _("Rejected: %(names)s.") % {"names": names})
    if len(rows) == len(sent) == 1:
        return redirect("recordings:recording", rows[0].pk)
    messages.success(
        request,
        ngettext("%(n)d recording was accepted.", "%(n)d recordings were accepted.", len(rows)) % {"n": len(rows)},
    )
    return redirect("recordings:index")


@require_POST
def begin(request: HttpRequest) -> JsonResponse:
    """Begin a chunked upload of ``{"name", "size"}``; return ``{"id", "offset", "address", "chunk"}``."""
    sent = _json(request)
    size = sent.get("size")
    if not isinstance(size, int) or isinstance(size, bool):
        raise HarkError(_("The request could not be read."), _("The upload has no size."), _("Send its size in bytes."))
    upload = chunks.begin(user=signed_in(request), name=str(sent.get("name", "")), size=size)
    return JsonResponse(_shown(upload), status=201)


@require_http_methods(["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def chunk(request: HttpRequest, upload_id: UUID) -> HttpResponse:
    """Return the progress of an upload; PUT and PATCH with ``?offset=N`` append the body of the request."""
    upload = _upload(request, upload_id)
    if request.method == "DELETE":
        chunks.discard(upload=upload)
        return HttpResponse(status=204)
    if request.method in ("PUT", "PATCH"):
        at = whole_number(request.GET.get("offset"))
        if at is None:
            raise HarkError(
                _("The request could not be read."), _("The chunk has no offset."), _("Send ?offset=BYTES.")
            )
        try:
            chunks.append(upload=upload, at=at, body=request)
        except chunks.WrongPlace as error:
            return JsonResponse({**explained(error), "offset": error.offset}, status=409)
    return JsonResponse(_shown(upload))


@require_POST
def done(request: HttpRequest, upload_id: UUID) -> JsonResponse:
    """Finish an upload; return ``{"recording", "address"}``.

    The body is ``{"options", "with": [ids of further uploads of the same recording]}``.
    """
    finished_recording = transcripts.recordings_of(signed_in(request)).filter(pk=upload_id).first()
    if finished_recording is not None:  # sent again, because the first response was lost
        return _recording_json(finished_recording)
    upload = _upload(request, upload_id)
    sent = _json(request)
    others = sent.get("with") or []
    is_valid = isinstance(others, list) and len(others) <= MAX_FILES and isinstance(sent.get("options") or {}, dict)
    more = [_upload(request, uuid_of(other)) for other in others] if is_valid else []
    if not is_valid or len({upload, *more}) <= len(more):  # the same upload twice
        raise HarkError(
            _("The request could not be read."), _("It has the wrong format for this URL."), _("Reload the page.")
        )
    recording = chunks.finish(user=signed_in(request), upload=upload, options=sent.get("options") or {}, more=more)
    return _recording_json(recording)


def _recording_json(recording: Recording) -> JsonResponse:
    address = reverse("recordings:recording", args=[recording.pk])
    return JsonResponse({"recording": str(recording.pk), "address": address}, status=201)


def _shown(upload: UploadInProgress) -> dict[str, Any]:
    return {
        "id": str(upload.pk), "name": upload.name, "size": upload.size, "offset": chunks.offset(upload),
        "address": reverse("recordings:upload", args=[upload.pk]), "chunk": MAX_CHUNK_BYTES,
    }  # fmt: skip


def _upload(request: HttpRequest, upload_id: UUID) -> UploadInProgress:
    mine = UploadInProgress.objects.owned_by(signed_in(request)).select_related("user")
    return get_object_or_404(mine, pk=upload_id)


def _json(request: HttpRequest) -> dict[str, Any]:
    """Parse the body as a JSON object. Raises HarkError if it is not one."""
    try:
        return json_object(request.read(MAX_JSON_BYTES) or b"{}")
    except ValueError as error:
        raise HarkError(
            _("The request could not be read."), _("The request is not a JSON object."), _("Reload the page.")
        ) from error
