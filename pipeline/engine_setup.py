"""Download of engines, voices and models on request, with progress."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audio_generation.registry import engines
from core import environments
from core.errors import HarkError, no_such
from core.events import Reporter
from core.hub import hub_download
from core.worded import listed, worded
from model.languages import is_known
from pipeline.recordings.answers.reader import READER
from pipeline.recordings.diarization import pyannote_engine
from pipeline.recordings.language_models.local_models import pull
from pipeline.recordings.language_models.text_similarity import EMBEDDING
from pipeline.recordings.summarization.transformer import SUMMARY
from pipeline.recordings.transcription import funasr_engine as funasr
from pipeline.recordings.transcription import whisper_models
from pipeline.training.configuration.run_config import RunConfig
from pipeline.training.configuration.specification import Spec

# The lines of pip's output that show its progress.
INTERESTING = ("Collecting ", "Building ", "Installing ")


def voices_to_install(config: RunConfig) -> dict[str, int]:
    """Return the missing neural voices that a run installs before it starts, with their megabytes, the smallest first.

    The result is empty if the run names its engines, is a trial or is not English, or if HARK_NO_DOWNLOAD is set.
    """
    usual = not config.engines and config.effort != "trial" and is_known(config.language)
    if not usual or os.environ.get("HARK_NO_DOWNLOAD"):
        return {}
    neural = {engine.name: engine.download_mb for engine in engines().values() if engine.download_mb}
    return {
        name: neural[name]
        for name in sorted(neural, key=neural.__getitem__)
        if not environments.is_enabled(name) or environments.damaged(name)
    }


def install_voices(names: Iterable[str], reporter: Reporter) -> None:
    """Enable engines one by one. Skip those whose packages are faulty; stop if the network or the disk fails."""
    for name in names:
        try:
            enable_engine(name, reporter)
        except HarkError as error:
            reporter.log(worded("Continuing without %(engine)s: %(why)s", engine=name, why=error.why), "warning")
            if not isinstance(error, environments.BadPackageError):
                return


def enable_engine(name: str, reporter: Reporter) -> Path:
    """Create or update an engine's own environment; return its folder. Raises HarkError if that fails."""
    reporter.stage("enable", worded("Creating the environment of %(engine)s (a few minutes)", engine=name))

    def report(line: str) -> None:
        if line.startswith(INTERESTING):
            reporter.log(f"  {line[:100]}")

    return environments.enable(name, report)


def pull_voice(engine: str, voice: str, reporter: Reporter) -> list[Path]:
    """Download a voice; return its files. Raises HarkError if that fails."""
    speaker = engines().get(engine)
    if speaker is None:
        raise no_such(worded("speech engine"), engine, engines())
    if not speaker.example_voice:
        others = [name for name, other in engines().items() if other.example_voice]
        raise HarkError(
            worded("The engine %(engine)s has no voices to download.", engine=engine),
            worded("Its voices come with it."),
            worded("Choose one of these: %(engines)s.", engines=listed(others)),
        )
    return hub_download(*speaker.source(voice), speaker.folder(), reporter)


PULLED_MODELS = {model.name: model for model in (READER, EMBEDDING, SUMMARY)}  # models of transformers
MODEL_FILES = (
    "config.json", "generation_config.json", "model.safetensors", "tokenizer*", "vocab*", "merges.txt",
    "special_tokens_map.json",
)  # fmt: skip


def pull_model(kind: str, size: str, reporter: Reporter) -> list[Path]:
    """Download a model for recordings; return its folders.

    Args:
        kind: "faster-whisper", "funasr" (with its voice activity detector and punctuation), "pyannote", or a key of
            :data:`PULLED_MODELS`.
        size: size of Whisper; all others have one size.

    Raises:
        HarkError: the model does not exist, or there is no network or space.
    """
    if kind == "funasr":
        places = {repository: funasr.own_folder() / Path(repository).name for repository in funasr.REPOSITORIES}
        return [pull(repository, folder, ["config.yaml"], reporter) for repository, folder in places.items()]
    if kind == pyannote_engine.NAME:
        if not os.environ.get("HF_TOKEN"):
            raise HarkError(
                worded("pyannote's pipeline cannot be downloaded."),
                worded(
                    "It is only available after accepting the terms of %(repository)s, and HF_TOKEN is not set.",
                    repository=pyannote_engine.REPOSITORY,
                ),
                worded("Accept them on its page, create a token there, and run this again with HF_TOKEN=...."),
            )
        return [pull(pyannote_engine.REPOSITORY, pyannote_engine.own_folder(), ["config.yaml"], reporter)]
    if kind == "faster-whisper":
        return [whisper_models.pull(size, reporter)]
    model = PULLED_MODELS[kind]
    return [pull(model.repository, model.own_folder, ["config.json", "model.safetensors"], reporter, MODEL_FILES)]


def enable_job(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
    """Run the job "enable": create or update the environment of an ``engine``."""
    enable_engine(spec["engine"], reporter)
    return {"engine": spec["engine"]}


def pull_job(spec: Spec, data: Path, reporter: Reporter) -> dict[str, Any]:
    """Run the job "pull": download a ``voice`` of an ``engine``; with ``model``, the model of that kind and size."""
    download = pull_model if spec.get("model") else pull_voice
    files = download(spec["engine"], spec["voice"], reporter)
    return {"engine": spec["engine"], "files": [path.name for path in files]}
