"""The sentences of a report. They state its figures and claim nothing else.

:data:`SENTENCES` describe a run; :data:`PARTS` stand within them. Figures are named by their place in
``report.json`` ("results.far.miss_rate"), or are among those that ``_figures`` adds to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from audio_generation.registry import RULE_BASED
from audio_generation.splice_side import SPLICE
from core.worded import Worded, listed, worded
from pipeline.training.measuring.evaluation import DEFAULT_FA_PER_DAY
from pipeline.training.measuring.verdict import expected_of_people, predicts_people
from pipeline.training.planning.config import BANK, REAL_ENGINES

if TYPE_CHECKING:
    from model.export import Parity

Row = Mapping[str, Any]
Interval = Mapping[str, float | None]  # value, low, high: model.metrics.Interval.as_dict

PLACEHOLDER = re.compile(r"%\((\w+)\)")
NOT_MEASURED = {"utterances": 0, "miss_rate": dict.fromkeys(("value", "low", "high"))}  # a row without utterances
WANTED = f"{DEFAULT_FA_PER_DAY / 24:g}"  # false alarms per hour


class Sentence:
    """A sentence about figures, or a part of one.

    Args:
        template: as of :func:`core.worded.worded`, also a literal.
        when: the figure that it needs: if that is missing, 0 or "", the sentence is left out.
        named: the figures of placeholders whose names differ from theirs.
    """

    def __init__(self, template: str, /, *, when: str = "", **named: str) -> None:
        self.template, self.when = template, when
        self.named = {name: named.get(name, name) for name in PLACEHOLDER.findall(template)}

    def of(self, figures: Row) -> str:
        """Return the sentence; "" where it is left out."""
        if self.when and not _figure(figures, self.when):
            return ""
        return worded(self.template, **{name: _in_words(_figure(figures, place)) for name, place in self.named.items()})


# A sentence, the name of a part, or several of these: the first that is not left out is used.
Choice = Sentence | str | Sequence["Choice"]

PARTS: Mapping[str, Choice] = {  # each may hold those above it
    "far": Sentence(
        "; across a room in noise and among other speech %(rate)s of %(said)d",
        when="results.far.utterances", rate="results.far.miss_rate", said="results.far.utterances",
    ),
    "misses": (
        Sentence(
            "With real people who say “%(phrase)s”, expect the detector to miss %(people_quiet)s close and quiet, "
            "and %(people_noisy)s in noise at 10 dB SNR. Of %(said)d test utterances alone the detector missed "
            "%(quiet)s in quiet and %(noisy)s in noise%(far)s; the ranges account for chance and for the error of "
            "such tests on real people.",
            when="predicts", said="results.utterances",
        ),
        Sentence(
            "Of %(said)d test utterances of “%(phrase)s” alone, the detector missed %(quiet)s in quiet and %(noisy)s "
            "in noise at 10 dB SNR%(far)s. It may miss real people more often: such tests have not predicted that for "
            "detectors of this kind.",
            when="results.utterances", said="results.utterances",
        ),
        Sentence("The test has no utterance of “%(phrase)s” alone, so how often it is missed was not measured%(far)s."),
    ),
    "raised": Sentence(
        ", and is higher than this rate needs: below it, too many confusable phrases would trigger the detector",
        when="is_raised",
    ),
    "heard": (
        Sentence(
            "%(hours)s hours of test speech and noise (%(distinct)s hours, scored quiet, in noise and across a room)",
            when="heard_again",
        ),
        Sentence("%(hours)s hours of test speech and noise"),
    ),
    "most": Sentence(", for example %(texts)s", when="texts"),
    "kind": (Sentence("synthetic and real", when="is_real"), Sentence("all synthetic")),
    "voices": (
        Sentence(
            "The miss rate is that of the most human-like voices (%(near)s; %(kind)s). Rule-based voices "
            "(%(rule_based)s), measured separately: %(rate)s of %(said)d utterances.",
            when="rule_based_beside", rate="results.rule_based.miss_rate", said="results.rule_based.utterances",
        ),
        Sentence("The test voices are %(kind)s (%(engines)s)."),
    ),
    "not_used": Sentence(" who were not used in training", when="training.steps"),
    "kept_out": Sentence(
        " that was held out of training, by speaker where the speaker is known", when="training.steps"
    ),
    "spoken": Sentence(
        " and on the engines %(names)s", when="backbone.training_engines", names="backbone.training_engines"
    ),
    "in_test": Sentence(" of the test", when="all_in_test"),
    "what": Sentence(
        "%(n)d clips%(in_test)s are joined from pieces of real recordings (the engine splice)",
        when="joined", n="joined",
    ),
    "known": Sentence(" The phone model was trained on these speakers, among others.", when="backbone"),
}  # fmt: skip
SENTENCES: Sequence[Choice] = (
    Sentence(
        "%(misses)s The threshold was set for %(rate)s false alarms per hour on the validation audio%(raised)s.",
        rate="wanted",
    ),
    Sentence(
        "False alarms at that threshold: %(value)s per hour (95 %% interval %(low)s to %(high)s) in %(hours)s. "
        "Confusables accepted: %(accepted)s%(most)s.",
        hours="heard", accepted="summary.confusables_accepted",
    ),
    (
        Sentence("No voice and no confusable of the test was used in training. %(voices)s", when="training.steps"),
        "voices",
    ),
    (
        Sentence(
            "Miss rate on %(said)d utterances by people%(not_used)s: %(rate)s.",
            when="results.people.utterances", said="results.people.utterances", rate="results.people.miss_rate",
        ),
        Sentence(
            "The test has no recording of a person saying the phrase: the miss rate for people is estimated from "
            "synthetic voices, and docs/results.md gives the accuracy of such estimates. To measure your own "
            'voice: ./hark record "%(phrase)s".'
        ),
    ),
    Sentence(
        "No network learned the phrase: a pretrained phone model scores its phones, and the clips were used to set "
        "the threshold and to measure it.",
        when="calibrated",
    ),
    Sentence(
        "Its score has two parts: a keyword HMM, which follows the phones of the phrase, and a network that has "
        "learned the phrase from clips.",
        when="fused",
    ),
    Sentence(
        "Its phone model (%(name)s %(version)s) was trained on real speech (%(corpora)s)%(engines)s.",
        when="backbone", name="backbone.name", version="backbone.version", corpora="backbone.training_corpora",
        engines="spoken",
    ),
    Sentence("The phone model uses %(encoder)s.", when="backbone.encoder", encoder="backbone.encoder"),
    Sentence("The decoder of the same network checks each match in a second pass.", when="backbone.rescored"),
    Sentence(
        "A verifier then compares the match with the phrase phone by phone. It was trained on real speech "
        "(%(corpora)s) and on the engines %(names)s, including most of their voices: measurements with these may "
        "be too good.",
        when="verifier", corpora="verifier.training_corpora", names="verifier.training_engines",
    ),
    Sentence(
        "Real speech that ships with Hark: %(set)s hours of it set the thresholds, and %(test)s other hours are in "
        "this test. The phone model was not trained on any speaker of the test, but on some of the speakers for "
        "the thresholds.",
        when="negative_set",
    ),
    (
        Sentence(
            "%(n)d clips are recordings of your library, or segments that the aligner cut out of them.",
            when="mined", n="mined",
        ),
        Sentence("No clip comes from recordings of your library."),
    ),
    (
        Sentence(
            "%(what)s, the most human-like voices. Miss rate on %(said)d such utterances: in quiet %(quiet)s, in "
            "noise %(noisy)s.%(known)s",
            when="joined_said", said="joined_said", quiet="joined_quiet.miss_rate", noisy="joined_noisy.miss_rate",
        ),
        Sentence("%(what)s.", when="joined"),  # none in the test, or only in sentences across a room
        Sentence("No clip was joined from pieces of real recordings (the engine splice)."),
    ),
    (
        Sentence("%(hours)s hours of the false-alarm audio are real speech%(kept_out)s.", when="real", hours="real"),
        Sentence(
            "False alarms were counted on synthetic speech and noise only. Import real speech for a realistic "
            "figure: ./hark library import FOLDER."
        ),
    ),
    Sentence("The engine %(engine)s is in the test only.", when="held_out", engine="held_out_engine"),
    Sentence(
        "The thresholds for %(rates)s false alarms per day are extrapolated: the validation audio is too short to "
        "observe such low rates.",
        when="rates",
    ),
    Sentence(
        "%(n)d recordings of ordinary speech have no transcript; the phrase could occur in them.",
        when="unknown_transcripts", n="unknown_transcripts",
    ),
)  # fmt: skip
MISSING = Sentence("The engine %(engine)s was not used: %(why)s.")
COMPARED: Sequence[Choice] = (  # with the previous version
    Sentence(
        "Compared with the previous version (%(run)s) on the same test, each at its own threshold: it missed "
        "%(missed)d of %(renderings)d test recordings of %(said)d utterances (previously: %(missed_before)d) and "
        "gave %(alarms)d false alarms in %(hours)s hours (previously: %(alarms_before)d).",
        missed="after.missed", renderings="after.renderings", said="after.utterances", missed_before="before.missed",
        alarms="after.false_alarms", alarms_before="before.false_alarms",
    ),
    Sentence(
        "Of %(marked)d marked false alarms, %(fired)d trigger it (previously: %(before)d); %(made)d anti-keywords "
        "were made from them%(alike)s. It was trained with them, so they do not test it.",
        when="marked", fired="after.marked_fired", before="before.marked_fired",
    ),
    Sentence(
        "Of %(marked)d marked misses it misses %(missed)d (previously: %(before)d). They were marked because it "
        "missed them, so they do not test it.",
        when="marked_misses", marked="marked_misses", missed="after.marked_missed", before="before.marked_missed",
    ),
    (Sentence("It is better.", when="better"), Sentence("It is not better: the previous version stays in use.")),
)  # fmt: skip
ALIKE = Sentence(", and %(n)d sound exactly like the phrase", when="anti_keywords.alike", n="anti_keywords.alike")
DEVICE = Sentence(
    "The detector for %(device)s (%(files)s; %(parameters)s parameters) missed %(quiet)s close and quiet, and "
    "%(noisy)s in noise at 10 dB SNR, of %(said)d test utterances by voices that were not used in its training; it "
    "may miss people more often. It gave %(alarms)s false alarms per hour (%(least)s to %(most)s) in %(hours)s "
    "hours; the threshold in its file was set for %(wanted)s%(extrapolated)s. Confusables accepted: "
    "%(accepted)s.%(untaught)s",
    device="title", quiet="miss_rate_clean", noisy="miss_rate_noisy", said="utterances",
)  # fmt: skip
EXTRAPOLATED = Sentence(", extrapolated from the highest scores of too few hours to observe it", when="extrapolated")
UNTAUGHT = Sentence(
    " It learned from the clips alone, without a detector of size standard as its teacher: none can be trained in "
    "this language or with this effort.",
    when="untaught",
)


def in_words(report: Row) -> list[Worded]:
    """Return the sentences about the run's own detector."""
    figures = {**report, **_figures(report)}
    for name, part in PARTS.items():
        figures[name] = _said(part, figures)
    missing = ({"engine": engine, "why": why.rstrip(".")} for engine, why in report["engines_missing"].items())
    return _sentences(SENTENCES, figures) + [sentence for row in missing for sentence in _sentences([MISSING], row)]


