"""The bundle: complete, with valid digests, reproducible, and none if float forms disagree."""

from __future__ import annotations

import hashlib
import json
import math
import py_compile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from core.audio_file import write_audio
from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.events import Event, Reporter
from core.worded import worded
from model.checkpoint import load_checkpoint
from model.dataset import FeatureStore
from model.runtime.detector import SCHEMA, Bundle, Detector
from model.tiny_crnn import TinyCRNN
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.measuring.calibration import DEFAULT_FA_PER_DAY, FA_PER_DAY
from pipeline.training.measuring.evaluation import MeasuredDetector
from pipeline.training.packing import bundle as bundling
from pipeline.training.packing.bundle import BundleFiles, bundle_at, pack, write_bundle
from pipeline.training.planning.plan import Plan
from pipeline.training.reporting import report as reporting
from pipeline.training.reporting.licences import licences_text
from pipeline.training.reporting.model_card import model_card
from pipeline.training.workspace.run_folder import RunFolder
from tests.support.constants import replace_in
from tests.support.small_crnn import small_crnn

Write = Callable[[], BundleFiles]
THRESHOLDS = [
    {"fa_per_day": rate, "threshold": 0.9 - 0.1 * n, "extrapolated": n < 2} for n, rate in enumerate(FA_PER_DAY)
]
PLAN = Plan("hey-compass-run", RunConfig("hey compass"), (), (), (), 0.0, {}, {}, "", 0.0)


@pytest.fixture(scope="module")
def model() -> TinyCRNN:
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    return TinyCRNN(small_crnn(0.8)).eval()


