"""What the result pages show: the numbers of a report made ready to be read, and the files of a version."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

from django.http import FileResponse, Http404, HttpRequest
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from core.errors import HarkError
from pipeline.training.config import DEVICES
from pipeline.training.targets import Target, files_for, is_small, targets_of
from webui.accounts.models import User
from webui.errors import StatusError
from webui.trainer.models import Version, in_use_of
from webui.translation import shown

Report = Mapping[str, Any]
Interval = Mapping[str, float | None]  # value, low, high: model.metrics.Interval.as_dict

CLIPS_TO_PLAY = 3  # of each confuser
HIGHEST_ALARMS = 20.0  # an hour: what the plot shows at least
CURVES_COMPARED = 6  # more lines in one plot cannot be told apart
DATASET = "dataset.jsonl"
IN_MEMORY = 16_000_000  # bytes of a bundle that is made for a download, before it goes to the disk
CONDITIONS = ("all", "clean", "noisy")
NO_INTERVAL: Interval = dict.fromkeys(("value", "low", "high"))
NOT_MEASURED: Mapping[str, Any] = {
    "miss_rate": dict.fromkeys(CONDITIONS, NO_INTERVAL), "fa_per_hour": NO_INTERVAL, "false_alarms": 0,
}  # fmt: skip

# What may be downloaded beside the bundle, with a word about each.
FILES = {
    "model.onnx": gettext_lazy("for onnxruntime: raw audio in, scores out"),
    "model.int8.onnx": gettext_lazy("the same with 8-bit weights: small, not faster"),
    "model.pt": gettext_lazy("Hark's checkpoint, to train on from: it needs Hark"),
    "report.html": gettext_lazy("this report as one file"),
    "report.json": gettext_lazy("this report for programs"),
    "det.png": gettext_lazy("the DET curve as a picture"),
    "README.md": gettext_lazy("which device takes which file, and what is typed there"),
    "MODEL_CARD.md": gettext_lazy("what it is, how it was measured, its limits"),
    "LICENSES.txt": gettext_lazy("every voice and corpus that went in"),
    DATASET: gettext_lazy("the clips used, as a NeMo manifest (JSON lines; paths from your data folder)"),
}


@dataclass(frozen=True)
class DeviceFile:
    """A file for a device, as it is served: ``digest`` (SHA-256) of its content, ``modified`` [s since 1970]."""

    content: bytes
    suffix: str
    digest: str
    modified: int


@dataclass(frozen=True)
class Figure:
    """A measured number as it is read: "28.1 %", and its 95 % interval, "23.4 to 33.3 %" ("" where there is none)."""

    value: str
    interval: str


@dataclass(frozen=True)
class OperatingPoint:
    """What one setting of the dial means.

    Attributes:
        rate: false alarms a day that it is set for, as it stands in an address ("12").
        missed: by condition.
        count: false alarms in the test.
        similar: confusable phrases accepted.
        x, y: its place on the plot: false alarms an hour, and share missed by condition.
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


MOST_A_SHORT_TEST_TELLS = 1000.0  # false alarms an hour: an interval that reaches so far says nothing


def _number(value: float | None, places: int = 2) -> str:
    # number_format cuts off what it does not show
    return _("not measured") if value is None else str(number_format(round(value, places), places))


def share(interval: Interval) -> Figure:
    """A share with its interval."""
    if interval["value"] is None:
        return Figure(_("not measured"), "")
    value, low, high = (_number(100 * (interval[name] or 0.0), 1) for name in ("value", "low", "high"))
    return Figure(f"{value} %", _("%(low)s to %(high)s %%") % {"low": low, "high": high})


def rate(interval: Interval) -> Figure:
    """A rate with its interval."""
    if interval["value"] is None:
        return Figure(_("not measured"), "")
    if interval["high"] is None or interval["high"] > MOST_A_SHORT_TEST_TELLS:
        return Figure(_number(interval["value"]), _("too short a test to say"))
    between = {"low": _number(interval["low"]), "high": _number(interval["high"])}
    return Figure(_number(interval["value"]), _("%(low)s to %(high)s") % between)


