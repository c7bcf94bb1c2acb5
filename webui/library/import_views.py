"""Import of a corpus: an allowed folder of the server (the owner only) or an uploaded archive."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from core.data_folder import storing
from core.errors import HarkError
from webui.accounts.models import User
from webui.accounts.signed_in import signed_in
from webui.accounts.storage import user_data
from webui.jobs import services as jobs
from webui.jobs.models import Job
from webui.jobs.quota import take_room
from webui.library.services import has_library
from webui.transactions import serialized
from webui.upload_limits import MAX_FILE_BYTES

IMPORTS = "uploads/imports"  # below the user's data: a folder per import, removed after a successful job
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2")
FORGOTTEN_AFTER_S = 24 * 3600.0  # seconds; older archives of jobs that were interrupted and not retried are deleted
LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")


@require_GET
def start(request: HttpRequest) -> HttpResponse:
    """Show the page with possible and recent imports."""
    user = signed_in(request)
    context = {
        "folders": [str(folder) for folder in settings.IMPORT_FOLDERS] if user.is_owner else [],
        "largest": MAX_FILE_BYTES // 1_000_000,
        "suffixes": ",".join(SUFFIXES),
        "imports": Job.objects.owned_by(user).filter(kind="import")[:10],
        "has_library": has_library(user),
    }
    return render(request, "library/import.html", context)


@require_POST
def folder(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    if not user.is_owner:
        raise PermissionDenied
    path = allowed_folder(request.POST.get("folder", ""), settings.IMPORT_FOLDERS)
    job = jobs.submit(user=user, kind="import", title=path.name, spec={"folder": str(path), **_options_of(request)})
    return redirect("jobs:detail", job.id)


@require_POST
def align(request: HttpRequest) -> HttpResponse:
    """Align all recordings of the library now instead of at the first search for a phrase."""
    job = jobs.submit(user=signed_in(request), kind="align", title=_("Library"), spec={})
    return redirect("jobs:detail", job.id)


@require_POST
def upload(request: HttpRequest) -> HttpResponse:
    user = signed_in(request)
    sent = request.FILES.get("archive")
    if sent is None or not sent.size:
        why = _("The form has no file, or an empty one.")
        raise HarkError(_("No archive was uploaded."), why, _("Choose a file."))
    name = archive_name(sent.name or "")
    if sent.size > MAX_FILE_BYTES:
        raise HarkError(
            _("The archive is too large for an upload."),
            _("It is %(mb)d MB; the limit is %(most)d MB.")
            % {"mb": round(sent.size / 1e6), "most": round(MAX_FILE_BYTES / 1e6)},
            _("Import it from a folder of the server, or split it."),
        )
    job = import_archive(user=user, sent=sent, name=name, options=_options_of(request))
    return redirect("jobs:detail", job.id)


def import_archive(*, user: User, sent: UploadedFile, name: str, options: dict[str, Any]) -> Job:
    """Store an upload and import it. Each upload has its own folder, so that imports do not share one.

    If the same archive with the same name and options is already waiting or running, that job is returned, as for a
    double click.
    """
    archive, digest = save_archive(user, sent, name)
    spec = {"archive": archive, "digest": digest, **options}
    job = None
    try:
        with serialized():
            imports = Job.objects.owned_by(user).filter(kind="import", title=name, state__in=Job.GOING)
            imports = imports.exclude(state=Job.State.CANCELLING)
            job = next((one for one in imports if {**one.spec, "archive": archive} == spec), None) or jobs.submit(
                user=user, kind="import", title=name, spec=spec
            )
    finally:
        if job is None or job.spec["archive"] != archive:
            shutil.rmtree((user_data(user) / archive).parent, ignore_errors=True)
    return job


def _options_of(request: HttpRequest) -> dict[str, Any]:
    language = request.POST.get("language", "").strip().lower() or "en"
    if not LANGUAGE.fullmatch(language):
        why = _("A language code looks like en, de or pt-br.")
        raise HarkError(
            _("This language code is invalid."),
            why,
            _("Enter the code of the language, or leave the field empty for English."),
        )
    return {"language": language, "licence": " ".join(request.POST.get("licence", "").split())[:100]}


def allowed_folder(text: str, allowed: list[Path]) -> Path:
    """Return a folder below one of the allowed ones, links resolved. Raises HarkError if it is not below one.

    A missing folder and a forbidden one cause the same error.
    """
    try:
        path = Path(text.strip()).resolve()
        inside = text.strip().startswith("/") and any(path.is_relative_to(root.resolve()) for root in allowed)
        if inside and path.is_dir():
            return path
    except (OSError, ValueError, RuntimeError):  # not a path, or a loop of links
        pass
    if allowed:
        why = _("It does not exist, or is not inside a folder that HARK_IMPORT_FOLDERS allows (%(folders)s).")
        why %= {"folders": ", ".join(str(root) for root in allowed)}
    else:
        why = _("It does not exist, or is not inside an allowed folder: HARK_IMPORT_FOLDERS is not set.")
    raise HarkError(
        _("That folder cannot be imported."),
        why,
        _("Start Hark with HARK_IMPORT_FOLDERS=/the/folder (separate several with colons), or upload an archive."),
    )


def archive_name(sent: str) -> str:
    """Return a safe file name from the one that a browser sent. Raises HarkError if its suffix is unknown."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", sent.replace("\\", "/").rsplit("/", 1)[-1])[-80:].lstrip(".-")
    if not plain.lower().endswith(SUFFIXES) or plain.startswith("."):
        raise HarkError(
            _("Hark cannot unpack this kind of archive."),
            _("It unpacks %(endings)s.") % {"endings": ", ".join(SUFFIXES)},
            _("Pack it as one of these."),
        )
    return plain


def save_archive(user: User, sent: UploadedFile, name: str) -> tuple[str, str]:
    """Write an upload into a new folder; return its path relative to the user's data, and its digest."""
    take_room(user, sent.size or 0)
    data = user_data(user)
    uploads = data / IMPORTS
    with storing("saving the upload"):
        uploads.mkdir(parents=True, exist_ok=True)
        _forget_old(user, uploads)
        digest = hashlib.sha256()
        place = Path(tempfile.mkdtemp(dir=uploads))
        try:
            with (place / name).open("wb") as file:
                for chunk in sent.chunks():
                    digest.update(chunk)
                    file.write(chunk)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
    return f"{IMPORTS}/{place.name}/{name}", digest.hexdigest()


def forget_upload(job: Job, **kwargs: Any) -> None:
    """Remove the upload of an import that has ended and will not be retried."""
    archive = job.spec.get("archive") if job.kind == "import" else None
    if archive and job.state in (Job.State.DONE, Job.State.CANCELLED):
        place = (user_data(job.user) / archive).parent
        transaction.on_commit(partial(shutil.rmtree, place, ignore_errors=True))


def _forget_old(user: User, uploads: Path) -> None:
    """Remove the archives of imports that were interrupted or failed over a day ago."""
    specs = Job.objects.owned_by(user).filter(kind="import", state__in=Job.GOING).values_list("spec", flat=True)
    needed = {str(spec["archive"]).split("/")[-2] for spec in specs if spec.get("archive")}
    for place in uploads.iterdir():
        try:
            written = place.stat().st_mtime
        except FileNotFoundError:
            continue  # another upload of the same archive has just removed it
        if place.name not in needed and time.time() - written > FORGOTTEN_AFTER_S:
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink(missing_ok=True)
