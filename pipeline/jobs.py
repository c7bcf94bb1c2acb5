"""The child process of a job: ``python -m pipeline.jobs NAME`` reads JSON from stdin, writes events to stdout.

An event is a line of JSON. The last one is ``result`` or ``error``. The process ends with its parent, and its children
with it, because a job whose supervisor was killed must not run concurrently with the one that resumes it.
"""

from __future__ import annotations

import json
import operator
import os
import resource
import shutil
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from core.child_process import end_with_parent, parent_is_gone
from core.data_folder import atomic_path, data_folder, installation_folder, is_full, storage_error
from core.errors import HarkError, UnusableFile
from core.events import Reporter, json_lines_sink
from core.worded import worded
from pipeline.training.configuration.run_config import Recipe
from pipeline.training.configuration.specification import JOB, Spec, run_config

DONE, BUG, FIXABLE, INTERRUPTED = 0, 1, 2, 130  # exit codes, as everywhere in Hark
NICENESS = 10  # jobs yield the processors to the portal's pages, because users wait for these (python -m lab portal)
MAX_IMPORT_S = 6 * 3600  # time limit for an upload; 2 GB of speech take an hour
TRAINING, GENERAL = "training", "general"
WEBHOOKS = "webhooks"  # its tasks deliver messages; they are not jobs, and have no row in the table of jobs
QUEUES = TRAINING, GENERAL, WEBHOOKS  # the portal's queues; each has workers
IMPORTS = "uploads/imports"  # below the user's data: a folder per import, removed after a successful job
EXPORTS = "exports"  # folder of the installation, with a zip for each user who requested one
ACCOUNT = "account.json"  # the user's rows in the portal's database, in their folder until they are exported
SAMPLES = 6  # number of each bucket that a plan offers for playback


def _is_same_run(spec: Spec, other: Spec) -> bool:
    """Return whether two specifications are of the same run: its files are named after its configuration."""
    return run_config(spec) == run_config(other)


def _skipped_stages(spec: Spec) -> set[str]:
    """Return the names of the :data:`TRAINING_STAGES` that a run skips."""
    config = run_config(spec)
    runs = {
        "train": config.recipe is not Recipe.CALIBRATED,
        "devices": config.devices,
        "enable": spec.get("install_voices"),
    }
    return {name for name, does in runs.items() if not does}