def verdict(version: Version, report: Report, winner: Version | None = None) -> dict[str, str]:
    """What to expect of a version: ``sentence``, ``advice``, ``colour``, and the ``next`` step: its address and
    words. Of one that lost to ``winner`` that comes first, and ``own`` is what its own test found."""
    from pipeline.training.verdict import verdict_of

    found, detector = verdict_of(report), version.detector
    phrase = {"phrase": detector.phrase, "language": detector.language}
    colour, address, words = {
        "useless": ("bad", anew_address(version, report, "thorough"), _("Train it with more effort")),
        "trial": ("warning", anew_address(version, report, "standard"), _("Train it properly")),
        "wakes": ("warning", "#det", _("Set it for fewer false alarms")),
        "alike": ("warning", "#where", _("Put it on a device")),
        "unproven": ("unproven", f"{reverse('library:record')}?{urlencode(phrase)}", _("Record yourself")),
        "good": ("good", "#where", _("Put it on a device")),
    }[found.state]
    said = {"sentence": shown(found.sentence), "advice": shown(found.advice), "own": ""}
    if winner is not None:
        number = {"number": winner.number}
        said["own"] = said["sentence"]
        said["sentence"] = _("On the same streams it is no better than version %(number)d.") % number
        said["advice"] = _("Use version %(number)d.") % number
        colour = "bad" if colour == "bad" else "warning"
        address = reverse("trainer:version", args=[detector.pk, winner.number])
        words = _("Open version %(number)d") % number
    return {**said, "state": found.state, "colour": colour, "next": address, "next_words": words}


def anew_address(version: Version, report: Report, effort: str) -> str:
    """The form for another training of the phrase, for the devices that were chosen."""
    return f"{reverse('trainer:new')}?{again(version, report, effort=effort)}"


def again(version: Version, report: Report, **more: str) -> str:
    """The query with which that form begins as it was for this version."""
    detector = version.detector
    asked = {"phrase": detector.phrase, "language": detector.language, **more}
    return urlencode({**asked, "targets": sorted(_chosen(version, report))}, doseq=True)


def _chosen(version: Version, report: Report) -> set[str]:
    return {*report.get("devices", ()), *(version.job.spec.get("targets", ()) if version.job else ())}


def winner_over(
    version: Version, report: Report, versions: Sequence[Version], together: Sequence[Mapping[str, Any]]
) -> Version | None:
    """The version that this one lost to on the same streams; None where it did not lose.

    Of the figures ``together`` (:func:`same_stream`) the one in use counts, which this one must be better than; to the
    one in use itself, any that is better. Without them its own run says whether it is better than what it was made of.
    """
    from pipeline.training.retraining import is_better

    figures = {row["version"]: row["found"] for row in together}
    in_use = in_use_of(versions)
    if version in figures and in_use in figures and in_use != version:
        return None if is_better(figures[version], figures[in_use]) else in_use
    if version == in_use and len(figures) > 1:
        return next((other for other in figures if is_better(figures[other], figures[version])), None)
    compared = report.get("compared")
    if not compared or compared["better"]:
        return None
    return next((other for other in versions if other.path.name == compared.get("run")), None)


def headline(report: Report) -> list[dict[str, Any]]:
    """The figures at the top: what, how much, and of how many clips or hours that is said."""
    results, summary = report["results"], report["summary"]
    said = _trials(report)
    people, confusers = results["people"], results["confusers"]
    kind = _("all synthetic")
    if people["utterances"]:
        kind = _("synthetic and real") if people["utterances"] < said["all"] else _("all of real people")
    return [
        {
            "what": _("missed on held-out voices"),
            "figure": share(summary["miss_rate"]),
            "of": _("of %(n)d utterances by %(voices)d voices, %(kind)s")
            % {"n": said["all"], "voices": results.get("voices", len(results["by_speaker"])), "kind": kind},
        },
        {
            "what": _("missed close and quiet"),
            "figure": share(summary["miss_rate_clean"]),
            "of": _("of %(n)d utterances") % {"n": said["clean"]},
        },
        {
            "what": _("missed in noise"),
            "figure": share(summary["miss_rate_noisy"]),
            "of": _("of %(n)d utterances at 10 dB signal-to-noise") % {"n": said["noisy"]},
        },
        _of_people(report),
        {
            "what": _("confusable phrases accepted"),
            "figure": share(summary["confusers_accepted"]),
            "of": _("of %(n)d utterances of confusable phrases") % {"n": confusers["said"]},
        },
        {
            "what": _("false alarms an hour"),
            "figure": rate(summary["fa_per_hour"]),
            "of": _("in %(hours)s h of test speech and noise") % {"hours": _number(results["hours"])},
        },
    ]


