"""GET /detectors/<id>/<number>: the report of a version."""

from __future__ import annotations

import ast
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from core.worded import worded
from db.db_api import Library
from db.records import NewClip
from pipeline.training.reporting.licences import SHIPPED_SPEECH
from tests.support.detector_versions import RUN, a_share, address, make_comparison, make_report, make_version
from webui.accounts.models import User
from webui.trainer.models import Version


def page_with(report: dict[str, Any], client: Client, version: Version) -> str:
    (version.path / "report.json").write_text(json.dumps(report))
    return client.get(address("version", version)).text


def test_figures_are_shown_with_their_sample_sizes(owners: Client, version: Version) -> None:
    page = owners.get(address("version", version)).text
    assert "15.0 %" in page and "7.1 to 29.1 %" in page, "the miss rate with Wilson's interval"
    assert "of 40 utterances by 12 voices, all synthetic" in page and "of 20 utterances at 10 dB" in page
    assert "not measured" in page and ">no recording of a person saying it was available" in page
    assert "expected, close and quiet" not in page, "the verdict says that it is not measured"
    assert "0.50" in page and "0.01 to 2.79" in page and "in 2.00 h of test speech and noise" in page
    assert "of 10 utterances of confusable phrases" in page
    assert "It was measured, and how." in page and "festival" in page and "(not used in training)" in page
    assert "people: kitchen (negative set)" in page and "arctic: free (CMU)" in page and "GPL-3.0" in page
    assert "0.2500" in page and "0.1250" in page, "the training curve"
    assert "quick, 3, en" in page and "7.5 s" in page
    assert reverse("jobs:detail", args=[version.job_id]) in page
    assert "4 more voices with fewer misses" in page


def test_the_licences_of_all_shipped_speech_are_shown(owners: Client, version: Version) -> None:
    report = make_report()
    for part in SHIPPED_SPEECH:
        report[part] = {**report.get(part, {}), "licences": {f"corpus of {part}": "CC0-1.0"}}
    page = page_with(report, owners, version)
    assert all(f"corpus of {part}: CC0-1.0" in page for part in SHIPPED_SPEECH)


def test_the_tile_and_the_verdict_predict_the_same_misses(owners: Client, version: Version) -> None:
    report = make_report() | {"size": "large"}
    report["results"]["by_engine"][0]["engine"] = "piper"  # not only rule-based voices
    page = page_with(report, owners, version)
    assert "Expect it to detect 11 to 20 of 20 utterances by real people in quiet" in page
    assert "1 to 45 %" in page and "1 to 24 %" not in page and "expected, close and quiet" in page


def test_a_detector_that_misses_most_utterances_gets_a_warning(owners: Client, version: Version) -> None:
    pages = ("/", f"/detectors/{version.detector_id}/{version.number}")
    assert not any("do not use it" in owners.get(page).text for page in pages)
    version.summary["miss_rate_clean"] = {"value": 0.9, "low": 0.8, "high": 0.95}
    version.save()
    report = make_report()
    report["summary"] = version.summary
    (version.path / "report.json").write_text(json.dumps(report))
    assert all("do not use it" in owners.get(page).text for page in pages)


@pytest.mark.parametrize(
    ("changes", "people", "colour", "step"),
    [
        ({"effort": "trial"}, 0, "warning", "/new?phrase=hey+compass&language=en&effort=standard"),
        ({}, 0, "unproven", "/library/record?phrase=hey+compass&language=en"),
        ({}, 19, "good", "#where"),
        ({"of_people": 9}, 19, "warning", "/new?phrase=hey+compass&language=en&effort=thorough"),
        ({"alike": 9}, 19, "warning", "#where"),
        ({"alarms": 9.0}, 19, "warning", "#det"),
        ({"misses": 9}, 19, "bad", "/new?phrase=hey+compass&language=en&effort=thorough"),
    ],
)
def test_each_verdict_has_one_color_and_one_next_step(
    owners: Client, version: Version, changes: dict[str, Any], people: int, colour: str, step: str
) -> None:
    report = make_report(people=people)
    report["effort"] = changes.get("effort", "quick")
    report["summary"]["confusables_accepted"] = a_share(changes.get("alike", 0), 10)
    report["summary"]["fa_per_hour"] = {"value": changes.get("alarms", 0.0), "low": 0.0, "high": 99.0}
    report["summary"]["miss_rate_clean"] = a_share(changes.get("misses", 0), 10)
    if missed := changes.get("of_people"):
        report["results"]["people"]["miss_rate"] = a_share(missed, people)
    page = html.unescape(page_with(report, owners, version))
    assert f'class="card verdict {colour}"' in page and f'<a class="button" href="{step}">' in page
    assert page.count('<a class="button"') == 1 and page.index("verdict") < page.index('id="det"')
    assert (f"It detected {19 - (missed or 4)} of 19 recordings of people" if people else "synthetic voices") in page
    if step.startswith("/new?"):
        form = owners.get(step).text
        effort = step.rpartition("=")[2]
        assert f'value="{effort}" checked' in form and 'value="hey compass"' in form