def compared_in_words(comparison: Row) -> list[Worded]:
    """Say how a version compares with the one before it (``Retraining.compared``)."""
    hours, made = per_hour(comparison["after"]["hours"]), len(comparison["anti_keywords"]["phones"])
    return _sentences(COMPARED, {**comparison, "hours": hours, "made": made, "alike": ALIKE.of(comparison)})


def device_in_words(about: Row) -> Worded:
    """Describe the figures of a detector for a device."""
    extrapolated = {"extrapolated": _default_is("extrapolated", about["thresholds"])}
    untaught = {"untaught": not about.get("taught", True)}  # reports from before teachers existed lack "taught"
    added = {
        "files": listed(about["bytes"]),
        "parameters": f"{about['parameters']:,}",
        **dict(zip(("alarms", "least", "most"), _alarms(about))),
        "hours": f"{about['test_hours']:.1f}",
        "wanted": WANTED,
        "accepted": percent(about["confusables_accepted"]["value"]),
        "extrapolated": EXTRAPOLATED.of(extrapolated),
        "untaught": UNTAUGHT.of(untaught),
    }
    (sentence,) = _sentences([DEVICE], {**about, **added})
    return sentence


def int8_left_out(parity: Parity) -> Worded | None:
    """Explain why the 8-bit weights were left out; None where they agree, or the detector has none."""
    from model.export import INT8_TOLERANCE

    if parity.int8 is None or parity.int8_agrees:
        return None
    return worded(
        "The model with 8-bit weights (model.int8.onnx) was left out: on test audio its scores differ by up to "
        "%(off)s from the others', and the tolerance is %(accepted)s. The other forms agree.",
        off=math.ceil(1000 * parity.int8) / 1000,
        accepted=INT8_TOLERANCE,
    )