def _of_people(report: Report) -> dict[str, Any]:
    """What was missed of real people, or what the verdict expects of them, or that neither is known."""
    from pipeline.training.verdict import expected_of_people, predicts_people

    what = _("missed of real people")
    people, quiet, noisy = report["results"]["people"], *(report["summary"][f"miss_rate_{at}"] for at in CONDITIONS[1:])
    if people["utterances"]:
        of = _("of %(n)d utterances") % {"n": people["utterances"]}
        return {"what": what, "figure": share(people["miss_rate"]), "of": of}
    if not predicts_people(report) or quiet["value"] is None or noisy["value"] is None:
        none = _("no recording of a person saying it was at hand")
        return {"what": what, "figure": Figure(_("not measured"), ""), "of": none}
    expected = expected_of_people(quiet)
    low, high = (_number(100 * (expected[name] or 0.0), 0) for name in ("low", "high"))
    of = _("expected, close and quiet; no recording of a person saying it was at hand")
    return {"what": what, "figure": Figure(_("%(low)s to %(high)s %%") % {"low": low, "high": high}, ""), "of": of}


def _trials(report: Report) -> dict[str, int]:
    """How many utterances of the phrase the test had, by condition: of all, each is counted once."""
    results = report["results"]
    return {**results["clips"], "all": int(results["utterances"])}


def operating_points(report: Report) -> list[OperatingPoint]:
    """One for each threshold that the report has, the rarest false alarms first."""
    return [_operating_point(report, row) for row in sorted(report["thresholds"], key=lambda row: row["fa_per_day"])]


def _operating_point(report: Report, row: Mapping[str, Any]) -> OperatingPoint:
    threshold, hours = float(row["threshold"]), report["results"]["hours"]
    measured = next((at for at in report["results"]["at_thresholds"] if at["threshold"] == threshold), NOT_MEASURED)
    point = OperatingPoint(
        rate=f"{row['fa_per_day']:g}",
        threshold=_number(threshold, 3),
        extrapolated=bool(row["extrapolated"]),
        raised=bool(row.get("raised")),
        missed={name: share(measured["miss_rate"][name]) for name in CONDITIONS},
        alarms=rate(measured["fa_per_hour"]),
        count=int(measured["false_alarms"]),
        similar=share(measured.get("confusers", NO_INTERVAL)),
        x=float(measured["fa_per_hour"]["value"] or 0.0),
        y={name: measured["miss_rate"][name]["value"] for name in CONDITIONS},
        words={},
    )
    point.words.update(_in_words(point, float(row["fa_per_day"]), hours))
    return point


def shipped_with(report: Report, points: Sequence[OperatingPoint]) -> OperatingPoint:
    """The point whose threshold is the bundle's default; of equal ones, that of the default rate."""
    from pipeline.training.evaluation import DEFAULT_FA_PER_DAY

    rows = sorted(report["thresholds"], key=lambda row: row["fa_per_day"])
    default = float(report["summary"]["threshold"])
    away = [(abs(row["threshold"] - default), row["fa_per_day"] != DEFAULT_FA_PER_DAY) for row in rows]
    return points[away.index(min(away))]


def _how(point: OperatingPoint) -> str:
    if point.raised:
        return _(
            "Ordinary speech alone would allow a lower threshold than %(threshold)s: it is raised against similar "
            "phrases, of which it accepts %(similar)s."
        )
    if point.extrapolated:
        return _(
            "Extrapolated: the validation streams are too short to observe a rate this low, so the threshold of "
            "%(threshold)s is an estimate."
        )
    return _("Observed: on the validation streams a threshold of %(threshold)s gave that rate, or less.")


def far(report: Report) -> str:
    """What was missed in the hardest condition, in words; "" where it was not measured."""
    measured = report["results"]["far"]
    if not measured["utterances"]:
        return ""
    missed = share(measured["miss_rate"])
    said = {"missed": missed.value, "interval": missed.interval, "n": measured["utterances"]}
    return _("Across a room, in noise and among other speech it missed %(missed)s (%(interval)s) of %(n)d.") % said


