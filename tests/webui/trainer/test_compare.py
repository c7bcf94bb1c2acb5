"""/detectors/<id>/compare: versions side by side."""

from __future__ import annotations

import json
import re
from pathlib import Path

from django.test import Client
from django.urls import reverse

from tests.support.detector_versions import address, make_comparison, make_version
from tests.support.rendered_pages import flat
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.trainer import results
from webui.trainer.models import Version


def test_versions_are_compared_on_their_own_tests(owners: Client, owner: User, version: Version, portal: Path) -> None:
    for number in range(2, 9):
        make_version(owner, portal, number)
    page = owners.get(address("compare", version)).text
    assert "test sets differ in voices" in page
    assert page.count('class="c0"') == 1 and page.count("checked") == results.CURVES_COMPARED
    page = owners.get(address("compare", version), {"v": ["1", "3", "x"]}).text
    assert page.count("checked") == 2 and ">Version 8</a>" in page


def test_versions_are_compared_on_the_same_audio(owners: Client, owner: User, version: Version, portal: Path) -> None:
    page = owners.get(address("compare", version)).text
    assert "On the same audio" not in page, "there is one version"
    second, third = make_version(owner, portal, 2), make_version(owner, portal, 3)
    page = owners.get(address("compare", version)).text
    assert "Compare on the same audio" in page and "DET curves, each on its own test set" in page
    make_comparison(third, second, left_out={version.path.name: "Its model is missing."})
    page = owners.get(address("compare", version)).text
    assert "Compare again" in page and "have changed since this comparison" not in page
    assert "50 utterances by 9 voices, 7 of them by people" in page and "1.25 h come from the negative set" in page
    assert "10.0 %" in page and "4.3 to 21.4 %" in page and "20.0 %" in page, "with Wilson's intervals"
    assert "0.01 to 1.86" in page and "False alarms (of 2 marked) that still fire" in page
    assert "(of 3 marked) that are still missed" in page and "Version 1 is left out: Its model is missing." in page
    assert "DET curves on the same audio" in page and page.count("checked") == 2, "an excluded version has no curve"
    drawn = json.loads(re.search(r'<script id="det-data"[^>]*>(.*?)</script>', page, re.S).group(1))
    assert [curve["label"] for curve in drawn["curves"]] == ["Version 3", "Version 2"]
    assert page.count('<span class="faint small">in use') == 1
    make_version(owner, portal, 4)
    page = owners.get(address("compare", version)).text
    assert "have changed since this comparison" in page and "Compare on the same audio" in page


def test_post_queues_a_job_that_links_back(owners: Client, owner: User, version: Version, portal: Path) -> None:
    assert owners.post(address("compare", version)).status_code == 422, "one version cannot be compared"
    made = [version, *(make_version(owner, portal, number) for number in range(2, 12))]
    Version.objects.exclude(pk=version.pk).update(offered=False)
    response = owners.post(address("compare", version))
    job = Job.objects.get(kind="compare")
    assert response.status_code == 302 and response["Location"] == reverse("jobs:detail", args=[job.id])
    assert (job.queue, job.user, job.spec["detector"]) == ("training", owner, version.detector_id)
    newest = [each.path.name for each in made[:3:-1]]
    assert job.spec["runs"] == [*newest, version.path.name], "the newest versions and the one in use"
    assert owners.post(address("compare", version))["Location"] == response["Location"], "a double click is one job"
    page = flat(owners.get(response["Location"]))
    assert "Score all versions" in page and "See the comparison" not in page
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE, result={})
    page = flat(owners.get(response["Location"]))
    assert f'href="{address("compare", version)}">See the comparison' in page


def test_a_damaged_comparison_is_ignored(owners: Client, owner: User, version: Version, portal: Path) -> None:
    newer = make_version(owner, portal, 2)
    (newer.path / "comparison.json").write_text('{"asked": [')
    assert "Compare on the same audio" in owners.get(address("compare", version)).text


def rows_of(page: str) -> dict[str, tuple[str, str]]:
    """Return the table of changes: before and after, by name."""
    section = page[page.index('id="changed"') :]
    cells = [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)]
        for row in re.findall(r"<tr>(.*?)</tr>", section, re.S)
    ]
    return {row[0]: (row[1], row[2]) for row in cells if len(row) == 3}


def test_changes_between_two_versions_are_listed(owners: Client, owner: User, version: Version, portal: Path) -> None:
    second = make_version(owner, portal, 2)
    report = json.loads((second.path / "report.json").read_text())
    report["summary"]["threshold"] = 0.71
    report |= {"effort": "thorough", "model": {"anti_keywords": [[15, 25, 16]]}, "compared": {"marked": 4}}
    (second.path / "report.json").write_text(json.dumps(report))
    table = portal / "jobs" / second.path.name / "clips.csv"
    table.write_text(table.read_text().replace("\n7,", "\n8,"))
    make_comparison(second, version)
    assert rows_of(owners.get(address("compare", version)).text) == {
        "Effort": ("quick", "thorough"),
        "Shipped threshold": ("0.600", "0.710"),
        "Marked false alarms": ("0", "4"),
        "Anti-keywords": ("none", "z eɪ k"),
        "Clips": ("1", "1 (1 new, 1 removed)"),
        "Missed, on the same audio": ("20.0 % 11.2 to 33.0 %", "10.0 % 4.3 to 21.4 %"),
        "Confusable phrases accepted, on the same audio": ("10.0 % 2.8 to 30.1 %", "10.0 % 2.8 to 30.1 %"),
        "FA/h, on the same audio": ("0.33 0.01 to 1.86", "0.33 0.01 to 1.86"),
        "Marked false alarms that trigger it, on the same audio": ("1", "0"),
        "Marked misses that it misses, on the same audio": ("1", "0"),
    }
    other_way = rows_of(owners.get(address("compare", version), {"before": "2", "after": "1"}).text)
    assert other_way["Anti-keywords"] == ("z eɪ k", "none")
    same = owners.get(address("compare", version), {"before": "2", "after": "2"}).text
    assert "Choose two different versions." in same
    listed = owners.get(f"/api/v1/detectors/{version.detector_id}/versions/2/changes?since=1").json()
    assert {"what": "Effort", "before": "quick", "after": "thorough"} in listed
    (version.path / "report.json").unlink()
    assert "The report of this version cannot be read." in owners.get(address("compare", version)).text
