"""The sentences of a report. They state only its figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from audio_generation.registry import RULE_BASED
from audio_generation.splice_side import SPLICE
from core.worded import NOT_MEASURED, Worded, listed, percent, worded
from db.records import BANK, REAL_ENGINES
from model.metrics import IntervalDict
from pipeline.training.measuring.calibration import DEFAULT_FA_PER_DAY
from pipeline.training.measuring.figures import AgainstPrevious, Threshold
from pipeline.training.reporting.report_types import DeviceFigures, RunFigures
from pipeline.training.reporting.verdict import expected_of_people, predicts_people

if TYPE_CHECKING:
    from model.export import Parity


WANTED = f"{DEFAULT_FA_PER_DAY / 24:g}"  # false alarms per hour


def in_words(report: RunFigures) -> list[Worded]:
    """Return the sentences about the run's own detector, from the figures of a report."""
    return [
        _threshold(report),
        _alarms(report),
        _voices(report),
        _people(report),
        *_method(report),
        *_shipped(report),
        _mined(report),
        _joined(report),
        _real_hours(report),
        *_remarks(report),
    ]


def _threshold(report: RunFigures) -> Worded:
    raised = ""
    if _default_is("raised", report["thresholds"]):
        raised = worded(
            ", and is higher than this rate alone would require, because below it too many confusable phrases would "
            "trigger the detector"
        )
    elif report["model"].get("allow_confusables"):
        raised = worded(", and, as chosen, was not raised to reject confusable phrases")
    return worded(
        "%(misses)s The threshold was set for %(rate)s false alarms per hour on the validation audio%(raised)s.",
        misses=_misses(report), rate=WANTED, raised=raised,
    )  # fmt: skip


def _misses(report: RunFigures) -> Worded:
    phrase, results, utterances = report["phrase"], report["results"], report["results"]["utterances"]
    quiet, noisy = report["summary"]["miss_rate_clean"], report["summary"]["miss_rate_noisy"]
    far = ""
    if results["far"]["utterances"]:
        far = worded(
            " Across a room, in noise and among other speech, it missed %(rate)s of %(said)d.",
            rate=_share(results["far"]["miss_rate"]), said=results["far"]["utterances"],
        )  # fmt: skip
    if not utterances:
        return worded(
            "The test has no utterance of “%(phrase)s” on its own, so "
            "how often the detector misses it was not measured.%(far)s",
            phrase=phrase, far=far,
        )  # fmt: skip
    if predicts_people(report):
        return worded(
            "With real people who say “%(phrase)s”, expect the detector to miss %(people_quiet)s close and quiet, "
            "and %(people_noisy)s in noise at 10 dB SNR. Of %(said)d test utterances of the phrase on its own, "
            "the detector missed %(quiet)s in quiet and %(noisy)s in noise. The ranges account for chance and for "
            "the error of such tests on real people.%(far)s",
            phrase=phrase, said=utterances, far=far, quiet=percent(quiet["value"]), noisy=percent(noisy["value"]),
            people_quiet=roughly(expected_of_people(quiet)), people_noisy=roughly(expected_of_people(noisy)),
        )  # fmt: skip
    return worded(
        "Of %(said)d test utterances of “%(phrase)s” on its own, the detector missed %(quiet)s in quiet and %(noisy)s "
        "in noise at 10 dB SNR.%(far)s It may miss real people more often: such tests have not predicted that for "
        "detectors of this kind.",
        phrase=phrase, said=utterances, far=far, quiet=_share(quiet), noisy=_share(noisy),
    )  # fmt: skip


def _alarms(report: RunFigures) -> Worded:
    summary, results = report["summary"], report["results"]
    hours, distinct = per_hour(results["hours"]), per_hour(results["distinct_hours"])
    if hours == distinct:
        scored = worded("%(hours)s hours of test speech and noise", hours=hours)
    else:
        scored = worded(
            "%(hours)s hours of test speech and noise (%(distinct)s hours, scored quiet, in noise and across a room)",
            hours=hours, distinct=distinct,
        )  # fmt: skip
    texts = listed(f"“{text}”" for text in summary["fooled_by"])
    most = worded(", for example %(texts)s", texts=texts) if texts else ""
    return worded(
        "False alarms at that threshold: %(value)s per hour (95 %% interval %(low)s to %(high)s) in %(hours)s. "
        "Confusables accepted: %(accepted)s%(most)s.",
        hours=scored, accepted=_share(summary["confusables_accepted"]), most=most, **_rates(summary["fa_per_hour"]),
    )  # fmt: skip