def _in_words(point: OperatingPoint, fa_per_day: float, hours: float) -> dict[str, str]:
    rates = {"rate": number_format(point.rate), "hour": number_format(f"{fa_per_day / 24:.2g}")}
    names = {**rates, "threshold": point.threshold, "n": point.count, "similar": point.similar.value}
    figures = {"alarms": point.alarms.value, "interval": point.alarms.interval, "hours": _number(hours)}
    # "n" of the plural is whole; a rate such as 0.5 has the form of many
    many = 1 if fa_per_day == 1 else 2
    setting = (
        ngettext(
            "%(rate)s false alarm a day (%(hour)s an hour)", "%(rate)s false alarms a day (%(hour)s an hour)", many
        )
        % names
    )
    return {
        "rate": rates["rate"],
        "setting": setting,
        "option": ", ".join(
            [setting, *([_("raised")] if point.raised else []), *([_("extrapolated")] if point.extrapolated else [])]
        ),
        "alarms": _("in %(hours)s h of test: %(alarms)s an hour (%(interval)s)") % figures,
        "how": _how(point) % names,
        "download": ngettext(
            "The bundle with %(rate)s false alarm a day as its default: it fires from a score of %(threshold)s on. "
            "Its other thresholds stay in it.",
            "The bundle with %(rate)s false alarms a day as its default: it fires from a score of %(threshold)s on. "
            "Its other thresholds stay in it.",
            many,
        )
        % names,
    }


def plot(curves: Iterable[tuple[str, str, Report, str]], points: Sequence[OperatingPoint] = ()) -> dict[str, Any]:
    """What ``det.js`` draws: (class, label, report, condition) of each curve, and the places of the dial."""
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
        "lowest": lowest,  # false alarms an hour that are one in the test: below it there is only none
        "most": max(HIGHEST_ALARMS, 10 * lowest, *(1.2 * point.x for point in points)),
        "points": [asdict(point) for point in points],
        "words": {"x": _("False alarms an hour in the test"), "y": _("Missed"), "none": _("none")},
    }


def sources(report: Report) -> list[dict[str, Any]]:
    """False alarms by where the sound came from."""
    rows = []
    for row in report["results"]["false_alarms_by"]:
        origin, _colon, corpus = row["engine"].partition(":")
        source = _("people: %(corpus)s (negative set)") % {"corpus": corpus} if origin == "bank" else row["engine"]
        rows.append({**row, "source": source, "figure": rate(row["fa_per_hour"])})
    return rows


def confusers(report: Report, data: Path) -> list[dict[str, Any]]:
    """The confusers that fooled it, each with some of its clips in the library under ``data``."""
    from db.db_api import Library, library_exists

    worst = report["results"]["confusers"]["worst"]
    clips: dict[str, list[Any]] = {}
    if worst and library_exists(data):
        with Library(data) as library:
            for clip in library.clips_with_texts([row["text"] for row in worst], report["language"]):
                clips.setdefault(clip.text_normalized, []).append(clip)
    return [{**row, "clips": clips.get(row["text"], [])[:CLIPS_TO_PLAY]} for row in worst]


def speakers(report: Report) -> list[dict[str, Any]]:
    """Voices of the test, those missed most first."""
    rows = sorted(report["results"]["by_speaker"], key=lambda row: (-(row["miss_rate"]["value"] or 0.0), -row["clips"]))
    return [{**row, "said": row.get("utterances", row["clips"]), "figure": share(row["miss_rate"])} for row in rows]


def by_engine(report: Report) -> list[dict[str, Any]]:
    """Misses by engine and condition."""
    held_out = report["held_out_engine"] if report["training"]["steps"] else None
    return [
        {**row, "held_out": row["engine"] == held_out, "figure": share(row["miss_rate"])}
        for row in report["results"]["by_engine"]
    ]


def corpora(report: Report) -> dict[str, str]:
    """Corpora behind the shipped weights and the negative set, with their licences."""
    parts = [report.get(part, {}).get("licences", {}) for part in ("backbone", "negative_set")]
    return dict(sorted({name: licence for part in parts for name, licence in part.items()}.items()))


def parity(report: Report) -> list[tuple[str, str]]:
    """Differences in score between the forms of the model, on test audio (see ``model.export.Parity``)."""
    return [(name.replace("_", " "), f"{value:.1e}") for name, value in report.get("parity", {}).items()]


