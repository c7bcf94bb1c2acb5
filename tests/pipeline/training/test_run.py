"""A run from the phrase to the bundle: it resumes after a kill in every stage, and its bundle runs without Hark."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from core import lock
from core.data_folder import REPOSITORY
from core.errors import HarkError
from core.events import Event, Reporter, silent_reporter
from db.checking import check_library
from db.db_api import Library
from model.dataset import FeatureWriter
from model.large import encoder_backbone
from model.runtime.detector import Detector
from pipeline.training import run as training_pipeline
from pipeline.training.configuration.efforts import BUCKETS, EFFORTS, BucketSize, Effort
from pipeline.training.configuration.run_config import AUTO_SIZE, RunConfig
from pipeline.training.negatives import negative_set
from pipeline.training.packing import bundle
from pipeline.training.planning.plan import Plan, save_plan
from pipeline.training.planning.preview import plan_run, plan_summary
from pipeline.training.recipes.prepared import prepare
from pipeline.training.run import run_training
from pipeline.training.workspace.run_folder import RunFolder
from pipeline.training.workspace.work import StageClock, Work
from tests.support import tiny_run
from tests.support.choir import Choir, new_clip
from tests.support.constants import replace_in
from tests.support.library_server import ENGINES
from tests.support.moonshine_package import needs_encoder
from tests.support.processes import of_session
from tests.support.tiny_run import TINY

# Where the run is killed, in this order: each run continues from the previous one.
KILLS = ("plan:0", "synthesize:2", "features:2", "train:1", "calibrate:0", "report:0", "bundle:0", "zip:3")
FEW = {
    "confusable": BucketSize(8, 1),
    "inbetween": BucketSize(3, 1),
    "plain_negative": BucketSize(16, 1),
    "test_clips": 16,
}
CONFIG = RunConfig("hey compass", effort="tiny")


# Small things, fast.


@pytest.mark.parametrize("phrase", ["", "x", "🙂🙂", "..", "a" * 300])
def test_an_unusable_phrase_is_rejected_immediately(phrase: str) -> None:
    with pytest.raises(HarkError) as raised:
        prepare(RunConfig(phrase, effort="quick"))
    assert raised.value.what and raised.value.why and raised.value.what_to_do


def test_invalid_efforts_are_rejected() -> None:
    assert prepare(RunConfig("  Hey, COMPASS! ", effort="quick")).phrase == "hey compass"
    with pytest.raises(HarkError, match="no effort called 'heroic'"):
        prepare(RunConfig("hey compass", effort="heroic"))


def test_the_order_of_engines_and_devices_does_not_change_the_run() -> None:
    wanted = RunConfig("hey compass", engines=("flite", "espeak"), devices=("openwakeword", "esphome"))
    more = replace(wanted, engines=("espeak", "flite", "flite"), devices=("esphome", "openwakeword", "esphome"))
    assert prepare(more) == prepare(wanted) and prepare(more).devices == ("esphome", "openwakeword")


def test_a_phrase_longer_than_a_devices_window_is_rejected() -> None:
    long = RunConfig("please transform responsible photographers", effort="quick", devices=("esphome", "openwakeword"))
    with pytest.raises(HarkError, match=r"too long for Home Assistant: openWakeWord.* about 2\.\d s to say.* 1\.9 s"):
        prepare(long)
    assert prepare(replace(long, devices=("esphome",))).devices == ("esphome",)
    assert prepare(replace(long, phrase="hey compass")).devices == long.devices


def test_auto_size_chooses_large_where_it_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    auto = RunConfig("hey compass", effort="quick", size=AUTO_SIZE)
    monkeypatch.setattr(encoder_backbone, "check_package", lambda: None)
    for found, size in ((Path("encoder"), "large"), (None, "standard")):
        monkeypatch.setattr(encoder_backbone, "encoder_path", lambda found=found: found)
        assert prepare(auto).size == size
        assert prepare(replace(auto, effort="trial")).size == "standard"
        assert prepare(replace(auto, from_scratch=True)).size == "standard"
        assert prepare(replace(auto, phrase="hallo kompass", language="de")).size == "standard"
    with pytest.raises(HarkError, match="cannot have a large detector"):
        prepare(replace(auto, size="large", phrase="hallo kompass", language="de"))
    with pytest.raises(HarkError, match="Only the threshold of a large detector is raised"):
        prepare(replace(auto, size="standard", allow_confusables=True))
    with pytest.raises(HarkError, match="no size called 'huge'"):
        prepare(replace(auto, size="huge"))


def test_planning_creates_nothing(tmp_path: Path, tiny_effort: Effort, choirs: dict[str, Choir]) -> None:
    plan = plan_run(CONFIG, tmp_path, silent_reporter())
    assert plan.requests and not any(choir.spoken for choir in choirs.values()) and not (tmp_path / "jobs").exists()
    assert plan_run(CONFIG, tmp_path, silent_reporter()) == plan


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that have begun. Each ends immediately."""
    names: list[str] = []
    made = {"bundle": "compass.zip", "report": "report.html"}
    monkeypatch.setattr(training_pipeline, "_run", lambda work, *rest: names.append(work.run.name) or made)
    return names