def _voices(report: RunFigures) -> Worded:
    engines, results = _engines(report), report["results"]["rule_based"]
    near = [engine for engine in engines if engine not in RULE_BASED]
    rule_based = [engine for engine in engines if engine in RULE_BASED]
    kind = worded("synthetic and real") if set(engines) & set(REAL_ENGINES) else worded("all synthetic")
    if near and rule_based:
        voices = worded(
            "The miss rate is that of the most human-like voices (%(near)s; %(kind)s). Rule-based voices "
            "(%(rule_based)s), measured separately: %(rate)s of %(said)d utterances.",
            near=listed(near), kind=kind, rule_based=listed(rule_based), rate=_share(results["miss_rate"]),
            said=results["utterances"],
        )  # fmt: skip
    else:
        voices = worded("The test voices are %(kind)s (%(engines)s).", kind=kind, engines=listed(engines))
    if not _is_trained(report):
        return voices
    return worded("No voice and no confusable of the test was used in training. %(voices)s", voices=voices)


def _people(report: RunFigures) -> Worded:
    people = report["results"]["people"]
    if people["utterances"]:
        return worded(
            "Miss rate on %(said)d utterances by people%(not_used)s: %(rate)s.",
            said=people["utterances"], rate=_share(people["miss_rate"]),
            not_used=worded(" who were not used in training") if _is_trained(report) else "",
        )  # fmt: skip
    return worded(
        "The test has no recording of a person saying the phrase: the miss rate for people is estimated from "
        "synthetic voices, and docs/results.md gives the accuracy of such estimates. To measure your own "
        'voice: ./hark record "%(phrase)s".',
        phrase=report["phrase"],
    )


def _method(report: RunFigures) -> Iterator[Worded]:
    if not _is_trained(report):
        yield worded(
            "No network learned the phrase: a pretrained phone model scores its phones, and the clips were used to set "
            "the threshold and to measure it."
        )
    elif report.get("backbone"):
        yield worded(
            "Its score has two parts: a keyword HMM, which follows the phones of the phrase, and a network that has "
            "learned the phrase from clips."
        )


def _shipped(report: RunFigures) -> Iterator[Worded]:
    """Describe the shipped weights and speech behind the detector."""
    if backbone := report.get("backbone"):
        spoken = ""
        if backbone["training_engines"]:
            spoken = worded(" and on the engines %(names)s", names=listed(backbone["training_engines"]))
        yield worded(
            "Its phone model (%(name)s %(version)s) was trained on real speech (%(corpora)s)%(engines)s.",
            name=backbone["name"], version=backbone["version"], corpora=listed(backbone["training_corpora"]),
            engines=spoken,
        )  # fmt: skip
        if backbone.get("encoder"):
            yield worded("The phone model uses %(encoder)s.", encoder=backbone["encoder"])
        if backbone.get("rescored"):
            yield worded("The decoder of the same network checks each match in a second pass.")
    if verifier := report.get("verifier"):
        yield worded(
            "A verifier then compares the match with the phrase phone by phone. It was trained on real speech "
            "(%(corpora)s) and on the engines %(names)s, including most of their voices: results on these may be "
            "optimistic.",
            corpora=listed(verifier["training_corpora"]), names=listed(verifier["training_engines"]),
        )  # fmt: skip
    if report.get("negative_set"):
        hours = {split: f"{hours:.1f}" for split, hours in report["shipped_hours"].items()}
        yield worded(
            "Real speech that ships with Hark: %(set)s hours of it set the thresholds, and %(test)s other hours are in "
            "this test. The phone model was not trained on any speaker of the test, but on some of the speakers for "
            "the thresholds.",
            set=hours["validation"], test=hours["test"],
        )  # fmt: skip


def _mined(report: RunFigures) -> Worded:
    if n := sum(row["mined"] for row in report["counts"].values()):
        return worded(
            "%(n)d clip is a recording of your library, or a segment that the aligner cut out of one.",
            "%(n)d clips are recordings of your library, or segments that the aligner cut out of them.",
            n=n,
        )
    return worded("No clip comes from recordings of your library.")