def compared(versions: Iterable[Version]) -> list[dict[str, Any]]:
    """The figures of each version; ``report`` is None where its file is gone."""
    rows = []
    for version in versions:
        try:
            report = version.report()
        except HarkError:
            report = None
        summary = version.summary
        rows.append(
            {
                "version": version,
                "report": report,
                "said": _trials(report)["all"] if report else None,
                "missed": share(summary["miss_rate"]),
                "clean": share(summary["miss_rate_clean"]),
                "noisy": share(summary["miss_rate_noisy"]),
                "confusers": share(summary["confusers_accepted"]),
                "alarms": rate(summary["fa_per_hour"]),
                "hours": _number(summary["test_hours"]),
            }
        )
    return rows


def same_stream(comparison: Report, versions: Sequence[Version]) -> list[dict[str, Any]]:
    """The figures of each version in a comparison on the one stream that all were scored on, the newest first."""
    by_run = {version.path.name: version for version in versions}
    return [
        {
            "version": by_run[found["run"]],
            "found": found,
            "missed": {name: share(found["miss_rate"][name]) for name in CONDITIONS},
            "people": share(found["people"]),
            "confusers": share(found["confusers"]),
            "alarms": rate(found["fa_per_hour"]),
        }
        for found in comparison["versions"]
        if found["run"] in by_run
    ]


def changes(before: Version, after: Version) -> list[dict[str, str]]:
    """What is different in how two versions of a detector were made: ``what``, ``before``, ``after``, as it is read.

    Raises:
        HarkError: the report of one of them is gone.
    """
    old, new = _made_of(before), _made_of(after)
    found = [
        {"what": what, "before": old.get(what, _("none")), "after": new.get(what, _("none"))}
        for what in dict.fromkeys((*new, *old))
        if old.get(what) != new.get(what)
    ]
    clips_before, clips = _clip_ids(before), _clip_ids(after)
    if clips_before is not None and clips is not None and clips != clips_before:
        counts = {"n": len(clips), "new": len(clips - clips_before), "gone": len(clips_before - clips)}
        said = _("%(n)d (%(new)d new, %(gone)d gone)") % counts
        found.append({"what": _("Clips"), "before": number_format(len(clips_before)), "after": said})
    return found


