"""Detectors, their versions, reports and files; and detection in a recording."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from django.db.models import Count, Exists, Max, OuterRef, QuerySet
from django.http import FileResponse, Http404, HttpRequest
from django.shortcuts import get_object_or_404
from ninja import File, Form, Query, Router, Status, UploadedFile

from pipeline.training.reporting.report_types import Report
from webui.accounts.models import User
from webui.api.authentication import caller, needs
from webui.api.documentation import file_of
from webui.api.idempotency import Made, creation
from webui.api.paging import Page, Paging, page
from webui.api.routes.jobs import job_out
from webui.api.schemas import (
    ChangeOut,
    ComparisonOut,
    DetectorOut,
    FileOut,
    HeardOut,
    JobOut,
    MissRates,
    NoteIn,
    SampleOut,
    ThresholdOut,
    VersionOut,
    WakesIn,
)
from webui.http.slots import slot
from webui.http.uploads import on_disk
from webui.listening import services as listening
from webui.listening.models import WakeIntake
from webui.organizations.access import owned, to_change, visible
from webui.trainer import results, services, version_files
from webui.trainer.models import Detector, Version

router = Router(tags=["Detectors"])

RECORDING = File(..., description="WAV, FLAC, Ogg, MP3 and more; ten minutes at most.")
WAKE = File(..., description="0.3 to 5 seconds of audio around the detection.")
VERSION = "/detectors/{int:detector_id}/versions/{int:number}"


def _detectors(user: User) -> QuerySet[Detector]:
    seen = Detector.objects.visible_to(user).select_related("user", "organization")
    takes_wakes = Exists(WakeIntake.objects.filter(detector=OuterRef("pk")))
    return seen.annotate(count=Count("versions"), newest=Max("versions__number"), takes_wakes=takes_wakes)


def a_version(request: HttpRequest, detector_id: int, number: int, who: Callable[..., Version] = visible) -> Version:
    """Return a version to which the caller has the access that ``who`` checks. Raises Http404 if it is not visible."""
    return services.version_of(caller(request).user, detector_id, number, who)


def _version_out(version: Version, in_use: Version | None) -> VersionOut:
    return VersionOut(
        detector=version.detector_id,
        number=version.number,
        created_at=version.created_at,
        job=version.job_id,
        bundle=version.bundle,
        bundle_bytes=version_files.bundle_size(version),
        metrics=version.summary,
        in_use=version == in_use,
        note=version.note,
    )


@router.get("/detectors", response=Page[DetectorOut], summary="All detectors", **needs("read"))
def detectors(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    """List detectors, newest first."""
    return page(request, _detectors(caller(request).user).order_by("-created_at", "-id"), paging)


@router.get("/detectors/{int:detector_id}", response=DetectorOut, summary="A detector", **needs("read"))
def detector(request: HttpRequest, detector_id: int) -> Detector:
    """Return the detector's phrase and number of versions."""
    return get_object_or_404(_detectors(caller(request).user), id=detector_id)


@router.delete("/detectors/{int:detector_id}", response={204: None}, summary="Delete a detector", **needs("train"))
def delete(request: HttpRequest, detector_id: int) -> Status:
    """Delete the detector with all versions and files.

    Its clips stay in the library, and a running training job continues.
    """
    services.remove_detector(detector=services.detector_of(caller(request).user, detector_id, owned))
    return Status(204, None)


@router.get(
    "/detectors/{int:detector_id}/versions",
    response=Page[VersionOut],
    summary="Versions of a detector",
    **needs("read"),
)
def versions(request: HttpRequest, detector_id: int, paging: Query[Paging]) -> dict[str, Any]:
    """List the detector's versions with their figures, newest first."""
    seen = services.detector_of(caller(request).user, detector_id)
    rows = seen.versions.select_related("detector__user").order_by("-number")
    listing, in_use = page(request, rows, paging), seen.current
    return {**listing, "items": [_version_out(version, in_use) for version in listing["items"]]}


@router.get(
    "/detectors/{int:detector_id}/comparison", response=ComparisonOut, summary="Comparison of versions", **needs("read")
)
def comparison(request: HttpRequest, detector_id: int) -> ComparisonOut:
    """Return the last measurement of all versions on the same audio, on which none of them was trained."""
    versions = list(services.detector_of(caller(request).user, detector_id).versions.select_related("detector__user"))
    newest, outdated = services.comparison_of(versions)
    return ComparisonOut(outdated=outdated, comparison=None if newest is None else {**newest})