def percent(value: float | None) -> str:
    """Word a share: ``12.5 %``."""
    return worded("not measured") if value is None else f"{100 * value:.1f} %"


def per_hour(value: float | None) -> str:
    """Word a rate: ``0.75``."""
    return worded("not measured") if value is None else f"{value:.2f}"


def roughly(interval: Interval) -> str:
    """Word the range of a miss rate, without false precision: ``5 to 25 %``."""
    if interval["value"] is None or interval["low"] is None or interval["high"] is None:
        return worded("not measured")
    low, high = (f"{100 * interval[name]:.0f}" for name in ("low", "high"))  # type: ignore[operator]
    return worded("%(low)s to %(high)s %%", low=low, high=high)


def _alarms(about: Row) -> list[str]:
    return [per_hour(about["fa_per_hour"][name]) for name in ("value", "low", "high")]


def _in_words(figure: Any) -> Any:
    """Word a figure for use in a sentence; an interval is that of a share."""
    if isinstance(figure, list):
        return listed(figure)
    if not isinstance(figure, Mapping):
        return figure
    if figure["value"] is None:
        return worded("not measured")
    shares = {name: percent(figure[name]) for name in ("value", "low", "high")}
    return worded("%(value)s (95 %% interval %(low)s to %(high)s)", **shares)


