"""The stage of a run that makes additional detectors: a small one, and those in device formats."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from core.events import RunEta
from core.worded import worded
from pipeline.training.clips.synthesis import GenerationReport
from pipeline.training.configuration.devices import SMALL, TITLES
from pipeline.training.configuration.run_config import DEVICES_FOLDER
from pipeline.training.detectors.devices import DeviceDetector, NoRuntimeError, about, make_for_device
from pipeline.training.detectors.making import learn, measure_detector, set_thresholds, settings_of_run, starting_point
from pipeline.training.detectors.teacher import Teacher, make_teacher
from pipeline.training.packing.bundle import bundle_contents, export_detector
from pipeline.training.planning.plan import Plan
from pipeline.training.reporting.report import foundation_of, run_figures, whole_report
from pipeline.training.work import Work

if TYPE_CHECKING:
    import pandas as pd

    from model.detector import Detector


def detectors_for_devices(
    work: Work, plan: Plan, clips: pd.DataFrame, generated: GenerationReport, detector: Detector, eta: RunEta
) -> tuple[dict[str, DeviceDetector], dict[str, NoRuntimeError]]:
    """Make a run's additional detectors; return them and the reasons why others could not be made, by device."""
    config, folder, reporter = work.config, work.folder / DEVICES_FOLDER, work.reporter.within("devices")
    devices: dict[str, DeviceDetector] = {}
    left_out: dict[str, NoRuntimeError] = {}

    @cache
    def teacher() -> Teacher | None:
        return make_teacher(detector, config, clips, work.data, folder, reporter)

    # The small one is first: being of size standard, it is the teacher of the others.
    for number, device in enumerate(sorted(config.devices, key=lambda device: device != SMALL), 1):
        work.reporter.stage(
            "devices",
            worded(
                "The detector is measured. Detector %(number)s of %(all)s for devices: %(device)s",
                number=str(number), all=str(len(config.devices)), device=TITLES[device],
            ),
        )  # fmt: skip
        with work.clock.stage(device):
            try:
                if device == SMALL:
                    of_small = replace(work, folder=folder / SMALL, reporter=reporter)
                    detector, devices[SMALL] = _small(of_small, plan, clips, generated)
                else:
                    devices[device] = make_for_device(device, config, clips, work.data, folder, reporter, teacher)
            except NoRuntimeError as error:
                work.reporter.log(str(error), "warning")
                left_out[device] = error
        eta.over(device)
    return devices, left_out


def _small(work: Work, plan: Plan, clips: pd.DataFrame, generated: GenerationReport) -> tuple[Detector, DeviceDetector]:
    """Make a detector of size standard in addition to a large one; its files are a folder in the large one's bundle."""
    reporter, config = work.reporter, replace(plan.config, size="standard", devices=(), start_from="")
    plan = replace(plan, config=config)
    detector, store = starting_point(config, clips, work.data, work.folder, reporter, None)
    settings, trained = settings_of_run(config), None
    if settings is not None:
        detector, trained = learn(detector, store, settings, work.folder, reporter)
    measured = measure_detector(set_thresholds(detector, store, reporter), store, trained, config.language, reporter)
    figures = run_figures(plan, clips, measured, generated, foundation_of(config, measured.detector))
    models, manifest, parity = export_detector(work.folder, plan, clips, measured, figures, reporter)
    contents = bundle_contents(models, manifest, clips, whole_report(figures, {}, {}, parity, models))
    files = {f"{SMALL}/{name}": content for name, content in contents.items()}
    sizes = {f"{SMALL}/{name}": len(content) for name, content in models.items()}
    return measured.detector, DeviceDetector(files, about(TITLES[SMALL], sizes, measured, parity.onnx))