def changed_figures(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Two rows of :func:`same_stream` as ``what``, ``before`` and ``after`` (each a :class:`Figure`)."""
    read: dict[str, Callable[[Mapping[str, Any]], Figure]] = {
        _("Missed"): lambda row: row["missed"]["all"],
        _("Confusers accepted"): lambda row: row["confusers"],
        _("False alarms/h"): lambda row: row["alarms"],
        _("Fires on marked false alarms"): lambda row: Figure(str(row["found"]["marked_fired"]), ""),
        _("Misses marked misses"): lambda row: Figure(str(row["found"]["marked_missed"]), ""),
    }
    return [{"what": what, "before": figure(before), "after": figure(after)} for what, figure in read.items()]


def _made_of(version: Version) -> dict[str, str]:
    """How a version was made, in words, by name; what it does not have is left out."""
    from model.phones import phones_of

    report = version.report()
    backbone, verifier, compared = (report.get(part) or {} for part in ("backbone", "verifier", "compared"))
    anti_keywords = report.get("model", {}).get("anti_keywords", ())
    made = {
        _("Effort"): _(report["effort"]),
        _("Seed"): str(report["seed"]),
        _("Engines"): ", ".join(sorted(report["engines"])),
        _("Backbone"): f"{backbone['name']} {backbone['version']}" if backbone else "",
        _("Verifier"): f"{verifier['name']} {verifier['version']}" if verifier else "",
        _("Parameters"): number_format(report["summary"]["parameters"]),
        _("Training steps"): number_format(report["training"]["steps"]),
        _("Threshold it is shipped with"): _number(report["summary"]["threshold"], 3),
        _("Marked false alarms"): number_format(compared.get("marked", 0)),
        _("Marked misses"): number_format(compared.get("marked_misses", 0)),
        _("Anti-keywords"): "; ".join(" ".join(phones_of(phones)) for phones in anti_keywords),
        _("For devices"): ", ".join(report.get("devices", ())),
    }
    return {what: said for what, said in made.items() if said}


def _clip_ids(version: Version) -> set[str] | None:
    """The clips of a version's run; None where its table is gone."""
    try:
        with _dataset_table(version).open(encoding="utf-8", newline="") as table:
            return {row["clip_id"] for row in csv.DictReader(table)}
    except OSError:
        return None


def as_report(comparison: Report, found: Report) -> dict[str, Any]:
    """As much of a report as :func:`plot` needs, of one version's figures in a comparison."""
    hours = comparison["stream"]["hours"]
    return {"results": {"hours": hours, "det": {"all": found["det"]}, "at_thresholds": [found]}}


def downloads(version: Version) -> list[dict[str, Any]]:
    """The files that are there, each with what it is and its size [bytes]."""
    sizes = sizes_in_bundle(version)
    found = []
    for name, words in FILES.items():
        path = _dataset_table(version) if name == DATASET else version.path / name
        if path.is_file():
            size = None if name == DATASET else path.stat().st_size  # it is made when it is asked for
        elif name in sizes:
            size = sizes[name]
        else:
            continue
        found.append({"name": name, "words": words, "bytes": size})
    return found


def bundle_size(version: Version) -> int | None:
    """Bytes of the bundle; None where it is gone."""
    try:
        return version.bundle_path.stat().st_size
    except OSError:
        return None


def sizes_in_bundle(version: Version) -> dict[str, int]:
    """Bytes of each file in the bundle; none where it is gone."""
    import zipfile

    try:
        with zipfile.ZipFile(version.bundle_path) as archive:
            return {entry.filename: entry.file_size for entry in archive.infolist()}
    except (OSError, zipfile.BadZipFile):
        return {}


def device_file(version: Version, name: str) -> DeviceFile:
    """A manifest or a model that a device loads, by its name in the bundle.

    Raises:
        Http404: there is no file for a device of that name.
        StatusError: the bundle is gone or damaged (410).
    """
    from model.runtime.detector import Bundle, BundleError

    path = version.bundle_path
    try:
        bundle = Bundle(path)
        names = [each for device in DEVICES for each in files_for(device, bundle.manifest["files"])]
        if name not in names:
            raise Http404
        content = bundle.read(name)
        modified = int(path.stat().st_mtime)
    except (BundleError, OSError) as error:
        raise _gone(name) from error
    return DeviceFile(content, Path(name).suffix, bundle.manifest["files"][name], modified)


def _gone(name: str) -> StatusError:
    return StatusError(
        410,
        _("%(file)s is gone.") % {"file": name},
        _("It is neither in the folder of this version nor in a bundle there."),
        _("Bring the folder back from a backup, or train the phrase again."),
    )


def targets(version: Version, report: Report, address: str) -> list[dict[str, Any]]:
    """Where a version runs, a row for each device, those that were chosen for it first.

    Args:
        address: under which its files for devices are served; "" where they are not.
    """
    sizes = sizes_in_bundle(version)
    chosen = _chosen(version, report)

    def found(address: str) -> dict[str, Target]:
        return targets_of(version.bundle, sizes, is_small(report), report.get("devices_left_out", ()), address)

    def steps(target: Target) -> list[dict[str, Any]]:
        return [
            {"about": shown(step.about), "code": step.code, "rows": step.code.count("\n") + 1} for step in target.steps
        ]

    from_bundle = found("")
    rows = [
        {
            "target": target,
            "chosen": target.name in chosen,
            "files": [
                {
                    "name": name,
                    "bytes": sizes[name],
                    "address": address + name if address and target.name in DEVICES else "",
                }
                for name in target.files
            ],
            "size": shown(target.size),
            "heard": _heard_by(report.get("devices", {}).get(target.name)),
            "missing": shown(target.missing) if target.missing else "",
            "steps": steps(target),
            "from_bundle": steps(from_bundle[target.name]) if address and target.name in DEVICES else [],
        }
        for target in found(address).values()
    ]
    return sorted(rows, key=lambda row: not row["chosen"])


def _heard_by(about: Mapping[str, Any] | None) -> str:
    """How good a detector for a device is, in sentences; "" where the target takes the usual one."""
    from pipeline.training.verdict import alarms_in

    if about is None:
        return ""
    missed = [about[name]["value"] for name in ("miss_rate_clean", "miss_rate_noisy")]
    if None in missed:
        return ""
    quiet, noisy = (1.0 - share for share in missed)
    accepted = about["confusers_accepted"]["value"]
    said = _("Its own detector heard %(quiet)s %% of the test's voices close and quiet, %(noisy)s %% in noise.") % {
        "quiet": round(100 * quiet), "noisy": round(100 * noisy),
    }  # fmt: skip
    if accepted is not None:
        said += " " + _("Of similar phrases %(accepted)s %% wake it.") % {"accepted": round(100 * accepted)}
    if about["test_hours"]:
        alarms = shown(alarms_in(about["fa_per_hour"]["value"], about["test_hours"]))
        said += " " + _("It had %(alarms)s.") % {"alarms": alarms}
    return said


def qr_code(address: str) -> str:
    """An address as a QR code: SVG for a page, black on white whatever the page's colours are."""
    import segno

    return mark_safe(segno.make(address, micro=False).svg_inline(scale=4, light="#fff"))


def file_response(version: Version, name: str, reader: User) -> FileResponse:
    """One of :data:`FILES` as a download: a report that was opened here would run in this site's name.

    Raises:
        Http404: there is no file of that name.
        StatusError: it is neither in the folder nor in the bundle (410).
    """
    from model.runtime.detector import Bundle, BundleError

    if name not in FILES:
        raise Http404
    path = version.path / name
    opened: IO[bytes]
    if name == DATASET:
        opened = io.BytesIO(dataset_manifest(version, reader))
    elif path.is_file():
        opened = path.open("rb")
    else:
        try:
            opened = io.BytesIO(Bundle(version.bundle_path).read(name))
        except BundleError as error:
            raise _gone(name) from error
    return FileResponse(opened, as_attachment=True, filename=name)


def asked_rate(request: HttpRequest) -> float | None:
    """``?fa_per_day=`` of an address; None without one. Raises HarkError for what is no number."""
    asked = request.GET.get("fa_per_day")
    if asked is None:
        return None
    try:
        return float(asked)
    except ValueError as error:
        raise HarkError(
            _("That is no rate of false alarms."), _("“%s” is no number.") % asked[:40], _("Give one such as 2.")
        ) from error


def bundle_response(version: Version, fa_per_day: float | None) -> FileResponse:
    """The bundle as a download; with ``fa_per_day`` that rate is its default. Raises StatusError where it is gone."""
    path, name = bundle_file(version), version.bundle
    file: IO[bytes]
    if fa_per_day is None:
        file = path.open("rb")
    else:
        from pipeline.training.bundle import bundle_at

        file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  the response closes it
        try:
            bundle_at(path, fa_per_day, file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        name = f"{path.stem}-{fa_per_day:g}-a-day.zip"
    return FileResponse(file, as_attachment=True, filename=name)


def bundle_file(version: Version) -> Path:
    """Find the bundle. Raises StatusError where it is gone."""
    path = version.bundle_path
    if not path.is_file():
        raise _gone(version.bundle)
    return path


def dataset_manifest(version: Version, reader: User) -> bytes:
    """The clips that a version was trained and measured on, one JSON object a line, as NVIDIA NeMo reads them.

    Paths are relative to the user's data folder, where the file belongs. Others that the detector is shared with read
    neither text nor speaker of people's clips. Raises StatusError where the run's table is gone.
    """
    from pipeline.training.evaluation import REAL_ENGINES

    try:
        with _dataset_table(version).open(encoding="utf-8", newline="") as table:
            rows = list(csv.DictReader(table))
    except OSError as error:
        raise StatusError(
            410,
            _("The list of clips is gone."),
            _("The folder of the training run was removed; the clips are in the library still."),
            _("Train the phrase again to have a list."),
        ) from error
    if version.detector.user_id != reader.pk:
        for row in rows:
            row |= {"text": "", "speaker": ""} if row["engine"] in REAL_ENGINES else {}
    lines = [
        json.dumps(
            {
                "audio_filepath": "/".join(Path(row["path"]).parts[-3:]),  # clips/ab/abcd.flac
                "text": row["text"],
                "duration": float(row["seconds"]),
                **{name: row[name] for name in ("bucket", "engine", "voice", "speaker", "split", "licence")},
            },
            ensure_ascii=False,
        )
        for row in rows
    ]
    return "".join(line + "\n" for line in lines).encode()


def _dataset_table(version: Version) -> Path:
    """The run's table of clips: a run has a folder under ``jobs/`` and one of the same name under ``models/``."""
    return version.path.parents[1] / "jobs" / version.path.name / "clips.csv"