def _train(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
    from pipeline.engine_setup import install_voices, voices_to_install
    from pipeline.training.configuration.prepared import prepare
    from pipeline.training.run import run_training

    config = prepare(run_config(spec))
    if spec.get("install_voices"):
        install_voices(voices_to_install(config), reporter)
    return run_training(config, data, reporter, made_for=spec.get(JOB, ""))


def _plan(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
    from pipeline.engine_setup import voices_to_install
    from pipeline.training.configuration.prepared import prepare
    from pipeline.training.planning.preview import plan_run, plan_summary

    config = prepare(run_config(spec))
    plan = plan_run(config, data, reporter)
    samples: dict[str, list[dict[str, Any]]] = {}
    for request in plan.requests:
        of_bucket = samples.setdefault(request.bucket, [])
        if len(of_bucket) < SAMPLES and request.engine not in {sample["engine"] for sample in of_bucket[-2:]}:
            of_bucket.append({"engine": request.engine, "voice": request.voice, "text": request.text})
    return {**plan_summary(plan, data), "samples": samples, "to_install_mb": voices_to_install(config)}


def _import(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
    """Import a corpus: a ``folder`` on this machine, or an uploaded ``archive`` below the data folder.

    After a successful job, the portal removes the archive and its unpacked files.
    """
    from db.db_api import Library
    from pipeline.corpora.archive import unpack_confined
    from pipeline.corpora.importing import import_corpus

    archive = data / spec["archive"] if spec.get("archive") else None
    # Named after the archive, so that the corpus's name in the library is meaningful.
    folder = Path(spec["folder"]) if archive is None else archive.parent / "unpacked" / (archive.name.split(".")[0])
    try:
        if archive is not None:
            _end_after(MAX_IMPORT_S)
            if not archive.is_file():
                raise HarkError(
                    worded("The upload no longer exists."),
                    worded("It is removed when its import has finished."),
                    worded("Upload it again."),
                )
            reporter.stage("unpack", worded("Unpacking %(file)s", file=archive.name))
            shutil.rmtree(archive.parent / "unpacked", ignore_errors=True)  # left by a killed job
            unpack_confined(archive, folder)
            # Most archives contain a single folder with all content; macOS adds a useless second one.
            while len(inside := [path for path in folder.iterdir() if path.name != "__MACOSX"]) == 1 and (
                inside[0].is_dir()
            ):
                folder = inside[0]
        with Library(data) as library:
            return asdict(import_corpus(folder, library, spec["language"], reporter, spec.get("licence") or None))
    except BaseException as error:
        if archive is not None:
            # Remove an archive that caused the error; any other is unpacked again on a retry.
            unneeded = (
                archive.parent if isinstance(error, (UnusableFile, LimitReached)) else archive.parent / "unpacked"
            )
            shutil.rmtree(unneeded, ignore_errors=True)
        raise


def _align(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
    """Align all recordings of the library that mining would otherwise align first."""
    from db.db_api import Library
    from model.asr.emissions import default_aligner
    from pipeline.corpora.alignment import align_clips, unaligned

    reporter.stage("align", worded("Aligning words and recordings"))
    aligner = default_aligner()
    with Library(data) as library:
        report = align_clips(library, aligner, library.clips(unaligned(library, aligner)), reporter)
    return {"aligned": len(report.aligned), "failed": len(report.failed)}


def _retrain(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
    from pipeline.training.configuration.prepared import retraining_of
    from pipeline.training.run import run_training

    return run_training(retraining_of(data, spec["run"]), data, reporter, made_for=spec.get(JOB, ""))


def _compare(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
    from pipeline.training.measuring.comparison import compare_versions

    return compare_versions(spec["runs"], data, reporter)


def _enable(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
    from pipeline.engine_setup import enable_engine

    enable_engine(spec["engine"], reporter)
    return {"engine": spec["engine"]}


def _pull(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
    from pipeline.engine_setup import pull_model, pull_voice

    pull = pull_model if spec.get("model") else pull_voice
    files = pull(spec["engine"], spec["voice"], reporter)
    return {"engine": spec["engine"], "files": [path.name for path in files]}


def _export(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
    """Export all files of a user, as a backup of only their data folder, and remove :data:`ACCOUNT`."""
    from db.moving import Libraries
    from pipeline.backup import back_up

    target = installation_folder() / EXPORTS / f"{spec['user']}.zip"
    target.parent.mkdir(mode=0o700, exist_ok=True)
    if (data / ACCOUNT).is_file():  # otherwise this job was killed after its zip was complete
        back_up(data, target, reporter, Libraries(data))
        (data / ACCOUNT).unlink()
    with zipfile.ZipFile(target) as archive:
        return {"bytes": target.stat().st_size, "files": len(archive.namelist()) - 1}  # the manifest is not counted


def _lazy(place: str) -> Callable[[Spec, Path, Reporter], dict[str, Any]]:
    """Return a job function "module:name" of ``pipeline.recordings``, which is imported when called."""

    def run(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
        module, _, name = place.partition(":")
        return getattr(import_module(f"pipeline.recordings.{module}"), name)(spec, data, reporter)

    return run


@dataclass(frozen=True)
class Kind:
    """A kind of job. A new one needs a function above and a row in :data:`KINDS`.

    Attributes:
        name: its name in requests; pages show it translated.
        queue: TRAINING or GENERAL, each of which has its own workers.
        run: does the job and returns JSON values.
        stages: (name, title) of the stages that a page lists in advance.
        memory_bytes: memory limit of the job's process; None for unlimited.
        is_same: whether jobs of two specifications would make the same files.
        skipped: names of the stages that a job of a specification does not run.
    """

    name: str
    queue: str
    run: Callable[[Spec, Path, Reporter], dict[str, Any]]
    stages: tuple[tuple[str, str], ...] = ()
    memory_bytes: int | None = None
    is_same: Callable[[Spec, Spec], bool] = operator.eq
    skipped: Callable[[Spec], set[str]] = lambda spec: set()


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
        Kind(worded("plan"), GENERAL, _plan),
        Kind(worded("train"), TRAINING, _train, TRAINING_STAGES, is_same=_is_same_run, skipped=_skipped_stages),
        Kind(worded("retrain"), TRAINING, _retrain, TRAINING_STAGES, skipped=_skipped_stages),
        Kind(worded("compare"), TRAINING, _compare, COMPARISON_STAGES),
        Kind(
            worded("import"),
            GENERAL,
            _import,
            IMPORT_STAGES,
            memory_bytes=2 << 30,  # ten times what it needs
        ),
        Kind(worded("align"), GENERAL, _align, (("align", worded("Align words and recordings")),)),
        Kind(worded("enable"), GENERAL, _enable),
        Kind(worded("pull"), GENERAL, _pull),
        Kind(worded("transcribe"), GENERAL, _lazy("job:transcribe_recording"), TRANSCRIPTION_STAGES),
        Kind(worded("summarize"), GENERAL, _lazy("job:summarize_recording"), (("summarize", worded("Summarize")),)),
        Kind(worded("speakers"), GENERAL, _lazy("job:detect_speakers"), (TRANSCRIPTION_STAGES[3],)),
        Kind(worded("minable"), GENERAL, _lazy("job:make_minable")),
        Kind(worded("polish"), GENERAL, _lazy("job:polish_recording"), (("polish", worded("Clean up the text")),)),
        Kind(worded("translate"), GENERAL, _lazy("job:translate_recording"), (("translate", worded("Translate")),)),
        Kind(worded("export"), GENERAL, _export, EXPORT_STAGES),
        Kind(worded("train-recognizer"), TRAINING, _lazy("adapt_recognizer:train_recognizer"), RECOGNIZER_STAGES),
    )
}


def finished_file(data: Path, name: str) -> Path:
    """Return the file that holds a job's result until it is collected."""
    return data / "jobs" / f"finished-{name}.json"


def main() -> int:
    """Run the job on stdin; return the exit code."""
    parent = os.getppid()
    end_with_parent()
    if parent_is_gone(parent):
        return INTERRUPTED
    os.nice(NICENESS)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # output that libraries print must not mix with the events
    job = json.load(sys.stdin)
    sink = json_lines_sink(events)
    reporter = Reporter(sink)
    data = Path(job["data"])
    os.environ.setdefault("HARK_INSTALLATION", str(data_folder()))  # before HARK_DATA changes the data folder
    os.environ["HARK_DATA"] = str(data)
    kind = KINDS[job["kind"]]
    _limit_memory(kind.memory_bytes)
    name = sys.argv[1]
    finished = finished_file(data, name)
    if finished.is_file():  # a worker was killed before it could record the end
        sink({"event": "result", "result": json.loads(finished.read_text())})
        return DONE
    try:
        result = kind.run({**job["spec"], JOB: name}, data, reporter)
        with atomic_path(finished) as temporary:
            temporary.write_text(json.dumps(result))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        end, code = _ending(error, name)
        reporter.error(end)
        return code
    finally:
        registry = sys.modules.get("audio_generation.registry")
        if registry is not None:
            registry.close_engines()
    sink({"event": "memory", "time": time.time(), "bytes": _most_memory()})
    sink({"event": "result", "result": result})
    return DONE


class Bug(HarkError):
    """Raised for an exception that Hark did not expect."""

    reason = "bug"


class LimitReached(HarkError):
    """Raised if a job exceeded the time or memory limit of its kind."""

    reason = "limit"


def _ending(error: Exception, name: str) -> tuple[HarkError, int]:
    """Return the error that users see when ``error`` has ended job ``name``, and the exit code."""
    if isinstance(error, HarkError):
        return error, FIXABLE
    if isinstance(error, MemoryError):
        too_large = LimitReached(
            worded("The job was stopped."),
            worded("It needs more memory than this kind of job can have."),
            worded("Try it with less data."),
        )
        return too_large, FIXABLE
    if isinstance(error, OSError) and is_full(error):
        return storage_error(error, "the job"), FIXABLE
    import traceback

    traceback.print_exception(error)  # goes to the job's log
    bug = Bug(
        worded("The job stopped because of a bug in Hark."),
        worded("The log of job %(name)s has the details.", name=name),
        worded("Retry continues from where it stopped; if it fails again, please report it with the log."),
    )
    return bug, BUG


def _most_memory() -> int:
    """Return the peak memory in bytes of the largest of this process and its finished children."""
    most = max(resource.getrusage(of).ru_maxrss for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return most if sys.platform == "darwin" else most * 1024


def _limit_memory(size: int | None) -> None:
    """Limit the memory [bytes] of this process and of each child, so that a job fails before the machine."""
    if size is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def _end_after(seconds: int) -> None:
    def stop(number: int, frame: object) -> None:
        raise LimitReached(
            worded("The job was stopped."),
            worded("It took more than %(n)d hour.", "It took more than %(n)d hours.", n=seconds // 3600),
            worded("Upload the recordings in parts."),
        )

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
