"""The report of a run: what was measured on what, as plain data, in words, as a page and as a DET plot."""

from __future__ import annotations

import io
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from audio_generation.registry import RULE_BASED
from audio_generation.splice_side import SPLICE
from core.worded import Worded, worded
from pipeline.training import retraining
from pipeline.training.config import BUCKETS
from pipeline.training.evaluation import DEFAULT_FA_PER_DAY, REAL_ENGINES, Made
from pipeline.training.plan import Plan
from pipeline.training.synthesis import GenerationReport
from pipeline.training.verdict import expected_of_people, predicts_people, verdict_of

if TYPE_CHECKING:
    import pandas as pd

    from model.dataset import FeatureStore
    from model.detector import Detector

Report = dict[str, Any]

WORST_SPEAKERS = 15  # shown in the page; report.json has all
FOOLED_BY = 5  # near-phrases that a summary names
NOT_MEASURED = {"utterances": 0, "miss_rate": dict.fromkeys(("value", "low", "high"))}  # a row without utterances


def build_report(
    plan: Plan, clips: pd.DataFrame, made: Made, generated: GenerationReport, foundation: Mapping[str, Any]
) -> Report:
    """Everything that is known about a run, as plain JSON values.

    Args:
        foundation: what is said about the shipped weights that the run built on, and of the version before it:
            ``backbone``, ``verifier``, ``negative_set``, ``compared``.
    """
    detector, store, trained, results = made.detector, made.store, made.trained, made.results
    counts = {}
    for bucket in BUCKETS:
        rows = clips[clips["bucket"] == bucket]
        real = int(rows["engine"].isin(REAL_ENGINES).sum())
        reused = int(rows["reused"].sum()) - real
        counts[bucket] = {"reused": reused, "mined": real, "generated": len(rows) - reused - real}
    hours = {
        split: {
            str(condition): round(float(group["frames"].sum()) * detector.config.stored.step / 360_000, 3)
            for condition, group in store.where(split=split).groupby("condition")
        }
        for split in ("train", "validation", "test")
    }
    used = clips.groupby(["bucket", "engine", "split"]).size().reset_index(name="clips")
    at_default = next(row for row in results["at_rates"] if row["fa_per_hour_wanted"] == DEFAULT_FA_PER_DAY / 24)
    summary = {
        "effort": plan.config.effort,
        "miss_rate": at_default["miss_rate"]["all"],
        "miss_rate_clean": at_default["miss_rate"]["clean"],
        "miss_rate_noisy": at_default["miss_rate"]["noisy"],
        "fa_per_hour": at_default["fa_per_hour"],
        "threshold": at_default["threshold"],
        "confusers_accepted": results["confusers"]["rate"],
        "fooled_by": [row["text"] for row in results["confusers"]["worst"][:FOOLED_BY]],
        "test_hours": results["hours"],
        "parameters": detector.parameter_count(),
    }
    training: dict[str, Any] = {"steps": 0, "best_step": None, "best_measure": None, "seconds": 0.0, "history": []}
    if trained is not None:
        training = {name: getattr(trained, name) for name in training} | {"seconds": round(trained.seconds, 1)}
    device = trained.device if trained is not None else "cpu"
    report: Report = {
        "phrase": plan.config.phrase,
        "language": plan.config.language,
        "effort": plan.config.effort,
        "seed": plan.config.seed,
        "run": plan.run,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "device": device,
        },
        "summary": summary,
        "counts": counts,
        "clips": used.to_dict("records"),
        "hours": hours,
        "shipped_hours": {split: _shipped_hours(store, detector, split) for split in ("validation", "test")},
        "engines": plan.engines,
        "engines_missing": plan.engines_missing,
        "held_out_engine": plan.held_out or None,
        "generation_failures": generated.failed,
        "unknown_transcripts": int((clips[clips["bucket"] == "plain_negative"]["text"] == "").sum()),
        "licences": sorted(set(clips["licence"])),
        "training": training,
        "model": detector.config.as_dict(),
        **foundation,
        "thresholds": [dict(row) for row in made.thresholds],
        "results": dict(results),
    }
    report["in_words"] = in_words(report)
    if "compared" in report:
        report["in_words"] += retraining.in_words(report["compared"])
    return report