@pytest.fixture
def plan(tmp_path: Path, tiny_effort: Effort, choirs: dict[str, Choir]) -> Plan:
    """The plan of a run spoken by choirs."""
    return plan_run(CONFIG, tmp_path, silent_reporter())


def test_the_plan_of_a_stopped_run_reports_its_progress(plan: Plan, tmp_path: Path) -> None:
    fresh = plan_summary(plan, tmp_path)
    assert fresh == {**plan.summary(), "unfinished": None}
    folder = RunFolder.of(tmp_path, CONFIG).path
    save_plan(plan, folder / "plan.json")
    count = len(plan.requests)
    estimates = [fresh["estimate_s"]]
    for spoken, goes_on_with in (
        (0, "synthesize"), (count - 3, "synthesize"), (count, "features"), (count, "calibrate"),
        (count, "train"),
    ):  # fmt: skip
        with Library(tmp_path) as library:
            library.add_clips(
                new_clip(r.text, "s", r.engine, 0.2, request_id=r.request_id) for r in plan.requests[:spoken]
            )
        if goes_on_with == "calibrate":
            FeatureWriter(folder / "features").close()
        elif goes_on_with == "train":  # stopped at its devices
            (folder / "devices").mkdir()
        shown = plan_summary(plan_run(CONFIG, tmp_path, silent_reporter()), tmp_path)
        assert shown["unfinished"] == {"planned": count, "spoken": spoken, "goes_on_with": goes_on_with}
        rows = shown["buckets"].values()
        assert sum(row["generate"] for row in rows) == sum(sum(row["by_engine"].values()) for row in rows)
        assert (sum(row["generate"] for row in rows), sum(row["reused"] for row in rows)) == (count - spoken, spoken)
        estimates.append(shown["estimate_s"])
    assert estimates == sorted(estimates, reverse=True) and estimates[-1] < estimates[0]
    (folder / "result.json").write_text("{}")
    assert plan_summary(plan_run(CONFIG, tmp_path, silent_reporter()), tmp_path)["unfinished"] is None


