"""The dial of a version's page: operating points and the plot."""

from __future__ import annotations

import json
import re

import pytest
from django.test import Client

from tests.support.detector_versions import RATES, address, make_report
from tests.support.rendered_pages import flat
from webui.trainer import results
from webui.trainer.models import Version


def chosen_link(page: str) -> str:
    found = re.search(r'data-dial="link" href="([^"]*)"', page)
    assert found
    return found[1]


def test_the_default_is_the_shipped_threshold(owners: Client, version: Version) -> None:
    page = flat(owners.get(address("version", version)))
    assert '<option value="12" selected>' in page and page.count("<option") == len(RATES)
    assert chosen_link(page) == address("bundle", version) + "?fa_per_day=12"
    assert "Observed: on the validation audio a threshold of 0.600" in page


def test_among_equal_thresholds_the_shipped_rate_is_the_default() -> None:
    report = make_report()
    for row in report["thresholds"]:
        row["threshold"] = 0.6
    assert results.shipped_with(report, results.operating_points(report)).words["setting"].startswith("12 false alarms")


def test_a_raised_threshold_is_explained() -> None:
    report = make_report()
    for row in report["thresholds"]:
        row |= {"extrapolated": False, "raised": row["fa_per_day"] <= 12}
    words = results.operating_points(report)[1].words
    assert (
        "lower threshold than 0.800: it is raised because of confusable phrases, of which it accepts 20.0 %"
        in words["how"]
    )
    assert words["option"] == "2 false alarms per day (0.083 per hour), raised"


def test_the_rate_in_the_url_sets_the_slider(owners: Client, version: Version) -> None:
    page = flat(owners.get(address("version", version), {"fa_per_day": "2"}))
    assert '<option value="2" selected>' in page and "Extrapolated:" in page
    assert chosen_link(page) == address("bundle", version) + "?fa_per_day=2"


@pytest.mark.parametrize("rate", ["", "7", "x", "<script>"])
def test_an_unknown_rate_selects_the_default(owners: Client, version: Version, rate: str) -> None:
    page = owners.get(address("version", version), {"fa_per_day": rate}).text
    assert '<option value="12" selected>' in page and "<script>" not in page


def test_operating_points_have_their_measured_figures() -> None:
    points = {point.rate: point for point in results.operating_points(make_report())}
    assert list(points) == ["0.5", "2", "12", "48", "240"]
    assert points["2"].missed["all"].value == "60.0 %" and points["2"].similar.value == "20.0 %"
    assert points["2"].count == 1 and points["2"].alarms.value == "0.50"
    assert points["0.5"].missed["clean"].value == "100.0 %" and points["0.5"].count == 0
    assert points["12"].missed["all"].value == "15.0 %" and points["12"].count == 1
    assert points["240"].count == 40 and points["240"].alarms.value == "20.00"
    assert [point.extrapolated for point in points.values()] == [True, True, False, False, False]


def test_plot_data_has_curves_and_texts_of_each_setting(owners: Client, version: Version) -> None:
    page = owners.get(address("version", version)).text
    found = re.search(r'<script id="det-data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    data = json.loads(found[1])
    assert [curve["kind"] for curve in data["curves"]] == ["all", "clean", "noisy"]
    assert data["curves"][2]["missed"] == [0, 0.1, 0.15, 0.3, 0.7] and data["lowest"] == 0.5 and data["top"] == 1.0
    assert data["points"][1]["rate"] == "2" and data["points"][1]["y"]["all"] == pytest.approx(0.6)
    assert "2 false alarms per day" in data["points"][1]["words"]["download"]


def test_one_false_alarm_is_singular() -> None:
    report = make_report()
    report["thresholds"][1]["fa_per_day"] = 1.0
    some, one = (point.words for point in results.operating_points(report)[:2])
    assert (
        one["setting"].startswith("1 false alarm per day (")
        and "1 false alarm per day as its default" in one["download"]
    )
    assert some["setting"].startswith("0.5 false alarms per day (")