@router.post(
    "/detectors/{int:detector_id}/comparison", response={201: JobOut}, summary="Compare versions", **needs("train")
)
@creation()
def compare(request: HttpRequest, detector_id: int) -> Made:
    """Queue a job that measures all versions on the same audio and stores the comparison."""
    job = services.compare(detector=services.detector_of(caller(request).user, detector_id, to_change))
    return Made(job_out(job, caller(request).user), f"/api/v1/jobs/{job.id}")


@router.post(VERSION + "/retrain", response={201: JobOut}, summary="Retrain a version", **needs("train"))
@creation()
def retrain(request: HttpRequest, detector_id: int, number: int) -> Made:
    """Queue a job that makes the next version from this one and the clips marked, recorded and imported since."""
    job = services.retrain(version=a_version(request, detector_id, number, to_change))
    return Made(job_out(job, caller(request).user), f"/api/v1/jobs/{job.id}")


@router.get(VERSION, response=VersionOut, summary="A version", **needs("read"))
def version(request: HttpRequest, detector_id: int, number: int) -> VersionOut:
    """Return the version's figures, and the name and size of its bundle."""
    version = a_version(request, detector_id, number)
    return _version_out(version, version.detector.current)


@router.patch(VERSION, response=VersionOut, summary="Add a note to a version", **needs("train"))
def set_note(request: HttpRequest, detector_id: int, number: int, sent: NoteIn) -> VersionOut:
    """Store your note about the version."""
    version = a_version(request, detector_id, number, to_change)
    services.set_note(version=version, note=sent.note)
    return _version_out(version, version.detector.current)


@router.delete(VERSION, response={204: None}, summary="Delete a version", **needs("train"))
def delete_version(request: HttpRequest, detector_id: int, number: int) -> Status:
    """Delete the version and its files. Their URLs for devices stop working. The only version cannot be deleted."""
    services.remove_version(version=a_version(request, detector_id, number, owned))
    return Status(204, None)


@router.post(VERSION + "/use", response=VersionOut, summary="Use a version", **needs("train"))
def use(request: HttpRequest, detector_id: int, number: int) -> VersionOut:
    """Put the version into use. A newer one replaces it only if it is better on the same audio."""
    chosen = a_version(request, detector_id, number, to_change)
    services.use(version=chosen)
    return _version_out(chosen, chosen)


@router.get(VERSION + "/changes", response=list[ChangeOut], summary="What changed", **needs("read"))
def changes(
    request: HttpRequest,
    detector_id: int,
    number: int,
    since: int = Query(..., ge=1, le=2**31 - 1, description="The version to compare it with.", examples=[1]),
) -> list[dict[str, str]]:
    """List the differences in how two versions were made. The comparison has their figures on the same audio."""
    return results.changes(a_version(request, detector_id, since), a_version(request, detector_id, number))


@router.get(VERSION + "/report", response=dict[str, Any], summary="The full report", **needs("read"))
def report(request: HttpRequest, detector_id: int, number: int) -> Report:
    """Return report.json: how and on what the version was measured, and all results."""
    return a_version(request, detector_id, number).report()


@router.get(
    VERSION + "/thresholds", response=list[ThresholdOut], summary="Operating points of the version", **needs("read")
)
def thresholds(request: HttpRequest, detector_id: int, number: int) -> list[ThresholdOut]:
    """List the threshold and the misses at each rate of false alarms per day, lowest rate first."""
    report = a_version(request, detector_id, number).report()
    points = results.operating_points(report)
    shipped = results.shipped_with(report, points)
    rows = sorted(report["thresholds"], key=lambda row: row["fa_per_day"])
    return [
        ThresholdOut(
            fa_per_day=row["fa_per_day"],
            threshold=row["threshold"],
            extrapolated=bool(row["extrapolated"]),
            default=point is shipped,
            miss_rate=MissRates(**point.y),
            fa_per_hour=point.x,
            false_alarms=point.count,
        )
        for row, point in zip(rows, points)
    ]


@router.get(VERSION + "/files", response=list[FileOut], summary="Files of a version", **needs("read"))
def files(request: HttpRequest, detector_id: int, number: int) -> list[FileOut]:
    """List the files that can be downloaded in addition to the bundle."""
    version = a_version(request, detector_id, number)
    return [
        FileOut(
            name=row["name"],
            about=str(row["words"]),
            bytes=row["bytes"],
            href=f"/api/v1/detectors/{detector_id}/versions/{number}/files/{row['name']}",
        )
        for row in version_files.downloads(version)
    ]