def test_a_run_with_all_clips_needs_no_engines(
    plan: Plan, choirs: dict[str, Choir], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_plan(plan, RunFolder.of(tmp_path, CONFIG).plan)
    choirs.clear()

    def features(*given: object) -> None:
        raise HarkError("It came to the features.", "", "")

    monkeypatch.setattr(training_pipeline, "_clips", features)
    for spoken, becomes in ((plan.requests[1:], "no speech engine called"), (plan.requests, "to the features")):
        with Library(tmp_path) as library:
            library.add_clips(new_clip(r.text, "s", r.engine, 0.2, request_id=r.request_id) for r in spoken)
        with pytest.raises(HarkError, match=becomes):
            run_training(CONFIG, tmp_path, silent_reporter())


def test_a_finished_run_is_followed_by_a_new_folder(tmp_path: Path) -> None:
    def name(config: RunConfig = CONFIG) -> str:
        return RunFolder.of(tmp_path, config).name

    first = RunFolder.of(tmp_path, CONFIG)
    assert name() == first.name
    first.path.mkdir(parents=True)
    assert name() == first.name
    (first.path / "result.json").write_text("{}")
    assert name() == first.name + "-2"
    assert name(replace(CONFIG, seed=1)) not in (first.name, name())


def test_the_result_of_a_job_is_not_recomputed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(work: Any, tensorboard: bool, made_for: str) -> dict[str, Any]:
        folder = work.folder
        bundle = work.run.data / "models" / folder.name / f"{folder.name}.zip"
        bundle.parent.mkdir(parents=True)
        bundle.write_bytes(b"a bundle")
        (folder / "best.pt").write_bytes(b"large")
        result = {"bundle": str(bundle), "report": "report.html", "made_for": made_for}
        (folder / "result.json").write_text(json.dumps(result))
        raise KeyboardInterrupt  # killed before it reported the result

    monkeypatch.setattr(training_pipeline, "_run", run)
    config = prepare(replace(CONFIG, effort="quick"))
    for made_for in ("one job", "another job"):
        with pytest.raises(KeyboardInterrupt):
            run_training(config, tmp_path, silent_reporter(), made_for=made_for)
    damaged = tmp_path / "jobs" / f"{config.run_name}-3" / "result.json"
    damaged.parent.mkdir()
    damaged.write_text("null")
    for made_for, end in (("one job", ""), ("another job", "-2")):
        result = run_training(config, tmp_path, silent_reporter(), made_for=made_for)
        name = f"{config.run_name}{end}"
        assert Path(result["bundle"]).name == f"{name}.zip" and not (tmp_path / "jobs" / name / "best.pt").exists()
    assert len(list((tmp_path / "models").iterdir())) == 2
    with pytest.raises(KeyboardInterrupt):
        run_training(config, tmp_path, silent_reporter(), made_for="a third job")
    assert (tmp_path / "models" / f"{config.run_name}-4").is_dir()


def test_a_run_finished_by_another_job_is_not_taken_over(
    begun: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = prepare(replace(CONFIG, effort="quick"))

    @contextmanager
    def slow(path: Path, refusal: object) -> Iterator[None]:
        if path.parent.name == config.run_name:  # it finishes while the test waits
            (path.parent / "result.json").write_text('{"bundle": "", "report": "", "made_for": "another job"}')
        yield

    monkeypatch.setattr(training_pipeline, "held", slow)
    run_training(config, tmp_path, silent_reporter(), made_for="one job")
    assert begun == [f"{config.run_name}-2"]


@pytest.mark.parametrize(("code", "what"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "no write permission")])
def test_disk_errors_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, what: str) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(code, os.strerror(code), "somewhere")

    monkeypatch.setattr(training_pipeline, "_run", fail)
    with pytest.raises(HarkError, match=what) as raised:
        run_training(replace(CONFIG, effort="quick"), tmp_path, silent_reporter())
    assert raised.value.what_to_do


@pytest.mark.parametrize(
    ("bucket", "split", "from_scratch"),
    [("positive", "validation", True), ("plain_negative", "test", True), ("positive", "test", False)],
)
def test_too_few_clips_to_train_or_measure_are_rejected(bucket: str, split: str, from_scratch: bool) -> None:
    everything = pd.DataFrame([{"bucket": b, "split": s} for b in BUCKETS for s in ("train", "validation", "test")])
    plan = Plan(
        "run", replace(CONFIG, effort="quick", from_scratch=from_scratch), (), (), (), 0.0, {"espeak": 2}, {}, "", 0.0
    )
    training_pipeline._refuse_too_little(everything, plan)
    fewer = everything[~((everything["bucket"] == bucket) & (everything["split"] == split))]
    with pytest.raises(HarkError, match="cannot be trained") as raised:
        training_pipeline._refuse_too_little(fewer, plan)
    assert split in raised.value.why and "espeak" in raised.value.why


