"""The pages of a finished detector: to whom they show what, what the dial says, what may be downloaded."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from db.db_api import Library
from db.records import NewClip
from model.metrics import poisson_interval, wilson_interval
from model.runtime.detector import MANIFEST_KEYS, SCHEMA, Bundle, manifest_digest
from webui.accounts.models import User
from webui.jobs.models import Job
from webui.trainer import results
from webui.trainer.models import Detector, Version

LEVELS = [0.1, 0.3, 0.5, 0.7, 0.9]
RATES = {0.5: 0.95, 2.0: 0.8, 12.0: 0.6, 48.0: 0.4, 240.0: 0.2}  # thresholds
RUN = "hey-compass-quick-0123abcd"


def a_share(misses: int, of: int) -> dict[str, float | None]:
    return wilson_interval(misses, of).as_dict()


def make_report(phrase: str = "hey compass", people: int = 0) -> dict[str, Any]:
    """A report as ``pipeline.training.report.build_report`` makes it, of 40 utterances and 2 hours."""
    curve = {"threshold": LEVELS, "fa_per_hour": [20.0, 4.0, 1.0, 0.5, 0.0]}
    misses = {"all": [0.0, 0.05, 0.1, 0.2, 0.6], "clean": [0.0, 0.0, 0.05, 0.1, 0.5], "noisy": [0, 0.1, 0.15, 0.3, 0.7]}
    shipped = {"all": a_share(6, 40), "clean": a_share(1, 20), "noisy": a_share(5, 20)}
    alarms = poisson_interval(1, 2.0).as_dict()
    return {
        "phrase": phrase, "language": "en", "effort": "quick", "seed": 3, "run": RUN,
        "created": "2026-01-02T03:04:05+00:00", "machine": {"python": "3.11", "system": "Linux", "device": "cpu"},
        "summary": {
            "miss_rate": shipped["all"], "miss_rate_clean": shipped["clean"], "miss_rate_noisy": shipped["noisy"],
            "fa_per_hour": alarms, "threshold": 0.6, "confusers_accepted": a_share(2, 10), "test_hours": 2.0,
            "parameters": 12_345,
        },
        "counts": {"positive": {"reused": 1, "mined": 2, "generated": 3}},
        "engines": {"espeak": 9, "festival": 1}, "engines_missing": {}, "held_out_engine": "festival",
        "licences": ["CC-BY-4.0", "GPL-3.0"],
        "training": {
            "steps": 60, "best_step": 40, "best_measure": 0.1, "seconds": 1.5,
            "history": [{"step": 40, "loss": 0.25, "measure": 0.125}],
        },
        "trunk": {
            "name": "trunk-standard", "version": 1, "training_corpora": ["arctic"], "training_engines": ["espeak"],
            "licences": {"arctic": "free (CMU)"},
        },
        "thresholds": [{"fa_per_day": r, "threshold": t, "extrapolated": r < 12} for r, t in RATES.items()],
        "results": {
            "people": {"utterances": people, "miss_rate": a_share(people // 2, people)},
            "hours": 2.0,
            "positives": 40,
            "at_rates": [
                {
                    "fa_per_hour_wanted": 0.5, "threshold": 0.6, "false_alarms": 1, "fa_per_hour": alarms,
                    "miss_rate": shipped,
                }
            ],
            "by_engine": [
                {"engine": engine, "condition": condition, "clips": 10, "miss_rate": a_share(2, 10)}
                for engine in ("espeak", "festival")
                for condition in ("clean", "noisy")
            ],
            "by_speaker": [
                {"engine": "espeak", "speaker": f"s{n}", "clips": 2, "miss_rate": a_share(n % 3, 2)} for n in range(12)
            ],
            "false_alarms_by": [
                {"engine": "bank:kitchen", "condition": "clean", "hours": 2.0, "false_alarms": 1, "fa_per_hour": alarms}
            ],
            "confusers": {
                "said": 10, "accepted": 2, "rate": a_share(2, 10),
                "worst": [{"text": "hey campus", "accepted": 2, "said": 2}, {"text": "gone", "accepted": 1, "said": 2}],
            },
            "det": {name: curve | {"miss_rate": misses[name]} for name in misses},
        },
        "in_words": ["It was measured, and how."],
        "parity": {"pt_against_onnx": 1e-6},
    }  # fmt: skip


def make_bundle(path: Path, phrase: str) -> None:
    """A bundle whose digests hold; its model is none."""
    contents = {
        name: name.encode()
        for name in ("model.onnx", "model.int8.onnx", "model.pt", "detect.py", "det.png", "MODEL_CARD.md")
    }
    manifest: dict[str, Any] = dict.fromkeys(MANIFEST_KEYS, 1) | {
        "sample_rate": 16_000,
        "schema": SCHEMA,
        "phrase": phrase,
        "thresholds": [{"fa_per_day": rate, "threshold": level} for rate, level in RATES.items()],
        "default_fa_per_day": 12.0,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    manifest["digest"] = manifest_digest(manifest)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (contents | {"manifest.json": json.dumps(manifest).encode()}).items():
            archive.writestr(name, content)


def make_version(user: User, data: Path, number: int = 1, phrase: str = "hey compass", **changes: Any) -> Version:
    """A version with all its files, as a training run leaves them."""
    report = make_report(phrase, **changes)
    run = RUN if number == 1 else f"{RUN}-{number}"
    folder, job_folder = data / "models" / run, data / "jobs" / run
    folder.mkdir(parents=True)
    job_folder.mkdir(parents=True)
    make_bundle(folder / f"{run}.zip", phrase)
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "report.html").write_text("<!doctype html><script>alert(1)</script>")
    (folder / "model.pt").write_bytes(b"model.pt")
    (job_folder / "clips.csv").write_text(
        "clip_id,path,label,bucket,engine,voice,speaker,split,text,licence,seconds,reused\n"
        f'7,{data}/clips/ab/abcd.flac,1,positive,espeak,en+f3,f3,train,"héy, compass",GPL-3.0,1.25,0\n'
    )
    detector, _ = Detector.objects.get_or_create(user=user, phrase=phrase, language="en")
    job = Job.objects.create(
        user=user, kind="train", lane="training", title=phrase, state=Job.State.DONE, result={"seconds": {"train": 7.5}}
    )
    return Version.objects.create(
        detector=detector, number=number, job=job, folder=f"models/{run}", bundle=f"{run}.zip",
        summary=report["summary"],
    )  # fmt: skip


def address(name: str, version: Version, *more: str) -> str:
    numbers = (
        [version.detector_id] if name in ("detector", "compare", "delete") else [version.detector_id, version.number]
    )
    return reverse(f"trainer:{name}", args=[*numbers, *more])


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


@pytest.fixture
def version(owner: User, portal: Path) -> Version:
    return make_version(owner, portal)


EVERY_PAGE = ("detector", "version", "compare", "use", "bundle")


def test_the_detector_leads_to_its_newest_version(owners: Client, owner: User, version: Version, portal: Path) -> None:
    newer = make_version(owner, portal, 2)
    response = owners.get(address("detector", version))
    assert response.status_code == 302 and response["Location"] == address("version", newer)


def test_the_page_says_what_was_measured_on_how_much(owners: Client, version: Version) -> None:
    page = owners.get(address("version", version)).content.decode()
    assert "15.0 %" in page and "7.1 to 29.1 %" in page, "the miss rate with Wilson's interval"
    assert "of 40 utterances by 12 voices, all synthetic" in page and "of 20 utterances at 10 dB" in page
    assert "not measured" in page and "no recording of a person" in page
    assert "0.50" in page and "0.01 to 2.79" in page and "in 2.00 h of test speech and noise" in page
    assert "of 10 times that a confusing phrase was said" in page
    assert "It was measured, and how." in page and "festival" in page and "(not heard in training)" in page
    assert "people: kitchen (negative bank)" in page and "arctic: free (CMU)" in page and "GPL-3.0" in page
    assert "0.2500" in page and "0.1250" in page, "the training curve"
    assert "quick, 3, en" in page and "7.5 s" in page
    assert reverse("jobs:detail", args=[version.job_id]) in page
    assert "4 more voices, heard better" in page


def test_a_detector_that_misses_most_is_not_for_use(owners: Client, version: Version) -> None:
    pages = ("/", f"/detectors/{version.detector_id}/{version.number}")
    assert not any("not for use" in owners.get(page).content.decode() for page in pages)
    version.summary["miss_rate_clean"] = {"value": 0.9, "low": 0.8, "high": 0.95}
    version.save()
    assert all("not for use" in owners.get(page).content.decode() for page in pages)


def test_real_people_are_told_from_synthetic_voices(owners: Client, owner: User, portal: Path) -> None:
    some = owners.get(address("version", make_version(owner, portal, people=10))).content.decode()
    assert "synthetic and real" in some and "of 10 utterances" in some and "50.0 %" in some
    every = owners.get(address("version", make_version(owner, portal, 2, people=40))).content.decode()
    assert "all of real people" in every


def test_a_detector_from_nothing_is_shown(owners: Client, version: Version) -> None:
    report = make_report()
    del report["trunk"]
    report["held_out_engine"] = None
    report["results"]["confusers"]["worst"] = []
    report["results"]["by_engine"][0]["miss_rate"] = a_share(0, 0)
    (version.path / "report.json").write_text(json.dumps(report))
    page = owners.get(address("version", version)).content.decode()
    assert "none: trained from nothing" in page and "unknown" in page
    assert "None of the confusing phrases" in page and "in the test only" not in page
    assert owners.get(address("compare", version)).status_code == 200


def test_a_version_of_which_nothing_was_trained_is_shown(owners: Client, version: Version) -> None:
    assert "60 steps in" in owners.get(address("version", version)).content.decode()
    report = make_report()
    report["training"] = {"steps": 0, "best_step": None, "best_measure": None, "seconds": 0.0, "history": []}
    (version.path / "report.json").write_text(json.dumps(report))
    page = owners.get(address("version", version)).content.decode()
    assert "none: only the threshold was set" in page and "Training curve" not in page


def test_a_version_without_its_job_is_shown(owners: Client, version: Version) -> None:
    assert version.job is not None
    version.job.delete()
    assert owners.get(address("version", version)).status_code == 200
    assert owners.get(address("compare", version)).status_code == 200


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_others_find_nothing(client: Client, other: User, version: Version, name: str) -> None:
    answer = client.get(address(name, version))
    assert answer.status_code == 302 and answer["Location"].startswith(reverse("accounts:login"))
    client.force_login(other)
    assert client.get(address(name, version)).status_code == 404


def test_others_get_no_file_and_delete_nothing(client: Client, other: User, version: Version) -> None:
    client.force_login(other)
    assert client.get(address("file", version, "model.pt")).status_code == 404
    assert client.post(address("delete", version)).status_code == 404
    assert Version.objects.count() == 1 and version.path.is_dir()


@pytest.mark.parametrize("name", [*EVERY_PAGE, "delete"])
def test_what_is_not_there_is_not_found(owners: Client, name: str) -> None:
    numbers = [99] if name in ("detector", "compare", "delete") else [99, 1]
    send = owners.post if name == "delete" else owners.get
    assert send(reverse(f"trainer:{name}", args=numbers)).status_code == 404


def test_a_phrase_cannot_bring_its_own_markup(owners: Client, owner: User, portal: Path) -> None:
    odd = make_version(owner, portal, phrase="</script><img src=x onerror=alert(1)>")
    for name in ("version", "compare", "use"):
        page = owners.get(address(name, odd)).content.decode()
        assert "<img src=x" not in page and "&lt;img src=x" in page


def test_nothing_is_inline(owners: Client, version: Version) -> None:
    for name in ("version", "compare", "use"):
        page = owners.get(address(name, version)).content.decode()
        assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:", page)
        assert set(re.findall(r"<script(?![^>]* src=)[^>]*>", page)) <= {
            '<script id="det-data" type="application/json">'
        }


# --- the dial


def chosen_link(page: str) -> str:
    found = re.search(r'data-dial="link" href="([^"]*)"', page)
    assert found
    return found[1]


def test_the_dial_starts_at_the_shipped_threshold(owners: Client, version: Version) -> None:
    page = owners.get(address("version", version)).content.decode()
    assert '<option value="12" selected>' in page and page.count("<option") == len(RATES)
    assert chosen_link(page) == address("bundle", version) + "?fa_per_day=12"
    assert "Observed: on the validation streams a threshold of 0.600" in page


def test_the_dial_works_without_javascript(owners: Client, version: Version) -> None:
    page = owners.get(address("version", version), {"fa_per_day": "2"}).content.decode()
    assert '<option value="2" selected>' in page and "Extrapolated:" in page
    link = chosen_link(page)
    assert link == address("bundle", version) + "?fa_per_day=2"
    answer = owners.get(link)
    assert answer.status_code == 200 and answer["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(body(answer))) as archive:
        assert json.loads(archive.read("manifest.json"))["default_fa_per_day"] == 2.0


@pytest.mark.parametrize("wish", ["", "7", "x", "<script>"])
def test_a_setting_that_is_none_is_the_default(owners: Client, version: Version, wish: str) -> None:
    page = owners.get(address("version", version), {"fa_per_day": wish}).content.decode()
    assert '<option value="12" selected>' in page and "<script>" not in page


def test_a_setting_is_never_said_to_be_better_than_it_is() -> None:
    points = {point.rate: point for point in results.operating_points(make_report())}
    assert list(points) == ["0.5", "2", "12", "48", "240"]
    # 0.8 lies between two levels of the curve: misses of 0.9, false alarms of 0.7
    assert points["2"].missed["all"].value == "60.0 %" and points["2"].missed["noisy"].value == "70.0 %"
    assert points["2"].count == 1 and points["2"].alarms.value == "0.50"
    # 0.95 lies beyond the curve
    assert points["0.5"].missed["clean"].value == "100.0 %" and points["0.5"].count == 0
    # 0.6 was measured itself
    assert points["12"].missed["all"].value == "15.0 %" and points["12"].count == 1
    assert points["240"].count == 40 and points["240"].alarms.value == "20.00"
    assert [point.extrapolated for point in points.values()] == [True, True, False, False, False]


def test_the_plot_gets_the_curves_and_the_words_of_each_setting(owners: Client, version: Version) -> None:
    page = owners.get(address("version", version)).content.decode()
    found = re.search(r'<script id="det-data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    data = json.loads(found[1])
    assert [curve["kind"] for curve in data["curves"]] == ["all", "clean", "noisy"]
    assert data["curves"][2]["missed"] == [0, 0.1, 0.15, 0.3, 0.7] and data["lowest"] == 0.5 and data["top"] == 1.0
    assert data["points"][1]["rate"] == "2" and data["points"][1]["y"]["all"] == pytest.approx(0.6)
    assert "2 false alarms a day" in data["points"][1]["words"]["download"]


# --- downloads


def test_the_stored_bundle_comes_as_it_is(owners: Client, version: Version) -> None:
    answer = owners.get(address("bundle", version))
    assert body(answer) == (version.path / version.bundle).read_bytes()
    assert answer["Content-Disposition"] == f'attachment; filename="{version.bundle}"'


def test_a_bundle_of_another_rate_passes_its_own_check(owners: Client, version: Version, tmp_path: Path) -> None:
    got = tmp_path / "got.zip"
    got.write_bytes(body(owners.get(address("bundle", version), {"fa_per_day": "48"})))
    bundle = Bundle(got)
    assert bundle.manifest["default_fa_per_day"] == 48.0 and bundle.threshold() == pytest.approx(0.4)
    for name in bundle.manifest["files"]:
        bundle.read(name)


@pytest.mark.parametrize("rate", ["", "x", "nan", "inf", "-1", "0", "0.1", "1e9"])
def test_a_rate_that_makes_no_sense_is_explained(owners: Client, version: Version, rate: str) -> None:
    answer = owners.get(address("bundle", version), {"fa_per_day": rate})
    assert answer.status_code == 422 and "false alarms" in answer.content.decode()


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx", "model.pt", "det.png", "MODEL_CARD.md"])
def test_files_come_from_the_folder_or_the_bundle(owners: Client, version: Version, name: str) -> None:
    answer = owners.get(address("file", version, name))
    assert body(answer) == name.encode()
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'


def test_the_report_is_never_shown_in_this_sites_name(owners: Client, version: Version) -> None:
    answer = owners.get(address("file", version, "report.html"))
    assert answer["Content-Disposition"].startswith("attachment") and answer["X-Content-Type-Options"] == "nosniff"


def test_the_dataset_is_a_manifest_that_the_library_can_import(owners: Client, version: Version, portal: Path) -> None:
    from pipeline.corpora.layouts import nemo_manifest

    content = body(owners.get(address("file", version, "dataset.jsonl"))).decode()
    assert json.loads(content) == {
        "audio_filepath": "clips/ab/abcd.flac", "text": "héy, compass", "duration": 1.25, "bucket": "positive",
        "engine": "espeak", "voice": "en+f3", "speaker": "f3", "split": "train", "licence": "GPL-3.0",
    }  # fmt: skip
    (portal / "dataset.jsonl").write_text(content)
    (only,) = nemo_manifest.utterances(portal)
    assert only.audio == portal / "clips" / "ab" / "abcd.flac" and only.text == "héy, compass"


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "..", "../report.json", "..%2freport.json", "%2e%2e%2freport.json", "/etc/passwd", "model.pt%00",
     "MODEL.PT", "..\\report.json", "models", RUN + ".zip", "secret.key"],
)  # fmt: skip
def test_no_other_name_is_a_file(owners: Client, version: Version, name: str) -> None:
    answer = owners.get(f"{address('version', version)}/files/{name}")
    assert answer.status_code == 404


def test_files_that_are_gone_are_said_to_be_gone(owners: Client, version: Version) -> None:
    (version.path / version.bundle).unlink()
    for gone in (
        address("bundle", version),
        address("bundle", version) + "?fa_per_day=2",
        address("use", version),
        address("file", version, "model.onnx"),
    ):
        answer = owners.get(gone)
        assert answer.status_code == 410 and "is gone" in answer.content.decode()
    page = owners.get(address("version", version)).content.decode()
    assert "model.onnx" not in page and address("file", version, "report.json") in page
    shutil.rmtree(version.path.parents[1] / "jobs")
    assert owners.get(address("file", version, "dataset.jsonl")).status_code == 410
    shutil.rmtree(version.path)
    for name in ("version", "bundle"):
        answer = owners.get(address(name, version))
        assert answer.status_code in (410, 422) and "again" in answer.content.decode()
    assert "its report is gone" in owners.get(address("compare", version)).content.decode()


def test_a_damaged_bundle_gives_no_file_and_no_traceback(owners: Client, version: Version) -> None:
    (version.path / version.bundle).write_bytes(b"PK no zip")
    assert owners.get(address("file", version, "model.onnx")).status_code == 410
    assert owners.get(address("bundle", version), {"fa_per_day": "2"}).status_code == 422
    assert owners.get(address("version", version)).status_code == 200


# --- clips, comparison, use, deletion


def test_what_fooled_it_can_be_listened_to(owners: Client, version: Version, portal: Path) -> None:
    with Library(portal) as library:
        ids = library.add_clips(
            NewClip(
                np.full(160 + n, 0.1, np.float32), "Hey, campus!", "hey campus", "en", "espeak", request_id=f"r:{n}"
            )
            for n in range(5)
        )
    page = owners.get(address("version", version)).content.decode()
    assert [f'data-play="{reverse("trainer:clip", args=[n])}"' in page for n in ids] == [True] * 3 + [False] * 2
    assert owners.get(reverse("trainer:clip", args=[ids[0]])).status_code == 200


def test_versions_are_compared_each_on_its_own_test(
    owners: Client, owner: User, version: Version, portal: Path
) -> None:
    for number in range(2, 9):
        make_version(owner, portal, number)
    page = owners.get(address("compare", version)).content.decode()
    assert "the tests of two runs differ" in page
    assert page.count('class="c0"') == 1 and page.count("checked") == results.CURVES_COMPARED
    page = owners.get(address("compare", version), {"v": ["1", "3", "x"]}).content.decode()
    assert page.count("checked") == 2 and ">Version 8</a>" in page


def make_comparison(*versions: Version, left_out: dict[str, str] | None = None, **stream: Any) -> dict[str, Any]:
    """As ``pipeline.training.comparison`` writes it, beside the first of the versions: each later one misses more."""
    curve = {"threshold": LEVELS, "fa_per_hour": [20.0, 4.0, 1.0, 0.5, 0.0], "miss_rate": [0.0, 0.05, 0.1, 0.2, 0.6]}
    figures = [
        {
            "run": version.path.name, "threshold": 0.6, "false_alarms": 1, "hours": 3.0, "det": curve,
            "fa_per_hour": poisson_interval(1, 3.0).as_dict(), "utterances": 50, "renderings": 100,
            "missed": 10 + 10 * place, "marked_fired": place, "marked_missed": place,
            "miss_rate": {name: a_share(5 + 5 * place, 50) for name in results.CONDITIONS},
            "people": a_share(place, 7), "confusers": a_share(2, 20),
        }
        for place, version in enumerate(versions)
    ]  # fmt: skip
    about = {
        "utterances": 50, "renderings": 100, "people": 7, "voices": 9, "confusers": 20, "hours": 3.0,
        "bank_hours": 1.25, "marked": 2, "marked_misses": 3,
    }  # fmt: skip
    made = {
        "asked": [version.path.name for version in versions] + list(left_out or ()), "stream": {**about, **stream},
        "versions": figures, "left_out": left_out or {}, "created": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip
    (versions[0].path / "comparison.json").write_text(json.dumps(made))
    return made


def test_versions_are_compared_on_one_stream(owners: Client, owner: User, version: Version, portal: Path) -> None:
    page = owners.get(address("compare", version)).content.decode()
    assert "On the same stream" not in page, "there is one version"
    second, third = make_version(owner, portal, 2), make_version(owner, portal, 3)
    page = owners.get(address("compare", version)).content.decode()
    assert "Compare on the same stream" in page and "DET curves, each of its own test" in page
    make_comparison(third, second, left_out={version.path.name: "Its model is gone."})
    page = owners.get(address("compare", version)).content.decode()
    assert "Compare again" in page and "no longer those that were compared" not in page
    assert "50 utterances by 9 voices, 7 of them by people" in page and "1.25 h are of the negative bank" in page
    assert "10.0 %" in page and "4.3 to 21.4 %" in page and "20.0 %" in page, "with Wilson's intervals"
    assert "0.01 to 1.86" in page and "Fires on marked false alarms, of 2" in page
    assert "Still misses marked misses, of 3" in page and "Version 1 is left out: Its model is gone." in page
    assert "DET curves on the same stream" in page and page.count("checked") == 2, "what was left out has no curve"
    drawn = json.loads(re.search(r'<script id="det-data"[^>]*>(.*?)</script>', page, re.S).group(1))  # type: ignore[union-attr]
    assert [curve["label"] for curve in drawn["curves"]] == ["Version 3", "Version 2"]
    assert page.count('<span class="faint small">in use') == 1
    make_version(owner, portal, 4)
    page = owners.get(address("compare", version)).content.decode()
    assert "no longer those that were compared" in page and "Compare on the same stream" in page


def test_a_comparison_is_a_job_whose_page_leads_back(
    owners: Client, owner: User, version: Version, portal: Path
) -> None:
    assert owners.post(address("compare", version)).status_code == 422, "one version is nothing to compare"
    made = [version, *(make_version(owner, portal, number) for number in range(2, 12))]
    Version.objects.exclude(pk=version.pk).update(offered=False)
    response = owners.post(address("compare", version))
    job = Job.objects.get(kind="compare")
    assert response.status_code == 302 and response["Location"] == reverse("jobs:detail", args=[job.id])
    assert (job.lane, job.user, job.spec["detector"]) == ("training", owner, version.detector_id)
    newest = [each.path.name for each in made[:3:-1]]
    assert job.spec["runs"] == [*newest, version.path.name], "the newest ones, and the one in use"
    assert owners.post(address("compare", version))["Location"] == response["Location"], "a double click is one job"
    page = owners.get(response["Location"]).content.decode()
    assert "Let all of them listen" in page and "See the comparison" not in page
    Job.objects.filter(pk=job.pk).update(state=Job.State.DONE, result={})
    page = owners.get(response["Location"]).content.decode()
    assert f'href="{address("compare", version)}">See the comparison' in page


def test_a_damaged_comparison_is_none(owners: Client, owner: User, version: Version, portal: Path) -> None:
    newer = make_version(owner, portal, 2)
    (newer.path / "comparison.json").write_text('{"asked": [')
    assert "Compare on the same stream" in owners.get(address("compare", version)).content.decode()


def test_an_utterance_that_was_heard_twice_is_one(owners: Client, version: Version) -> None:
    report = make_report()
    report["results"] |= {"positives": 40, "utterances": 20}
    report["results"]["by_speaker"][0] |= {"clips": 77_177, "utterances": 54_321}
    (version.path / "report.json").write_text(json.dumps(report))
    page = owners.get(address("version", version)).content.decode()
    assert "of 20 utterances by 12 voices" in page and "54321" in page and "77177" not in page
    strict = results.operating_points(report)[0]
    assert strict.y["all"] == 1.0
    assert strict.missed["all"].interval == "83.9 to 100.0 %", "of twenty, not of forty"


@pytest.mark.parametrize("name", ["version", "compare"])
def test_more_versions_are_not_more_queries(
    owners: Client, owner: User, version: Version, portal: Path, django_assert_num_queries: Any, name: str
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    make_version(owner, portal, 2)
    owners.get(address(name, version))  # what is done once
    with CaptureQueriesContext(connection) as few:
        owners.get(address(name, version))
    for number in range(3, 21):
        make_version(owner, portal, number)
    with django_assert_num_queries(len(few)):
        owners.get(address(name, version))


def test_how_to_use_it_names_this_bundle(owners: Client, version: Version) -> None:
    page = owners.get(address("use", version)).content.decode()
    assert f"unzip {RUN}.zip -d {RUN}" in page
    assert f"./hark wyoming --uri tcp://0.0.0.0:10400 {RUN}.zip" in page
    assert "pip install numpy onnxruntime sounddevice" in page and "detect.html" not in page
    with zipfile.ZipFile(version.path / version.bundle, "a") as archive:
        archive.writestr("detect.html", "")
    assert "detect.html" in owners.get(address("use", version)).content.decode()


def test_deleting_asks_first_and_leaves_clips_and_jobs(
    owners: Client, owner: User, version: Version, portal: Path
) -> None:
    make_version(owner, portal, 2)
    kept = make_version(owner, portal, 3, phrase="smart mirror")
    running = Job.objects.create(
        user=owner, kind="train", lane="training", title="hey compass", state=Job.State.RUNNING
    )
    (portal / "clips").mkdir()
    assert owners.get(address("delete", version)).status_code == 405
    assert "<details" in owners.get(address("version", version)).content.decode()
    answer = owners.post(address("delete", version))
    assert answer.status_code == 302 and answer["Location"] == reverse("trainer:home")
    assert list(Detector.objects.all()) == [kept.detector]
    assert [path.name for path in (portal / "models").iterdir()] == [kept.path.name]
    assert (portal / "clips").is_dir() and Job.objects.filter(id=running.id, state=Job.State.RUNNING).exists()
    assert owners.get(reverse("jobs:detail", args=[version.job_id])).status_code == 200


# All within the test's own folder: should the guard be lost one day, nothing else is.
@pytest.mark.parametrize(
    "folder", [".", "models", "models/..", "clips", "models/../clips", "{portal}/clips", "deep/er"]
)
def test_deleting_removes_no_other_folder(owners: Client, version: Version, portal: Path, folder: str) -> None:
    (portal / "clips").mkdir()
    (portal / "deep" / "er").mkdir(parents=True)
    (portal / "portal").mkdir()  # the portal's own, which its first request makes
    before = sorted(path.name for path in portal.iterdir())
    Version.objects.update(folder=folder.format(portal=portal))
    assert owners.post(address("delete", version)).status_code == 302
    assert sorted(path.name for path in portal.iterdir()) == before
    assert (portal / "models" / RUN).is_dir() and (portal / "deep" / "er").is_dir()