def _sentences(choices: Sequence[Choice], figures: Row) -> list[Worded]:
    return [said for choice in choices if isinstance(said := _said(choice, figures), Worded)]


def _said(choice: Choice, figures: Row) -> str:
    if isinstance(choice, Sentence):
        return choice.of(figures)
    if isinstance(choice, str):
        part: str = figures[choice]
        return part
    return next(filter(None, (_said(one, figures) for one in choice)), "")


def _figure(figures: Any, place: str) -> Any:
    """Look up a figure by its dotted name; None if it is missing."""
    for name in place.split("."):
        figures = (figures or {}).get(name)
    return figures


def _figures(report: Row) -> dict[str, Any]:
    """Derive the figures that the sentences need and the report lacks."""
    results, summary, thresholds = report["results"], report["summary"], report["thresholds"]
    quiet, noisy, trained = summary["miss_rate_clean"], summary["miss_rate_noisy"], report["training"]["steps"]
    predicts = results["utterances"] and predicts_people(report)
    hours, distinct = per_hour(results["hours"]), per_hour(results["distinct_hours"])
    engines = sorted({row["engine"] for row in results["by_engine"]})
    near, rule_based = ([e for e in engines if (e in RULE_BASED) == kind] for kind in (False, True))
    real = [row["hours"] for row in results["false_alarms_by"] if row["engine"].startswith(("corpus", BANK))]
    joined = [row for row in report["clips"] if row["engine"] == SPLICE]
    clips = sum(row["clips"] for row in joined)
    heard = {row["condition"]: row for row in results["by_engine"] if row["engine"] == SPLICE}
    joined_quiet, joined_noisy = (heard.get(condition, NOT_MEASURED) for condition in ("clean", "noisy"))
    return {
        "predicts": predicts,
        "people_quiet": roughly(expected_of_people(quiet)),
        "people_noisy": roughly(expected_of_people(noisy)),
        "quiet": percent(quiet["value"]) if predicts else quiet,
        "noisy": percent(noisy["value"]) if predicts else noisy,
        "engines": engines,
        "near": near,
        "rule_based": rule_based,
        "rule_based_beside": near and rule_based,
        "is_real": set(engines) & set(REAL_ENGINES),
        "held_out": trained and report["held_out_engine"] in engines,
        "calibrated": not trained,
        "fused": trained and report.get("backbone"),
        "wanted": WANTED,
        "is_raised": _default_is("raised", thresholds),
        "rates": listed(f"{row['fa_per_day']:g}" for row in thresholds if row["extrapolated"]),
        **dict(zip(("value", "low", "high"), _alarms(summary))),
        "hours": hours,
        "distinct": distinct,
        "heard_again": hours != distinct,
        "texts": listed(f"“{text}”" for text in summary["fooled_by"]),
        "real": per_hour(sum(real)) if real else "",
        "mined": sum(row["mined"] for row in report["counts"].values()),
        "joined": clips,
        "all_in_test": all(row["split"] == "test" for row in joined),
        "joined_said": clips and max(joined_quiet["utterances"], joined_noisy["utterances"]),
        "joined_quiet": joined_quiet,
        "joined_noisy": joined_noisy,
        **{name: f"{report['shipped_hours'][split]:.1f}" for name, split in (("set", "validation"), ("test", "test"))},
    }


def _default_is(what: str, thresholds: Sequence[Row]) -> bool:
    """Return whether the default threshold is of this kind: "raised" or "extrapolated"."""
    return any(row.get(what) for row in thresholds if row["fa_per_day"] == DEFAULT_FA_PER_DAY)