@pytest.mark.parametrize(
    ("by", "number", "in_use", "lost_to"),
    [
        ("comparison", 2, 1, 1),  # it misses more than the one in use
        ("comparison", 2, 2, 1),  # a user chose it nevertheless
        ("comparison", 1, 1, None),
        ("comparison", 1, 2, None),
        ("own run", 2, 1, 1),
        ("own run, better", 2, 2, None),
    ],
)
def test_a_version_that_lost_a_comparison_says_so_first(
    owners: Client, owner: User, portal: Path, by: str, number: int, in_use: int, lost_to: int | None
) -> None:
    versions = [make_version(owner, portal, n, people=19) for n in (1, 2)]
    Version.objects.filter(number=2).update(offered=in_use == 2)
    if by == "comparison":
        make_comparison(*versions)
    else:
        figures = {"missed": 1, "utterances": 9, "false_alarms": 0, "hours": 1.0, "marked_fired": 0}
        compared = {"run": versions[0].path.name, "better": "better" in by, "before": figures, "after": figures}
        report = make_report(people=19) | {"compared": {**compared, "marked": 0, "anti_keywords": {"phones": []}}}
        (versions[1].path / "report.json").write_text(json.dumps(report))
    page = html.unescape(owners.get(address("version", versions[number - 1])).text)
    verdict = page[page.index("card verdict") :].split("</section>")[0]
    if lost_to is None:
        assert "card verdict good" in verdict and "It is ready for a device." in verdict
    else:
        assert 'card verdict warning"' in verdict and "ready for a device" not in page
        assert f'<h2 id="verdict">On the same audio it is not better than version {lost_to}.</h2>' in verdict
        assert f'<a class="button" href="/detectors/{versions[0].detector_id}/{lost_to}">' in verdict
        assert "It detected 15 of 19 recordings of people" in verdict


def test_a_detector_can_be_tried_live_next_to_its_slider(owners: Client, version: Version) -> None:
    page = owners.get(address("version", version)).text
    assert f'data-socket="/ws/listen/{version.detector_id}/1"' in page
    assert page.index("live.js") < page.index("det.js"), "live.js must load before the dial sends its first value"
    own_voice = f"{reverse('library:own_voice')}?phrase=hey+compass&amp;language=en&amp;version=1"
    assert f'hx-get="{own_voice}&amp;detector={version.detector_id}"' in page


def test_real_people_are_counted_separately_from_synthetic_voices(owners: Client, owner: User, portal: Path) -> None:
    some = owners.get(address("version", make_version(owner, portal, people=10))).text
    assert "synthetic and real" in some and "of 10 utterances" in some and "50.0 %" in some
    every = owners.get(address("version", make_version(owner, portal, 2, people=40))).text
    assert "all by real people" in every


def test_the_page_of_a_detector_trained_from_scratch_says_so(owners: Client, version: Version) -> None:
    report = make_report()
    del report["backbone"]
    report["held_out_engine"] = None
    report["results"]["confusables"]["worst"] = []
    report["results"]["by_engine"][0]["miss_rate"] = a_share(0, 0)
    page = page_with(report, owners, version)
    assert "none: trained from scratch" in page and "not measured" in page
    assert "No confusable phrase of the test triggered it" in page and "in the test only" not in page
    assert owners.get(address("compare", version)).status_code == 200


def test_a_calibrated_detector_has_no_training_curve(owners: Client, version: Version) -> None:
    assert "60 steps in" in owners.get(address("version", version)).text
    report = make_report()
    report["training"] = {"steps": 0, "best_step": None, "best_measure": None, "seconds": 0.0, "history": []}
    page = page_with(report, owners, version)
    assert "none: only the threshold was set" in page and "Training curve" not in page


def test_a_version_without_its_job_is_shown(owners: Client, version: Version) -> None:
    version.job.delete()
    assert owners.get(address("version", version)).status_code == 200
    assert owners.get(address("compare", version)).status_code == 200


def test_confusables_have_clips_to_play(owners: Client, version: Version, portal: Path) -> None:
    with Library(portal) as library:
        ids = library.add_clips(
            NewClip(
                np.full(160 + n, 0.1, np.float32), "Hey, campus!", "hey campus", "en", "espeak", request_id=f"r:{n}"
            )
            for n in range(5)
        )
    page = owners.get(address("version", version)).text
    assert [f'data-play="{reverse("clip", args=[n])}"' in page for n in ids] == [True] * 3 + [False] * 2
    assert owners.get(reverse("clip", args=[ids[0]])).status_code == 200


def test_utterances_not_renderings_are_counted(owners: Client, version: Version) -> None:
    report = make_report()
    report["results"] |= {"positives": 40, "utterances": 20}
    report["results"]["by_speaker"][0] |= {"clips": 77_177, "utterances": 54_321}
    page = page_with(report, owners, version)
    assert "of 20 utterances by 12 voices" in page and "54321" in page and "77177" not in page


def test_the_report_is_shown_in_the_users_language(owners: Client, version: Version) -> None:
    report = make_report()
    report["in_words_parts"] = [worded("The engine %(engine)s is in the test only.", engine="festival").parts()]
    (version.path / "report.json").write_text(json.dumps(report))
    german = owners.get(address("version", version), headers={"Accept-Language": "de"}).text
    assert "<p>Die Engine festival kommt nur im Test vor.</p>" in german
    assert "<p>The engine festival is in the test only.</p>" in owners.get(address("version", version)).text


def test_example_programs_name_this_bundle(owners: Client, version: Version) -> None:
    page = html.unescape(owners.get(address("use", version)).text)
    assert f"./hark detect {RUN}.zip recording.wav" in page and f'Detector("{RUN}.zip"' in page
    assert f'href="{address("version", version)}#where"' in page


def test_example_programs_can_be_copied(owners: Client, version: Version) -> None:
    page = html.unescape(owners.get(address("use", version)).text)
    programs = re.findall(r"<textarea[^>]*>((?:from|import) .*?)</textarea>", page, re.S)
    assert [len(ast.parse(program).body) for program in programs] == [3, 10]
