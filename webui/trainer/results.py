"""Figures of a report for the result pages, and conclusions from them."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict, cast
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.formats import number_format
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from core.errors import HarkError
from db.db_api import Library, library_exists
from model.phones import phones_of
from pipeline.training.configuration.devices import OWN_FORMAT
from pipeline.training.measuring.calibration import DEFAULT_FA_PER_DAY
from pipeline.training.measuring.figures import ComparedVersion, Comparison, MissesBy, Threshold, is_better
from pipeline.training.packing.targets import Target, is_small, targets_of
from pipeline.training.reporting.licences import SHIPPED_SPEECH
from pipeline.training.reporting.report_types import DeviceFigures, Report
from pipeline.training.reporting.verdict import alarms_in, expected_of_people, predicts_people, verdict_of
from webui.template_filters import Figure, number, rate, share
from webui.trainer.models import Version, in_use_of
from webui.trainer.version_files import dataset_table, sizes_in_bundle
from webui.translation import shown

CLIPS_TO_PLAY = 3  # clips per confusable
MIN_PLOT_END = 20.0  # minimum upper end of the plot, per hour
CURVES_COMPARED = 6  # maximum, because more lines in one plot cannot be distinguished
CONDITIONS = ("all", "clean", "noisy")


class OnSameStream(TypedDict):
    """A version in a comparison, with its figures on the common stream."""

    version: Version
    found: ComparedVersion


@dataclass(frozen=True)
class OperatingPoint:
    """A setting of the threshold dial, with its figures.

    Attributes:
      rate: false alarms per day that it is set for, as in a URL ("12").
      missed: miss rate by condition.
      count: number of false alarms in the test.
      similar: fraction of confusable phrases accepted.
      x, y: its position on the plot: false alarms per hour, and miss rate by condition.
    """

    rate: str
    threshold: str
    extrapolated: bool
    raised: bool
    missed: dict[str, Figure]
    alarms: Figure
    count: int
    similar: Figure
    x: float
    y: dict[str, float | None]
    words: dict[str, str]


def verdict(version: Version, report: Report, winner: Version | None = None) -> dict[str, str]:
    """Return ``sentence``, ``advice``, ``colour`` and the ``next`` step (URL and label) for a version.

    If ``winner`` was better, the sentence states this, and ``own`` is the verdict of its own test.
    """
    judgement, detector = verdict_of(report), version.detector
    phrase = {"phrase": detector.phrase, "language": detector.language}
    colour, address, words = {
        "useless": ("bad", retrain_address(version, report, "thorough"), _("Train it with more effort")),
        "trial": ("warning", retrain_address(version, report, "standard"), _("Train it properly")),
        "misses": ("warning", retrain_address(version, report, "thorough"), _("Train it with more effort")),
        "wakes": ("warning", "#det", _("Lower its false-alarm rate")),
        "alike": ("warning", "#where", _("Put it on a device")),
        "unproven": ("unproven", f"{reverse('library:record')}?{urlencode(phrase)}", _("Record yourself")),
        "good": ("good", "#where", _("Put it on a device")),
    }[judgement.state]
    texts = {"sentence": shown(judgement.sentence), "advice": shown(judgement.advice), "own": ""}
    if winner is not None:
        winning = {"number": winner.number}
        texts["own"] = texts["sentence"]
        texts["sentence"] = _("On the same audio it is not better than version %(number)d.") % winning
        texts["advice"] = _("Use version %(number)d.") % winning
        colour = "bad" if colour == "bad" else "warning"
        address = reverse("trainer:version", args=[detector.pk, winner.number])
        words = _("Open version %(number)d") % winning
    return {**texts, "state": judgement.state, "colour": colour, "next": address, "next_words": words}


def retrain_address(version: Version, report: Report, effort: str) -> str:
    """Return the URL of the form for another training run of the phrase, with the same devices."""
    return f"{reverse('trainer:new')}?{retrain_query(version, report, effort=effort)}"


def retrain_query(version: Version, report: Report, **more: str) -> str:
    """Return the query that fills in the form of a training run as for this version."""
    detector = version.detector
    asked = {"phrase": detector.phrase, "language": detector.language, **more}
    return urlencode({**asked, "targets": sorted(_chosen(version, report))}, doseq=True)


def _chosen(version: Version, report: Report) -> set[str]:
    return {*report["devices"], *(version.job.spec.get("targets", ()) if version.job else ())}


def winner_over(
    version: Version, report: Report, versions: Sequence[Version], together: Sequence[OnSameStream]
) -> Version | None:
    """Return the version that was better than this one on the same streams, or None.

    With the figures ``together`` (:func:`same_stream`), a version is compared with the one in use, and the one in use
    with all others. Without them, the comparison that its own run made decides.
    """
    figures = {row["version"]: row["found"] for row in together}
    in_use = in_use_of(versions)
    if version in figures and in_use in figures and in_use != version:
        return None if is_better(figures[version], figures[in_use]) else in_use
    if version == in_use and len(figures) > 1:
        return next((other for other in figures if is_better(figures[other], figures[version])), None)
    compared = report.get("compared")
    if not compared or compared["better"]:
        return None
    return next((other for other in versions if other.path.name == compared["run"]), None)


def expected(report: Report) -> Figure | None:
    """Return the expected miss rate of real people, close and in quiet; None if the verdict has no prediction."""
    quiet, noisy = report["summary"]["miss_rate_clean"], report["summary"]["miss_rate_noisy"]
    if not predicts_people(report) or quiet["value"] is None or noisy["value"] is None:
        return None
    return Figure(share(expected_of_people(quiet), decimals=0).interval, "")


def operating_points(report: Report) -> list[OperatingPoint]:
    """Return a point for each threshold of the report, the rarest false alarms first."""
    return [_operating_point(report, row) for row in sorted(report["thresholds"], key=lambda row: row["fa_per_day"])]


def _operating_point(report: Report, row: Threshold) -> OperatingPoint:
    threshold, hours = float(row["threshold"]), report["results"]["hours"]
    measured = next(at for at in report["results"]["at_thresholds"] if at["threshold"] == threshold)
    point = OperatingPoint(
        rate=f"{row['fa_per_day']:g}",
        threshold=number(threshold, 3),
        extrapolated=bool(row["extrapolated"]),
        raised=bool(row.get("raised")),
        missed={name: share(measured["miss_rate"][name]) for name in CONDITIONS},
        alarms=rate(measured["fa_per_hour"]),
        count=int(measured["false_alarms"]),
        similar=share(measured["confusables"]),
        x=float(measured["fa_per_hour"]["value"] or 0.0),
        y={name: measured["miss_rate"][name]["value"] for name in CONDITIONS},
        words={},
    )
    point.words.update(_in_words(point, float(row["fa_per_day"]), hours))
    return point


def shipped_with(report: Report, points: Sequence[OperatingPoint]) -> OperatingPoint:
    """Return the point whose threshold is the bundle's default (on a tie, the one of the default rate)."""
    rows = sorted(report["thresholds"], key=lambda row: row["fa_per_day"])
    default = float(report["summary"]["threshold"])
    away = [(abs(row["threshold"] - default), row["fa_per_day"] != DEFAULT_FA_PER_DAY) for row in rows]
    return points[away.index(min(away))]