def _shipped_hours(store: FeatureStore, detector: Detector, split: str) -> float:
    """Hours of the real speech that ships, in one condition, among a split's streams."""
    rows = store.where(split=split)
    rows = rows[rows["engine"].str.startswith("bank:")]
    frames = rows.groupby("condition")["frames"].sum().max() if len(rows) else 0
    return round(float(frames) * detector.config.stored.step / 360_000, 2)


def _percent(value: float | None) -> str:
    return worded("not measured") if value is None else f"{100 * value:.1f} %"


def _heard(results: Mapping[str, Any]) -> Worded:
    """The sound of the test without the phrase; each hour of it may be heard in several conditions."""
    hours = f"{results['hours']:.2f}"
    distinct = f"{results['distinct_hours']:.2f}"
    if distinct == hours:
        return worded("%(hours)s hours of test speech and noise", hours=hours)
    return worded(
        "%(hours)s hours of test speech and noise (%(distinct)s hours, heard quiet, in noise and across a room)",
        hours=hours, distinct=distinct,
    )  # fmt: skip


def _rate(interval: Mapping[str, float | None]) -> str:
    if interval["value"] is None:
        return worded("not measured")
    shares = {name: _percent(interval[name]) for name in ("value", "low", "high")}
    return worded("%(value)s (95 %% interval %(low)s to %(high)s)", **shares)


def _per_hour(value: float | None) -> str:
    return worded("not measured") if value is None else f"{value:.2f}"


def _misses(report: Mapping[str, Any]) -> str:
    """What was missed, and whether as much is to be expected of people."""
    results, summary = report["results"], report["summary"]
    quiet, noisy = summary["miss_rate_clean"], summary["miss_rate_noisy"]
    if not results["utterances"]:
        return worded(
            "The test has no utterance of “%(phrase)s” alone, so how often it is missed was not measured%(far)s.",
            phrase=report["phrase"], far=_far(results),
        )  # fmt: skip
    if not predicts_people(report):
        return worded(
            "Of %(said)d test utterances of “%(phrase)s” alone, the detector missed %(quiet)s in quiet and %(noisy)s "
            "in noise at 10 dB SNR%(far)s. It may miss real people more often: such tests have not predicted that for "
            "detectors of this kind.",
            said=results["utterances"], phrase=report["phrase"], quiet=_rate(quiet), noisy=_rate(noisy),
            far=_far(results),
        )  # fmt: skip
    return worded(
        "Of real people who say “%(phrase)s”, expect the detector to miss %(people_quiet)s close and quiet, and "
        "%(people_noisy)s in noise at 10 dB SNR. Of %(said)d test utterances alone the detector missed %(quiet)s in "
        "quiet and %(noisy)s in noise%(far)s; the ranges hold chance, and how far such tests were from real people.",
        phrase=report["phrase"], said=results["utterances"],
        people_quiet=_range(expected_of_people(quiet)), people_noisy=_range(expected_of_people(noisy)),
        quiet=_percent(quiet["value"]), noisy=_percent(noisy["value"]), far=_far(results),
    )  # fmt: skip


def _fooled_by(summary: Mapping[str, Any]) -> str:
    texts = ", ".join(f"“{text}”" for text in summary["fooled_by"])
    return worded(", for example %(texts)s", texts=texts) if texts else ""


