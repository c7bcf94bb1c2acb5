"""The bundle: one zip with the model in its forms, the manifest, the program that runs it, its card and licences."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import pandas as pd

from core.data_folder import REPOSITORY, atomic_path, remove_unfinished
from core.errors import HarkError
from core.events import Reporter
from core.worded import number, worded
from model.features import CHUNK_SAMPLES, SAMPLE_RATE
from model.metrics import REFRACTORY_S, SCORE_PERIOD_S
from model.runtime.detector import SCHEMA, SMOOTHING_FRAMES, Bundle, BundleError, manifest_digest
from pipeline.training.configuration.devices import SMALL
from pipeline.training.measuring.calibration import DEFAULT_FA_PER_DAY
from pipeline.training.measuring.evaluation import speech_of_test
from pipeline.training.packing.targets import readme
from pipeline.training.reporting.licences import licences_text, training_corpora
from pipeline.training.reporting.model_card import model_card
from pipeline.training.reporting.report import Reported, device_figures, whole_report
from pipeline.training.reporting.report_page import det_plot, html_report
from pipeline.training.reporting.report_types import DeviceFigures, Report
from pipeline.training.reporting.report_words import device_in_words, int8_left_out
from pipeline.training.workspace.run_folder import CHECKPOINT, RunFolder

if TYPE_CHECKING:
    from model.export import Parity
    from pipeline.training.detectors.for_devices import ForDevice

PARITY_PAIRS = 6  # pairs of test clips, one with the phrase and one without


@dataclass(frozen=True)
class BundleFiles:
    """The files that a finished run leaves for the user."""

    bundle: Path
    model_pt: Path
    report: Path


def write_bundle(run: RunFolder, contents: Mapping[str, bytes]) -> BundleFiles:
    """Write the files of :func:`bundle_contents` to ``models/<run>/``: the bundle, the ``.pt`` and the report."""
    run.results.mkdir(parents=True, exist_ok=True)
    remove_unfinished(run.results)  # temporary files of a run that was killed here
    with atomic_path(run.bundle) as temporary, temporary.open("wb") as file:
        _write_zip(contents, file)
    for name in (CHECKPOINT, "report.html", "report.json"):
        with atomic_path(run.results / name) as temporary:
            temporary.write_bytes(contents[name])
    return BundleFiles(run.bundle, run.checkpoint, run.results / "report.html")


def pack(
    folder: Path,
    clips: pd.DataFrame,
    own: Reported,
    reporter: Reporter,
    small: Reported | None = None,
    devices: Mapping[str, ForDevice] = MappingProxyType({}),
    left_out: Mapping[str, HarkError] = MappingProxyType({}),
) -> tuple[dict[str, bytes], Report]:
    """Export a detector; return the files of its bundle by name, and its whole report.

    Args:
        folder: temporary folder for the forms.
        small: the run's small detector, which gets a bundle of its own in a folder of this one.
        devices: the run's detectors in formats of devices, by device.
        left_out: the reasons why other devices have none.
    """
    from model.devices.device_detector import Check

    models, manifest, parity = export_detector(folder, own, clips, reporter)
    files, reports = dict(models), dict[str, DeviceFigures]()
    if small is not None:
        contents, report = pack(folder, clips, small, reporter)
        files |= {f"{SMALL}/{name}": content for name, content in contents.items()}
        sizes = {f"{SMALL}/{name}": size for name, size in report["bytes"].items()}
        check = Check(report["parity"]["pt_against_onnx"], "onnxruntime")
        reports[SMALL] = device_figures(SMALL, small.measured, sizes, check)
    for device, one in devices.items():
        files |= one.files
        sizes = {name: len(content) for name, content in one.files.items()}
        reports[device] = device_figures(device, one.measured, sizes, one.check)
    report = whole_report(own.figures, reports, left_out, parity, models)
    return bundle_contents(files, manifest, clips, report), report


def export_detector(
    folder: Path, own: Reported, clips: pd.DataFrame, reporter: Reporter
) -> tuple[dict[str, bytes], dict[str, Any], Parity]:
    """Export the detector and check that its forms agree.

    Returns its forms by file name, the manifest without digests, and how far the forms agree. 8-bit weights that differ
    too much are omitted, which the reporter states.

    Args:
        folder: temporary folder for the forms.

    Raises:
        HarkError: its float forms do not agree.
    """
    from model.checkpoint import save_checkpoint
    from model.export import check_parity, quantize_weights

    detector = own.measured.detector
    onnx_path, int8_path, pt_path = folder / "model.onnx", folder / "model.int8.onnx", folder / CHECKPOINT
    state_size = detector.export(onnx_path)
    small = int8_path if detector.quantizes else None
    if small is not None:
        quantize_weights(onnx_path, small)
    audio = speech_of_test(clips, PARITY_PAIRS, own.plan.config.seed)
    parity = check_parity(detector, onnx_path, small, audio)
    if without_int8 := int8_left_out(parity):
        reporter.log(without_int8, "warning")
    manifest = _manifest(own, state_size, training_corpora(clips, own.figures))
    save_checkpoint(detector, str(pt_path), {"manifest": manifest})
    models = {
        path.name: path.read_bytes() for path in (pt_path, onnx_path, *([int8_path] if parity.int8_agrees else []))
    }
    for path in (pt_path, onnx_path, int8_path):
        path.unlink(missing_ok=True)
    return models, manifest, parity


def bundle_contents(
    models: Mapping[str, bytes], manifest: Mapping[str, Any], clips: pd.DataFrame, report: Report
) -> dict[str, bytes]:
    """Return the files of a bundle by name: those of its detectors, the programs, the whole report and the manifest."""
    contents: dict[str, bytes] = {
        **models,
        **programs(),
        "det.png": det_plot(report, "png"),
        "report.json": json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False).encode(),
        "report.html": html_report(report).encode(),
        "MODEL_CARD.md": model_card(report).encode(),
        "LICENSES.txt": licences_text(clips, report).encode(),
    }
    about_devices = {name: device_in_words(about) for name, about in report["devices"].items()}
    contents["README.md"] = readme(f"{report['run']}.zip", contents, report, about_devices).encode()
    return _signed(manifest, contents)


def _manifest(own: Reported, state_size: int, corpora: Sequence[str]) -> dict[str, Any]:
    """Describe the detector for the programs that run it."""
    return {
        "schema": SCHEMA,
        "phrase": own.plan.config.phrase,
        "language": own.plan.config.language,
        "sample_rate": SAMPLE_RATE,
        "chunk_samples": CHUNK_SAMPLES,
        "score_period_s": SCORE_PERIOD_S,
        "smoothing_frames": SMOOTHING_FRAMES,
        "refractory_s": REFRACTORY_S,
        "receptive_samples": own.measured.detector.config.stream_samples,
        "state_size": state_size,
        "thresholds": [dict(row) for row in own.measured.thresholds],
        "default_fa_per_day": DEFAULT_FA_PER_DAY,
        "created": own.figures["created"],
        "run": own.plan.run,
        "training_corpora": corpora,
    }


def bundle_at(bundle: Path, fa_per_day: float, out: IO[bytes]) -> None:
    """Write a copy of a bundle that differs only in its default rate of false alarms per day.

    The manifest inside ``model.pt`` stays that of the training run: nothing takes its default from there.

    Raises:
        HarkError: the bundle is missing or damaged, or its table of thresholds does not reach that rate. In that case,
            nothing is written.
    """
    try:
        source = Bundle(bundle)
        contents = {name: source.read(name) for name in source.manifest["files"]}  # only intact files are signed
    except BundleError as error:
        raise HarkError(
            worded("The bundle %(name)s cannot be used.", name=bundle.name), error.why, error.what_to_do
        ) from error
    rates = [float(row["fa_per_day"]) for row in source.manifest["thresholds"]]
    if not min(rates) <= fa_per_day <= max(rates):
        raise HarkError(
            worded(
                "The bundle has no threshold for %(fa_per_day)s false alarms per day.", fa_per_day=number(fa_per_day)
            ),
            worded(
                "It was calibrated for %(lowest)s to %(highest)s per day.",
                lowest=number(min(rates)),
                highest=number(max(rates)),
            ),
            worded("Choose a rate in that range."),
        )
    _write_zip(_signed(source.manifest | {"default_fa_per_day": float(fa_per_day)}, contents), out)


def _signed(manifest: Mapping[str, Any], contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Add the manifest to the files, with their digests and its own."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    unsigned = {key: value for key, value in manifest.items() if key != "digest"} | {"files": digests}
    signed = unsigned | {"digest": manifest_digest(unsigned)}
    return {**contents, "manifest.json": json.dumps(signed, indent=1, ensure_ascii=False).encode()}


def _write_zip(contents: Mapping[str, bytes], out: IO[bytes]) -> None:
    """Write the files as a zip whose bytes depend only on their names and contents."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if name.endswith("detect.py") else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)


def programs() -> dict[str, bytes]:
    """Return the programs that run a bundle: ``detect.py``, and ``detect.html`` with ``detect.js`` for a browser."""
    runtime = REPOSITORY / "model" / "runtime"
    return {
        "detect.py": (runtime / "detector.py").read_bytes(),
        "detect.html": (runtime / "detect.html").read_bytes(),
        "detect.js": (runtime / "detect.js").read_bytes(),
    }