@router.get(
    VERSION + "/files/{name}",
    response=None,
    summary="Download a file",
    **needs("read", **file_of("application/octet-stream")),
)
def file(request: HttpRequest, detector_id: int, number: int, name: str) -> FileResponse:
    """Download one of the version's files."""
    return version_files.file_response(a_version(request, detector_id, number), name, caller(request).user)


@router.get(
    VERSION + "/bundle", response=None, summary="Download the bundle", **needs("read", **file_of("application/zip"))
)
def bundle(
    request: HttpRequest,
    detector_id: int,
    number: int,
    fa_per_day: float | None = Query(
        None, gt=0, le=1e6, description="Another default rate for the main detector.", examples=[2.0]
    ),
) -> FileResponse:
    """Download the zip that runs wherever onnxruntime does; ``fa_per_day`` sets its default rate of false alarms."""
    return version_files.bundle_response(a_version(request, detector_id, number), fa_per_day)


@router.post(VERSION + "/detect", response=HeardOut, summary="Detect the phrase in a recording", **needs("audio"))
def detect(
    request: HttpRequest,
    detector_id: int,
    number: int,
    audio: UploadedFile = RECORDING,
    fa_per_day: float | None = Query(None, gt=0, le=1e6, examples=[2.0]),
    scores: bool = Query(False, description="Also every score, and the outline of the waveform.", examples=[False]),
) -> HeardOut:
    """Return where the phrase occurs in a recording. The recording is not stored."""
    seen = a_version(request, detector_id, number)
    with slot(caller(request).user), on_disk(audio) as path:
        result = listening.detect_in_file(seen, path, fa_per_day)
    if not scores:
        result["scores"] = result["peaks"] = None
    return HeardOut(**result)


@router.put(
    "/detectors/{int:detector_id}/wakes",
    response=DetectorOut,
    summary="Accept recordings from devices",
    **needs("train"),
)
def allow_wakes(request: HttpRequest, detector_id: int, sent: WakesIn) -> Detector:
    """Accept or refuse recordings from devices. Only the detector's user may do this. Earlier recordings remain."""
    listening.allow_wakes(detector=services.detector_of(caller(request).user, detector_id, owned), allowed=sent.allowed)
    return detector(request, detector_id)


@router.post(
    "/detectors/{int:detector_id}/wakes",
    response={201: SampleOut},
    summary="Send a recording from a device",
    **needs("wakes", "audio"),
)
@creation(in_transaction=False)
def add_wake(
    request: HttpRequest,
    detector_id: int,
    audio: UploadedFile = WAKE,
    kind: str = Form(..., pattern="^(wake|near_miss)$", examples=["wake"]),
    score: float = Form(..., ge=0, le=1, examples=[0.93]),
    device: str = Form("", max_length=60, description="The name that the device gives itself.", examples=["kitchen"]),
) -> Made:
    """Put a device's recording into the inbox, sorted by a recognizer. The detector's user must have allowed this."""
    in_use = services.detector_of(caller(request).user, detector_id, to_change).current
    if in_use is None:
        raise Http404
    with slot(caller(request).user), on_disk(audio) as path:
        sample = listening.save_wake(
            user=caller(request).user, version=in_use, path=path, kind=kind, score=score, device=device
        )
    return Made(SampleOut.from_orm(sample), f"/api/v1/inbox/{sample.pk}")


@router.post(VERSION + "/samples", response={201: SampleOut}, summary="Mark an error of the detector", **needs("audio"))
@creation(in_transaction=False)
def add_sample(
    request: HttpRequest,
    detector_id: int,
    number: int,
    audio: UploadedFile = RECORDING,
    verdict: str = Form(..., pattern="^(false_alarm|missed)$", examples=["false_alarm"]),
    start_s: float = Form(0.0, ge=0, examples=[0.0]),
    end_s: float | None = Form(None, ge=0, description="The end of the sample; none: the end of the recording."),
) -> Made:
    """Put 0.3 to 10 seconds of audio into the inbox. By sending the audio, you consent to its storage."""
    changed = a_version(request, detector_id, number, to_change)
    with slot(caller(request).user), on_disk(audio) as path:
        sample = listening.save_segment(
            user=caller(request).user,
            version=changed,
            path=path,
            verdict=verdict,
            start_s=start_s,
            end_s=math.inf if end_s is None else end_s,
        )
    return Made(SampleOut.from_orm(sample), f"/api/v1/inbox/{sample.pk}")