def test_clips_deleted_while_a_run_is_stopped_are_left_out(plan: Plan, tmp_path: Path) -> None:
    run = RunFolder.of(tmp_path, CONFIG)
    folder = run.path
    FeatureWriter(folder / "features").close()
    with Library(tmp_path) as library:
        work = Work(CONFIG, run, folder, library, StageClock(folder / "seconds.json"), silent_reporter())
        library.add_clips(
            new_clip(r.text, f"s{n}", r.engine, 0.2, request_id=r.request_id) for n, r in enumerate(plan.requests)
        )
        clips = training_pipeline._clips(plan, work)
        (folder / "devices").mkdir()
        (folder / "start.pt").touch()
        assert training_pipeline._clips(plan, work).equals(clips) and (folder / "devices").is_dir()
        library.delete_clips([int(clips["clip_id"][0])])
        left = training_pipeline._clips(plan, work)
    assert list(left["clip_id"]) == list(clips["clip_id"][1:]) and all(map(os.path.isfile, left["path"]))
    assert not any((folder / name).exists() for name in ("features", "devices", "start.pt")), "made of all clips"


# The whole run.


@dataclass
class Attempt:
    """One process: its end, its events, the library after it, and the processes that outlived it."""

    kill_at: str
    returncode: int
    events: list[dict[str, Any]]
    stderr: str
    clips: dict[str, int]  # by request id
    left_behind: list[bytes]

    def stages(self) -> list[str]:
        return [e["name"] for e in self.events if e["event"] == "stage"]


def attempt(runs: subprocess.Popen[str], data: Path, engines: str, kill_at: str) -> Attempt:
    assert runs.stdin is not None and runs.stdout is not None
    output, errors = data.parent / "stdout", data.parent / "stderr"
    runs.stdin.write(json.dumps([str(data), engines, kill_at, str(output), str(errors)]) + "\n")
    runs.stdin.flush()
    session, returncode = (int(runs.stdout.readline()) for _ in range(2))
    deadline = time.monotonic() + 3
    while (left := of_session(session)) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left:
        os.killpg(session, signal.SIGKILL)
    with Library(data) as library:
        clips = dict(Counter(clip.request_id for clip in library.iter_clips()))
    events = [json.loads(line) for line in output.read_text().splitlines()]
    return Attempt(kill_at, returncode, events, errors.read_text(), clips, left)


@pytest.fixture(scope="module")
def engines() -> tuple[str, ...]:
    """Engines that speak immediately."""
    from audio_generation.espeak_side.espeak import Espeak
    from audio_generation.flite_side.flite import Flite

    ready = []
    for engine in (Espeak(), Flite()):
        if engine.available().ok:
            ready.append(engine.name)
        engine.close()
    if "espeak" not in ready:
        pytest.skip("espeak is not ready here")
    return tuple(ready)


@pytest.fixture(scope="module", params=ENGINES[:2])
def killed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engines: tuple[str, ...]
) -> tuple[str, Path, list[Attempt]]:
    """A run that is killed in each of its stages and then finishes; with the URL of its library's server, if any."""
    url = "" if request.param == "sqlite" else request.getfixturevalue(f"{request.param}_url")
    data = tmp_path_factory.mktemp("run") / "data"
    command = [sys.executable, tiny_run.__file__]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        if url:
            patch.setenv("DATABASE_URL", url)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as runs:
            made = [attempt(runs, data, ",".join(engines), kill_at) for kill_at in (*KILLS, "")]
            assert runs.stdin is not None
            runs.stdin.close()
    return url, data, made


