"""Small jobs of each kind for stress tests of a portal, and their expected results."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from core.audio_file import SAMPLE_RATE, write_audio
from pipeline.training.workspace.run_folder import RunFolder

if TYPE_CHECKING:
    from webui.accounts.models import User
    from webui.jobs.models import Job

CLIPS = 3  # clips in an import
# Each training run has its own phrase, because a second version would be compared with the first.
PHRASES = tuple(f"hey {name}" for name in ("compass", "harbour", "lantern", "garden", "river", "silver", "morning"))
ENGINE = "flite"  # a Debian program, and fast
SENTENCES = ("We meet in the harbour on Tuesday.", "Who brings the lantern?", "Anna brings the lantern and the map.")


@dataclass(frozen=True)
class Submission:
    """A queued job. ``results`` counts each of its results by name; when the job is done, each count must be 1."""

    job: str
    kind: str
    results: Callable[[], dict[str, int]]


def _noise(seed: int, seconds: float = 0.6) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.2, 0.2, round(seconds * SAMPLE_RATE)).astype(np.float32)


def _import(user: User, number: int) -> Submission:
    from django.core.files.uploadedfile import SimpleUploadedFile

    from webui.accounts.storage import user_data
    from webui.library.import_views import import_archive

    packed = io.BytesIO()
    texts = [f"take {number} part {part}" for part in range(CLIPS)]
    with zipfile.ZipFile(packed, "w") as archive:
        for part, text in enumerate(texts):
            sound = io.BytesIO()
            soundfile.write(sound, _noise(CLIPS * number + part), SAMPLE_RATE, format="FLAC")
            archive.writestr(f"corpus/{part}.flac", sound.getvalue())
            archive.writestr(f"corpus/{part}.txt", text)
    name = f"corpus-{number}.zip"
    sent = SimpleUploadedFile(name, packed.getvalue())
    job = import_archive(user=user, sent=sent, name=name, options={"language": "en", "licence": "CC0-1.0"})

    def results() -> dict[str, int]:
        counts = Counter(_texts(user_data(user)))
        return {text: counts[text] for text in texts}

    return Submission(str(job.pk), "import", results)


def _texts(data: Path) -> list[str]:
    from db.db_api import Library

    with Library(data) as library:
        return [clip.text_original for clip in library.iter_clips()]


def _transcribe(user: User, number: int) -> Submission:
    from pipeline.recordings.transcripts.transcript import load_transcript
    from webui.recordings.models import Recording
    from webui.recordings.transcribing.intake import create_recording

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"{number}.wav"
        write_audio(source, 0.01 * _noise(number))
        recording = create_recording(user=user, name=source.name, source=source)

    def results() -> dict[str, int]:
        recordings = Recording.objects.filter(name=recording.name, user=user, state=Recording.State.READY)
        transcripts = [load_transcript(one.path / "transcript.json") for one in recordings]
        return {"recording": recordings.count(), "transcript": len(transcripts)}

    return Submission(str(recording.job_id), "transcribe", results)


def _minable(user: User, number: int) -> Submission:
    from webui.accounts.storage import user_data
    from webui.recordings.sharing.minable import set_minable

    recording = _ready_recording(user, number)
    job = set_minable(recording=recording, minable=True)
    assert job is not None

    def results() -> dict[str, int]:
        from db.db_api import Library

        with Library(user_data(user)) as library:
            clips = list(library.with_source(f"recording-{recording.pk}"))
        counts = Counter(clip.text_original for clip in clips)
        return {text: counts[text] for text in SENTENCES}

    return Submission(str(job.pk), "minable", results)


def _summarize(user: User, number: int) -> Submission:
    from webui.recordings.reading.derived import summarize_again, summary_of

    recording = _ready_recording(user, number)
    job = summarize_again(recording=recording)
    return Submission(str(job.pk), "summarize", lambda: {"summary": int(summary_of(recording) is not None)})


def _train(user: User, number: int) -> Submission:
    """Train a detector of the smallest size."""
    from pipeline.training.configuration.specification import run_config
    from pipeline.training.planning.plan import load_plan
    from webui.accounts.storage import user_data
    from webui.trainer.models import Version
    from webui.trainer.services import configuration, train

    # The seed is part of a run's name, so each training is a separate run.
    config = configuration(
        phrase=PHRASES[number % len(PHRASES)], effort="trial", engines=(ENGINE,), seed=number, mining=False
    )
    job = train(user=user, config=config)
    run = run_config(job.spec).run_name

    def results() -> dict[str, int]:
        from db.db_api import Library

        plan = load_plan(RunFolder(user_data(user), run).plan)
        request_ids = [request.request_id for request in plan.requests] if plan else []
        with Library(user_data(user)) as library:
            ids = library.request_ids_present(request_ids)
        runs = (each for each in RunFolder.all_in(user_data(user)) if each.name.startswith(run))
        versions = Version.objects.filter(folder__contains=run).count()
        all_present = bool(request_ids) and len(ids) == len(request_ids)
        bundles = sum(each.bundle.is_file() for each in runs)
        return {"version": versions, "bundle": bundles, "clips": int(all_present)}

    return Submission(str(job.pk), "train", results)


def _ready_recording(user: User, number: int) -> Any:
    """Create a recording with its transcript, as its job would."""
    from pipeline.recordings.files.recording_folder import AUDIO, RECORDINGS, TRANSCRIPT
    from pipeline.recordings.transcripts.transcript import Segment, Transcript, save_transcript
    from webui.recordings.models import Recording

    seconds = float(2 * len(SENTENCES))
    segments = tuple(Segment(2.0 * n, 2.0 * n + 1.5, text, 0.9, language="en") for n, text in enumerate(SENTENCES))
    recording = Recording(user=user, name=f"talk-{number}.wav", state=Recording.State.READY, duration_s=seconds)
    recording.version = 1
    recording.folder = f"{RECORDINGS}/{recording.pk}"
    recording.path.mkdir(parents=True)
    write_audio(recording.path / AUDIO, _noise(number, seconds))
    save_transcript(Transcript(seconds, "en", "none", segments), recording.path / TRANSCRIPT)
    recording.save(force_insert=True)
    return recording


MAKERS: dict[str, Callable[[User, int], Submission]] = {
    "import": _import, "transcribe": _transcribe, "minable": _minable, "summarize": _summarize, "train": _train,
}  # fmt: skip


def left_of(job: Job) -> list[str]:
    """Return the files that a finished job should have removed: its upload, its result and partial files."""
    from pipeline.job_process import finished_file
    from webui.accounts.storage import user_data

    data = user_data(job.user)
    places = [finished_file(data, str(job.pk))]
    if job.spec.get("archive"):
        places.append((data / job.spec["archive"]).parent)
    if job.spec.get("folder"):
        places += (data / job.spec["folder"]).glob(".*")
    return [str(path.relative_to(data)) for path in places if path.exists()]


def data_folders(data: Path) -> list[Path]:
    """Return the folders of the owner and of each user of a portal."""
    return [data, *(data / "users").glob("*")]


def library_problems(data: Path) -> list[str]:
    """Return the problems that ``library check`` finds in a data folder."""
    from db.checking import check_library
    from db.db_api import Library

    with Library(data) as library:
        return [f"{problem.kind}: {problem.what}" for problem in check_library(library).problems]