def in_words(report: Mapping[str, Any]) -> list[str]:
    """What was measured on what, in sentences that claim nothing else."""
    results, summary = report["results"], report["summary"]
    trained = bool(report["training"]["steps"])
    real_test = [row for row in results["false_alarms_by"] if row["engine"].split(":")[0] in ("corpus", "bank")]
    engines = sorted({row["engine"] for row in results["by_engine"]})
    voices = _about_voices(results, engines)
    figures = {name: _per_hour(summary["fa_per_hour"][name]) for name in ("value", "low", "high")}
    sentences = [
        worded(
            "%(misses)s The threshold was set for %(rate)s false alarms per hour on the validation streams%(raised)s.",
            misses=_misses(report),
            rate=f"{DEFAULT_FA_PER_DAY / 24:g}",
            raised=_raised(report["thresholds"]),
        ),
        worded(
            "False alarms at that threshold: %(value)s per hour (95 %% interval %(low)s to %(high)s) in %(hours)s. "
            "Near-phrases accepted: %(accepted)s%(most)s.",
            **figures,
            hours=_heard(results),
            accepted=_rate(summary["confusers_accepted"]),
            most=_fooled_by(summary),
        ),
        worded("No voice and no near-phrase of the test was used in training. %(voices)s", voices=voices)
        if trained
        else voices,
    ]
    people = results["people"]
    if people["utterances"]:
        not_used = worded(" who were not used in training") if trained else ""
        sentences.append(
            worded(
                "Miss rate on %(said)d utterances by people%(not_used)s: %(rate)s.",
                said=people["utterances"], not_used=not_used, rate=_rate(people["miss_rate"]),
            )
        )  # fmt: skip
    else:
        sentences.append(
            worded(
                "The test has no recording of a person saying the phrase: what people will be missed is estimated from "
                "synthetic voices, and docs/results.md says how well that has predicted. To measure your own voice: "
                './hark record "%(phrase)s".',
                phrase=report["phrase"],
            )
        )
    if not trained:
        sentences.append(
            worded(
                "No network learned the phrase: a pretrained phone model scores its phones, and the clips set the "
                "threshold and measured it."
            )
        )
    if report.get("backbone"):
        sentences += _about_foundation(report)
    mined = sum(row["mined"] for row in report["counts"].values())
    sentences.append(
        worded("%(n)d clips are recordings of your library, or segments that the aligner cut out of them.", n=mined)
        if mined
        else worded("No clip comes from recordings of your library.")
    )
    sentences.append(_about_splice(report))
    if not real_test:
        sentences.append(
            worded(
                "False alarms were counted on synthetic speech and noise only. Import real speech for a figure that "
                "holds: ./hark library import FOLDER."
            )
        )
    else:
        kept_out = worded(" that was kept out of training, by speaker where the speaker is known") if trained else ""
        real_hours = f"{sum(row['hours'] for row in real_test):.2f}"
        sentences.append(
            worded(
                "%(hours)s hours of the false-alarm streams are real speech%(kept_out)s.",
                hours=real_hours, kept_out=kept_out,
            )
        )  # fmt: skip
    if trained and report["held_out_engine"] in engines:
        sentences.append(worded("The engine %(engine)s is in the test only.", engine=report["held_out_engine"]))
    extrapolated = [row for row in report["thresholds"] if row["extrapolated"]]
    if extrapolated:
        rates = ", ".join(f"{row['fa_per_day']:g}" for row in extrapolated)
        sentences.append(
            worded(
                "The thresholds for %(rates)s false alarms per day are extrapolated: the validation streams are too "
                "short to observe such low rates.",
                rates=rates,
            )
        )
    if report["unknown_transcripts"]:
        sentences.append(
            worded(
                "%(n)d recordings of ordinary speech have no transcript; the phrase could occur in them.",
                n=report["unknown_transcripts"],
            )
        )
    for engine, why in report["engines_missing"].items():
        sentences.append(worded("The engine %(engine)s was not used: %(why)s.", engine=engine, why=why.rstrip(".")))
    return sentences


