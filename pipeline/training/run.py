"""A run, from the phrase to the bundle. Stopped at any point, it resumes from there with the same call."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pandas as pd

from core.data_folder import atomic_path, storage_error
from core.errors import HarkError
from core.events import Reporter, RunEta
from core.lock import held
from core.worded import listed, worded
from db.db_api import Library
from db.records import ClipQuery
from model.dataset import FRAMES_FILE, store_is_complete
from model.languages import is_known
from phrase_augmentation.phrase_text import PhraseText
from pipeline.corpora.mining import MiningConfig, mine, mine_negatives
from pipeline.training.clips.removed_recordings import forget_in_run, remove_what_clips_made
from pipeline.training.clips.synthesis import generate
from pipeline.training.configuration.efforts import BUCKET_NAMES
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.detectors.for_devices import detectors_for_devices
from pipeline.training.detectors.making import calibrate_and_measure, learn, starting_point
from pipeline.training.detectors.retraining import Retraining
from pipeline.training.packing.bundle import BundleFiles, pack, write_bundle
from pipeline.training.planning.clip_choice import PlannedRequest
from pipeline.training.planning.demand import demand_of
from pipeline.training.planning.estimate import estimated_s
from pipeline.training.planning.plan import Plan, load_plan, make_plan, ready_engines, remaining, run_texts, save_plan
from pipeline.training.reporting.report import reported
from pipeline.training.reporting.report_types import Report, RunResult
from pipeline.training.reporting.verdict import Verdict, verdict_of
from pipeline.training.workspace.run_folder import RunFolder
from pipeline.training.workspace.work import StageClock, Work

MINED_NEGATIVES = MiningConfig(most=10, recordings=15)  # for each of hundreds of confusables


def run_training(
    config: RunConfig, data: Path, reporter: Reporter, tensorboard: bool = False, made_for: str = ""
) -> RunResult:
    """Make a detector for a phrase and write its bundle.

    Returns the run's result, which is also in ``result.json`` of the job's folder.

    Args:
        made_for: the job that needs the detector. If a run for this job has already finished, because the process was
            killed before it could report the result, that result is returned.

    Raises:
        HarkError: anything that the user can fix; finished stages are not lost.
    """
    try:
        while (result := _attempt(config, data, reporter, tensorboard, made_for)) is None:
            pass  # another process finished that run meanwhile; the next attempt starts a new one
    except OSError as error:
        if error.errno is None:
            raise
        raise storage_error(error, "the training run") from error
    reporter.artifact("bundle", result["bundle"])
    reporter.artifact("report", result["report"])
    return result


def _attempt(config: RunConfig, data: Path, reporter: Reporter, tensorboard: bool, made_for: str) -> RunResult | None:
    """Make the detector in the run's folder; return None if another process finished that run just before."""
    run = _finished_for(made_for, data, config) or RunFolder.of(data, config)

    def going_on(holder: str) -> HarkError:
        return HarkError(
            worded("The run %(name)s is already running.", name=run.name),
            worded("Process %(holder)s holds its lock.", holder=holder),
            worded("Wait for it, stop it, or start another run with another --seed."),
        )

    run.path.mkdir(parents=True, exist_ok=True)
    with held(run.lock, going_on), Library(data) as library:
        work = Work(config, run, run.path, library, StageClock(run.path / "seconds.json"), reporter)
        try:
            is_finished = run.result.is_file()
            result = _result_for(made_for, run) if is_finished else _run(work, tensorboard, made_for)
            _remove_what_can_be_made_again(run)
        finally:
            forget_in_run(run, library)
    return result


def _finished_for(made_for: str, data: Path, config: RunConfig) -> RunFolder | None:
    """Return the folder of a finished run that was made for ``made_for`` and still has its bundle; otherwise None."""
    for run in RunFolder.finished(data, config) if made_for else ():
        if _result_for(made_for, run) is not None and run.bundle.is_file():
            return run
    return None


def _result_for(made_for: str, run: RunFolder) -> RunResult | None:
    """Return the result of a finished run; None if it was made for another job, or is damaged."""
    try:
        result = json.loads(run.result.read_text())
    except ValueError:
        return None
    is_of_job = made_for and isinstance(result, dict) and result.get("made_for") == made_for
    return cast(RunResult, result) if is_of_job else None


def _remove_what_can_be_made_again(run: RunFolder) -> None:
    """Remove the large files of a finished run: its features can be computed again from the clips."""
    for path in (run.features / FRAMES_FILE, *run.path.glob("*.pt"), *run.path.glob("*.onnx")):
        path.unlink(missing_ok=True)
    shutil.rmtree(run.devices, ignore_errors=True)


