"""The corpora and voices behind a detector, with their licences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from db.records import REAL_ENGINES, RECORDING
from pipeline.training.clips.removed_recordings import recording_of
from pipeline.training.reporting.report_types import RunFigures

if TYPE_CHECKING:
    import pandas as pd

# Parts of a report that describe shipped real speech behind a detector by `training_corpora` and `licences`.
Part = Literal["backbone", "verifier", "negative_set", "negative_speech", "micro_network"]
SHIPPED_SPEECH: tuple[Part, ...] = get_args(Part)


def training_corpora(clips: pd.DataFrame, report: RunFigures) -> list[str]:
    """List the corpora of real speech that went into training: the run's own, and those of what ships.

    All recordings of the portal count as one corpus, without their ids, because others get the bundle, and it remains
    after a recording is deleted.
    """
    own = clips[clips["engine"].isin(REAL_ENGINES) & (clips["split"] != "test")]["corpus"]
    shipped = [name for part in SHIPPED_SPEECH for name in report.get(part, {}).get("training_corpora", [])]
    return sorted({RECORDING if recording_of(str(name)) else str(name) for name in own} | {*shipped})


def licences_text(clips: pd.DataFrame, report: RunFigures) -> str:
    """List all voices and corpora used, with licences and numbers of clips."""
    lines = [
        "What this detector was trained and measured on. None of the audio is in the bundle.",
        "detect.py, detect.html, detect.js and the model's architecture are part of Hark, Apache-2.0.",
        "",
    ]
    for (engine, licence), group in clips.groupby(["engine", "licence"], sort=True):
        lines.append(f"{engine}: {len(group)} clips, {group['voice'].nunique()} voices, licence: {licence}")
    for part in SHIPPED_SPEECH:
        for name, licence in sorted(report.get(part, {}).get("licences", {}).items()):
            lines.append(f"{part.replace('_', ' ')}: {name}, licence: {licence}")
    if notice := report.get("backbone", {}).get("notice"):
        lines += ["", f"The model holds {report['backbone']['encoder']}:", "", notice]
    return "\n".join(lines) + "\n"
