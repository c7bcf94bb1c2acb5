"""Pages of a finished detector: report, threshold dial, downloads, use, comparison of versions."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core.errors import HarkError
from pipeline.training.configuration.devices import OWN_FORMAT
from pipeline.training.measuring.figures import Comparison
from pipeline.training.reporting.report_types import Report
from webui.accounts.signed_in import signed_in
from webui.accounts.storage import user_data
from webui.http.parameters import for_the_network
from webui.jobs.services import stages_of
from webui.organizations.access import owned, sharing_of, to_change
from webui.trainer import results, services, version_files
from webui.trainer.models import PUBLIC_KEY, Detector, Version, before_in_use, in_use_of
from webui.trainer.views import BUCKET_WORDS
from webui.translation import shown

REPORT = "report.html"


def _versions(detector: Detector) -> QuerySet[Version]:
    return detector.versions.select_related("detector__user", "job")


@require_safe
def detector(request: HttpRequest, detector_id: int) -> HttpResponse:
    """Redirect to the version in use."""
    newest = services.detector_of(signed_in(request), detector_id).current
    if newest is None:
        raise Http404
    return redirect("trainer:version", detector_id, newest.number)


@require_safe
def version(request: HttpRequest, detector_id: int, number: int) -> HttpResponse:
    """Show the report of a version; ``?fa_per_day=X`` sets the dial without JavaScript."""
    shown = services.version_of(signed_in(request), detector_id, number)
    report = shown.report()
    points = results.operating_points(report)
    default = results.shipped_with(report, points)
    chosen = next((point for point in points if point.rate == request.GET.get("fa_per_day")), default)
    by_condition = ((name, words, report, name) for name, words in _conditions())
    voices = results.speakers(report)
    seconds = (shown.job.result or {}).get("seconds", {}) if shown.job else {}
    versions = list(_versions(shown.detector))
    of_phrase = urlencode({"phrase": shown.detector.phrase, "language": shown.detector.language})
    comparison, _outdated = services.comparison_of(versions)
    together = _same_stream_rows(shown, comparison, versions)
    context = {
        "version": shown,
        "detector": shown.detector,
        **sharing_of(shown.detector, signed_in(request)),
        "report": report,
        "versions": versions,
        "in_use": in_use_of(versions),
        "before": before_in_use(versions),
        "together": together,
        "comparing": services.active_comparison(shown.detector) if len(versions) > 1 else None,
        "expected": results.expected(report),
        "verdict": results.verdict(shown, report, results.winner_over(shown, report, versions, together)),
        "own_voice": f"{reverse('library:own_voice')}?{of_phrase}&version={number}&detector={detector_id}",
        "default_rate": default.words["rate"],
        "points": points,
        "chosen": chosen,
        "conditions": _conditions(),
        "plot": results.plot(by_condition, points),
        "held_out": report["held_out_engine"] if report["training"]["steps"] else "",
        "worst_voices": voices[:8],
        "other_voices": voices[8:],
        "confusables": results.confusables(report, user_data(shown.detector.user)),
        "counts": [(BUCKET_WORDS[bucket][0], row) for bucket, row in report["counts"].items()],
        "parity": results.parity(report),
        "corpora": results.corpora(report),
        **_where(request, shown, report),
        "takes_wakes": hasattr(shown.detector, "wake_intake"),
        "wakes_per_day": settings.WAKES_PER_DAY,
        "bundle_bytes": version_files.bundle_size(shown),
        "downloads": version_files.downloads(shown),
        "stages": [(words, seconds[stage]) for stage, words in stages_of("train") if stage in seconds],
    }
    return render(request, "trainer/version.html", context)


def _where(request: HttpRequest, version: Version, report: Report) -> dict[str, Any]:
    """Return the devices, and the URL of the files served to them."""
    address = ""
    # The URL gives access permanently, whereas sharing can be withdrawn, so only the user sees it.
    mine = version.detector.user_id == signed_in(request).pk
    if mine and version.served != Version.Served.NOBODY:
        key = PUBLIC_KEY if version.served == Version.Served.PUBLIC else version.token
        numbers = [version.detector_id, version.number, key, "device", "name"]
        address = request.build_absolute_uri(reverse("trainer:device_file", args=numbers)).removesuffix("device/name")
    rows = results.targets(version, report, address)
    network = for_the_network(request)
    trying = request.build_absolute_uri(reverse("listening:try", args=[version.detector_id, version.number]))
    return {
        "trying": trying,
        "qr_code": "" if network else results.qr_code(trying),
        "targets": rows,
        "again_for": results.retrain_query(version, report, effort=_effort_again(report)),
        "has_address": mine and any(row["files"] for row in rows if row["target"].name in OWN_FORMAT),
        "network": network,
        "secure": request.is_secure(),
        "served_choices": [
            (Version.Served.LINK, _("anyone with the secret address")),
            (Version.Served.PUBLIC, _("anyone: the address is not secret")),
            (Version.Served.NOBODY, _("nobody: disables the secret address permanently")),
        ],
    }


def _effort_again(report: Report) -> str:
    """Return the effort of another training run for devices: never "trial", which makes no files for them."""
    effort = str(report["effort"])
    return "standard" if effort == "trial" else effort


def _same_stream_rows(
    shown: Version, comparison: Comparison | None, versions: list[Version]
) -> list[results.OnSameStream]:
    """Return the figures of a comparison on the same stream; [] if the comparison omits the shown version."""
    rows = results.same_stream(comparison, versions) if comparison else []
    return rows if any(row["version"] == shown for row in rows) else []


def _conditions() -> list[tuple[str, str]]:
    return [("all", _("all")), ("clean", _("close and quiet")), ("noisy", _("in noise"))]


@require_POST
def retrain(request: HttpRequest, detector_id: int, number: int) -> HttpResponse:
    """Train the next version from this one and the clips marked since then."""
    version = services.version_of(signed_in(request), detector_id, number, to_change)
    return redirect("jobs:detail", services.retrain(version=version).id)


@require_POST
def make_current(request: HttpRequest, detector_id: int, number: int) -> HttpResponse:
    services.use(version=services.version_of(signed_in(request), detector_id, number, to_change))
    return redirect("trainer:version", detector_id, number)


@require_http_methods(["GET", "HEAD", "POST"])
def compare(request: HttpRequest, detector_id: int) -> HttpResponse:
    """Show versions side by side, on the same stream if that was measured (as by POST), and on their own tests.

    ``?v=1&v=2`` chooses the curves, ``?before=1&after=2`` the two versions whose changes are listed.
    """
    if request.method == "POST":
        mine = services.detector_of(signed_in(request), detector_id, to_change)
        return redirect("jobs:detail", services.compare(detector=mine).id)
    mine = services.detector_of(signed_in(request), detector_id)
    versions = list(_versions(mine))
    comparison, outdated = services.comparison_of(versions)
    together = results.same_stream(comparison, versions) if comparison else []
    rows = results.reports(versions)
    # The curves are those on the common stream, if there is one.
    reports = {row["version"]: results.as_report(comparison, row["found"]) for row in together if comparison}
    for row in rows:
        row["curve"] = reports.get(row["version"]) if reports else row["report"]
    wanted = set(request.GET.getlist("v"))
    drawn = [row for row in rows if row["curve"] and (not wanted or str(row["version"].number) in wanted)]
    curves: list[tuple[str, str, Report, str]] = []
    for place, row in enumerate(drawn[: results.CURVES_COMPARED]):
        row["drawn"] = True
        label = _("Version %(number)d") % {"number": row["version"].number}
        curves.append((f"c{place}", label, row["curve"], "all"))
    runs = {version.path.name: version for version in versions}
    reasons = comparison["left_out"] if comparison else {}
    context = {
        "detector": mine,
        **sharing_of(mine, signed_in(request)),
        "rows": rows,
        "in_use": in_use_of(versions),
        "comparison": comparison,
        "outdated": outdated,
        "together": together,
        "left_out": [(runs[run], shown(why)) for run, why in reasons.items() if run in runs],
        "plot": results.plot(curves) if curves else None,
        "changed": _changed(request, versions, together),
        "most": results.CURVES_COMPARED,
    }
    return render(request, "trainer/compare.html", context)


def _changed(
    request: HttpRequest, versions: list[Version], together: list[results.OnSameStream]
) -> dict[str, Any] | None:
    """Return the changes between two versions: the requested ones, otherwise the newest and the one before it."""
    by_number = {str(version.number): version for version in versions}
    after = by_number.get(request.GET.get("after", ""), versions[0])
    older = next((version for version in versions if version.number < after.number), versions[-1])
    before = by_number.get(request.GET.get("before", ""), older)
    if before == after:
        return None
    changes: dict[str, Any] = {"before": before, "after": after, "figures": []}
    try:
        changes["rows"] = results.changes(before, after)
    except HarkError as error:
        return {**changes, "problem": error}
    measured = {row["version"]: row["found"] for row in together}
    if before in measured and after in measured:
        changes["figures"] = results.changed_figures(measured[before], measured[after])
    return changes


@require_safe
def use(request: HttpRequest, detector_id: int, number: int) -> HttpResponse:
    """Show commands and code for programs that use this bundle."""
    shown = services.version_of(signed_in(request), detector_id, number)
    version_files.bundle_file(shown)
    return render(request, "trainer/use.html", {"version": shown, "detector": shown.detector})


@require_safe
def bundle(request: HttpRequest, detector_id: int, number: int) -> FileResponse:
    """Download the bundle; with ``?fa_per_day=X``, that rate is its default."""
    return version_files.bundle_response(
        services.version_of(signed_in(request), detector_id, number), version_files.asked_rate(request)
    )


@require_safe
def file(request: HttpRequest, detector_id: int, number: int, name: str) -> FileResponse:
    """Download a file of a version; its report in the reader's language."""
    version = services.version_of(signed_in(request), detector_id, number)
    page = _translated_report(version, get_language() or "en") if name == REPORT else None
    if page is None:
        return version_files.file_response(version, name, signed_in(request))
    return FileResponse(io.BytesIO(page.encode()), as_attachment=True, filename=name)


def _translated_report(version: Version, language: str) -> str | None:
    """Return the report as a page in a language; None for English (a stored page), or if figures are missing."""
    from pipeline.training.reporting.report_page import html_report

    if language == "en":
        return None
    try:
        return html_report(version.report(), shown, language)
    except (HarkError, LookupError):
        return None


@require_POST
def delete(request: HttpRequest, detector_id: int) -> HttpResponse:
    """Delete a detector, its versions and their folders. Its clips remain, and a running training job continues."""
    services.remove_detector(detector=services.detector_of(signed_in(request), detector_id, owned))
    return redirect("home")


@require_POST
def delete_version(request: HttpRequest, detector_id: int, number: int) -> HttpResponse:
    """Delete a version and its files, then show the one in use."""
    services.remove_version(version=services.version_of(signed_in(request), detector_id, number, owned))
    return redirect("trainer:detector", detector_id)


@require_POST
def note(request: HttpRequest, detector_id: int, number: int) -> HttpResponse:
    """Store the user's note about a version."""
    services.set_note(
        version=services.version_of(signed_in(request), detector_id, number, to_change),
        note=request.POST.get("note", ""),
    )
    return redirect("trainer:version", detector_id, number)
