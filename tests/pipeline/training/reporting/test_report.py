"""The report as data, in words and as a page: it claims only what was measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import reduce
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from django.template.loader import render_to_string

from core.worded import Worded
from model.dataset import FeatureStore
from model.export import Parity
from model.feature_rows import SEGMENT_COLUMNS
from model.tiny_crnn import TinyCRNN, TinyCRNNConfig
from model.train import TrainResult
from pipeline.training.clips.synthesis import GenerationReport
from pipeline.training.configuration.efforts import BUCKETS
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.measuring.calibration import FA_PER_DAY, thresholds_for
from pipeline.training.measuring.evaluation import REPORTED_FA_PER_HOUR, MeasuredDetector, measure
from pipeline.training.measuring.scored_split import ScoredSplit
from pipeline.training.planning.plan import BucketPlan, Plan
from pipeline.training.reporting.model_card import model_card
from pipeline.training.reporting.report import run_figures, whole_report
from pipeline.training.reporting.report_page import det_plot, html_report
from pipeline.training.reporting.report_types import Report
from pipeline.training.reporting.report_words import device_in_words, in_words
from pipeline.training.reporting.verdict import verdict_of
from tests.support.scored_split import split_of
from webui.trainer.results import CONDITIONS, expected, operating_points, plot, speakers

INTERVAL = {"value": 0.125, "low": 0.05, "high": 0.25}
ALARMS = {"value": 0.75, "low": 0.2, "high": 1.9}


def interval(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": 0.0, "high": 1.0}


def results_of(real: bool) -> dict[str, Any]:
    engine = "corpus" if real else "espeak"
    curve = {"threshold": [0.1, 0.5, 0.9], "miss_rate": [0.0, 0.1, 0.5], "fa_per_hour": [40.0, 2.0, 0.0]}
    return {
        "hours": 2.5,
        "distinct_hours": 2.5,
        "people": {"utterances": 40 if real else 0, "miss_rate": INTERVAL if real else interval(None)},
        "rule_based": {"utterances": 0 if real else 40, "miss_rate": interval(None) if real else INTERVAL},
        "far": {"utterances": 12, "miss_rate": INTERVAL},
        "positives": 80,
        "utterances": 40,
        "at_rates": [
            {
                "fa_per_hour_wanted": rate, "threshold": 0.7, "false_alarms": 2, "fa_per_hour": ALARMS,
                "miss_rate": {"all": INTERVAL, "clean": INTERVAL, "noisy": interval(0.25)},
            }
            for rate in REPORTED_FA_PER_HOUR
        ],
        "default_threshold": 0.7,
        "by_engine": [{"engine": engine, "condition": "clean", "clips": 40, "utterances": 40, "miss_rate": INTERVAL}],
        "by_speaker": [
            {"engine": engine, "speaker": f"s{n}", "clips": 4, "utterances": 2, "miss_rate": INTERVAL} for n in range(3)
        ],
        "false_alarms_by": [
            {"engine": engine, "condition": "clean", "hours": 2.0, "false_alarms": 2, "fa_per_hour": ALARMS},
            {"engine": "noise", "condition": "noisy", "hours": 0.5, "false_alarms": 0, "fa_per_hour": ALARMS},
        ],
        "confusables": {
            "said": 10, "accepted": 1, "rate": interval(0.1),
            "worst": [{"text": "<script>alert(1)</script>", "accepted": 1, "said": 2}],
        },
        "det": {"all": curve, "clean": curve, "noisy": curve},
    }  # fmt: skip


TRAINED = TrainResult(40, 0.1, 60, 12.34, "cpu", [{"step": 40, "measure": 0.1}])


def report_of(
    phrase: str = "hey compass",
    real: bool = False,
    trained: TrainResult | None = TRAINED,
    results: dict[str, Any] | None = None,
    **plan_changes: Any,
) -> Report:
    rows = tuple(
        BucketPlan(bucket, ("a",), 1, 4, 1, 1 if bucket == "plain_negative" else 0, 3, {}) for bucket in BUCKETS
    )
    plan = Plan(
        "run-1", RunConfig(phrase), rows, (), (), 0.0, {"espeak": 9}, {"piper": "no voice was pulled."}, "", 1.0
    )
    table = [
        {
            "clip_id": n, "path": f"{n}.flac", "label": int(bucket == "positive"), "bucket": bucket, "engine": engine,
            "voice": "v", "speaker": "s", "split": "test", "text": "x", "licence": licence, "seconds": 1.0,
            "reused": reused,
        }
        for n, (bucket, engine, licence, reused) in enumerate(
            [(bucket, "espeak", "GPL", reused) for bucket in BUCKETS for reused in (0, 0, 1)]
            + [("plain_negative", "corpus", "CC-BY-4.0", 1)] * 2
        )
    ]  # fmt: skip
    segments = pd.DataFrame(
        [
            dict.fromkeys(SEGMENT_COLUMNS, 0)
            | {"split": split, "condition": condition, "frames": 36_000, "engine": speech}
            for split, condition, speech in (
                ("train", "train", "espeak"),
                ("train", "train", "espeak"),
                ("validation", "clean", "bank:arctic"),
                ("test", "noisy", "noise"),
            )
        ]
    )
    model = TinyCRNN(TinyCRNNConfig())
    thresholds = [{"fa_per_day": rate, "threshold": 0.7, "extrapolated": rate < 12} for rate in FA_PER_DAY]
    generated = GenerationReport({"positive": 3}, {"flite": {"a crash": 2}})
    store = FeatureStore(np.zeros((0, 40), np.float16), segments)
    made = MeasuredDetector(model, store, thresholds, results or results_of(real), trained)
    figures = run_figures(replace(plan, **plan_changes), pd.DataFrame(table), made, generated, {})
    return whole_report(figures, {}, {}, Parity(0.0, 0.0, None), {})


def words(report: Report) -> str:
    return " ".join(in_words(report))


def calibrated_report() -> Report:
    """A report of a detector that learned nothing, measured on people too, with every possible part."""
    report = report_of(real=True, trained=None)
    heard = {"training_corpora": ["arctic"], "training_engines": ["hibari", "kokoro_int8"]}
    report["backbone"] = {**heard, "name": "phones", "version": 2, "encoder": "an encoder", "rescored": True}
    report |= {"verifier": heard, "negative_set": {"hours": 1.0}, "unknown_transcripts": 7}
    report["results"]["distinct_hours"] = 1.25
    report["thresholds"] = [{**row, "extrapolated": False, "raised": True} for row in report["thresholds"]]
    report["clips"].append({"bucket": "positive", "engine": "splice", "split": "test", "clips": 30})
    for engine, condition, rate in (("splice", "clean", 0.02), ("splice", "noisy", 0.11), ("espeak", "clean", 0.5)):
        row = {"engine": engine, "condition": condition, "clips": 30, "utterances": 30, "miss_rate": interval(rate)}
        report["results"]["by_engine"].append(row)
    return report


@pytest.mark.parametrize("kind", ["trained", "calibrated"])
def test_every_sentence_of_a_report_matches_the_reference(kind: str) -> None:
    """After an intended change, write the new sentences into the file, one a line."""
    report = report_of() if kind == "trained" else calibrated_report()
    expected = Path(__file__).with_name(f"said_of_a_{kind}_detector.txt").read_text(encoding="utf-8")
    assert in_words(report) == expected.splitlines()


SPLICE = {"bucket": "positive", "engine": "splice", "clips": 30}
# (arguments of the report, changes of its figures, a text that it then contains; after "not ": lacks)
RULES = [
    ({}, {}, "not No network learned"),
    ({}, {"model.allow_confusables": True}, "was not raised to reject confusable phrases"),
    ({}, {}, "not phone model ("),
    ({}, {}, "not is in the test only"),
    ({"held_out": "espeak"}, {}, "The engine espeak is in the test only."),
    ({"held_out": "flite"}, {}, "not in the test only"),  # it has no clip in the test
    ({"held_out": "espeak", "trained": None}, {}, "not in the test only"),  # untrained: all engines are
    ({}, {"unknown_transcripts": 7}, "7 recordings of ordinary speech have no transcript"),
    ({}, {"clips": [{**SPLICE, "split": "train"}]}, "30 clips are joined from pieces of real recordings (the engine s"),
    ({}, {"clips": [{**SPLICE, "split": "train"}]}, "not such utterances"),
    ({}, {"clips": [{**SPLICE, "split": "test"}]}, "30 clips of the test are joined"),
    ({}, {"summary.fooled_by": []}, "not for example"),
    ({}, {"summary.confusables_accepted": interval(None)}, "Confusables accepted: not measured"),
    ({}, {"summary.miss_rate_noisy": interval(None)}, "in quiet and not measured in noise"),
    ({}, {"results.far": {"utterances": 0, "miss_rate": interval(None)}}, "not across a room"),
    ({}, {"results.utterances": 0}, "no utterance of “hey compass” on its own"),
    ({"real": True}, {}, "2.00 hours of the false-alarm audio are real speech that was held out of training"),
    ({"real": True}, {}, "on 40 utterances by people who were not used in training: 12.5 %"),
    ({"real": True}, {}, "not Import real speech"),
    ({"real": True}, {}, "not estimated from synthetic"),
    (
        {},
        {"backbone": {"name": "a", "version": 1, "training_corpora": [], "training_engines": []}},
        "has two parts",
    ),
]


@pytest.mark.parametrize(("made", "changes", "said"), RULES)
def test_the_text_depends_on_the_measurement(made: dict[str, Any], changes: dict[str, Any], said: str) -> None:
    report = report_of(**made)
    for place, value in changes.items():
        *way, name = place.split(".")
        reduce(dict.__getitem__, way, report)[name] = value
    text = said.removeprefix("not ")
    assert (text in words(report)) == (text == said)


def test_the_report_is_plain_json_and_its_counts_add_up() -> None:
    report = report_of()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["counts"]["positive"] == {"reused": 1, "mined": 0, "generated": 2}
    assert report["counts"]["plain_negative"] == {"reused": 1, "mined": 2, "generated": 2}
    assert report["hours"] == {"train": {"train": 0.2}, "validation": {"clean": 0.1}, "test": {"noisy": 0.1}}
    assert sum(row["clips"] for row in report["clips"]) == 14 and report["licences"] == ["CC-BY-4.0", "GPL"]
    assert report["summary"]["effort"] == report["effort"]
    assert report["summary"]["miss_rate"] == INTERVAL and report["generation_failures"] == {"flite": {"a crash": 2}}
    assert report["training"] == {
        "steps": 60, "best_step": 40, "best_measure": 0.1, "seconds": 12.3, "history": [{"step": 40, "measure": 0.1}],
    }  # fmt: skip
    assert report["created"].endswith("+00:00")


def test_a_report_without_training_says_so() -> None:
    assert "No network learned" not in words(report_of())
    report = report_of(trained=None)
    assert set(report["training"]) == set(report_of()["training"])
    assert report["training"]["steps"] == 0 and report["training"]["history"] == []
    for said in (words(report), html_report(report)):
        assert "No network learned the phrase" in said


def test_only_large_detectors_predict_misses_of_people() -> None:
    report = report_of()
    cases = (("large", "hibari", True), ("large", "espeak", False), ("standard", "hibari", False))
    for size, engine, promised in cases:
        report["size"] = size
        report["results"]["by_engine"] = [{**row, "engine": engine} for row in report["results"]["by_engine"]]
        said = words(report)
        assert ("With real people who say" in said) == promised, (size, engine)
        assert ("It may miss real people more often" in said) != promised
        assert ("expected misses of real people" in html_report(report)) == promised
    report["size"] = "large"
    report["results"]["by_engine"] = [{**row, "engine": "hibari"} for row in report["results"]["by_engine"]]
    said = words(report)
    assert "expect the detector to miss 2 to 49 % close and quiet, and 0 to 100 % in noise at 10 dB SNR." in said
    assert (
        "Of 40 test utterances of the phrase on its own, the detector missed 12.5 % in quiet and 25.0 % in noise. The "
        "ranges" in said
    )


def _splice(table: pd.DataFrame) -> Any:
    return table["engine"] == "splice"


# Rows to remove from the table, by what a small test may lack by chance.
LACKING = {
    "nothing": lambda table: table["label"] < 0,
    "splice in quiet": lambda table: _splice(table) & (table["condition"] == "clean"),
    "splice but for far": lambda table: _splice(table) & (table["condition"] != "far"),
    "quiet": lambda table: (table["label"] == 1) & (table["condition"] == "clean"),
    "noise": lambda table: (table["label"] == 1) & (table["condition"] == "noisy"),
    "the phrase alone": lambda table: (table["label"] == 1) & (table["condition"] != "far"),
    "across a room": lambda table: table["condition"] == "far",
    "rule_based": lambda table: (table["label"] == 1) & ~_splice(table),
    "neural voices": _splice,
    "confusables": lambda table: table["bucket"].isin(["confusable", "inbetween"]),
    "ordinary speech": lambda table: table["bucket"].isin(["plain_negative", "noise"]),
    "any sound without the phrase": lambda table: table["label"] == 0,
}


@pytest.mark.parametrize("lacking", LACKING)
@pytest.mark.parametrize("size", ["standard", "large"])
def test_a_report_names_figures_that_were_not_measured(lacking: str, size: str) -> None:
    """Every part of a report says what was not measured; none assumes a condition, engine or bucket."""
    full = split_of(1, minutes=4)
    row = pd.Series(range(len(full.table)))
    positive = full.table["label"] == 1
    full.table.loc[positive & (row % 3 == 0), "engine"] = "splice"
    full.table.loc[positive & (row % 5 == 0), "condition"] = "far"
    stays = ~LACKING[lacking](full.table)
    test = ScoredSplit(full.table[stays].reset_index(drop=True), full.pick(stays.to_numpy()))
    thresholds = thresholds_for(test)
    report = report_of(results=measure(test, thresholds, test))
    report["size"], report["thresholds"] = size, thresholds
    report["clips"].append({"bucket": "positive", "engine": "splice", "split": "test", "clips": 3})

    json.dumps(report, allow_nan=False)
    said = [*in_words(report), html_report(report), model_card(report), str(verdict_of(report).sentence)]
    assert not re.search(r"\b(None|nan|inf)\b(?!\.<)", " ".join(said))
    assert det_plot(report, "png") and det_plot(report, "svg")
    assert render_to_string("trainer/tiles.html", {"report": report, "expected": expected(report)}).count("<li") == 6
    assert render_to_string("trainer/voices.html", {"rows": speakers(report)})
    assert len(operating_points(report)) == len(thresholds)
    assert plot([(name, name, report, name) for name in CONDITIONS], operating_points(report))["curves"]
    about = {name: report["summary"][name] for name in ("miss_rate_clean", "miss_rate_noisy", "fa_per_hour")}
    about |= {"confusables_accepted": report["summary"]["confusables_accepted"], "thresholds": thresholds, "bytes": {}}
    device = {"title": "X", "parameters": 1, "taught": None, "utterances": 0, "test_hours": 0.0, "runtime": "Y"}
    device_in_words(about | device)
    if lacking == "splice in quiet":
        assert "in quiet not measured, in noise" in words(report)


class Page(HTMLParser):
    """Counts tags and checks that they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "path", "use", "rect", "stop", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "use", "rect", "stop"):
            assert self.open.pop() == tag


