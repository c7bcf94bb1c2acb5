"""Files for devices: a URL that requires no account, and control of access to it."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.cache import get_conditional_response
from django.utils.http import http_date, quote_etag
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from core.errors import HarkError
from webui.accounts.signed_in import signed_in
from webui.organizations.access import owned
from webui.trainer import services, version_files
from webui.trainer.models import Version

CONTENT_TYPES = {".json": "application/json", ".tflite": "application/octet-stream"}


@login_not_required
@require_safe
def device_file(
    request: HttpRequest, detector_id: int, number: int, key: str, device: str, name: str
) -> HttpResponseBase:
    """Serve a manifest or a model, but no other file of the bundle, to a device that has the URL.

    Every request is revalidated, so that a revoked URL stops working immediately.
    """
    version = services.served_version(detector_id=detector_id, number=number, key=key)
    file = version_files.device_file(version, f"{device}/{name}")
    response = HttpResponse(file.content, content_type=CONTENT_TYPES[file.suffix])
    response["ETag"] = quote_etag(file.digest)
    response["Last-Modified"] = http_date(file.modified)
    public = version.served == Version.Served.PUBLIC
    response["Cache-Control"] = f"{'public' if public else 'private'}, no-cache"
    response["X-Robots-Tag"] = "noindex"
    answer = get_conditional_response(request, etag=response["ETag"], last_modified=file.modified, response=response)
    assert answer is not None
    return answer


@require_POST
def address(request: HttpRequest, detector_id: int, number: int) -> HttpResponse:
    """Set who may fetch the files for devices (``served``), or replace the secret URL (``renew``)."""
    version = services.version_of(signed_in(request), detector_id, number, owned)
    if "renew" in request.POST:
        services.renew_link(version=version)
        messages.warning(request, _("The secret address has changed: copy the new one to your devices."))
    else:
        before = version.served
        try:
            services.serve(version=version, to=Version.Served(request.POST.get("served", "")))
        except ValueError as error:
            raise HarkError(
                _("That choice is not available."), _("The form was altered."), _("Reload the page, then choose again.")
            ) from error
        if before == Version.Served.NOBODY and version.served == Version.Served.LINK:
            messages.warning(request, _("The secret address has changed: copy the new one to your devices."))
    return redirect(reverse("trainer:version", args=[detector_id, number]) + "#where")