@pytest.fixture
def clips(tmp_path: Path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(8):
        path = tmp_path / f"{number}.flac"
        write_audio(path, (0.1 * rng.standard_normal(16_000)).astype(np.float32))
        engine, licence = (("espeak", "GPL-3.0"), ("corpus", "CC-BY-4.0"))[number % 2]
        rows.append(
            {
                "clip_id": number, "path": str(path), "label": number // 4, "split": "test", "engine": engine,
                "licence": licence, "voice": f"v{number % 4}", "corpus": "",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def figures() -> dict[str, Any]:
    return {
        "phrase": "hey compass", "effort": "quick", "run": "hey-compass-run", "created": "2026-01-02T03:04:05+00:00",
        "summary": {"parameters": 12_961}, "thresholds": THRESHOLDS,
        "licences": ["GPL-3.0"], "size": "standard", "detector": TinyCRNN.title, "model": {},
    }  # fmt: skip


@pytest.fixture
def told() -> list[Event]:
    """The events of writing the bundle."""
    return []


@pytest.fixture
def write(
    tmp_path: Path, clips: pd.DataFrame, model: TinyCRNN, monkeypatch: pytest.MonkeyPatch, told: list[Event]
) -> Write:
    """Write the bundle. The pictures, the page and the sentences have their own tests."""
    page = "<!doctype html>page"
    replace_in(bundling, monkeypatch, det_plot=lambda *given: b"\x89PNG picture", html_report=lambda *given: page)
    monkeypatch.setattr(reporting, "in_words", lambda figures: [worded("It was measured.")])
    job = tmp_path / "job"
    job.mkdir()
    made = MeasuredDetector(model, cast(FeatureStore, None), THRESHOLDS, {}, None)

    def write() -> BundleFiles:
        contents, _ = pack(job, clips, reporting.Reported(PLAN, made, figures()), Reporter(told.append))
        return write_bundle(RunFolder(tmp_path, PLAN.run), contents)

    return write


def test_a_bundle_is_complete_and_every_digest_matches(write: Write, tmp_path: Path) -> None:
    files = write()
    assert files.bundle == tmp_path / "models" / "hey-compass-run" / "hey-compass-run.zip"
    assert not list((tmp_path / "job").iterdir()), "exported files are in the bundle, not in the job"
    with zipfile.ZipFile(files.bundle) as archive:
        assert archive.testzip() is None
        contents = {name: archive.read(name) for name in archive.namelist()}
        assert archive.getinfo("detect.py").external_attr >> 16 & 0o111, "detect.py is executable"
    assert set(contents) == {
        "model.pt", "model.onnx", "model.int8.onnx", "manifest.json", "detect.py", "detect.html", "detect.js",
        "det.png", "report.json", "report.html", "MODEL_CARD.md", "LICENSES.txt",
        "README.md",
    }  # fmt: skip
    manifest = json.loads(contents.pop("manifest.json"))
    assert manifest["files"] == {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert manifest["schema"] == SCHEMA and manifest["phrase"] == "hey compass" and manifest["language"] == "en"
    assert manifest["sample_rate"] == 16_000 and manifest["chunk_samples"] == 1280
    assert manifest["thresholds"] == THRESHOLDS and manifest["default_fa_per_day"] == DEFAULT_FA_PER_DAY
    assert contents["detect.py"] == (REPOSITORY / "model" / "runtime" / "detector.py").read_bytes()
    in_report = json.loads(contents["report.json"])
    said = in_report["in_words_parts"]
    assert len(said) == len(in_report["in_words"]) and all(set(one) == {"template", "plural", "values"} for one in said)
    assert max(in_report["parity"]["pt_against_onnx"], in_report["parity"]["pt_against_streaming"]) < 1e-3
    assert in_report["bytes"]["model.int8.onnx"] == len(contents["model.int8.onnx"]) <= 60_000
    for path, name in ((files.model_pt, "model.pt"), (files.report, "report.html")):
        assert path.read_bytes() == contents[name]


def test_the_unfinished_bundle_of_a_killed_run_is_removed(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "hey-compass-run"
    folder.mkdir(parents=True)
    (folder / ".hey-compass-run-8m3bfd24.zip").write_bytes(b"PK")
    write()
    assert {path.suffix for path in folder.iterdir()} == {".zip", ".pt", ".html", ".json"}
    assert not list(folder.glob(".*"))


def test_the_same_model_gives_the_same_bundle(write: Write, tmp_path: Path) -> None:
    first = write().bundle.read_bytes()
    assert write().bundle.read_bytes() == first


def test_the_runtime_opens_the_bundle_and_the_checkpoint_has_its_manifest(
    write: Write, model: TinyCRNN, tmp_path: Path
) -> None:
    files = write()
    detector = Detector(files.bundle)
    assert detector.phrase == "hey compass" and detector.threshold == pytest.approx(0.5)
    assert np.isfinite(detector.scores(np.zeros(16_000, np.float32))).all()
    for name in Bundle(files.bundle).manifest["files"]:
        Bundle(files.bundle).read(name)
    loaded, extra = load_checkpoint(str(files.model_pt))
    assert loaded.config == model.config and extra["manifest"]["phrase"] == "hey compass"
    with zipfile.ZipFile(files.bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    py_compile.compile(str(tmp_path / "unpacked" / "detect.py"), doraise=True)
    assert Detector(tmp_path / "unpacked").threshold == detector.threshold


def test_a_bundle_at_a_different_rate_differs_only_in_its_default(write: Write, tmp_path: Path) -> None:
    original, changed = write().bundle, tmp_path / "changed.zip"
    with changed.open("wb") as out:
        bundle_at(original, 2, out)
    before, after = Bundle(original), Bundle(changed)  # which checks the manifest's digest
    assert after.manifest["default_fa_per_day"] == 2.0
    assert {**after.manifest, "digest": 0} == {**before.manifest, "digest": 0, "default_fa_per_day": 2.0}
    for name in before.manifest["files"]:
        assert after.read(name) == before.read(name)
    assert Detector(changed).threshold == pytest.approx(0.7) != Detector(original).threshold
    assert Detector(changed, fa_per_day=12).threshold == Detector(original).threshold
    with zipfile.ZipFile(changed) as archive:
        assert archive.getinfo("detect.py").external_attr >> 16 & 0o111
        archive.extractall(tmp_path / "unpacked")
    assert Detector(tmp_path / "unpacked").threshold == pytest.approx(0.7)
    again = tmp_path / "again.zip"
    with again.open("wb") as out:
        bundle_at(changed, DEFAULT_FA_PER_DAY, out)
    assert again.read_bytes() == original.read_bytes(), "changing the rate back restores the bundle"


@pytest.mark.parametrize("rate", [0.0, -1.0, 0.4, 241.0, float("nan"), float("inf")])
def test_an_uncalibrated_rate_is_rejected(write: Write, tmp_path: Path, rate: float) -> None:
    with (tmp_path / "out").open("wb") as out, pytest.raises(HarkError, match="no threshold"):
        bundle_at(write().bundle, rate, out)
    assert (tmp_path / "out").stat().st_size == 0


def test_a_damaged_bundle_is_not_repacked(write: Write, tmp_path: Path) -> None:
    original, damaged = write().bundle, tmp_path / "damaged.zip"
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(damaged, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name) + (b"!" if name == "det.png" else b""))
    with (tmp_path / "out").open("wb") as out, pytest.raises(HarkError, match="cannot be used"):
        bundle_at(damaged, 2, out)
    with (tmp_path / "out").open("wb") as out, pytest.raises(HarkError, match="cannot be used"):
        bundle_at(tmp_path / "gone.zip", 2, out)
    assert (tmp_path / "out").stat().st_size == 0


def test_disagreeing_export_forms_leave_no_bundle(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model import export

    honest = export.onnx_scores
    monkeypatch.setattr(export, "onnx_scores", lambda *arguments: honest(*arguments) + 0.01)
    with pytest.raises(HarkError, match="not exported"):
        write()
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("wrong", [0.3, np.nan])
def test_inaccurate_8_bit_weights_are_omitted_and_reported(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Event], wrong: float
) -> None:
    from model import export

    write()
    assert not told
    honest = export.onnx_scores

    def spoilt(path: Path, *arguments: Any) -> np.ndarray:
        scores = honest(path, *arguments)
        return scores + wrong if "int8" in path.name else scores

    monkeypatch.setattr(export, "onnx_scores", spoilt)
    files = write()
    (event,) = told
    said = str(event["message"])
    assert event["level"] == "warning" and "model.int8.onnx" in said and "the tolerance is 0.25" in said
    assert not list((tmp_path / "job").iterdir())
    with zipfile.ZipFile(files.bundle) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        in_report = json.loads(archive.read("report.json"))
        assert "model.int8.onnx" not in archive.namelist()
        assert f"- {said}" in archive.read("MODEL_CARD.md").decode()
    assert "model.int8.onnx" not in manifest["files"] and "model.onnx" in manifest["files"]
    assert in_report["in_words"] == ["It was measured.", said]
    assert set(in_report["bytes"]) == {"model.pt", "model.onnx"}
    off = in_report["parity"]["pt_against_int8"]
    assert off == pytest.approx(1.0 if np.isnan(wrong) else 0.3, abs=0.05)
    assert f"up to {math.ceil(1000 * off) / 1000} from" in said
    silence = np.zeros(16_000, np.float32)
    same = Detector(files.bundle, int8=True).scores(silence)
    assert np.array_equal(same, Detector(files.bundle).scores(silence)), "--int8 falls back to the model that exists"


def test_recordings_are_listed_without_ids_and_corpora_by_name(clips: pd.DataFrame) -> None:
    names = ["recording-0f8fad5b-d9cb-469f-a165-70867728950e", "recording-7a7cf72e", "recording-of-a-talk-7a7cf72e"]
    own = clips.iloc[[1, 3, 5]].assign(corpus=names, split="train")
    assert bundling.training_corpora(own, {}) == ["recording", *names[1:]]


def test_every_voice_and_corpus_is_named_with_its_licence(clips: pd.DataFrame) -> None:
    text = licences_text(clips, {})
    assert "corpus: 4 clips, 2 voices, licence: CC-BY-4.0" in text
    assert "espeak: 4 clips, 2 voices, licence: GPL-3.0" in text
    assert "Apache-2.0" in text


def test_the_model_card_says_how_each_threshold_was_set() -> None:
    full = figures() | {"bytes": {"model.onnx": 120_000}, "parity": {"pt_against_onnx": 1e-7}}
    full |= {"in_words": ["It was measured."]}
    card = model_card(full)
    assert "model.pt is a checkpoint for Hark: its weights." in card
    assert "| 0.5 | 0.90000 | extrapolated |" in card and "| 2 | 0.70000 | observed" in card
    assert "12,961 parameters; model.onnx 120 kB" in card and "It was measured." in card
    assert "pt against onnx 1.0e-07" in card and "LICENSES.txt" in card and "det.png" in card