def test_the_page_is_complete_and_has_no_script() -> None:
    page_text = html_report(report_of("<b>hey & compass</b>"))
    page = Page()
    page.feed(page_text)
    assert page.open == []
    assert "script" not in page.seen and "link" not in page.seen and page.seen.count("svg") == 1
    assert page.seen.count("b") == 5, "only the figures in the boxes and the verdict"
    assert "&lt;b&gt;hey &amp; compass&lt;/b&gt;" in page_text and "&lt;script&gt;alert(1)" in page_text
    assert "http" not in page_text.replace("http://www.w3.org", "").replace("https://matplotlib.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", ""), "the page loads nothing from the network"


@pytest.mark.parametrize("misses", [[0.0, 0.0, 0.0], [0.0, 0.1, 1.0]])
def test_the_det_plot_accepts_zero_rates(misses: list[float]) -> None:
    report = report_of()
    for curve in report["results"]["det"].values():
        curve["miss_rate"], curve["fa_per_hour"] = misses, [3.0, 0.0, 0.0]
    report["summary"]["fa_per_hour"] = interval(0.0)
    assert det_plot(report, "png")[:8] == b"\x89PNG\r\n\x1a\n"
    svg = det_plot(report, "svg").decode()
    assert "<svg" in svg and "nan" not in svg