def _about_foundation(report: Mapping[str, Any]) -> list[str]:
    """What the shipped parts of a calibrated detector have learned from, and the speech its threshold is from."""
    backbone = report["backbone"]
    spoken = ""
    if backbone["training_engines"]:
        names = ", ".join(backbone["training_engines"])
        spoken = worded(" and on the engines %(names)s", names=names)
    sentences: list[str] = []
    if report["training"]["steps"]:
        sentences.append(
            worded(
                "Its score is that of two parts: a keyword HMM, which follows the phones of the phrase, and a network "
                "that has learned the phrase from clips."
            )
        )
    sentences.append(
        worded(
            "Its phone model (%(name)s %(version)s) was trained on real speech (%(corpora)s)%(engines)s.",
            name=backbone["name"], version=str(backbone["version"]), corpora=", ".join(backbone["training_corpora"]),
            engines=spoken,
        )
    )  # fmt: skip
    if backbone.get("encoder"):
        sentences.append(worded("The phone model hears with %(encoder)s.", encoder=backbone["encoder"]))
    if backbone.get("rescored"):
        sentences.append(worded("The decoder of the same network reads each match in a second pass."))
    if report.get("verifier"):
        corpora, names = (", ".join(report["verifier"][f"training_{part}"]) for part in ("corpora", "engines"))
        sentences.append(
            worded(
                "A verifier then compares the match with the phrase phone by phone. It was trained on real speech "
                "(%(corpora)s) and on the engines %(names)s, and has heard most of their voices: what is measured with "
                "these may be too good.",
                corpora=corpora, names=names,
            )
        )  # fmt: skip
    if report.get("negative_set"):
        setting, testing = (f"{report['shipped_hours'][split]:.1f}" for split in ("validation", "test"))
        sentences.append(
            worded(
                "Real speech that ships with Hark: %(set)s hours of it set the thresholds, %(test)s other ones are in "
                "this test. The phone model has heard no speaker of the test, but some of those who set the "
                "thresholds.",
                set=setting, test=testing,
            )
        )  # fmt: skip
    return sentences