def _how(point: OperatingPoint) -> str:
    if point.raised:
        return _(
            "Ordinary speech alone would allow a lower threshold than %(threshold)s: it is raised because of "
            "confusable phrases, of which it accepts %(similar)s. To keep the lower threshold, train again and allow "
            "the confusable phrases."
        )
    if point.extrapolated:
        return _(
            "Extrapolated: the validation audio is too short to observe such a low rate, so the threshold of "
            "%(threshold)s is an estimate."
        )
    return _("Observed: on the validation audio a threshold of %(threshold)s gave that rate or a lower one.")


def _in_words(point: OperatingPoint, fa_per_day: float, hours: float) -> dict[str, str]:
    rates = {"rate": number_format(point.rate), "hour": number_format(f"{fa_per_day / 24:.2g}")}
    names = {**rates, "threshold": point.threshold, "n": point.count, "similar": point.similar.value}
    figures = {"alarms": point.alarms.value, "interval": point.alarms.interval, "hours": number(hours)}
    # ngettext requires integers; a rate such as 0.5 has the plural form
    many = 1 if fa_per_day == 1 else 2
    setting = (
        ngettext(
            "%(rate)s false alarm per day (%(hour)s per hour)",
            "%(rate)s false alarms per day (%(hour)s per hour)",
            many,
        )
        % names
    )
    return {
        "rate": rates["rate"],
        "setting": setting,
        "option": ", ".join(
            [setting, *([_("raised")] if point.raised else []), *([_("extrapolated")] if point.extrapolated else [])]
        ),
        "alarms": _("in %(hours)s h of test: %(alarms)s per hour (%(interval)s)") % figures,
        "how": _how(point) % names,
        "download": ngettext(
            "The bundle with %(rate)s false alarm per day as its default: it triggers at a score of %(threshold)s "
            "or more. It still has its other thresholds.",
            "The bundle with %(rate)s false alarms per day as its default: it triggers at a score of %(threshold)s "
            "or more. It still has its other thresholds.",
            many,
        )
        % names,
    }