def test_everything_on_the_page_can_be_translated() -> None:
    report = report_of()
    said: list[str] = []

    def say(sentence: str) -> str:
        said.append(sentence)
        return "…"

    page = html_report(report, say, "de")
    assert '<html lang="de">' in page and "DET curve on held-out voices: “hey compass”" in said
    text = re.sub(r"(?s)<style>.*?</style>|<svg.*?</svg>|<[^>]*>|…", " ", page)
    kept = set(re.findall(r"[A-Za-z]{2,}", unescape(text)))
    assert kept <= {"Hark", "hey", "compass", "espeak", "corpus", *re.findall(r"\w+", str(report["results"]))}, kept


def test_the_results_of_devices_can_be_translated() -> None:
    share = {"value": 0.1, "low": 0.05, "high": 0.2}
    about = {
        "title": "ESPHome", "bytes": {"a.tflite": 1}, "parameters": 12_345, "miss_rate_clean": share,
        "miss_rate_noisy": share, "utterances": 40, "fa_per_hour": share, "test_hours": 2.0,
        "thresholds": [{"fa_per_day": 12.0, "extrapolated": True}], "confusables_accepted": share, "taught": True,
        "runtime": "TFLite Micro",
    }  # fmt: skip
    said = device_in_words(about)
    assert isinstance(said, Worded) and said.startswith("The detector for ESPHome (a.tflite; 12,345 parameters) missed")
    assert "0.10 false alarms per hour (0.05 to 0.20)" in said and "detector of size standard" not in said
    said = device_in_words(about | {"taught": False})
    assert said.endswith("in this language or with this effort. Its scores were checked in TFLite Micro.")
    assert "(95 % interval 5.0 % to 20.0 %)" in said and isinstance(said.values["quiet"], Worded)
