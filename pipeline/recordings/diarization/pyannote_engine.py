"""Diarization by pyannote.audio, in its own process and environment, with a local pipeline.

``./hark engines enable pyannote`` creates the environment, and ``./hark engines pull pyannote`` downloads the pipeline,
whose terms must have been accepted on its page, with HF_TOKEN set.
"""

from __future__ import annotations

from pathlib import Path

from core import environments
from core.audio_file import SAMPLE_RATE, read_audio
from core.data_folder import installation_folder
from core.errors import HarkError
from core.readiness import Readiness
from core.worded import worded
from core.worker_process import WorkerGone, WorkerProcess
from pipeline.recordings.diarization.turns import Diarization, Turn, with_overlaps
from pipeline.recordings.files import worker_audio

NAME = "pyannote"
REPOSITORY = "pyannote/speaker-diarization-community-1"
START_TIMEOUT_S = 300.0
TIMES_REAL_TIME = 5.0  # maximum time of a slow processor, as a multiple of the recording's duration


def own_folder() -> Path:
    return installation_folder() / "models" / NAME


def is_pulled() -> bool:
    return (own_folder() / "config.yaml").is_file()


def readiness() -> Readiness:
    """Check that the environment is complete and the pipeline is present, without loading them."""
    if not environments.is_enabled(NAME):
        return Readiness(
            False, worded("The environment of pyannote.audio does not exist yet."), f"./hark engines enable {NAME}"
        )
    if not is_pulled():
        return Readiness(
            False,
            worded("pyannote's pipeline is not on this machine."),
            worded(
                "Accept the terms on the page of %(repository)s, set HF_TOKEN and run ./hark engines pull pyannote.",
                repository=REPOSITORY,
            ),
        )
    return Readiness(True)


def diarize_pyannote(audio_file: Path, speakers: int | None = None) -> Diarization:
    """Return the turns of a recording; ``speakers`` is their number, if known. Raises HarkError if pyannote fails."""
    audio = read_audio(audio_file)
    longest_s = START_TIMEOUT_S + TIMES_REAL_TIME * len(audio) / SAMPLE_RATE
    try:
        command = [str(environments.interpreter(NAME)), "-m", "pipeline.recordings.diarization.pyannote_worker"]
        worker = WorkerProcess(NAME, [*command, str(own_folder())], {}, START_TIMEOUT_S)
        try:
            rows = worker_audio.ask(worker, audio, longest_s, "detecting speakers", speakers=speakers)
            turns = [Turn(round(start, 3), round(end, 3), label) for start, end, label in rows]
            version = str(worker.facts.get("version", ""))
        finally:
            worker.kill()
    except (WorkerGone, OSError, ValueError, TypeError) as error:
        raise HarkError(
            worded("pyannote could not detect the speakers."),
            f"{str(error)[:300].rstrip('.')}.",
            worded(
                "Check the pipeline (%(folder)s), or remove it: Hark then uses its own method.",
                folder=str(own_folder()),
            ),
        ) from error
    turns.sort(key=lambda turn: turn.start_s)
    names = {label: f"S{place}" for place, label in enumerate(dict.fromkeys(turn.speaker for turn in turns), 1)}
    named = [Turn(turn.start_s, turn.end_s, names[turn.speaker]) for turn in turns]
    return Diarization(with_overlaps(named), NAME, versions={"pyannote.audio": version})