@pytest.fixture
def attempts(killed: tuple[str, Path, list[Attempt]], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Attempt]]:
    url, data, made = killed
    if url:
        monkeypatch.setenv("DATABASE_URL", url)
    return data, made


def result_of(attempts: tuple[Path, list[Attempt]]) -> dict[str, Any]:
    last = attempts[1][-1]
    assert last.returncode == 0, last.stderr
    return last.events[-1]


def test_a_run_killed_in_each_stage_is_finished(attempts: tuple[Path, list[Attempt]]) -> None:
    data, made = attempts
    for one in made[:-1]:
        assert one.returncode == -signal.SIGKILL, (one.kill_at, one.stderr)
        stage = one.kill_at.partition(":")[0].replace("zip", "bundle")
        assert one.stages()[-1] == stage
    # Finished stages are not repeated.
    stages = {one.kill_at: one.stages() for one in made}
    assert "synthesize" not in stages["calibrate:0"] and "features" not in stages["report:0"]
    assert stages[""] == ["plan", "train", "calibrate", "report", "bundle"]
    result = result_of(attempts)
    assert Path(result["bundle"]).is_file() and Path(result["model_pt"]).is_file() and Path(result["report"]).is_file()
    (job,) = (data / "jobs").iterdir()
    assert json.loads((job / "result.json").read_text())["bundle"] == result["bundle"]
    assert set(result["seconds"]) == {
        "plan", "mine", "synthesize", "features", "train", "calibrate", "report", "bundle",
    }  # fmt: skip
    left = {path.name for path in job.rglob("*") if path.suffix in (".pt", ".onnx", ".f16")}
    assert not left, "large files that can be recreated are removed"
    assert not list((data / "tmp").iterdir()) and not list((data / "models").glob("*/.*"))


def test_a_continued_run_generates_no_clip_twice(attempts: tuple[Path, list[Attempt]]) -> None:
    data, made = attempts
    plan = json.loads(next((data / "jobs").glob("*/plan.json")).read_text())
    wanted = {request["request_id"] for request in plan["requests"]}
    counts = {one.kill_at: len(one.clips) for one in made}
    assert counts["plan:0"] == 0 < counts["synthesize:2"] < len(wanted), "it was killed in the middle"
    assert set(made[-1].clips.values()) == {1}
    assert set(made[-1].clips) <= wanted and len(made[-1].clips) >= 0.95 * len(wanted)
    assert made[-1].clips == made[2].clips, "after synthesis, no clip is generated"
    spoken_later = next(e["message"] for e in made[2].events if e["event"] == "stage" and e["name"] == "synthesize")
    assert spoken_later == f"Synthesizing {len(wanted) - counts['synthesize:2']} clips"
    with Library(data) as library:
        assert check_library(library, left_over_after_s=0, repair=True).ok
        assert check_library(library, left_over_after_s=0).problems == ()


def test_no_process_outlives_a_killed_run(attempts: tuple[Path, list[Attempt]]) -> None:
    left = {one.kill_at: one.left_behind for one in attempts[1] if one.left_behind}
    assert left == {}


def test_the_result_and_the_report_agree(attempts: tuple[Path, list[Attempt]]) -> None:
    result = result_of(attempts)
    report = json.loads(Path(result["report"]).with_name("report.json").read_text())
    assert result["metrics"] == report["summary"] and result["counts"] == report["counts"]
    assert result["phrase"] == report["phrase"] == "hey compass"
    assert set(result["counts"]) == set(BUCKETS)
    assert sum(row["generated"] for row in result["counts"].values()) == sum(row["clips"] for row in report["clips"])
    assert report["results"]["hours"] > 0.02 and report["results"]["positives"] >= 10
    assert report["training"]["steps"] == 60 and report["training"]["history"]
    assert [event for one in attempts[1] for event in one.events if event["event"] == "metric"]
    assert max(report["parity"]["pt_against_onnx"], report["parity"]["pt_against_streaming"]) < 1e-3
    tested = {row["speaker"] for row in report["results"]["by_speaker"]}
    clips = pd.read_csv(next((attempts[0] / "jobs").glob("*/clips.csv")), keep_default_na=False)
    assert tested and not tested & set(clips[clips["split"] == "train"]["speaker"])


