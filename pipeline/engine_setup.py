"""Engines and voices that are fetched when somebody asks for them, with their progress told."""

from __future__ import annotations

from pathlib import Path

from audio_generation import environments, voices_pull
from pipeline.events import Reporter

# Of all that pip says, what is being fetched is what shows that it goes on.
INTERESTING = ("Collecting ", "Building ", "Installing ")


def enable_engine(name: str, reporter: Reporter) -> Path:
    """Make an engine's own environment, or bring it up to date; its folder. Raises HarkError where that fails."""
    reporter.stage("enable", f"Making the environment of {name} (some minutes)")

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
            reporter.stage("pull", f"Downloading {name} ({total / 1e6:.0f} MB)")
        reporter.progress(done, total)

    return voices_pull.pull(engine, voice, progress)