def plot(curves: Iterable[tuple[str, str, Report, str]], points: Sequence[OperatingPoint] = ()) -> dict[str, Any]:
    """Return the data for ``det.js``: each curve (class, label, report, condition), and the points of the dial."""
    drawn = []
    top = lowest = 0.0
    for kind, label, report, condition in curves:
        curve = report["results"]["det"][condition]
        drawn.append({"kind": kind, "label": label, "alarms": curve["fa_per_hour"], "missed": curve["miss_rate"]})
        lowest = max(lowest, 1.0 / max(report["results"]["hours"], 1e-3))
        strictest = report["results"]["at_thresholds"][-1]
        top = max(top, strictest["miss_rate"][condition]["value"] or 0.0)
    return {
        "curves": drawn,
        "top": min(1.0, max(0.1, math.ceil(10 * top) / 10)),
        "lowest": lowest,  # the rate [1/h] of one false alarm in the test; lower rates have none
        "most": max(MIN_PLOT_END, 10 * lowest, *(1.2 * point.x for point in points)),
        "points": [asdict(point) for point in points],
        "words": {"x": _("False alarms per hour in the test"), "y": _("Missed"), "none": _("none")},
    }


def confusables(report: Report, data: Path) -> list[dict[str, Any]]:
    """Return the confusables that triggered it, each with some of its clips in the library under ``data``."""
    worst = report["results"]["confusables"]["worst"]
    clips: dict[str, list[Any]] = {}
    if worst and library_exists(data):
        with Library(data) as library:
            for clip in library.clips_with_texts([row["text"] for row in worst], report["language"]):
                clips.setdefault(clip.text_normalized, []).append(clip)
    return [{**row, "clips": clips.get(row["text"], [])[:CLIPS_TO_PLAY]} for row in worst]


def speakers(report: Report) -> list[MissesBy]:
    """Return the test's voices, those missed most first."""
    return sorted(report["results"]["by_speaker"], key=lambda row: (-(row["miss_rate"]["value"] or 0.0), -row["clips"]))


def corpora(report: Report) -> dict[str, str]:
    """Return the licences of the corpora of the speech that ships with Hark."""
    parts = [report.get(part, {}).get("licences", {}) for part in SHIPPED_SPEECH]
    return dict(sorted({name: licence for part in parts for name, licence in part.items()}.items()))


def parity(report: Report) -> list[tuple[str, str]]:
    """Return the differences in score between the forms of the model, on test audio (see ``model.export.Parity``)."""
    return [(name.replace("_", " "), f"{value:.1e}") for name, value in report["parity"].items()]


def reports(versions: Iterable[Version]) -> list[dict[str, Any]]:
    """Return each version with its ``report``, None if the file is missing."""
    rows: list[dict[str, Any]] = []
    for version in versions:
        try:
            rows.append({"version": version, "report": version.report()})
        except HarkError:
            rows.append({"version": version, "report": None})
    return rows


def same_stream(comparison: Comparison, versions: Sequence[Version]) -> list[OnSameStream]:
    """Return the versions in a comparison, in its order, each with its figures."""
    by_run = {version.path.name: version for version in versions}
    return [{"version": by_run[row["run"]], "found": row} for row in comparison["versions"] if row["run"] in by_run]


def changes(before: Version, after: Version) -> list[dict[str, str]]:
    """Return the differences in how two versions were made: ``what``, ``before``, ``after``, as displayed.

    Raises HarkError if a report is missing.
    """
    old, new = _settings_of(before), _settings_of(after)
    rows = [
        {"what": what, "before": old.get(what, _("none")), "after": new.get(what, _("none"))}
        for what in dict.fromkeys((*new, *old))
        if old.get(what) != new.get(what)
    ]
    clips_before, clips = _clip_ids(before), _clip_ids(after)
    if clips_before is not None and clips is not None and clips != clips_before:
        counts = {"n": len(clips), "new": len(clips - clips_before), "gone": len(clips_before - clips)}
        count = _("%(n)d (%(new)d new, %(gone)d removed)") % counts
        rows.append({"what": _("Clips"), "before": number_format(len(clips_before)), "after": count})
    return rows