def _run(work: Work, tensorboard: bool, made_for: str) -> RunResult:
    config, clock, reporter = work.config, work.clock, work.reporter
    previous = Retraining.of_run(work) if config.start_from else None
    plan = _load_or_make_plan(work)
    left = remaining(plan.requests, work.library)
    eta = _eta(work, plan, left)
    with clock.stage("synthesize"):
        # An engine that has synthesized all its clips need not be available.
        engines = ready_engines(tuple(plan.engines), config.language)[0] if left else {}
        generated = generate(plan, engines, work.library, reporter)
    eta.over("synthesize")
    with clock.stage("features"):
        clips = _clips(plan, work)
        detector, store = starting_point(work, clips, previous.detector if previous else None)
    eta.over("features")
    settings = work.recipe.settings(str(work.run.curves) if tensorboard else "")
    detector, trained = learn(work, detector, store, settings)
    if previous is not None:
        with clock.stage("calibrate"):
            detector, anti_keywords = previous.with_anti_keywords(detector, store)
    measured = calibrate_and_measure(work, detector, store, trained)
    compared = previous.compared(measured, anti_keywords) if previous is not None else None
    own = reported(plan, measured, clips, generated, compared)
    verdict = verdict_of(own.figures)
    if config.devices:
        reporter.log(verdict.sentence)  # detectors for devices take several more minutes
    eta.over("train")
    small, made, left_out = detectors_for_devices(work, clips, own.measured.detector, eta)
    with clock.stage("bundle"):
        reporter.stage("bundle", worded("Exporting, and checking that all forms agree"))
        as_standard = replace(plan, config=config.as_standard)
        second = reported(as_standard, small, clips, generated) if small is not None else None
        contents, report = pack(work.folder, clips, own, reporter, second, made, left_out)
        files = write_bundle(work.run, contents)
    return _write_result(work, made_for, files, report, verdict)


def _eta(work: Work, plan: Plan, left: Sequence[PlannedRequest]) -> RunEta:
    needs_features = not store_is_complete(work.features)
    seconds = estimated_s(work.config, plan.clips, plan.requests, left, needs_features)
    return RunEta(work.reporter, seconds, plan.estimate_s)


def _write_result(work: Work, made_for: str, files: BundleFiles, report: Report, verdict: Verdict) -> RunResult:
    """Write the result of the run, and return it. The run is finished then."""
    result: RunResult = {
        "phrase": work.config.phrase,
        "made_for": made_for,
        "bundle": str(files.bundle),
        "model_pt": str(files.model_pt),
        "report": str(files.report),
        "seconds": work.clock.seconds,
        "metrics": report["summary"],
        "verdict": asdict(verdict),
        "counts": report["counts"],
        "devices": report["devices"],
        "devices_left_out": report["devices_left_out"],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if "compared" in report:
        result["compared"] = report["compared"]
    with atomic_path(work.run.result) as temporary:
        temporary.write_text(json.dumps(result, indent=1, ensure_ascii=False))
    return result


def _load_or_make_plan(work: Work) -> Plan:
    """Return the run's plan. The library is mined before a new one is made."""
    config, run = work.config, work.run
    plan = load_plan(run.plan)
    if plan is not None:
        work.reporter.stage("plan", worded("Continuing the run %(run)s", run=run.name))
        return plan
    work.reporter.stage("plan", worded("Planning “%(phrase)s”", phrase=config.phrase))
    with work.clock.stage("plan"):
        texts = run_texts(config, work.library)
    with work.clock.stage("mine"):
        _mine(config, texts, work.library, work.reporter)
    with work.clock.stage("plan"):
        plan = make_plan(config, texts, run.name, work.library)
        save_plan(plan, run.plan)
    return plan


def _mine(config: RunConfig, texts: Mapping[str, Sequence[PhraseText]], library: Library, reporter: Reporter) -> None:
    """Mine the phrase and similar texts from real recordings, so that the plan finds their clips in the library."""
    if not config.mining or not is_known(config.language):
        return  # the aligner, too, was trained only on English
    where = ClipQuery(language=config.language, imported=True, slices=False, text_known=True)
    if next(library.iter_clips(where), None) is None:
        return
    mined = mine(config.keyphrase, library, reporter, MiningConfig(method=config.mining_method))
    negatives = [text.text for bucket in ("confusable", "inbetween") for text in texts[bucket]]
    method = replace(MINED_NEGATIVES, method=config.mining_method)
    near = mine_negatives(config.keyphrase, negatives, library, reporter, method)
    reporter.log(
        worded(
            "Utterances in recordings: %(cuts)d of the phrase, %(near)d of %(confusables)d confusables. Those in "
            "the test are not used in training.",
            cuts=len(mined.cuts), near=sum(len(result.cuts) for result in near.values()), confusables=len(near),
        )
    )  # fmt: skip


def _clips(plan: Plan, work: Work) -> pd.DataFrame:
    """Return the run's clips (``CLIP_COLUMNS`` of ``clips.examples``). Raises HarkError if there are too few."""
    from pipeline.training.clips.examples import clip_table

    table = work.run.clips
    if table.is_file() and not all(map(os.path.isfile, pd.read_csv(table, keep_default_na=False)["path"])):
        remove_what_clips_made(work.run)  # clips were deleted while the run was stopped
    if not (table.is_file() and store_is_complete(work.features)):
        clips = clip_table(plan, work.library)
        _refuse_too_little(clips, plan)
        with atomic_path(table) as temporary:
            clips.to_csv(temporary, index=False)
    return pd.read_csv(table, keep_default_na=False)


def _refuse_too_little(clips: pd.DataFrame, plan: Plan) -> None:
    """Raise HarkError if there is nothing to learn from or nothing to measure on."""
    demand = demand_of(plan.config)
    needed = {("plain_negative", split) for split in demand.splits}
    needed |= {("positive", split) for split in (demand.splits if demand.learns else ("test",))}
    for bucket, split in sorted(needed - set(zip(clips["bucket"], clips["split"]))):
        raise HarkError(
            worded("%(phrase)s cannot be trained with the voices available here.", phrase=repr(plan.config.phrase)),
            worded(
                "There is no %(bucket)s clip for the %(split)s split; engines: %(engines)s.",
                bucket=BUCKET_NAMES[bucket],
                split=split,
                engines=listed(plan.engines),
            ),
            worded("Enable another speech engine (./hark engines) so that some voices can be held out."),
        )