def devices_in_words(devices: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the detectors for devices did, a sentence each."""
    return [_device_in_words(about) for about in devices.values()]


def _device_in_words(about: Mapping[str, Any]) -> str:
    figures = {
        "files": ", ".join(about["bytes"]),
        "parameters": f"{about['parameters']:,}",
        "quiet": _rate(about["miss_rate_clean"]),
        "noisy": _rate(about["miss_rate_noisy"]),
        "said": about["utterances"],
        "alarms": _per_hour(about["fa_per_hour"]["value"]),
        "least": _per_hour(about["fa_per_hour"]["low"]),
        "most": _per_hour(about["fa_per_hour"]["high"]),
        "hours": f"{about['test_hours']:.1f}",
        "wanted": f"{DEFAULT_FA_PER_DAY / 24:g}",
        "extrapolated": _extrapolated(about["thresholds"]),
        "accepted": _percent(about["confusers_accepted"]["value"]),
        "untaught": _untaught(about),
    }
    return worded(
        "The detector for %(device)s (%(files)s; %(parameters)s parameters) missed %(quiet)s close and quiet, and "
        "%(noisy)s in noise at 10 dB SNR, of %(said)d test utterances by voices that it has not heard; people may be "
        "missed more often. It gave %(alarms)s false alarms per hour (%(least)s to %(most)s) in %(hours)s hours; the "
        "threshold in its file was set for %(wanted)s%(extrapolated)s. Near-phrases accepted: "
        "%(accepted)s.%(untaught)s",
        device=about["title"],
        **figures,
    )


def _untaught(about: Mapping[str, Any]) -> str:
    """That it had no teacher. What was made before there were any says nothing of them."""
    if about.get("taught", True):
        return ""
    return worded(
        " It learned which clips are the phrase, not from a detector of size standard: there is none that learns "
        "in this language or with this effort."
    )


def _extrapolated(thresholds: Sequence[Mapping[str, Any]]) -> str:
    """That the default threshold's rate is too low for the hours it was set on."""
    extrapolated = any(row["extrapolated"] for row in thresholds if row["fa_per_day"] == DEFAULT_FA_PER_DAY)
    if not extrapolated:
        return ""
    return worded(", extrapolated from the highest scores of fewer hours than that takes")


def _range(interval: Mapping[str, float | None]) -> str:
    """What a miss rate may be, without false precision."""
    if interval["value"] is None or interval["low"] is None or interval["high"] is None:
        return worded("not measured")
    low, high = (f"{100 * interval[name]:.0f}" for name in ("low", "high"))  # type: ignore[operator]
    return worded("%(low)s to %(high)s %%", low=low, high=high)


def _far(results: Mapping[str, Any]) -> str:
    """What was missed in the hardest condition; nothing where it was not measured."""
    far = results["far"]
    if not far["utterances"]:
        return ""
    return worded(
        "; across a room in noise and among other speech %(rate)s of %(said)d",
        rate=_rate(far["miss_rate"]), said=far["utterances"],
    )  # fmt: skip


def _raised(thresholds: Sequence[Mapping[str, Any]]) -> str:
    """That the default threshold is higher than its rate needs."""
    raised = any(row.get("raised") for row in thresholds if row["fa_per_day"] == DEFAULT_FA_PER_DAY)
    if not raised:
        return ""
    return worded(", and is higher than this rate needs: below it, too many similar phrases would wake the detector")


def _about_voices(results: Mapping[str, Any], engines: Sequence[str]) -> str:
    """Which voices the miss rate is of."""
    near = [engine for engine in engines if engine not in RULE_BASED]
    robots = [engine for engine in engines if engine in RULE_BASED]
    kind = worded("synthetic and real") if set(engines) & set(REAL_ENGINES) else worded("all synthetic")
    if not near or not robots:
        return worded("The test voices are %(kind)s (%(engines)s).", kind=kind, engines=", ".join(engines))
    apart = results["robots"]
    names = {"near": ", ".join(near), "robots": ", ".join(robots)}
    return worded(
        "The miss rate is that of the voices nearest to people (%(near)s; %(kind)s). Robot voices (%(robots)s), "
        "measured apart: %(rate)s of %(said)d utterances.",
        **names, kind=kind, rate=_rate(apart["miss_rate"]),
        said=apart["utterances"],
    )  # fmt: skip


def _about_splice(report: Mapping[str, Any]) -> str:
    """What the concatenative voices were used for."""
    joined = [row for row in report["clips"] if row["engine"] == SPLICE]
    clips = sum(row["clips"] for row in joined)
    if not clips:
        return worded("No clip was joined from pieces of real recordings (the engine splice).")
    in_test = worded(" of the test") if all(row["split"] == "test" for row in joined) else ""
    what = worded(
        "%(n)d clips%(in_test)s are joined from pieces of real recordings (the engine splice)", n=clips, in_test=in_test
    )
    rows = {row["condition"]: row for row in report["results"]["by_engine"] if row["engine"] == SPLICE}
    quiet, noisy = (rows.get(condition, NOT_MEASURED) for condition in ("clean", "noisy"))
    said = max(quiet["utterances"], noisy["utterances"])
    if not said:  # none in the test, or only in sentences across a room
        return worded("%(what)s.", what=what)
    known = worded(" The phone model was trained on these speakers, among others.") if report.get("backbone") else ""
    return worded(
        "%(what)s, the voices nearest to real people. Miss rate on %(said)d such utterances: in quiet %(quiet)s, in "
        "noise %(noisy)s.%(known)s",
        what=what, said=said, quiet=_rate(quiet["miss_rate"]), noisy=_rate(noisy["miss_rate"]), known=known,
    )  # fmt: skip


Say = Callable[[Any], str]  # a sentence, or the parts of a worded one, in the reader's language


def det_plot(report: Mapping[str, Any], image_format: str, say: Say = str) -> bytes:
    """The DET plot (miss rate against false alarms per hour, both axes logarithmic) as "svg" or "png"."""
    from matplotlib.figure import Figure  # not pyplot, which threads of the portal would share

    figure = Figure(figsize=(6.4, 4.2))
    axes = figure.add_subplot()
    hours = max(report["results"]["hours"], 1e-3)
    floor_misses = 0.5 / max(1, report["results"]["positives"])
    for name, colour in (("clean", "#2a7f62"), ("noisy", "#c0532b")):
        curve = report["results"]["det"][name]
        misses = [max(m, floor_misses) for m in curve["miss_rate"] if m is not None]
        alarms = [max(a or 0.0, 0.3 / hours) for a in curve["fa_per_hour"]]
        if not misses:
            continue  # not measured
        axes.plot(
            alarms, [100 * m for m in misses], color=colour, label=say(name), linewidth=1.8, drawstyle="steps-post"
        )
    chosen = report["summary"]
    axes.axvline(
        max(chosen["fa_per_hour"]["value"] or 0.0, 0.3 / hours), color="#888888", linewidth=0.8, linestyle="--"
    )
    axes.axvspan(
        0.3 / hours / 2, 1.0 / hours, color="#eeeeee", label=say(worded("fewer than one alarm in the test")), zorder=0
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(say(worded("false alarms per hour")))
    axes.set_ylabel(say(worded("missed, %%")))
    title = worded("DET curve on held-out voices: “%(phrase)s”", phrase=report["phrase"])
    axes.set_title(say(title), fontsize=11)
    axes.grid(True, which="both", color="#dddddd", linewidth=0.5)
    axes.legend(frameon=False, fontsize=9)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format=image_format, dpi=130, metadata={"Date": None} if image_format == "svg" else None)
    return buffer.getvalue()


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2320; background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.7rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.big { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.2rem 0 }
.big div { border: 1px solid #dde3df; border-radius: .6rem; padding: .7rem 1rem; flex: 1 1 10rem }
.big b { display: block; font-size: 1.5rem } .big span { color: #5b6762; font-size: .85rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem } th, td { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid #e6ebe8 } th { color: #5b6762; font-weight: 600 } td.n, th.n { text-align: right }
svg { max-width: 100%; height: auto } p.small { color: #5b6762; font-size: .85rem } .scroll { overflow-x: auto }
@media (prefers-color-scheme: dark) { body { background: #161b19; color: #e4eae7 }
  .big div, th, td { border-color: #33403a }
  svg { background: #fff; border-radius: .6rem } th, .big span, p.small { color: #9fb0a8 } }
"""


def _table(say: Say, headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """An HTML table; columns of numbers (or of text that starts with a digit), and their heads, stand to the right."""
    texts = [[_cell(value, say) for value in row] for row in rows]
    missing = say(worded("not measured"))
    numeric = [all(row[i][:1].isdigit() or row[i].startswith(missing) for row in texts) for i in range(len(headers))]

    def cell(tag: str, column: int, text: str) -> str:
        return f"<{tag}{' class=n' if numeric[column] else ''}>{escape(text)}</{tag}>"

    head = "".join(cell("th", i, say(header)) for i, header in enumerate(headers))
    body = "".join("<tr>" + "".join(cell("td", i, t) for i, t in enumerate(row)) + "</tr>" for row in texts)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: Any, say: Say) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return say(value) if isinstance(value, Worded) else str(value)


def _name(key: str) -> Worded:
    """A condition, bucket or split of Hark's (``webui.translation`` lists them)."""
    return worded(key.replace("_", " "))


def _short(interval: Mapping[str, float | None], say: Say, words: Callable[[float | None], str] = _percent) -> str:
    if interval["value"] is None:
        return say(worded("not measured"))
    return "{} ({} – {})".format(*(say(words(interval[name])) for name in ("value", "low", "high")))


def html_report(report: Mapping[str, Any], say: Say = str, language: str = "en") -> str:
    """The report as one self-contained page.

    Args:
        say: gives sentences in the reader's language; English without it.
        language: the page's.
    """
    summary, results = report["summary"], report["results"]
    verdict = verdict_of(report)
    predicts = predicts_people(report)
    quiet, noisy = (summary[f"miss_rate_{name}"] for name in ("clean", "noisy"))
    svg = det_plot(report, "svg", say).decode()
    svg = svg[svg.index("<svg") :]
    low, high = (_per_hour(summary["fa_per_hour"][name]) for name in ("low", "high"))
    hours = f"{results['hours']:.1f}"
    alarms_in_test = worded(
        "false alarms an hour in %(hours)s h (95 %% interval %(low)s to %(high)s)", hours=hours, low=low, high=high
    )
    boxes = [
        (_range(expected_of_people(quiet)), worded("expected misses of real people close and quiet (95 %% interval)"))
        if predicts
        else (_range(quiet), worded("missed of test voices close and quiet (95 %% interval)")),
        (_range(expected_of_people(noisy)), worded("expected misses of real people in noise at 10 dB (95 %% interval)"))
        if predicts
        else (_range(noisy), worded("missed of test voices in noise at 10 dB (95 %% interval)")),
        (_per_hour(summary["fa_per_hour"]["value"]), alarms_in_test),
        (_percent(summary["confusers_accepted"]["value"]), worded("of near-phrases accepted")),
    ]
    rates = [
        (
            f"{row['fa_per_hour_wanted']:g}",
            f"{row['threshold']:.4f}",
            _short(row["miss_rate"]["clean"], say),
            _short(row["miss_rate"]["noisy"], say),
            _short(row["fa_per_hour"], say, _per_hour),
        )
        for row in results["at_rates"]
    ]
    counts = [(_name(b), c["reused"], c["mined"], c["generated"]) for b, c in report["counts"].items()]
    engines = [
        (r["engine"], _name(r["condition"]), r["clips"], _short(r["miss_rate"], say)) for r in results["by_engine"]
    ]
    speakers = sorted(results["by_speaker"], key=lambda r: -(r["miss_rate"]["value"] or 0.0))[:WORST_SPEAKERS]
    alarms = [
        (r["engine"], _name(r["condition"]), r["hours"], r["false_alarms"], _per_hour(r["fa_per_hour"]["value"]))
        for r in results["false_alarms_by"]
    ]
    fooled = [(w["text"], w["accepted"], w["said"]) for w in results["confusers"]["worst"]]
    used = [(_name(c["bucket"]), c["engine"], _name(c["split"]), c["clips"]) for c in report["clips"]]
    how = {"raised": worded("raised"), "extrapolated": worded("extrapolated"), "observed": worded("observed")}
    thresholds = [
        (
            f"{t['fa_per_day']:g}",
            f"{t['threshold']:.4f}",
            how["raised" if t.get("raised") else "extrapolated" if t["extrapolated"] else "observed"],
        )
        for t in report["thresholds"]
    ]
    about = worded(
        "%(run)s · %(created)s · effort %(effort)s · %(parameters)s parameters",
        run=report["run"], created=report["created"], effort=say(report["effort"]),
        parameters=f"{summary['parameters']:,}",
    )  # fmt: skip
    engine, condition, said = worded("engine"), worded("condition"), worded("utterances")
    missed, alarms_an_hour, threshold = worded("missed"), worded("FA/h"), worded("threshold")
    bucket, text, a_day = worded("bucket"), worded("text"), worded("false alarms a day")
    clean, noisy_too = worded("missed, clean"), worded("missed, noisy")

    none = worded("None.")

    def heading(words: str) -> str:
        return f"<h2>{escape(say(words))}</h2>"

    # Sentences of what they are made of, where that is kept: only such can be said in another language.
    sentences = report["in_words"] if say is str else report.get("in_words_said") or report["in_words"]
    used_under = "; ".join(report["licences"])
    licences = worded("Licences of voices and recordings: %(licences)s", licences=used_under)
    parts = [
        f"<h1>“{escape(report['phrase'])}”</h1>",
        f'<p class="small">{escape(say(about))}</p>',
        '<div class="big">'
        + "".join(f"<div><b>{escape(say(a))}</b><span>{escape(say(b))}</span></div>" for a, b in boxes)
        + "</div>",
        f"<p><b>{escape(say(verdict.sentence))}</b> {escape(say(verdict.advice))}</p>",
        heading(worded("In words")),
        *(f"<p>{escape(say(sentence))}</p>" for sentence in sentences),
        heading(worded("Misses against false alarms")),
        svg,
        _table(say, [worded("wanted FA/h"), threshold, clean, noisy_too, worded("FA/h in the test")], rates),
        heading(worded("By engine")),
        _table(say, [engine, condition, said, missed], engines),
        heading(worded("Voices with the most misses")),
        _table(
            say,
            [engine, worded("speaker"), said, missed],
            [(r["engine"], r["speaker"], r["utterances"], _short(r["miss_rate"], say)) for r in speakers],
        ),
        heading(worded("False alarms by kind of sound")),
        _table(say, [worded("source"), condition, worded("hours"), worded("false alarms"), alarms_an_hour], alarms),
        heading(worded("Near-phrases accepted")),
        _table(say, [text, worded("accepted"), worded("said")], fooled) if fooled else f"<p>{escape(say(none))}</p>",
        heading(worded("Thresholds")),
        _table(say, [a_day, threshold, worded("how")], thresholds),
        heading(worded("What it was made of")),
        _table(say, [bucket, worded("reused"), worded("real recordings"), worded("generated")], counts),
        _table(say, [bucket, engine, worded("split"), worded("clips")], used),
        f'<p class="small">{escape(say(licences))}</p>',
    ]
    title = f"Hark: {escape(report['phrase'])}"
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )
