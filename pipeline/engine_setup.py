"""Engines, voices and models that are fetched when somebody asks for them, with their progress told."""

from __future__ import annotations

from pathlib import Path

from audio_generation import environments, voices_pull
from core.data_folder import installation_folder
from core.errors import HarkError
from core.worded import worded
from pipeline.events import Reporter

# Of all that pip says, what is being fetched is what shows that it goes on.
INTERESTING = ("Collecting ", "Building ", "Installing ")


def enable_engine(name: str, reporter: Reporter) -> Path:
    """Make an engine's own environment, or bring it up to date; its folder. Raises HarkError where that fails."""
    reporter.stage("enable", worded("Making the environment of %(engine)s (some minutes)", engine=name))

    def report(line: str) -> None:
        if line.startswith(INTERESTING):
            reporter.log(f"  {line[:100]}")

    return environments.enable(name, report)


def pull_voice(engine: str, voice: str, reporter: Reporter) -> list[Path]:
    """Download a voice; returns its files. Raises HarkError where that fails."""
    current = ""

    def progress(name: str, done: int, total: int) -> None:
        nonlocal current
        if name != current:
            current = name
            reporter.stage("pull", worded("Downloading %(file)s (%(mb)d MB)", file=name, mb=round(total / 1e6)))
        reporter.progress(done, total)

    return voices_pull.pull(engine, voice, progress)


def pulled_models() -> dict[str, tuple[str, Path]]:
    """Models of transformers that can be downloaded: name of the repository, and where it goes."""
    from pipeline import question_answering, text_similarity

    folder = installation_folder()
    return {
        "reader": (f"distilbert/{question_answering.READER}", folder / question_answering.READER_FOLDER),
        "embedding": (text_similarity.MODEL, folder / text_similarity.FOLDER),
    }


def pull_model(kind: str, size: str, reporter: Reporter) -> list[Path]:
    """Download a model for recordings; its folder.

    Args:
        kind: "faster-whisper", or a key of :func:`pulled_models`.
        size: of Whisper; the others have one.

    Raises:
        HarkError: there is no such model, no network, or no space.
    """
    if kind == "faster-whisper":
        from pipeline.transcription.whisper_models import pull

        return [pull(size, reporter)]
    from huggingface_hub import snapshot_download

    from pipeline.local_models import complete, pulling

    repository, folder = pulled_models()[kind]
    reporter.stage("pull", worded("Downloading %(file)s", file=repository))
    wanted = ["config.json", "model.safetensors", "tokenizer*", "vocab*", "special_tokens_map.json"]
    with pulling(repository, folder):
        snapshot_download(repository, local_dir=folder, allow_patterns=wanted)
    if not complete(folder):
        raise HarkError(f"The model {repository} is not whole.", f"{folder} lacks its weights.", "Pull it again.")
    return [folder]