def _joined(report: RunFigures) -> Worded:
    joined = [row for row in report["clips"] if row["engine"] == SPLICE]
    if not joined:
        return worded("No clip was joined from pieces of real recordings (the engine splice).")
    what = worded(
        "%(n)d clips%(in_test)s are joined from pieces of real recordings (the engine splice)",
        n=sum(row["clips"] for row in joined),
        in_test=worded(" of the test") if all(row["split"] == "test" for row in joined) else "",
    )
    measured = [row for row in report["results"]["by_engine"] if row["engine"] == SPLICE and row["condition"] != "far"]
    if not measured:  # none in the test, or only in sentences across a room
        return worded("%(what)s.", what=what)
    missed = {row["condition"]: _share(row["miss_rate"]) for row in measured}
    return worded(
        "%(what)s, the most human-like voices. Miss rate on %(said)d such utterances: in quiet %(quiet)s, in "
        "noise %(noisy)s.%(known)s",
        what=what, said=max(row["utterances"] for row in measured),
        quiet=missed.get("clean", NOT_MEASURED), noisy=missed.get("noisy", NOT_MEASURED),
        known=worded(" The phone model was trained on these speakers, among others.") if report.get("backbone") else "",
    )  # fmt: skip


def _real_hours(report: RunFigures) -> Worded:
    rows = report["results"]["false_alarms_by"]
    real = [row["hours"] for row in rows if row["engine"].startswith(("corpus", BANK))]
    if not real:
        return worded(
            "False alarms were counted on synthetic speech and noise only. Import real speech for a realistic "
            "figure: ./hark library import FOLDER."
        )
    kept_out = ""
    if _is_trained(report):
        kept_out = worded(" that was held out of training, by speaker where the speaker is known")
    return worded(
        "%(hours)s hours of the false-alarm audio are real speech%(kept_out)s.",
        hours=per_hour(sum(real)), kept_out=kept_out,
    )  # fmt: skip


def _remarks(report: RunFigures) -> Iterator[Worded]:
    if _is_trained(report) and report["held_out_engine"] in _engines(report):
        yield worded("The engine %(engine)s is in the test only.", engine=report["held_out_engine"])
    rates = listed(f"{row['fa_per_day']:g}" for row in report["thresholds"] if row["extrapolated"])
    if rates:
        yield worded(
            "The thresholds for %(rates)s false alarms per day are extrapolated: the validation audio is too short to "
            "observe such low rates.",
            rates=rates,
        )
    if n := report["unknown_transcripts"]:
        yield worded(
            "%(n)d recording of ordinary speech has no transcript; the phrase could occur in it.",
            "%(n)d recordings of ordinary speech have no transcript; the phrase could occur in them.",
            n=n,
        )
    for engine, why in report["engines_missing"].items():
        yield worded("The engine %(engine)s was not used: %(why)s.", engine=engine, why=why.rstrip("."))


def compared_in_words(comparison: AgainstPrevious) -> list[Worded]:
    """State how a version compares with the previous one (``Retraining.compared``)."""
    before, after, anti_keywords = comparison["before"], comparison["after"], comparison["anti_keywords"]
    sentences = [
        worded(
            "Compared with the previous version (%(run)s) on the same test, each at its own threshold: it missed "
            "%(missed)d of %(renderings)d test recordings of %(said)d utterances (previously: %(missed_before)d) and "
            "gave %(alarms)d false alarms in %(hours)s hours (previously: %(alarms_before)d).",
            run=comparison["run"], missed=after["missed"], renderings=after["renderings"], said=after["utterances"],
            missed_before=before["missed"], alarms=after["false_alarms"], hours=per_hour(after["hours"]),
            alarms_before=before["false_alarms"],
        )
    ]  # fmt: skip
    if comparison["marked"]:
        alike = ""
        if anti_keywords["alike"]:
            alike = worded(
                " %(n)d of the marked false alarms sounds exactly like the phrase, so nothing can reject it.",
                " %(n)d of the marked false alarms sound exactly like the phrase, so nothing can reject them.",
                n=anti_keywords["alike"],
            )
        sentences.append(
            worded(
                "Of %(marked)d marked false alarms, %(fired)d trigger it (previously: %(before)d); %(made)d "
                "anti-keywords were made from them. It was trained with them, so they do not test it.%(alike)s",
                marked=comparison["marked"], fired=after["marked_fired"], before=before["marked_fired"],
                made=len(anti_keywords["phones"]), alike=alike,
            )
        )  # fmt: skip
    if comparison["marked_misses"]:
        sentences.append(
            worded(
                "Of %(marked)d marked misses it misses %(missed)d (previously: %(before)d). They were marked because "
                "it missed them, so they do not test it.",
                marked=comparison["marked_misses"], missed=after["marked_missed"], before=before["marked_missed"],
            )
        )  # fmt: skip
    better, not_better = worded("It is better."), worded("It is not better: the previous version stays in use.")
    return [*sentences, better if comparison["better"] else not_better]


