"""The kinds of jobs: their queues, stages and limits, and the functions that ``pipeline.job_process`` runs."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from core.events import Reporter
from core.worded import worded
from pipeline.training.configuration.specification import Spec, run_config
from pipeline.training.recipes import recipe_of

TRAINING, GENERAL = "training", "general"
WEBHOOKS = "webhooks"  # its tasks deliver messages; they are not jobs, and have no row in the table of jobs
QUEUES = TRAINING, GENERAL, WEBHOOKS  # the portal's queues; each has workers


def _skipped_stages(spec: Spec) -> set[str]:
    """Return the names of the :data:`TRAINING_STAGES` that a run skips."""
    config = run_config(spec)
    runs = {
        "train": recipe_of(config).trains,
        "devices": config.devices,
        "enable": spec.get("install_voices"),
    }
    return {name for name, does in runs.items() if not does}


@dataclass(frozen=True)
class Kind:
    """A kind of job. A new one needs a function and a row in :data:`KINDS`.

    Attributes:
        name: its name in requests; pages show it translated.
        queue: TRAINING or GENERAL, each of which has its own workers.
        function: "module:function" that does the job, with the parameters and the result of :meth:`run`.
        stages: (name, title) of the stages that a page lists in advance.
        memory_bytes: memory limit of the job's process; None for unlimited.
        is_same: whether jobs of two specifications would make the same files.
        skipped: names of the stages that a job of a specification does not run.
    """

    name: str
    queue: str
    function: str
    stages: tuple[tuple[str, str], ...] = ()
    memory_bytes: int | None = None
    is_same: Callable[[Spec, Spec], bool] = operator.eq
    skipped: Callable[[Spec], set[str]] = lambda spec: set()

    def run(self, spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
        """Do a job; return JSON values. Only this imports the function, because pages must not load its packages."""
        return resolve_name(self.function)(spec, data, reporter)


TRAINING_STAGES = (
    ("enable", worded("Install neural voices")),
    ("plan", worded("Plan")),
    ("mine", worded("Find the phrase in recordings")),
    ("synthesize", worded("Synthesize clips")),
    ("features", worded("Add rooms and noise")),
    ("train", worded("Train")),
    ("calibrate", worded("Calibrate")),
    ("report", worded("Measure on held-out voices")),
    ("devices", worded("Make the detectors for devices")),
    ("bundle", worded("Pack and check")),
)
TRANSCRIPTION_STAGES = (
    ("normalize", worded("Prepare the audio")),
    ("listen", worded("Detect speech")),
    ("transcribe", worded("Transcribe")),
    ("speakers", worded("Detect speakers")),
    ("summarize", worded("Summarize")),
)
COMPARISON_STAGES = (
    ("gather", worded("Find held-out recordings")),
    ("listen", worded("Score all versions")),
)
IMPORT_STAGES = ("unpack", worded("Unpack")), ("import", worded("Import the recordings"))
ALIGNMENT_STAGES = (("align", worded("Align words and recordings")),)
POLISHING_STAGES = (("polish", worded("Clean up the text")),)
TRANSLATION_STAGES = (("translate", worded("Translate")),)
EXPORT_STAGES = ("databases", worded("Copy the databases")), ("files", worded("Copy the files"))
RECOGNIZER_STAGES = (
    ("collect", worded("Collect the transcripts")),
    ("cut", worded("Cut the recordings into passages")),
    ("synthesize", worded("Synthesize speech")),
    ("pack", worded("Compute the features")),
    ("measure", worded("Count the errors before")),
    ("train", worded("Train")),
    ("compare", worded("Count the errors after")),
)
KINDS = {
    kind.name: kind
    for kind in (
        Kind(worded("plan"), GENERAL, "pipeline.training.jobs:plan_job"),
        Kind(
            worded("train"),
            TRAINING,
            "pipeline.training.jobs:train_job",
            TRAINING_STAGES,
            is_same=lambda spec, other: spec["choices"] == other["choices"],  # which name its files
            skipped=_skipped_stages,
        ),
        Kind(
            worded("retrain"), TRAINING, "pipeline.training.jobs:retrain_job", TRAINING_STAGES, skipped=_skipped_stages
        ),
        Kind(worded("compare"), TRAINING, "pipeline.training.jobs:compare_job", COMPARISON_STAGES),
        Kind(
            worded("import"),
            GENERAL,
            "pipeline.corpora.jobs:import_job",
            IMPORT_STAGES,
            memory_bytes=2 << 30,  # ten times what it needs
        ),
        Kind(worded("align"), GENERAL, "pipeline.corpora.jobs:align_job", ALIGNMENT_STAGES),
        Kind(worded("enable"), GENERAL, "pipeline.engine_setup:enable_job"),
        Kind(worded("pull"), GENERAL, "pipeline.engine_setup:pull_job"),
        Kind(worded("transcribe"), GENERAL, "pipeline.recordings.jobs:transcribe_recording", TRANSCRIPTION_STAGES),
        Kind(worded("summarize"), GENERAL, "pipeline.recordings.jobs:summarize_recording", TRANSCRIPTION_STAGES[4:]),
        Kind(worded("speakers"), GENERAL, "pipeline.recordings.jobs:detect_speakers", TRANSCRIPTION_STAGES[3:4]),
        Kind(worded("minable"), GENERAL, "pipeline.recordings.jobs:make_minable"),
        Kind(worded("polish"), GENERAL, "pipeline.recordings.jobs:polish_recording", POLISHING_STAGES),
        Kind(worded("translate"), GENERAL, "pipeline.recordings.jobs:translate_recording", TRANSLATION_STAGES),
        Kind(worded("export"), GENERAL, "pipeline.backup:export_job", EXPORT_STAGES),
        Kind(
            worded("train-recognizer"),
            TRAINING,
            "pipeline.recordings.adapt_recognizer:train_recognizer",
            RECOGNIZER_STAGES,
        ),
    )
}