def changed_figures(before: ComparedVersion, after: ComparedVersion) -> list[dict[str, Any]]:
    """Return two versions' figures (:func:`same_stream`) as ``what``, ``before`` and ``after`` (:class:`Figure`)."""
    read: dict[str, Callable[[ComparedVersion], Figure]] = {
        _("Missed"): lambda figures: share(figures["miss_rate"]["all"]),
        _("Confusable phrases accepted"): lambda figures: share(figures["confusables"]),
        _("FA/h"): lambda figures: rate(figures["fa_per_hour"]),
        _("Marked false alarms that trigger it"): lambda figures: Figure(str(figures["marked_fired"]), ""),
        _("Marked misses that it misses"): lambda figures: Figure(str(figures["marked_missed"]), ""),
    }
    return [{"what": what, "before": figure(before), "after": figure(after)} for what, figure in read.items()]


def _settings_of(version: Version) -> dict[str, str]:
    """Describe how a version was made, by name, without missing values."""
    report = version.report()
    backbone, verifier, compared = report.get("backbone", {}), report.get("verifier", {}), report.get("compared", {})
    anti_keywords = report["model"].get("anti_keywords", ())
    settings = {
        _("Effort"): _(report["effort"]),
        _("Seed"): str(report["seed"]),
        _("Engines"): ", ".join(sorted(report["engines"])),
        _("Backbone"): f"{backbone['name']} {backbone['version']}" if backbone else "",
        _("Verifier"): f"{verifier['name']} {verifier['version']}" if verifier else "",
        _("Parameters"): number_format(report["summary"]["parameters"]),
        _("Training steps"): number_format(report["training"]["steps"]),
        _("Shipped threshold"): number(report["summary"]["threshold"], 3),
        _("Marked false alarms"): number_format(compared.get("marked", 0)),
        _("Marked misses"): number_format(compared.get("marked_misses", 0)),
        _("Anti-keywords"): "; ".join(" ".join(phones_of(phones)) for phones in anti_keywords),
        _("For devices"): ", ".join(report["devices"]),
    }
    return {what: value for what, value in settings.items() if value}


def _clip_ids(version: Version) -> set[str] | None:
    """Return the ids of the clips of a version's run; None if its table is missing."""
    try:
        with dataset_table(version).open(encoding="utf-8", newline="") as table:
            return {row["clip_id"] for row in csv.DictReader(table)}
    except OSError:
        return None


def as_report(comparison: Comparison, figures: ComparedVersion) -> Report:
    """Return the parts of a report that :func:`plot` needs, from a version's figures in a comparison."""
    hours = comparison["stream"]["hours"]
    parts = {"results": {"hours": hours, "det": {"all": figures["det"]}, "at_thresholds": [figures]}}
    return cast(Report, parts)


def targets(version: Version, report: Report, address: str) -> list[dict[str, Any]]:
    """Return a row for each device that a version runs on, chosen ones first.

    ``address`` is the URL of its files for devices; "" if they are not served.
    """
    sizes = sizes_in_bundle(version)
    chosen = _chosen(version, report)

    def targets_at(address: str) -> dict[str, Target]:
        return targets_of(version.bundle, sizes, is_small(report), report["devices_left_out"], address)

    from_bundle = targets_at("")
    rows = []
    for name, target in targets_at(address).items():
        served = address if name in OWN_FORMAT else ""
        rows.append(
            {
                "target": target,
                "chosen": name in chosen,
                "files": [
                    {"name": file, "bytes": sizes[file], "address": served and served + file} for file in target.files
                ],
                "heard": _device_summary(report["devices"].get(name)),
                "from_bundle": from_bundle[name].steps if served else (),
            }
        )
    return sorted(rows, key=lambda row: not row["chosen"])


def _device_summary(about: DeviceFigures | None) -> str:
    """Describe the quality of a device's own detector; "" if the device uses the main one."""
    if about is None:
        return ""
    quiet, noisy = about["miss_rate_clean"]["value"], about["miss_rate_noisy"]["value"]
    if quiet is None or noisy is None:
        return ""
    accepted = about["confusables_accepted"]["value"]
    summary = _("Its own detector detected %(quiet)s %% of the utterances close and quiet, %(noisy)s %% in noise.") % {
        "quiet": round(100 * (1.0 - quiet)), "noisy": round(100 * (1.0 - noisy)),
    }  # fmt: skip
    if accepted is not None:
        summary += " " + _("%(accepted)s %% of confusable phrases trigger it.") % {"accepted": round(100 * accepted)}
    if about["test_hours"]:
        alarms = shown(alarms_in(about["fa_per_hour"]["value"], about["test_hours"]))
        summary += " " + _("It had %(alarms)s.") % {"alarms": alarms}
    return summary


def qr_code(address: str) -> str:
    """Return a URL as a QR code in SVG, black on white regardless of the page's colours."""
    import segno

    return mark_safe(segno.make(address, micro=False).svg_inline(scale=4, light="#fff"))