WITHOUT_HARK = """
import runpy, sys
BANNED = {"torch", "scipy", "pandas", "core", "model", "pipeline", "db", "audio_augmentation", "phrase_augmentation"}
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BANNED:
            raise ImportError(f"{name} is not in the environment of a bundle")
sys.meta_path.insert(0, Wall())
sys.argv = ["detect.py", *sys.argv[1:]]
try:
    runpy.run_path("detect.py", run_name="__main__")
except SystemExit as end:
    assert not BANNED & {name.split(".")[0] for name in sys.modules}
    sys.exit(end.code)
"""


def test_the_bundle_runs_without_hark_and_without_torch(attempts: tuple[Path, list[Attempt]], tmp_path: Path) -> None:
    result = result_of(attempts)
    with zipfile.ZipFile(result["bundle"]) as archive:
        archive.extractall(tmp_path / "unpacked")
    with Library(attempts[0]) as library:
        clips = [library.read_audio(clip) for clip in library.clips_with_texts(["hey compass"], "en")[:4]]
    silence = np.zeros(16_000, np.float32)
    soundfile.write(tmp_path / "a.wav", np.concatenate([part for clip in clips for part in (silence, clip)]), 16_000)
    expected = Detector(result["bundle"], threshold=0.3)
    wanted = [
        hit.time_s
        for scores in expected.score_recording([soundfile.read(tmp_path / "a.wav", dtype="float32")[0]])
        for hit in expected.detections(scores)
    ]
    command = [sys.executable, "-I", "-c", WITHOUT_HARK, "--wav", "../a.wav", "--json", "--threshold=0.3"]
    for more in ([], ["--int8"]):
        done = subprocess.run([*command, *more], cwd=tmp_path / "unpacked", capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        if not more:
            assert [found["time_s"] for found in answer["detections"]] == wanted


@pytest.fixture
def tinier(few_rooms: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the effort "tiny" that of a run in this process."""
    monkeypatch.setitem(EFFORTS, "tiny", replace(TINY, positive=BucketSize(5, 10), **FEW))


def test_a_detector_is_trained_from_scratch(
    tinier: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engines: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "pymicro_features", None)  # the front end of ESPHome's detector is not installed
    told: list[Event] = []
    config = replace(CONFIG, from_scratch=True, engines=engines, devices=("esphome",))
    result = run_training(config, tmp_path, Reporter(told.append))
    report = json.loads(Path(result["report"]).with_name("report.json").read_text())
    assert report["model"]["kind"] == "crnn" and "backbone" not in report and "negative_set" not in report
    assert 0 < report["training"]["best_step"] <= report["training"]["steps"] <= TINY.steps
    assert {"train", "calibrate", "report"} <= set(result["seconds"])
    metrics = {event["name"] for event in told if event["event"] == "metric"}
    assert metrics == {"loss", "validation_miss_rate"}
    assert report["devices_left_out"] == result["devices_left_out"] == ["esphome"]
    with zipfile.ZipFile(result["bundle"]) as archive:
        assert not [name for name in archive.namelist() if name.startswith("esphome/")]
        assert "pip install pymicro-wakeword" in archive.read("README.md").decode()
    said = [event.get("message", "") for event in told]
    before = [str(event.get("name")) for event in told[: said.index(result["verdict"]["sentence"])]]
    assert "devices" not in before, "the verdict comes before the detectors for devices"
    kinds = [event["event"] for event in told]
    assert kinds.index("estimate") < kinds.index("progress") and told[kinds.index("estimate")]["seconds"] > 0
    shares = [(event["done"], event["stage_done"]) for event in told if event["event"] == "estimate"]
    assert len(shares) == 5, "estimates at the start and after each of four stages"
    assert (
        [done for done, _ in shares[1:]]
        == [after for _, after in shares[:-1]]
        == sorted(done for done, _ in shares[1:])
    )
    assert shares[0][0] == 0.0 and shares[-1] == (1.0, 1.0)


@needs_encoder
def test_a_large_detector_is_trained_and_detects_its_phrase(
    tinier: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engines: tuple[str, ...]
) -> None:
    pieces = negative_set.negative_segments
    replace_in(
        negative_set, monkeypatch, RESCORED_AN_HOUR=5,  # not a hundred, which takes a minute
        negative_segments=lambda path, hours, *rest: pieces(path, min(hours, 0.3), *rest),
    )  # fmt: skip
    monkeypatch.setattr(bundle, "PARITY_PAIRS", 2)
    monkeypatch.setitem(EFFORTS, "tiny", replace(EFFORTS["tiny"], network_steps=0))
    wanted = replace(CONFIG, size="large", engines=engines, devices=("small",))
    result = run_training(wanted, tmp_path, silent_reporter())
    report = json.loads(Path(result["report"]).with_name("report.json").read_text())
    assert max(report["parity"]["pt_against_onnx"], report["parity"]["pt_against_streaming"]) < 1e-3
    detector = Detector(result["bundle"])
    assert "model.int8.onnx" not in detector.bundle.manifest["files"]
    with Library(tmp_path) as library:
        said = [library.read_audio(clip) for clip in library.clips_with_texts(["hey compass"], "en")[:8]]
    heard = 0
    for audio in said:
        detector.reset()
        heard += any(detector.detections(scores) for scores in detector.score_recording([np.pad(audio, 16_000)]))
    assert len(said) == 8 and heard >= 5
    # The additional detector of size standard is a separate bundle.
    with zipfile.ZipFile(result["bundle"]) as archive:
        archive.extractall(tmp_path / "all")
    small = Detector(tmp_path / "all" / "small")
    assert small.phrase == "hey compass" and list(small.score_recording([np.zeros(32_000, np.float32)]))
    about = report["devices"]["small"]
    assert about["bytes"]["small/model.onnx"] == (tmp_path / "all" / "small" / "model.onnx").stat().st_size
    assert any("Small computers" in sentence for sentence in report["in_words"])
    assert prepare(replace(wanted, size="standard")).devices == (), "a small detector needs no second bundle"


def test_a_decoder_of_a_different_version_is_reported_immediately(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (encoder_backbone.ENCODER_FILE, encoder_backbone.DECODER_FILE, encoder_backbone.TOKENIZER_FILE):
        (tmp_path / name.name).write_bytes(b"of another version")
    digests = {encoder_backbone.DECODER_FILE: "0" * 64}
    replace_in(encoder_backbone, monkeypatch, package_file=lambda name: tmp_path / name.name, DIGESTS=digests)
    encoder_backbone.check_package.cache_clear()
    with pytest.raises(HarkError, match=r"decoder_model_merged\.ort, which large detectors need, is missing"):
        prepare(RunConfig("hey compass", effort="quick", size="large"))


def test_two_processes_do_not_work_on_one_run(
    begun: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, effort="quick")
    folder = RunFolder.of(tmp_path, config).path
    folder.mkdir(parents=True)

    def refusal(holder: str) -> HarkError:
        raise AssertionError(holder)

    monkeypatch.setattr(lock, "PATIENCE_S", 0.0)
    with lock.held(folder / "lock", refusal):
        with pytest.raises(HarkError, match="already running") as raised:
            run_training(config, tmp_path, silent_reporter())
        assert folder.name in raised.value.what and str(os.getpid()) in raised.value.why and not begun
    run_training(config, tmp_path, silent_reporter())
    assert begun == [folder.name]