def device_in_words(about: DeviceFigures) -> Worded:
    """Describe the figures of a detector for a device."""
    extrapolated = untaught = ""
    if _default_is("extrapolated", about["thresholds"]):
        extrapolated = worded(", extrapolated from the highest scores of too few hours to observe it")
    if about["taught"] is False:
        untaught = worded(
            " It learned from the clips alone, without a detector of size standard as its teacher: none can be trained "
            "in this language or with this effort."
        )
    rates, parameters, hours = _rates(about["fa_per_hour"]), f"{about['parameters']:,}", f"{about['test_hours']:.1f}"
    return worded(
        "The detector for %(device)s (%(files)s; %(parameters)s parameters) missed %(quiet)s close and quiet, and "
        "%(noisy)s in noise at 10 dB SNR, of %(said)d test utterances by voices that were not used in its training; it "
        "may miss people more often. It gave %(alarms)s false alarms per hour (%(least)s to %(most)s) in %(hours)s "
        "hours; the threshold in its file was set for %(wanted)s%(extrapolated)s. Confusables accepted: "
        "%(accepted)s.%(untaught)s Its scores were checked in %(runtime)s.",
        device=about["title"], files=listed(about["bytes"]), parameters=parameters,
        quiet=_share(about["miss_rate_clean"]), noisy=_share(about["miss_rate_noisy"]), said=about["utterances"],
        alarms=rates["value"], least=rates["low"], most=rates["high"], hours=hours,
        wanted=WANTED, extrapolated=extrapolated, accepted=percent(about["confusables_accepted"]["value"]),
        untaught=untaught, runtime=about["runtime"],
    )  # fmt: skip


def int8_left_out(parity: Parity) -> Worded | None:
    """Explain why the 8-bit weights were omitted; None if they agree, or the detector has none."""
    from model.export import INT8_TOLERANCE

    if parity.int8 is None or parity.int8_agrees:
        return None
    return worded(
        "The model with 8-bit weights (model.int8.onnx) was left out: on test audio its scores differ by up to "
        "%(off)s from the others', and the tolerance is %(accepted)s. The other forms agree.",
        off=math.ceil(1000 * parity.int8) / 1000,
        accepted=INT8_TOLERANCE,
    )


def per_hour(value: float | None) -> str:
    """Format a rate: ``0.75``."""
    return NOT_MEASURED if value is None else f"{value:.2f}"


def roughly(interval: IntervalDict) -> Worded:
    """Format the range of a miss rate, without false precision: ``5 to 25 %``."""
    if interval["value"] is None or interval["low"] is None or interval["high"] is None:
        return NOT_MEASURED
    low, high = (f"{100 * interval[name]:.0f}" for name in ("low", "high"))  # type: ignore[operator]
    return worded("%(low)s to %(high)s %%", low=low, high=high)


def _share(interval: IntervalDict) -> Worded:
    if interval["value"] is None:
        return NOT_MEASURED
    shares = {name: percent(interval[name]) for name in ("value", "low", "high")}
    return worded("%(value)s (95 %% interval %(low)s to %(high)s)", **shares)


def _rates(interval: IntervalDict) -> dict[str, str]:
    return {name: per_hour(interval[name]) for name in ("value", "low", "high")}


def _is_trained(report: RunFigures) -> bool:
    return bool(report["training"]["steps"])


def _engines(report: RunFigures) -> list[str]:
    return sorted({row["engine"] for row in report["results"]["by_engine"]})


def _default_is(what: str, thresholds: Sequence[Threshold]) -> bool:
    """Return whether the default threshold is of this kind: "raised" or "extrapolated"."""
    return any(row.get(what) for row in thresholds if row["fa_per_day"] == DEFAULT_FA_PER_DAY)
