"""Idempotent creation: a request that is sent again with the same Idempotency-Key does not create a second object."""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any

from django.db import IntegrityError
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Schema
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback

from core.errors import HarkError
from webui.accounts.models import User
from webui.api.authentication import caller
from webui.api.models import KeptAnswer
from webui.http.errors import StatusError
from webui.keys.sealing import seal, unseal
from webui.transactions import serialized

RETENTION = timedelta(hours=24)
GIVEN_UP_AFTER = timedelta(minutes=10)  # a request that has taken longer than this was killed
WAIT_S, LOOK_EVERY_S = 5.0, 0.1  # seconds that the second of two simultaneous requests waits for the first
MAX_KEY_LENGTH = 200
HEADER = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "maxLength": MAX_KEY_LENGTH},
    "description": "Any text, such as a UUID. A request repeated within a day runs once and gets the same response.",
    "example": "3f1b7c52-8e0e-4d53-9a39-5b8f1a1e6c11",
}


@dataclass(frozen=True)
class Made:
    """The object that an operation created, and its URL."""

    content: Schema
    location: str = ""


def creation(in_transaction: bool = True) -> Callable[..., Any]:
    """Decorate operations that return :class:`Made`. Errors are not stored, so a corrected request can be sent again.

    With ``in_transaction``, one transaction creates the object and stores the response. Slow operations must not use
    it, because it would block all other writes.
    """

    def decorate(view: Callable[..., Made]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            key = request.headers.get("Idempotency-Key")
            if key is None:
                return _answer(view(request, *args, **kwargs))
            mine = _claim(caller(request).user, _key_digest(key), _request_digest(request))
            if mine.status is not None:
                answer = _created(unseal(mine.sealed_answer, _purpose(mine)), mine.location)
                answer["Idempotent-Replayed"] = "true"
                return answer
            try:
                with serialized() if in_transaction else nullcontext():
                    answer = _answer(view(request, *args, **kwargs))
                    KeptAnswer.objects.filter(pk=mine.pk).update(
                        status=answer.status_code,
                        location=answer.get("Location", ""),
                        sealed_answer=seal(answer.content.decode(), _purpose(mine)),
                    )
            except BaseException:
                KeptAnswer.objects.filter(pk=mine.pk).delete()
                raise
            return answer

        # Otherwise Ninja would look up the names of its types in this module.
        answered.__signature__ = inspect.signature(view, eval_str=True)  # type: ignore[attr-defined]
        contribute_operation_callback(answered, _document)
        return answered

    return decorate


def _document(operation: Operation) -> None:
    extra = dict(operation.openapi_extra or {})
    operation.openapi_extra = {**extra, "parameters": [*extra.get("parameters", ()), HEADER]}


def _answer(result: Made) -> HttpResponse:
    return _created(result.content.model_dump_json(), result.location)


def _created(content: str, location: str) -> HttpResponse:
    response = HttpResponse(content, status=201, content_type="application/json")
    response["Cache-Control"] = "no-store"
    if location:
        response["Location"] = location
    return response


def _purpose(answer: KeptAnswer) -> str:
    return f"answer {answer.key_digest}"


def _key_digest(key: str) -> str:
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not key.isprintable():
        raise HarkError(
            _("The Idempotency-Key cannot be used."),
            _("It must have 1 to %(most)d printable characters.") % {"most": MAX_KEY_LENGTH},
            _("Send a UUID, for example."),
        )
    return hashlib.sha256(key.encode()).hexdigest()


def _request_digest(request: HttpRequest) -> str:
    digest = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode())
    if request.content_type == "multipart/form-data":  # not the body, because its boundaries differ each time
        for name, values in sorted(request.POST.lists()):
            digest.update(f"{name}={values!r}\n".encode())
        for name, files in sorted(request.FILES.lists()):
            for file in files:
                digest.update(f"{name}: {file.size}\n".encode())
                for chunk in file.chunks():
                    digest.update(chunk)
                file.seek(0)
    else:
        digest.update(request.body)
    return digest.hexdigest()


def _claim(user: User, key: str, request: str) -> KeptAnswer:
    """Return the row of this request: a new one if it must be processed, or else that of its earlier response."""
    until = time.monotonic() + WAIT_S
    while True:
        now = timezone.now()
        killed = Q(status=None, claimed_at__lt=now - GIVEN_UP_AFTER)
        KeptAnswer.objects.filter(killed | Q(created_at__lt=now - RETENTION)).delete()
        try:
            answer, is_new = KeptAnswer.objects.get_or_create(
                user=user, key_digest=key, defaults={"request_digest": request, "claimed_at": now}
            )
        except IntegrityError:  # the first request has just failed and removed its row
            continue
        if is_new:
            return answer
        if answer.request_digest != request:
            raise StatusError(
                409,
                _("This Idempotency-Key was used for another request."),
                _("A key identifies one request, and this request has a different URL or body."),
                _("Use another key."),
            )
        if answer.status is not None:
            return answer
        if time.monotonic() > until:
            raise StatusError(
                409,
                _("The same request is still being processed."),
                _("An earlier request with this Idempotency-Key has not been answered yet."),
                _("Send it again in a moment."),
                wait_s=2,
            )
        time.sleep(LOOK_EVERY_S)
